"""Generates one independent picture for each of many filters."""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from tqdm.auto import tqdm

from vis.backend.random import draw_seed
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, Jitter, Rotate, Scale
from vis.losses import FilterActivations, output_shape
from vis.optimizer import Optimizer
from vis.parametrizations import Fourier, Parametrization
from vis.updates import Adam
from vis.utils.layout import Layout
from vis.utils.model import channel_axis, resolve_layer, single_input, spatial_axes
from vis.utils.validation import check_indices, check_integer

_BATCH_SIZE = 16
# Starts the coarse half of the steps at half the size, unless that is smaller than this.
_LEAST_SIZE = 32


def visualize_filters(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    image_size: int | Sequence[int] | None = None,
    parametrization: Parametrization | None = None,
    input_modifiers: Sequence[InputModifier] | None = None,
    max_iter: int = 128,
    seed: int | None = None,
    progress: bool = True,
    optimizer: Any = None,
    input_range: tuple[float, float] = (0, 255),
) -> np.ndarray:
    """Generates a picture for each of many filters, all at a time in compiled batches."""
    layer = resolve_layer(model, layer_idx)
    input_tensor = single_input(model)
    shape = output_shape(layer)
    count = shape[channel_axis(layer, len(shape))]
    indices = check_indices(
        "filter_indices",
        range(count) if filter_indices is None else filter_indices,
        count,
        of=f"layer '{layer.name}'",
    )
    seed = draw_seed() if seed is None else check_integer("seed", seed, least=0)
    parametrization = parametrization or Fourier()
    optimizer = optimizer or Adam(0.05)
    layout = Layout(tuple(input_tensor.shape[1:]), spatial_axes(input_tensor))
    half = layout.resized(tuple(-(-n // 2) for n in layout.spatial_shape))
    stages = [(half, max_iter // 2), (layout, max_iter - max_iter // 2)]

    batches = -(-len(indices) // (batch_size or _BATCH_SIZE))
    size = -(-len(indices) // batches)
    seen: Counter = Counter()
    facets = []
    for index in indices:
        facets.append((index, seen[index]))
        seen[index] += 1
    facets += facets[: size * batches - len(facets)]
    pictures = []
    with tqdm(total=max_iter * batches, disable=not progress) as bar:
        for start in range(0, len(facets), size):
            batch = facets[start : start + size]
            loss = FilterActivations(layer, [index for index, _ in batch])
            opt = Optimizer(input_tensor, [(loss, 1)], input_range, parametrization=parametrization, optimizer=optimizer)
            variables = None
            seeds = [(seed, *facet) for facet in batch]
            for n, (lay, steps) in enumerate(stages):
                if not steps: continue
                if variables is not None:
                    variables = parametrization.resized(variables, old, lay, [np.random.default_rng((*s, 1)) for s in seeds])
                descent = opt.descent(lay, seeds, modifiers=[Jitter(0.1),Rotate(10),Scale(.8,1.2)] if input_modifiers is None else input_modifiers, variables=variables)
                descent.descend(steps, [_Steps(bar)])
                variables, old = descent.variables, lay
            pictures += list(descent.pictures())
    pictures = np.stack(pictures[: len(indices)])
    if all(isinstance(end, numbers.Integral) for end in input_range):
        pictures = np.clip(np.round(pictures), *input_range).astype("uint8")
    return pictures


class _Steps(OptimizerCallback):
    every_step = False

    def __init__(self, bar): self.bar, self.n = bar, 0

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        self.bar.set_postfix(loss=f"{overall_loss:.4g}", refresh=False)
        self.bar.update(i + 1 - self.n); self.n = i + 1
