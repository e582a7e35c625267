"""Layers of many kinds: data formats, preprocessing, quantised weights, saved models."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers

from vis.utils.utils import apply_modifications
from vis.visualization import visualize_activation, visualize_cam, visualize_saliency

pytestmark = pytest.mark.versions

QUICK = {"max_iter": 3, "seed": 0}

# Layers that compute the same for both data formats.
SPATIAL = {
    "convolution": lambda f: layers.Conv2D(4, 3, strides=2, padding="same", data_format=f),
    "dilated": lambda f: layers.Conv2D(4, 3, dilation_rate=2, data_format=f),
    "groups": lambda f: layers.Conv2D(6, 3, groups=3, data_format=f),
    "transposed": lambda f: layers.Conv2DTranspose(4, 3, strides=2, data_format=f),
    "depthwise": lambda f: layers.DepthwiseConv2D(3, strides=2, padding="same", data_format=f),
    "separable": lambda f: layers.SeparableConv2D(4, 3, data_format=f),
    "max pooling": lambda f: layers.MaxPooling2D(3, 2, padding="same", data_format=f),
    "average pooling": lambda f: layers.AveragePooling2D(3, 2, padding="same", data_format=f),
    "global pooling": lambda f: layers.GlobalAveragePooling2D(keepdims=True, data_format=f),
    "enlarging": lambda f: layers.UpSampling2D(interpolation="bilinear", data_format=f),
    "padding": lambda f: layers.ZeroPadding2D(2, data_format=f),
    "cropping": lambda f: layers.Cropping2D(2, data_format=f),
    "resizing": lambda f: layers.Resizing(8, 8, data_format=f),
    "group norm": lambda f: layers.GroupNormalization(3, axis=1 if f == "channels_first" else -1),
    "batch norm": lambda f: layers.BatchNormalization(axis=1 if f == "channels_first" else -1),
}


def in_both_formats(*kinds):
    """Networks of these layers with the same weights, the channels last and first."""
    models = [
        sequential(
            (16, 16, 3) if data_format == "channels_last" else (3, 16, 16),
            *(kind(data_format) for kind in kinds),
            layers.ReLU(),
            layers.Conv2D(2, 1, data_format=data_format),
        )
        for data_format in ("channels_last", "channels_first")
    ]
    models[1].set_weights(models[0].get_weights())
    return models


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
@pytest.mark.every(4)
@pytest.mark.parametrize("name", SPATIAL)
def test_channels_first_gives_what_channels_last_gives(name):
    """TensorFlow has no CPU kernels for many of these layers."""
    image = np.random.default_rng(0).uniform(0, 1, (16, 16, 3)).astype("float32")
    maps = [visualize_saliency(model, -1, 1, image) for model in in_both_formats(SPATIAL[name])]
    np.testing.assert_allclose(*maps, atol=1e-4)


def test_activation_with_channels_first():
    names = ("convolution", "batch norm", "depthwise", "enlarging", "max pooling")
    image = np.random.default_rng(0).uniform(0, 255, (16, 16, 3))
    last, first = (
        visualize_activation(model, -1, 1, seed_input=image, **QUICK).astype(float)
        for model in in_both_formats(*(SPATIAL[name] for name in names))
    )
    assert np.abs(first - last).max() <= 1


def test_preprocessing_inside_the_model():
    """Augmentation is inactive; scaling, resizing and cropping are part of the network."""
    normalization = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    augmentation = [
        layers.RandomFlip(),
        layers.RandomRotation(0.2),
        layers.RandomZoom(0.2),
        layers.RandomContrast(0.3),
        layers.GaussianNoise(0.5),
        layers.Dropout(0.5),
    ]
    scaling = [layers.Resizing(16, 16), layers.CenterCrop(14, 14), layers.Rescaling(1 / 127.5, -1)]
    head = [normalization, layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
    inputs = keras.Input((20, 20, 3))
    augmented = keras.Sequential([inputs, *augmentation, *scaling, *head])
    plain = keras.Sequential([inputs, *scaling, *head])
    photograph = np.random.default_rng(0).uniform(0, 255, (20, 20, 3))
    for method in (
        lambda m: visualize_activation(m, -1, 1, **QUICK),
        lambda m: visualize_saliency(m, -1, 1, photograph),
        lambda m: visualize_cam(m, -1, 1, photograph),
    ):
        np.testing.assert_array_equal(method(augmented), method(plain))


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_quantised_model():
    """The gradients go through the quantised weights."""
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(8, activation="relu"), layers.Dense(3)]
    )
    vector = np.random.default_rng(0).uniform(-1, 1, 12).astype("float32")
    exact = visualize_saliency(model, -1, 1, vector)
    model.quantize("int8")
    assert np.corrcoef(exact, visualize_saliency(model, -1, 1, vector))[0, 1] > 0.99
    assert visualize_activation(model, -1, 1, **QUICK).shape == (12,)


class Unconfigured(layers.Layer):
    """A custom layer without a configuration to rebuild it from."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(4, activation="relu")
        self.out = layers.Dense(3, activation="softmax")

    def call(self, inputs):
        return self.out(self.hidden(inputs))


def functional():
    inputs = keras.Input((5,))
    shared = layers.Dense(5, activation="relu")
    factor = 3.0
    x = layers.Lambda(lambda x: x * factor)(shared(shared(inputs)))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(Unconfigured(4)(x)))


def wrapped():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4), Unconfigured(2)])
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Reshape((1, 5)),
            layers.TimeDistributed(inner),
            layers.Bidirectional(layers.GRU(3)),
            layers.Dense(3, activation="softmax"),
        ]
    )


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 5)))
    return model


@pytest.mark.every(3)
@pytest.mark.parametrize("build", [functional, wrapped, subclassed])
def test_apply_modifications_without_a_configuration(build):
    model = build()
    model.compile("adam", "mse")
    x = np.random.default_rng(0).uniform(-1, 1, (2, 5)).astype("float32")
    before, weights = np.array(model(x)), model.get_weights()
    model.layers[-1].activation = keras.activations.linear
    new = apply_modifications(model)
    model.layers[-1].activation = keras.activations.softmax

    np.testing.assert_allclose(keras.ops.softmax(new(x)), before, atol=1e-6)
    assert new.compiled
    for copied, original in zip(new.weights, model.weights, strict=True):
        assert copied is not original
        np.testing.assert_array_equal(copied, original)
    new.fit(x, np.eye(3)[:2], epochs=2, verbose=0)
    assert not np.allclose(new.get_weights()[0], weights[0])
    np.testing.assert_array_equal(model(x), before)
    for old, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.every(2)
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_models_from_files(name, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    model.save(tmp_path / name)
    loaded = keras.models.load_model(tmp_path / name)
    for layer_idx in ("conv", -1):
        np.testing.assert_array_equal(
            visualize_activation(loaded, layer_idx, 1, **QUICK),
            visualize_activation(model, layer_idx, 1, **QUICK),
        )


def test_saved_model(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
    )
    model.export(tmp_path / "saved", verbose=False)
    inputs = keras.Input((8, 8, 3))
    layer = layers.TFSMLayer(tmp_path / "saved", call_endpoint="serve")
    loaded = keras.Model(inputs, layer(inputs))
    image = np.random.default_rng(0).uniform(0, 1, (8, 8, 3))
    np.testing.assert_allclose(
        visualize_saliency(loaded, -1, 1, image), visualize_saliency(model, -1, 1, image), atol=1e-6
    )
    assert visualize_activation(loaded, -1, 1, **QUICK).shape == (8, 8, 3)
    with pytest.raises(ValueError, match=r"no convolution or pooling layer.*Received: "):
        visualize_cam(loaded, -1, 1, image)
