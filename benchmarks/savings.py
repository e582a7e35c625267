"""Times the savings by folding, by cutting off the network after a layer, and by smaller images.

Prints milliseconds per step (medians of interleaved rounds)::

    pip install .
    python benchmarks/savings.py
    python benchmarks/savings.py --models resnet50

- "not folded" and "folded" are a step of `Optimizer.minimize` for a class, with separate batch
  normalisation, and with batch normalisation folded into the convolution before it.
- "gradient to layer" is a bare `tf.function` gradient of the network cut off after its third
  convolution, and "to layer" a step of `visualize_filters` for one of its filters.
- "at its size" is the same step with `image_size="receptive_field"`.
"""

# Import this first: it imports TensorFlow without its messages on standard error.
import vis  # noqa: F401

# isort: split
import argparse
import statistics
from unittest import mock

import keras
import numpy as np
from speed import MODELS, Run, bare_gradient, images_for, measure, ours

from vis.backend.layers import layer_runner
from vis.visualization import visualize_filters

NUMBER = 3


def early_layer(model: keras.Model) -> keras.Layer:
    """One of the first convolutions."""
    convolutions = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]
    return convolutions[:NUMBER][-1]


def not_folded(model: keras.Model, images: np.ndarray) -> Run:
    """The step of this library, without folding."""
    run = ours(model, images)
    # The first call compiles the step.
    with mock.patch.object(layer_runner, "folded_batch_norms", return_value={}):
        run(1)
    return run


def filters(model: keras.Model, **settings: object) -> Run:
    """A step for one filter of an early layer."""
    layer = early_layer(model)
    return lambda steps: visualize_filters(
        model, layer, 0, max_iter=steps, seed=0, progress=False, **settings
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30, help="steps of a run (default: 30)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of runs (default: 5)")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    args = parser.parse_args()
    head = None
    for name in args.models:
        model = MODELS[name]()
        images = images_for(model, 1)
        cut = keras.Model(model.inputs, early_layer(model).output)
        # A copy of the network, because compiled functions are cached per model.
        runs = {
            "not folded": not_folded(keras.models.clone_model(model), images),
            "folded": ours(model, images),
            "gradient to layer": bare_gradient(cut, images),
            "to layer": filters(model),
            "at its size": filters(model, image_size="receptive_field"),
        }
        times = measure(runs, args.steps, args.rounds)
        if head is None:
            head = list(times)
            print("| model |", " | ".join(head), "|")
            print("| --- |" + " ---: |" * len(head))
        cells = [f"{statistics.median(each):.2f}" for each in times.values()]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
