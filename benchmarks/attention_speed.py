"""Times `visualize_saliency` and `visualize_cam`, and the same calls of tf-keras-vis.

Prints median milliseconds per call without the first, medians of the ratios within each round
(other load on the machine affects both alike), and the times of the first and last of many calls::

    pip install '.[benchmark]' scikit-image
    python benchmarks/attention_speed.py
"""

# First: it imports TensorFlow without its messages on standard error.
import vis  # noqa: F401

# isort: split
import argparse
import importlib.metadata
import os
import resource
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np

from vis.applications import EfficientNetLite0
from vis.visualization import visualize_cam, visualize_saliency

try:
    import tf_keras_vis.gradcam
    import tf_keras_vis.saliency
    import tf_keras_vis.utils.scores
except ImportError:
    tf_keras_vis = None

CLASSES = (967, 968, 504)
OURS, PEER = "vis", "tf-keras-vis"

Call = Callable[[np.ndarray, int], object]


def functions_to_time(model: keras.Model) -> dict[str, dict[str, Call]]:
    """Functions of an image and a class, by kind of map and by package."""
    calls = {
        "saliency": {OURS: lambda image, index: visualize_saliency(model, -1, index, image)},
        "cam": {OURS: lambda image, index: visualize_cam(model, -1, index, image)},
    }
    if tf_keras_vis:
        score = tf_keras_vis.utils.scores.CategoricalScore
        saliency = tf_keras_vis.saliency.Saliency(model)
        cam = tf_keras_vis.gradcam.Gradcam(model)
        calls["saliency"][PEER] = lambda image, index: saliency(score([index]), image)
        calls["cam"][PEER] = lambda image, index: cam(score([index]), image)
    return calls


def timed(call: Call, image: np.ndarray, index: int) -> float:
    """The milliseconds of one call."""
    start = time.perf_counter()
    call(image, index)
    return 1000 * (time.perf_counter() - start)


def side_by_side(calls: dict[str, Call], image: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each function in each round, after one untimed call."""
    for call in calls.values():
        call(image, CLASSES[0])
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name, call in calls.items():
            times[name].append(timed(call, image, CLASSES[i % len(CLASSES)]))
    return times


def peak_memory() -> float:
    """The peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="rounds of calls (default: 30)")
    parser.add_argument("--many", type=int, default=1000, help="calls in a row (default: 1000)")
    args = parser.parse_args()

    packages = ["tensorflow", "keras", *([PEER] if tf_keras_vis else [])]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{versions}; {os.cpu_count()} processors. EfficientNet-Lite0, one image.")
    model = EfficientNetLite0(classifier_activation=None)
    images = np.random.default_rng(0).uniform(0, 255, (8, 224, 224, 3)).astype("float32")

    print("\n| map |", " | ".join([OURS, *([PEER, "ratio"] if tf_keras_vis else [])]), "|")
    print("| --- |" + " ---: |" * (3 if tf_keras_vis else 1))
    for name, calls in functions_to_time(model).items():
        times = side_by_side(calls, images[0], args.rounds)
        cells = [f"{statistics.median(values):.1f} ms" for values in times.values()]
        if PEER in times:
            ratios = [b / a for a, b in zip(times[OURS], times[PEER], strict=True)]
            cells.append(f"{statistics.median(ratios):.1f}")
        print(f"| {name} |", " | ".join(cells), "|", flush=True)

    call = functions_to_time(model)["cam"][OURS]
    many, at_100 = [], 0.0
    for i in range(args.many):
        many.append(timed(call, images[i % len(images)], i % 1000))
        at_100 = peak_memory() if i == 99 else at_100
    tenth = max(1, args.many // 10)
    print(
        f"\nvisualize_cam, {args.many} calls in a row, each for another class: "
        f"median of the first {tenth} {statistics.median(many[:tenth]):.1f} ms, of the last "
        f"{statistics.median(many[-tenth:]):.1f} ms; memory after the 100th grew by "
        f"{peak_memory() - at_100:.0f} MB."
    )


if __name__ == "__main__":
    main()
