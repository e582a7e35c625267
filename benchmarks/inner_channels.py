"""Activations of inner channels for their pictures, relative to patches of photographs.

Measures the channel's mean activation over all positions for the finished picture, without
transforms, divided by that of the best of about a hundred patches of scikit-image's photographs.
Above 1, the picture excites the channel more than any of the patches. Needs

    pip install '.[imagenet,benchmark]' scikit-image

and compares with tf-keras-vis and Xplique if they are installed. Prints a table.
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
import peers
from PIL import Image

from vis import plotting
from vis.applications import EfficientNetLite0
from vis.input_modifiers import Jitter
from vis.visualization import visualize_filters

LAYERS = ("block2_expand", "block6_expand", "block12_expand")
SIZE = 224


def patches() -> np.ndarray:
    """Squares of scikit-image's photographs, of three sizes."""
    from skimage import data

    squares = []
    for photograph in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket()):
        height, width = photograph.shape[:2]
        for share in (1, 2, 4):
            side = min(height, width) // share
            for top in np.linspace(0, height - side, share).astype(int):
                for left in np.linspace(0, width - side, share + 1).astype(int):
                    square = Image.fromarray(photograph[top : top + side, left : left + side])
                    square = square.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
                    squares.append(np.asarray(square))
    return np.stack(squares)


def methods(model: keras.Model, layer: str) -> dict[str, peers.Draw]:
    """Functions from channels to pictures, by name."""
    return {
        "keras-vis's algorithm": peers.keras_vis(
            model, layer, input_modifiers=[Jitter(16)], seed=0
        ),
        "visualize_filters": lambda channels: visualize_filters(
            model, layer, list(channels), seed=0, progress=False
        ),
        **peers.others(keras.Model(model.inputs, model.get_layer(layer).output)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=8, help="of each layer")
    parser.add_argument("--layers", nargs="*", default=LAYERS)
    parser.add_argument("--only", nargs="*", help="names of the methods to run")
    parser.add_argument("--output", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    model, photographs = EfficientNetLite0(), patches().astype("float32")
    columns = ["layer", "method", "picture / best patch, median", "least", "above 1", "s a channel"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for name in arguments.layers:
        inner = keras.Model(model.inputs, model.get_layer(name).output)
        count = inner.output.shape[-1]
        rng = np.random.default_rng(0)
        channels = np.sort(rng.permutation(count)[: arguments.channels]).tolist()
        best = _activations(inner, photographs)[:, channels].max(axis=0)
        for method, draw in methods(model, name).items():
            if arguments.only and method not in arguments.only:
                continue
            began = time.perf_counter()
            pictures = draw(channels)
            seconds = (time.perf_counter() - began) / len(channels)
            reached = _activations(inner, pictures.astype("float32"))
            shares = reached[np.arange(len(channels)), channels] / np.maximum(best, 1e-6)
            numbers = [
                f"{np.median(shares):.2f}",
                f"{shares.min():.2f}",
                f"{(shares > 1).mean():.0%}",
            ]
            print(f"| {name} | {method} | {' | '.join(numbers)} | {seconds:.1f} |", flush=True)
            path = arguments.output / f"{name}_{method.replace(' ', '_')}.png"
            plotting.grid(pictures, channels, cols=len(channels), save_to=path)


def _activations(inner: keras.Model, images: np.ndarray) -> np.ndarray:
    """Mean activations `(images, channels)`."""
    return np.concatenate(
        [
            np.asarray(inner.predict_on_batch(images[i : i + 8])).mean(axis=(1, 2))
            for i in range(0, len(images), 8)
        ]
    )


if __name__ == "__main__":
    main()
