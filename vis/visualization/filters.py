"""Generates one independent picture for each of many filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import keras
import numpy as np
from tqdm import tqdm

from vis.backend.engine import accepts
from vis.backend.random import draw_seed
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, Jitter, Rotate, Scale, is_in_graph
from vis.losses import FilterActivations, filters_of
from vis.optimizer import Optimizer
from vis.parametrizations import Fourier, Parametrization, Pixels
from vis.updates import Adam, Update
from vis.utils.image import in_type_of_range
from vis.utils.layout import Layout
from vis.utils.model import resolve_layer, single_input, spatial_axes
from vis.utils.validation import check_indices, check_integer

_BATCH_SIZE = 16
# Where the model leaves the size of its input open.
_OPEN_SIZE = 224
# No coarse pictures below this size: too little can be seen in them.
_LEAST_COARSE_SIZE = 64


def visualize_filters(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    image_size: int | Sequence[int] | None = None,
    parametrization: Parametrization | None = None,
    input_modifiers: Sequence[InputModifier] | None = None,
    max_iter: int = 192,
    seed: int | None = None,
    progress: bool = True,
    optimizer: keras.optimizers.Optimizer | Update | None = None,
    input_range: tuple[float, float] = (0, 255),
) -> np.ndarray:
    """Generates an independent picture for each of many filters, in compiled batches.

    The first two thirds of the steps are taken at half the size where the model allows it: coarse
    structure comes first, at a quarter of the cost. A layer that ends in a softmax is looked at
    before it. Each sample of a batch has its own loss, gradient norm and random transforms, so
    that its picture does not depend on its neighbours (Olah et al., "Feature Visualization",
    Distill 2017).

    Args:
        model: A Keras model with one input.
        layer_idx: The layer: an index in `model.layers`, a name, or the layer itself.
        filter_indices: An index or a list of indices, None for all filters of the layer. An index
            that is repeated gets different pictures.
        batch_size: Most pictures to make at a time; 16 by default.
        image_size: Size of the pictures along each spatial axis, one number for all or one for
            each. By default that of the model's input, or 224 where it is open. Another size works
            wherever the model up to the layer is convolutional.
        parametrization: What is optimised; by default `Fourier`, or `Pixels` for inputs without
            spatial axes.
        input_modifiers: How the images are looked at, `vis.input_modifiers.Transform` objects. By
            default jitter, rotation and scaling.
        max_iter: Number of steps, at least 1.
        seed: Whole number that all randomness follows from. The same seed gives the same pictures.
            Without one it follows from NumPy's global random state.
        progress: Whether to show a progress bar.
        optimizer: A Keras optimizer or a rule of `vis.updates`; Adam by default.
        input_range: Lowest and highest value of the model's input.

    Returns:
        Array `(filters, image dims..., channels)`; `uint8` where both ends of `input_range` are
        integers, and float otherwise.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(4, 3)])
        >>> pictures = visualize_filters(model, -1, [0, 3], max_iter=4, progress=False)
        >>> pictures.shape, str(pictures.dtype)
        ((2, 16, 16, 1), 'uint8')
    """
    layer = resolve_layer(model, layer_idx)
    input_tensor = single_input(model)
    _, _, count = filters_of(layer)
    indices = check_indices(
        "filter_indices",
        range(count) if filter_indices is None else filter_indices,
        count,
        of=f"layer '{layer.name}'",
    )
    max_iter = check_integer("max_iter", max_iter, least=1)
    batch_size = check_integer("batch_size", batch_size or _BATCH_SIZE, least=1)
    seed = draw_seed() if seed is None else check_integer("seed", seed, least=0)
    layout = _layout(input_tensor, layer, image_size)
    if parametrization is None:
        parametrization = default_parametrization(layout)
    if input_modifiers is None:
        input_modifiers = default_input_modifiers(layout)
    for modifier in input_modifiers:
        if not is_in_graph(modifier):
            raise TypeError(
                "`input_modifiers` must be `vis.input_modifiers.Transform` objects, which run "
                f"inside the compiled step. Received: {modifier!r}"
            )
    stages = _stages(parametrization, layout, max_iter, input_tensor, layer)

    facets = _facets(indices)
    batches = _batches(facets, batch_size)
    pictures = []
    with tqdm(total=max_iter * len(batches), disable=not progress, unit="step") as bar:
        for batch in batches:
            optimizing = Optimizer(
                input_tensor,
                [(FilterActivations(layer, [index for index, _ in batch]), 1)],
                input_range,
                parametrization=parametrization,
                optimizer=Adam() if optimizer is None else optimizer,
            )
            seeds = [(seed, *facet) for facet in batch]
            variables = None
            for number, (size, steps) in enumerate(stages):
                if variables is not None:
                    rngs = [np.random.default_rng((*s, number)) for s in seeds]
                    before = stages[number - 1][0]
                    variables = parametrization.resized(variables, before, size, rngs)
                descent = optimizing.descent(
                    size, seeds, modifiers=input_modifiers, variables=variables
                )
                descent.descend(steps, [_Bar(bar)])
                variables = descent.variables
            pictures.extend(descent.pictures())
    pictures = np.stack(pictures[: len(facets)])
    if layout.axes:
        pictures = np.moveaxis(pictures, layout.channel_axis, -1)
    return in_type_of_range(pictures, input_range)


def default_parametrization(layout: Layout) -> Parametrization:
    """What is optimised when the user does not say."""
    return Fourier(decay_power=1.25) if layout.axes else Pixels()


def default_input_modifiers(layout: Layout) -> list[InputModifier]:
    """How images are looked at when the user does not say."""
    if not layout.axes:
        return []
    turned = [Rotate(10)] if len(layout.axes) == 2 else []
    return [Jitter(0.1), *turned, Scale(0.8, 1.2)]


def _layout(
    input_tensor: keras.KerasTensor, layer: keras.Layer, image_size: int | Sequence[int] | None
) -> Layout:
    own = Layout(tuple(input_tensor.shape[1:]), spatial_axes(input_tensor))
    if image_size is None:
        return own.resized(tuple(size or _OPEN_SIZE for size in own.spatial_shape))
    sizes = image_size if isinstance(image_size, Sequence) else [image_size] * len(own.axes)
    sizes = tuple(check_integer("image_size", size, least=1) for size in sizes)
    if len(sizes) != len(own.axes):
        raise ValueError(
            f"`image_size` must be one number, or one for each of the {len(own.axes)} spatial "
            f"axes. Received: image_size={image_size!r}"
        )
    layout = own.resized(sizes)
    if layout != own and not accepts(input_tensor, layer, layout.shape):
        raise ValueError(
            f"`image_size` must be that of the model's input, {own.spatial_shape}, as the model up "
            f"to layer '{layer.name}' does not take others. Received: image_size={image_size!r}"
        )
    return layout


def _stages(
    parametrization: Parametrization,
    layout: Layout,
    max_iter: int,
    input_tensor: keras.KerasTensor,
    layer: keras.Layer,
) -> list[tuple[Layout, int]]:
    """Sizes of the image, and the number of steps at each."""
    half = layout.resized(tuple(-(-size // 2) for size in layout.spatial_shape))
    if (
        max_iter > 1
        and isinstance(parametrization, Fourier)
        and min(half.spatial_shape) >= _LEAST_COARSE_SIZE
        and accepts(input_tensor, layer, half.shape)
    ):
        coarse = max(1, 2 * max_iter // 3)
        return [(half, coarse), (layout, max_iter - coarse)]
    return [(layout, max_iter)]


def _facets(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Each filter with how often it has come before."""
    seen: Counter[int] = Counter()
    facets = []
    for index in indices:
        facets.append((index, seen[index]))
        seen[index] += 1
    return facets


def _batches(facets: list[tuple[int, int]], most: int) -> list[list[tuple[int, int]]]:
    """Batches of one size, so that one trace serves all; the last is filled up from the first."""
    count = -(-len(facets) // most)
    size = -(-len(facets) // count)
    filled = facets + facets[: size * count - len(facets)]
    return [filled[i : i + size] for i in range(0, len(filled), size)]


class _Bar(OptimizerCallback):
    """Moves a progress bar that several descents share."""

    every_step = False

    def __init__(self, bar: tqdm) -> None:
        self._bar = bar
        self._done = 0

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        self._bar.set_postfix(loss=f"{overall_loss:.4g}", refresh=False)
        self._bar.update(i + 1 - self._done)
        self._done = i + 1
