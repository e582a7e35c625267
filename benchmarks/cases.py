"""Test cases of `recognisability.py`: networks, methods to draw their classes, and judges."""

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
# Data whose pictures a random forest judges; a network of another kind judges the others.
_FOREST = ("digits", "wine", "breast_cancer")
_SEEDS = {"fashion_mnist": 3, "wine": 3, "breast_cancer": 3}
_EXAMPLES = 500

Judge = Callable[[np.ndarray], np.ndarray]


class Case(NamedTuple):
    """A network whose classes are drawn.

    Attributes:
        data: The training data.
        network: Description of the network.
        classes: Indices of the classes to draw.
        names: Names of the classes.
        methods: Functions from classes to pictures, by name.
        judges: Functions from pictures to probabilities, by name.
        low: Lowest value of the data, per position or overall.
        high: Highest value of the data.
    """

    data: str
    network: str
    classes: np.ndarray
    names: Sequence[str]
    methods: dict[str, peers.Draw]
    judges: dict[str, Judge]
    low: np.ndarray
    high: np.ndarray


def imagenet(number: int, count: int, steps: int, seed: int) -> Case:
    """Classes of ImageNet, drawn by one EfficientNet-Lite and judged by others.

    Args:
        number: Which EfficientNet-Lite draws, 0 or 2.
        count: Number of classes.
        steps: Average gradient steps per picture, the same for all methods.
        seed: Random seed for the choice of classes.
    """
    model = efficientnet(number)
    classes = np.random.default_rng(seed).permutation(1000)[:count]

    def ours(**arguments: object) -> peers.Draw:
        # Slow pictures get more steps: a quarter more on average.
        max_iter = steps * 4 // 5 if "parametrization" not in arguments else steps
        return lambda classes: visualize_filters(
            model, -1, list(classes), max_iter=max_iter, seed=seed, progress=False, **arguments
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
    judges = {f"Lite{n}": judge_of(efficientnet(n)) for n in range(3) if n != number}
    names = lookup_imagenet_labels(classes.tolist())
    low, high = np.zeros(1), np.full(1, 255)
    return Case("ImageNet", f"Lite{number}", classes, names, methods, judges, low, high)


def own_data(name: str, folder: Path) -> Iterator[Case]:
    """All classes of small networks: each of two kinds draws, and another model judges.

    Args:
        name: One of `OWN_DATA`.
        folder: Folder for the networks' weights.
    """
    data = getattr(small_networks, name)()
    kinds = [small_networks.plain, *([small_networks.residual] if data.x.ndim > 2 else [])]
    classes = np.arange(len(data.names))
    low, high = data.x.min(axis=0), data.x.max(axis=0)
    for seed in range(_SEEDS.get(name, 1)):
        networks = [
            small_networks.trained(
                kind, data, seed, folder / f"{name}-{kind.__name__}-{seed}.weights.h5"
            )
            for kind in kinds
        ]
        for number, (model, accuracy) in enumerate(networks):
            if name in _FOREST:
                judges = {"forest": _forest(data)}
            else:
                other = kinds[1 - number].__name__
                judges = {other: judge_of(networks[1 - number][0])}
            description = f"{kinds[number].__name__} {seed}, {accuracy:.0%} right"
            methods = _of_own_data(model, data, seed)
            yield Case(name, description, classes, data.names, methods, judges, low, high)


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


def judge_of(model: keras.Model) -> Judge:
    """A network's probabilities for pictures, resized to its input."""

    def judge(pictures: np.ndarray) -> np.ndarray:
        images = _resized(pictures, model).astype("float32")
        logits = model.predict(images, batch_size=16, verbose=0)
        return ops.convert_to_numpy(ops.softmax(logits))

    return judge


def _resized(pictures: np.ndarray, model: keras.Model) -> np.ndarray:
    if pictures.dtype != "uint8" or pictures.shape[1:3] == model.input_shape[1:3]:
        return pictures
    height, width = model.input_shape[1:3]
    bicubic = Image.Resampling.BICUBIC
    images = [Image.fromarray(p).resize((width, height), bicubic) for p in pictures]
    return np.stack([np.asarray(image) for image in images])


def _forest(data: small_networks.Data) -> Judge:
    """A random forest's probabilities."""
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(300, random_state=0)
    trees.fit(data.x.reshape(len(data.x), -1), data.y)
    return lambda x: trees.predict_proba(x.reshape(len(x), -1))
