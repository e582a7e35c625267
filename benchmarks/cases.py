"""What is drawn, how, and who judges it: classes of ImageNet, and of networks for other data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import peers
import small_networks
from efficientnets import efficientnet
from inner_channels import patches
from keras import ops
from PIL import Image

from vis.input_modifiers import Jitter
from vis.parametrizations import MagnitudeConstrained
from vis.utils.utils import lookup_imagenet_labels
from vis.visualization import visualize_filters

OWN_DATA = ("fashion_mnist", "digits", "wine", "breast_cancer", "signals", "volumes")
# What a random forest judges; the others a network of another kind.
_FOREST = ("digits", "wine", "breast_cancer")
_SEEDS = {"fashion_mnist": 3, "wine": 3, "breast_cancer": 3}
_EXAMPLES = 500

Opinions = Callable[[np.ndarray], np.ndarray]


class Case(NamedTuple):
    """A network whose classes are drawn.

    Attributes:
        data: What it was trained on.
        network: What it is.
        classes: The classes that are drawn.
        names: Their names.
        methods: Functions from classes to pictures, by name.
        judges: Functions from pictures to probabilities, by name.
        low: The least value that a picture may have, at each place or anywhere.
        high: The greatest.
    """

    data: str
    network: str
    classes: np.ndarray
    names: Sequence[str]
    methods: dict[str, peers.Draw]
    judges: dict[str, Opinions]
    low: np.ndarray
    high: np.ndarray


def imagenet(number: int, count: int, steps: int, seed: int) -> Case:
    """Classes of ImageNet, drawn by one EfficientNet-Lite and judged by others.

    Args:
        number: Of the EfficientNet-Lite that draws: 0 or 2.
        count: How many classes.
        steps: Gradient steps a picture on average, the same for all methods.
        seed: Chooses the classes.
    """
    model = efficientnet(number)
    classes = np.random.default_rng(seed).permutation(1000)[:count]

    def ours(**arguments: object) -> peers.Draw:
        # Pictures that are slow to begin get more steps: a quarter more, taking all together.
        max_iter = steps * 4 // 5 if "parametrization" not in arguments else steps
        return lambda some: visualize_filters(
            model, -1, list(some), max_iter=max_iter, seed=seed, progress=False, **arguments
        )

    methods = {
        "keras-vis's algorithm": peers.keras_vis(
            model, -1, max_iter=steps, input_modifiers=[Jitter(16)], seed=seed
        ),
        "visualize_filters": ours(),
        "visualize_filters, like=photographs": ours(like=_resized(patches(), model)),
        "visualize_filters, MagnitudeConstrained": ours(parametrization=MagnitudeConstrained()),
        **peers.others(model, steps),
    }
    judges = {f"Lite{n}": opinions_of(efficientnet(n)) for n in range(3) if n != number}
    names = lookup_imagenet_labels(classes.tolist())
    low, high = np.zeros(1), np.full(1, 255)
    return Case("ImageNet", f"Lite{number}", classes, names, methods, judges, low, high)


def own_data(name: str, folder: Path) -> Iterator[Case]:
    """All classes of small networks, drawn by each of two kinds and judged by another.

    Args:
        name: One of `OWN_DATA`.
        folder: Where the networks' weights are kept.
    """
    data = getattr(small_networks, name)()
    kinds = [small_networks.plain, *([small_networks.residual] if data.x.ndim > 2 else [])]
    classes = np.arange(len(data.names))
    low, high = data.x.min(axis=0), data.x.max(axis=0)
    for seed in range(_SEEDS.get(name, 1)):
        found = [
            small_networks.trained(
                kind, data, seed, folder / f"{name}-{kind.__name__}-{seed}.weights.h5"
            )
            for kind in kinds
        ]
        for number, (model, accuracy) in enumerate(found):
            if name in _FOREST:
                judges = {"forest": _forest(data)}
            else:
                other = kinds[1 - number].__name__
                judges = {other: opinions_of(found[1 - number][0])}
            network = f"{kinds[number].__name__} {seed}, {accuracy:.0%} right"
            methods = _of_own_data(model, data, seed)
            yield Case(name, network, classes, data.names, methods, judges, low, high)


def _of_own_data(model: keras.Model, data: small_networks.Data, seed: int) -> dict[str, peers.Draw]:
    like = data.x[:_EXAMPLES]
    input_range = float(data.x.min()), float(data.x.max())
    common = {"input_range": input_range, "seed": seed}

    def filters(**arguments: object) -> peers.Draw:
        return lambda classes: visualize_filters(
            model, -1, list(classes), progress=False, **common, **arguments
        )

    jitter = [Jitter(2)] if data.x.ndim > 2 else []
    return {
        "keras-vis's algorithm": peers.keras_vis(model, -1, input_modifiers=jitter, **common),
        "keras-vis's algorithm, like=x": peers.keras_vis(model, -1, like=like, **common),
        "visualize_filters": filters(),
        "visualize_filters, like=x": filters(like=like),
        **peers.others(model, input_range=input_range),
    }


def opinions_of(model: keras.Model) -> Opinions:
    """A network's probabilities, of pictures brought to its size."""

    def opinions(pictures: np.ndarray) -> np.ndarray:
        images = _resized(pictures, model).astype("float32")
        logits = model.predict(images, batch_size=16, verbose=0)
        return ops.convert_to_numpy(ops.softmax(logits))

    return opinions


def _resized(pictures: np.ndarray, model: keras.Model) -> np.ndarray:
    if pictures.dtype != "uint8" or pictures.shape[1:3] == model.input_shape[1:3]:
        return pictures
    height, width = model.input_shape[1:3]
    bicubic = Image.Resampling.BICUBIC
    images = [Image.fromarray(p).resize((width, height), bicubic) for p in pictures]
    return np.stack([np.asarray(image) for image in images])


def _forest(data: small_networks.Data) -> Opinions:
    """A random forest's probabilities."""
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(300, random_state=0)
    trees.fit(data.x.reshape(len(data.x), -1), data.y)
    return lambda x: trees.predict_proba(x.reshape(len(x), -1))
