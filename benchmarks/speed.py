"""Times a step of activation maximization, a bare gradient and tf-keras-vis.

Prints a table of milliseconds per step (medians), and of ratios (medians of the ratios within each
round, so that other load on the machine affects both sides)::

    pip install '.[benchmark]'
    python benchmarks/speed.py
    python benchmarks/speed.py --models vgg16 resnet50 --batch 1 --memory

- "gradient" is the minimum for any method: a `tf.function` that runs the model and differentiates
  one output with respect to the image, called once per step.
- "vis" is `vis.optimizer.Optimizer.minimize` with the losses of `visualize_activation` and
  `Jitter`: forward, losses, gradient, RMSprop update, and keeping the best image.
- "tf-keras-vis" is its `ActivationMaximization` with its own defaults (total variation, norm,
  jitter, rotation), and "without rotation" the same with jitter as the only input modifier. The
  columns are omitted if it is not installed.
- "bfloat16" is "vis" with `precision="bfloat16"`, on request.
- "PyTorch" is a plain gradient of the same architecture in torchvision, if installed.

With `--memory` it prints the peak memory of a process of each, and of one that only builds the
model.
"""

# Import this first: it imports TensorFlow without its messages on standard error.
import vis  # noqa: F401

# isort: split
import argparse
import importlib.metadata
import os
import resource
import statistics
import subprocess
import sys
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

try:
    import torch
    import torchvision
except ImportError:
    torch = None

CLASS = 4
BARE, OURS, PEER, PEER_JITTER = "gradient", "vis", "tf-keras-vis", "without rotation"
HALF, TORCH = "bfloat16", "PyTorch"

Run = Callable[[int], object]


def mnist_convnet() -> keras.Model:
    """A small network for digits, similar to Keras's MNIST example."""
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
    """EfficientNet-Lite0 with random weights, without a softmax."""
    return EfficientNetLite0(weights=None, classifier_activation=None)


def vgg16() -> keras.Model:
    """VGG16 without a softmax."""
    return keras.applications.VGG16(weights=None, classifier_activation=None)


def resnet50() -> keras.Model:
    """ResNet50 without a softmax."""
    return keras.applications.ResNet50(weights=None, classifier_activation=None)


def mobilenet_v2() -> keras.Model:
    """MobileNetV2 without a softmax."""
    return keras.applications.MobileNetV2(weights=None, classifier_activation=None)


MODELS = {
    build.__name__: build
    for build in (mnist_convnet, efficientnet_lite0, mobilenet_v2, resnet50, vgg16)
}


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


def ours(model: keras.Model, images: np.ndarray, precision: str | None = None) -> Run:
    """The step of this library."""
    inputs = model.inputs[0]
    losses = [
        (ActivationMaximization(model.layers[-1], CLASS), 1),
        (LPNorm(inputs), 10),
        (TotalVariation(inputs), 10),
    ]
    optimizer = Optimizer(inputs, losses, precision=precision)
    jitter = [Jitter(8)]
    return lambda steps: optimizer.minimize(
        images, max_iter=steps, input_modifiers=jitter, verbose=False, seed=0
    )


def peer(model: keras.Model, images: np.ndarray, **arguments: object) -> Run:
    """The step of tf-keras-vis."""
    maximize = tf_keras_vis.activation_maximization.ActivationMaximization(model)
    score = tf_keras_vis.utils.scores.CategoricalScore([CLASS] * len(images))
    return lambda steps: maximize(score, seed_input=images, steps=steps, **arguments)


def pytorch(name: str, images: np.ndarray) -> Run:
    """A gradient of one output in PyTorch."""
    network = getattr(torchvision.models, name)(weights=None).eval()
    x = torch.tensor(images.transpose(0, 3, 1, 2)).requires_grad_()

    def run(steps: int) -> None:
        for _ in range(steps):
            torch.autograd.grad(network(x)[:, CLASS].sum(), x)

    return run


def contenders(
    name: str, model: keras.Model, images: np.ndarray, half: bool
) -> dict[str, Callable[[], Run]]:
    """Functions that build each contender available on this machine, by name."""
    runs = {BARE: lambda: bare_gradient(model, images), OURS: lambda: ours(model, images)}
    if half:
        runs[HALF] = lambda: ours(model, images, "bfloat16")
    if tf_keras_vis:
        jitter = tf_keras_vis.activation_maximization.input_modifiers.Jitter(jitter=8)
        runs[PEER] = lambda: peer(model, images)
        runs[PEER_JITTER] = lambda: peer(model, images, input_modifiers=[jitter])
    if torch and hasattr(torchvision.models, name):
        runs[TORCH] = lambda: pytorch(name, images)
    return runs


def images_for(model: keras.Model, batch: int) -> np.ndarray:
    """Random images of a model's input shape."""
    shape = (batch, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def peak_memory(name: str, batch: int, contender: str) -> str:
    """Peak memory of a separate process, in MB."""
    arguments = ["--peak", contender, "--models", name, "--batch", str(batch)]
    process = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, capture_output=True, text=True
    )
    return process.stdout.split()[-1]


def print_peak(name: str, batch: int, contender: str) -> None:
    """Runs a contender, or only builds the model, and prints this process's peak memory."""
    model = MODELS[name]()
    images = images_for(model, batch)
    if contender in (runs := contenders(name, model, images, half=True)):
        runs[contender]()(3)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def measure(runs: dict[str, Run], steps: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds per step of each contender in each round; a round runs each once."""
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
    """The median of the ratios within each round."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return f"{statistics.median(ratios):.2f}"


def columns(times: dict[str, list[float]]) -> Iterator[tuple[str, str]]:
    """Head and cell of each numeric column."""
    for name, milliseconds in times.items():
        yield name, f"{statistics.median(milliseconds):.2f}"
    yield f"{OURS} / {BARE}", median_ratio(times[OURS], times[BARE])
    for name in (PEER, PEER_JITTER, TORCH):
        if name in times:
            yield f"{name} / {OURS}", median_ratio(times[name], times[OURS])
    if HALF in times:
        yield f"{OURS} / {HALF}", median_ratio(times[OURS], times[HALF])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="steps of a run (default: 40)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of runs (default: 7)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="(default: 1 8)")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--bfloat16", action="store_true", help="add a column for bfloat16")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of times")
    parser.add_argument("--peak", metavar="NAME", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print_peak(args.models[0], args.batch[0], args.peak)
        return

    packages = ["tensorflow", "keras", *(["tf-keras-vis"] if tf_keras_vis else [])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    gpus = len(tf.config.list_physical_devices("GPU"))
    print(f"{versions}; {os.cpu_count()} processors, {gpus} GPUs.")
    what = "Peak memory in MB." if args.memory else "Milliseconds per step, medians."
    print(f"{what} Each of {args.rounds} runs takes {args.steps} steps.\n")
    head = None
    for name in args.models:
        for batch in args.batch:
            model = MODELS[name]()
            runs = contenders(name, model, images_for(model, batch), args.bfloat16)
            if args.memory:
                table = [(run, peak_memory(name, batch, run)) for run in ("model alone", *runs)]
            else:
                built = {run: build() for run, build in runs.items()}
                table = list(columns(measure(built, args.steps, args.rounds)))
            heads, cells = zip(*table, strict=True)
            if heads != head:
                print("| model | batch |", " | ".join(heads), "|")
                print("| --- |" + " ---: |" * (len(heads) + 1))
                head = heads
            print(f"| {name} | {batch} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
