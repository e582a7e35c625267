"""Memory leaks and slowdown over many visualizations in one process.

Draws a thousand pictures and maps of all kinds with one small network, and prints resident memory,
the time of each hundred, and whether the network has changed::

    python benchmarks/reliability.py
"""

# Import this first: it imports TensorFlow without its messages on standard error.
import vis  # noqa: F401

# isort: split
import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from vis.input_modifiers import Jitter
from vis.losses import Loss
from vis.optimizer import Optimizer
from vis.visualization import (
    SmoothGrad,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)

CLASSES = 10
FILTERS = 16
# Visualizations after which the caches of this library and of TensorFlow are full.
WARM_UP = 50
MEGABYTE = 1e6


def small_network() -> keras.Model:
    """A convnet for images of 28 x 28, with random weights."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(FILTERS, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(FILTERS, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(CLASSES),
        ]
    )


class Brightness(Loss):
    """A custom loss: the score of one class."""

    def __init__(self, layer: keras.Layer, index: int) -> None:
        super().__init__()
        self.layer, self.index = layer, index

    def build_loss(self) -> keras.KerasTensor:
        return -ops.mean(self.layer.output[:, self.index])


def visualizations(model: keras.Model) -> list[Callable[[int], object]]:
    """Visualizations, as functions of a number that gives the filter and the seed."""
    image = np.random.default_rng(0).uniform(0, 255, (28, 28, 1))
    # Shared, because each new Keras optimizer leaks 70 KB.
    adam = keras.optimizers.Adam(2.0)

    def activation(i: int, **settings: object) -> object:
        return visualize_activation(model, -1, i % CLASSES, seed=i, max_iter=20, **settings)

    def own_loss(i: int) -> object:
        optimizer = Optimizer(model.inputs[0], Brightness(model.layers[-1], i % CLASSES))
        return optimizer.minimize(seed=i, max_iter=20, verbose=False)

    return [
        activation,
        lambda i: activation(i, input_modifiers=[Jitter(2)]),
        lambda i: activation(i, backprop_modifier="guided"),
        lambda i: activation(i, optimizer=adam),
        own_loss,
        lambda i: visualize_filters(model, 0, i % FILTERS, seed=i, max_iter=10, progress=False),
        lambda i: visualize_saliency(model, -1, i % CLASSES, image),
        lambda i: visualize_cam(model, -1, i % CLASSES, image),
        lambda i: SmoothGrad(samples=8, seed=i)(model, image, -1, i % CLASSES),
        lambda i: visualize_cam(model, -1, i % CLASSES, image, backprop_modifier="guided"),
    ]


def resident_memory() -> float:
    """Resident memory of the process in MB, after a garbage collection."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def contents(model: keras.Model) -> list:
    """Weights, config and nodes of a model, which a visualization must not change."""
    return [
        [weight.numpy().tobytes() for weight in model.weights],
        json.dumps(model.get_config()),
        [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in model._flatten_layers()],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="number of visualizations")
    count = parser.parse_args().count

    model = small_network()
    before = contents(model)
    draw = visualizations(model)
    seconds, start = [], 0.0
    print(f"{'drawn':>6} {'memory, MB':>11} {'time of the last 100, s':>24} {'median, ms':>11}")
    for i in range(count):
        began = time.perf_counter()
        draw[i % len(draw)](i // len(draw))
        seconds.append(time.perf_counter() - began)
        if i + 1 == WARM_UP:
            start = resident_memory()
            print(f"{i + 1:6} {start:11.1f}")
        elif (i + 1) % 100 == 0:
            last = seconds[-100:]
            median = 1e3 * statistics.median(last)
            print(f"{i + 1:6} {resident_memory():11.1f} {sum(last):24.2f} {median:11.2f}")
    print(f"memory grew by {resident_memory() - start:.1f} MB after the first {WARM_UP}")
    print(
        f"time of the last hundred / the second: {sum(seconds[-100:]) / sum(seconds[100:200]):.2f}"
    )
    print(f"the model is unchanged: {contents(model) == before}")


if __name__ == "__main__":
    main()
