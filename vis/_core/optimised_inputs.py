"""Range, parametrization, layout and transforms of each optimised input."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vis._core.objective import Objective
from vis.backend.graph import LayerOutput, ModelInputs, layout_of, position_of, spatial_axes
from vis.backend.private import operation_of
from vis.backend.step import OptimisedInput, accepts_shape
from vis.input_modifiers import (
    InputModifier,
    Transform,
    check_transforms,
    compose_linear,
    is_in_graph,
)
from vis.parametrizations import Parametrization, Pixels
from vis.utils.layout import Layout
from vis.utils.validation import check_input_range, require, warn

_DEFAULT_RANGE = (0, 255)


def resolve_ranges(
    inputs: ModelInputs, input_range: Any, parametrizations: Sequence[Any]
) -> list[tuple[float, float]]:
    """The range of each optimised input.

    `input_range` is one pair for all, or a list or dict of pairs, in which None is the range of the
    examples that a parametrization was fitted to, or (0, 255). By default, embeddings have the
    range of their weights.
    """
    is_list = isinstance(input_range, (list, tuple))
    if isinstance(input_range, Mapping) or (
        is_list and any(r is None or isinstance(r, (list, tuple)) for r in input_range)
    ):
        per_input = inputs.match("input_range", input_range)
        defaults = [getattr(p, "input_range", _DEFAULT_RANGE) for p in parametrizations]
        return [
            check_input_range(default if given is None else given)
            for given, default in zip(per_input, defaults, strict=True)
        ]
    is_default = is_list and tuple(input_range) == _DEFAULT_RANGE
    if is_default and inputs.has_embeddings:
        return [_default_range(tensor) for tensor in inputs.varying]
    return [check_input_range(input_range) for _ in inputs.varying]


def _default_range(tensor: keras.KerasTensor) -> tuple[float, float]:
    operation = operation_of(tensor)
    if isinstance(operation, keras.layers.InputLayer):
        return _DEFAULT_RANGE
    if isinstance(operation, keras.layers.Embedding):
        values = np.asarray(operation.embeddings)
        return check_input_range((float(np.min(values)), float(np.max(values))))
    return -1.0, 1.0


def resolve_parametrizations(inputs: ModelInputs, parametrization: Any) -> list[Parametrization]:
    """The parametrization of each optimised input.

    A single one is for the inputs with spatial axes, or for all if no input has any. The default
    is `Pixels`.
    """
    if isinstance(parametrization, (Mapping, list, tuple)):
        per_input = inputs.match("parametrization", parametrization)
    else:
        spatial = [bool(spatial_axes(tensor)) for tensor in inputs.varying]
        per_input = [parametrization if s == any(spatial) else None for s in spatial]
    for value in per_input:
        is_valid = value is None or isinstance(value, Parametrization)
        expected = "be a `vis.parametrizations.Parametrization`, such as `Fourier()`"
        require(is_valid, "parametrization", expected, value, TypeError)
    return [Pixels() if value is None else value for value in per_input]


def resolve_layout(tensor: keras.KerasTensor, start: np.ndarray | None, image_size: Any) -> Layout:
    """The layout of the images for an input: as `start`, or of `image_size`."""
    if start is not None:
        return Layout(tuple(start.shape[1:]), spatial_axes(tensor))
    layout = layout_of(tensor, image_size if spatial_axes(tensor) else None)
    if None in tensor.shape[1:] and image_size is None:
        warn(
            f"The model's input '{tensor.name}' is open in size, {tensor.shape[1:]}; an image "
            f"of shape {layout.shape} is made. Set another size by `image_size` or `seed_input`."
        )
    return layout


def make_optimised_inputs(
    inputs: ModelInputs,
    parametrizations: Sequence[Parametrization],
    layouts: Sequence[Layout],
    modifiers: Sequence[InputModifier],
    objective: Objective,
) -> tuple[OptimisedInput, ...]:
    """What a compiled step needs to know of each optimised input."""
    # If some inputs have spatial axes, modifiers are for these only.
    is_spatial = any(layout.axes for layout in layouts)
    optimised = []
    per_input = zip(inputs.varying, parametrizations, layouts, strict=True)
    for tensor, parametrization, layout in per_input:
        own_modifiers = modifiers if bool(layout.axes) == is_spatial else ()
        in_graph = [m for m in own_modifiers if is_in_graph(m)]
        _check_shape(inputs, tensor, layout, in_graph, objective)
        has_pixels = isinstance(parametrization, Pixels)
        transforms = compose_linear(in_graph)
        of_variables = tuple(t for t in transforms if has_pixels and t.only_moves_pixels)
        optimised.append(
            OptimisedInput(
                input_index=position_of(tensor, inputs.tensors),
                parametrization=parametrization,
                layout=layout,
                # Beside modifiers in NumPy, the variables are transformed in NumPy as well.
                variable_transforms=of_variables if len(in_graph) == len(own_modifiers) else (),
                transforms=tuple(t for t in transforms if t not in of_variables),
            )
        )
    return tuple(optimised)


def _check_shape(
    inputs: ModelInputs,
    tensor: keras.KerasTensor,
    layout: Layout,
    transforms: Sequence[Transform],
    objective: Objective,
) -> None:
    """Raises a `ValueError` unless the losses' layers accept the size of transformed images."""
    shape = check_transforms(transforms, (1, *layout.shape), layout.axes)[1:]
    if shape != layout.shape:
        argument, received = "`input_modifiers` must return", f"{transforms}, which return images"
    elif shape != tensor.shape[1:] and len(inputs.tensors) == 1:
        argument, received = "`image_size` or `seed_input` must give", "images"
    else:
        return
    for target in (getattr(loss, "target", None) for loss in objective.losses):
        layer = LayerOutput.of(target).layer
        if isinstance(layer, keras.Layer) and not accepts_shape(
            inputs.graph, tensor, target, shape
        ):
            raise ValueError(
                f"{argument} images of a size that the model takes up to layer '{layer.name}'. "
                f"Received: {received} of shape {shape} for an input of shape {tensor.shape}"
            )


def initial_variables(
    optimised_inputs: Sequence[OptimisedInput],
    input_ranges: Sequence[tuple[float, float]],
    start: Sequence[np.ndarray | None] | None,
    rngs: Sequence[np.random.Generator],
) -> list[list[np.ndarray]]:
    """The initial variables of each optimised input, `(samples, ...)`.

    `start` has images for each input, one for all samples or one each, or None for noise. `rngs`
    has a generator for each sample.
    """
    variables = []
    start = start or [None] * len(optimised_inputs)
    for optimised, images, input_range in zip(optimised_inputs, start, input_ranges, strict=True):
        if images is not None:
            images = np.broadcast_to(images, (len(rngs), *images.shape[1:]))
        samples = [
            optimised.parametrization.variables(
                None if images is None else images[i], optimised.layout, input_range, rng
            )
            for i, rng in enumerate(rngs)
        ]
        variables.append([np.stack(values) for values in zip(*samples, strict=True)])
    return variables
