"""Two kinds of small networks, trained on Fashion-MNIST, digits, tables, signals and volumes.

Fashion-MNIST is Debian's package `dataset-fashion-mnist`, digits and tables come with scikit-learn,
signals and volumes are generated.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

FASHION = Path("/usr/share/datasets/fashion-mnist")


class Data(NamedTuple):
    """Shuffled examples with their classes; the last seventh is for tests."""

    x: np.ndarray
    y: np.ndarray
    names: list[str]
    epochs: int


def fashion_mnist() -> Data:
    """70,000 pictures of clothes, 28 x 28, in [0, 1]."""
    x, y = [], []
    for part in ("train", "t10k"):
        with gzip.open(FASHION / f"{part}-images-idx3-ubyte.gz") as file:
            x.append(np.frombuffer(file.read(), "uint8", offset=16).reshape(-1, 28, 28, 1))
        with gzip.open(FASHION / f"{part}-labels-idx1-ubyte.gz") as file:
            y.append(np.frombuffer(file.read(), "uint8", offset=8))
    names = ["T-shirt", "trousers", "pullover", "dress", "coat"]
    names += ["sandal", "shirt", "sneaker", "bag", "boot"]
    return Data(np.concatenate(x).astype("float32") / 255, np.concatenate(y), names, 3)


def digits() -> Data:
    """1,797 handwritten digits, 8 x 8, in [0, 16]."""
    from sklearn.datasets import load_digits

    x, y = _shuffled(*load_digits(return_X_y=True))
    return Data(x.reshape(-1, 8, 8, 1).astype("float32"), y, list("0123456789"), 40)


def wine() -> Data:
    """Chemical measurements of 178 wines of three growers."""
    from sklearn.datasets import load_wine

    x, y = _shuffled(*load_wine(return_X_y=True))
    return Data(x.astype("float32"), y, ["grower 0", "grower 1", "grower 2"], 120)


def breast_cancer() -> Data:
    """Thirty measurements of cell nuclei, of 569 women."""
    from sklearn.datasets import load_breast_cancer

    x, y = _shuffled(*load_breast_cancer(return_X_y=True))
    return Data(x.astype("float32"), y, ["malignant", "benign"], 60)


def signals() -> Data:
    """Two artificial heartbeats, 128 samples of two leads, cut out around the first one."""
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=2000)
    time = np.arange(128)
    x = 0.3 * rng.normal(0, 0.05, (2000, 128, 2)).cumsum(axis=1)
    for signal, label in zip(x, y, strict=True):
        first = rng.normal(32, 1)
        second = first + rng.normal(42 if label == 3 else 64, 2)
        for centre in (first, second):
            width, height = rng.normal(5.0 if label == 2 else 2.0, 0.2), rng.uniform(0.8, 1.2)
            pulse = np.exp(-(((time - centre) / width) ** 2) / 2)
            wave = 0.3 * np.exp(-(((time - centre - 16) / 4) ** 2) / 2)
            wave = -wave if label == 1 else wave
            signal += height * np.stack([pulse + wave, 0.6 * (wave - pulse)], axis=-1)
    return Data(x.astype("float32"), y, ["regular", "inverted", "wide", "early"], 15)


def volumes() -> Data:
    """Bodies in a noisy volume of 16 x 16 x 16: a ball, an upright rod, a flat plate, a shell."""
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=1500)
    axes = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), axis=-1)
    x = rng.normal(0.15, 0.05, (1500, 16, 16, 16, 1))
    for volume, label in zip(x[..., 0], y, strict=True):
        offset = axes - rng.uniform(6.5, 8.5, 3)
        distance = np.sqrt((offset**2).sum(-1))
        height, across = np.abs(offset[..., 0]), np.sqrt((offset[..., 1:] ** 2).sum(-1))
        size = rng.uniform(0.9, 1.15)
        inside = {
            0: distance < 5 * size,
            1: (across < 2 * size) & (height < 7 * size),
            2: (across < 6.5 * size) & (height < 1.5 * size),
            3: np.abs(distance - 5 * size) < 1.1,
        }[int(label)]
        volume[inside] += rng.uniform(0.6, 0.8)
    return Data(np.clip(x, 0, 1).astype("float32"), y, ["ball", "rod", "plate", "shell"], 4)


def _shuffled(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(0).permutation(len(x))
    return x[order], y[order]


def plain(data: Data) -> keras.Model:
    """Plain convolutions; for tables a normalisation and dense layers."""
    shape, classes = data.x.shape[1:], len(data.names)
    inputs = x = keras.Input(shape)
    if len(shape) == 1:
        normalization = layers.Normalization()
        normalization.adapt(data.x)
        x = layers.Dense(32, "relu")(normalization(x))
        x = layers.Dense(16, "relu")(layers.Dropout(0.2)(x))
        return keras.Model(inputs, layers.Dense(classes)(x))
    rank = len(shape) - 1
    convolution = getattr(layers, f"Conv{rank}D")
    x = convolution(16, 3, activation="relu", padding="same")(x)
    x = convolution(32, 3, activation="relu", padding="same")(x)
    x = getattr(layers, f"MaxPooling{rank}D")()(x)
    x = convolution(64, 3, activation="relu", padding="same")(x)
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(classes)(x))


def residual(data: Data) -> keras.Model:
    """Skip connections, batch normalisation and global average pooling."""
    shape, classes = data.x.shape[1:], len(data.names)
    rank = len(shape) - 1
    convolution = getattr(layers, f"Conv{rank}D")
    inputs = x = keras.Input(shape)
    x = convolution(16, 3, 2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        y = convolution(width, 3, stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = convolution(width, 3, padding="same", use_bias=False)(y)
        y = layers.BatchNormalization()(y)
        if stride > 1:
            x = convolution(width, 1, stride, use_bias=False)(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = getattr(layers, f"GlobalAveragePooling{rank}D")()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


def trained(
    kind: Callable[[Data], keras.Model], data: Data, seed: int, path: Path | None = None
) -> tuple[keras.Model, float]:
    """A trained network that returns logits, and its test accuracy.

    Args:
        kind: Function that builds the network.
        data: Training and test data.
        seed: Random seed for weights and order of examples.
        path: File for the weights, loaded if it exists.
    """
    keras.utils.set_random_seed(seed)
    model = kind(data)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    split = len(data.x) * 6 // 7
    if path is not None and path.exists():
        model.load_weights(path)
    else:
        batch_size = 128 if len(data.x) > 10_000 else 32
        model.fit(data.x[:split], data.y[:split], batch_size, data.epochs, verbose=0)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save_weights(path)
    return model, model.evaluate(data.x[split:], data.y[split:], verbose=0)[1]
