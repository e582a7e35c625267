"""Times one step of activation maximization beside a bare gradient and beside tf-keras-vis.

Prints a table of milliseconds a step (medians), and of ratios (medians of the ratios within each
round, so that what else the machine is busy with weighs on both sides alike)::

    pip install '.[benchmark]'
    python benchmarks/speed.py

- "gradient" is the least that any method must do: a `tf.function` that runs the model and
  differentiates one output by the image, called once a step.
- "vis" is `vis.optimizer.Optimizer.minimize` with the losses of `visualize_activation` and
  `Jitter`: forward, losses, gradient, RMSprop update, and keeping the best image.
- "tf-keras-vis" is its `ActivationMaximization` with its own defaults (total variation, norm,
  jitter, rotation), and "without rotation" the same with jitter as the only input modifier. The
  columns are left out where it is not installed.
"""

from __future__ import annotations

# First, as it imports TensorFlow without its greetings on standard error.
import vis  # noqa: F401

# isort: split
import argparse
import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from vis.applications import EfficientNetLite0
from vis.input_modifiers import Jitter
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.regularizers import LPNorm, TotalVariation

try:
    import tf_keras_vis.activation_maximization
    import tf_keras_vis.activation_maximization.input_modifiers
    import tf_keras_vis.utils.scores
except ImportError:
    tf_keras_vis = None

CLASS = 4
BARE, OURS, PEER, PEER_JITTER = "gradient", "vis", "tf-keras-vis", "without rotation"

Run = Callable[[int], object]


def mnist_convnet() -> keras.Model:
    """A small network for digits, in the manner of Keras's own MNIST example."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def efficientnet_lite0() -> keras.Model:
    """EfficientNet-Lite0 that ends in logits; the values of the weights do not matter here."""
    return EfficientNetLite0(weights=None, classifier_activation=None)


def vgg16() -> keras.Model:
    """VGG16 that ends in logits."""
    return keras.applications.VGG16(weights=None, classifier_activation=None)


def bare_gradient(model: keras.Model, images: np.ndarray) -> Run:
    """A `tf.function` gradient of one output."""

    @tf.function
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            scores = model(x, training=False)[:, CLASS]
        return tape.gradient(scores, x)

    x = tf.constant(images)

    def run(steps: int) -> None:
        for _ in range(steps):
            grads = gradient(x)
        grads.numpy()

    return run


def ours(model: keras.Model, images: np.ndarray) -> Run:
    """The step of this library."""
    inputs = model.inputs[0]
    losses = [
        (ActivationMaximization(model.layers[-1], CLASS), 1),
        (LPNorm(inputs), 10),
        (TotalVariation(inputs), 10),
    ]
    optimizer = Optimizer(inputs, losses)
    jitter = [Jitter(8)]
    return lambda steps: optimizer.minimize(
        images, max_iter=steps, input_modifiers=jitter, verbose=False, seed=0
    )


def peer(model: keras.Model, images: np.ndarray, **arguments: object) -> Run:
    """The step of tf-keras-vis."""
    maximize = tf_keras_vis.activation_maximization.ActivationMaximization(model)
    score = tf_keras_vis.utils.scores.CategoricalScore([CLASS] * len(images))
    return lambda steps: maximize(score, seed_input=images, steps=steps, **arguments)


def contenders(model: keras.Model, images: np.ndarray) -> dict[str, Run]:
    """All there are on this machine, by name."""
    runs = {BARE: bare_gradient(model, images), OURS: ours(model, images)}
    if tf_keras_vis:
        jitter = tf_keras_vis.activation_maximization.input_modifiers.Jitter(jitter=8)
        runs[PEER] = peer(model, images)
        runs[PEER_JITTER] = peer(model, images, input_modifiers=[jitter])
    return runs


def measure(runs: dict[str, Run], steps: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each contender in each round; each round runs all of them once."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(steps)
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run(steps)
            times[name].append(1000 * (time.perf_counter() - began) / steps)
    return times


def median_ratio(numerators: list[float], denominators: list[float]) -> str:
    """The median of the ratios within each round, for the table."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return f"{statistics.median(ratios):.2f}"


def columns(times: dict[str, list[float]]) -> Iterator[tuple[str, str]]:
    """Head and cell of each column of numbers."""
    for name, milliseconds in times.items():
        yield name, f"{statistics.median(milliseconds):.2f}"
    yield f"{OURS} / {BARE}", median_ratio(times[OURS], times[BARE])
    for name in (PEER, PEER_JITTER):
        if name in times:
            yield f"{name} / {OURS}", median_ratio(times[name], times[OURS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="steps of a run (default: 40)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of runs (default: 7)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="(default: 1 8)")
    parser.add_argument("--vgg16", action="store_true", help="VGG16 as well, which takes minutes")
    args = parser.parse_args()

    packages = ["tensorflow", "keras", *(["tf-keras-vis"] if tf_keras_vis else [])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    gpus = len(tf.config.list_physical_devices("GPU"))
    print(f"{versions}; {os.cpu_count()} processors, {gpus} GPUs.")
    print(f"Milliseconds a step, medians of {args.rounds} runs of {args.steps} steps.\n")

    head_printed = False
    for build in [efficientnet_lite0, mnist_convnet, *([vgg16] if args.vgg16 else [])]:
        for batch in args.batch:
            model = build()
            shape = (batch, *model.input_shape[1:])
            images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
            times = measure(contenders(model, images), args.steps, args.rounds)
            heads, cells = zip(*columns(times), strict=True)
            if not head_printed:
                print("| model | batch |", " | ".join(heads), "|")
                print("| --- |" + " ---: |" * (len(heads) + 1))
                head_printed = True
            print(f"| {build.__name__} | {batch} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
