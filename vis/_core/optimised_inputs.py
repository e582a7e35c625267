"""What is optimised of a subject: for each part its range, its image's shape, how it is seen."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vis._core.objective import Objective
from vis.backend.graph import LayerOutput, ModelInputs, layout_of, position_of, spatial_axes
from vis.backend.private import operation_of
from vis.backend.step import OptimisedInput, accepts_shape
from vis.input_modifiers import InputModifier, Transform, check_transforms, fused, is_in_graph
from vis.parametrizations import Parametrization, Pixels
from vis.utils.layout import Layout
from vis.utils.validation import check_input_range, require

_DEFAULT_RANGE = (0, 255)


def ranges(subject: ModelInputs, input_range: Any) -> list[tuple[float, float]]:
    """For each part that is optimised its lowest and highest value.

    They are one pair for all, or a list of pairs, or a dict of pairs by name. An embedding that is
    not given a range has that of the values that the model knows.
    """
    is_list = isinstance(input_range, (list, tuple))
    if isinstance(input_range, Mapping) or (
        is_list and any(r is None or isinstance(r, (list, tuple)) for r in input_range)
    ):
        chosen = subject.match("input_range", input_range)
        return [check_input_range(_DEFAULT_RANGE if r is None else r) for r in chosen]
    is_default = is_list and tuple(input_range) == _DEFAULT_RANGE
    if is_default and subject.has_embeddings:
        return [_range_of(tensor) for tensor in subject.varying]
    return [check_input_range(input_range) for _ in subject.varying]


def _range_of(tensor: keras.KerasTensor) -> tuple[float, float]:
    operation = operation_of(tensor)
    if isinstance(operation, keras.layers.InputLayer):
        return _DEFAULT_RANGE
    if isinstance(operation, keras.layers.Embedding):
        values = keras.ops.convert_to_numpy(operation.embeddings)
        return check_input_range((float(np.min(values)), float(np.max(values))))
    return -1.0, 1.0


def parametrizations(subject: ModelInputs, parametrization: Any) -> list[Parametrization]:
    """For each part that is optimised how its image is made.

    By one for all that have spatial axes, or for all where none has; or by a list, or a dict by
    name. None is the pixels.
    """
    if isinstance(parametrization, (Mapping, list, tuple)):
        chosen = subject.match("parametrization", parametrization)
    else:
        spatial = [bool(spatial_axes(tensor)) for tensor in subject.varying]
        chosen = [parametrization if s == any(spatial) else None for s in spatial]
    for value in chosen:
        is_one = value is None or isinstance(value, Parametrization)
        expected = "be a `vis.parametrizations.Parametrization`, such as `Fourier()`"
        require(is_one, "parametrization", expected, value, TypeError)
    return [Pixels() if value is None else value for value in chosen]


def layout(tensor: keras.KerasTensor, start: np.ndarray | None, image_size: Any) -> Layout:
    """How an image lies in an array: as what it starts from, or of a size that the user wants."""
    if start is not None:
        return Layout(tuple(start.shape[1:]), spatial_axes(tensor))
    made = layout_of(tensor, image_size if spatial_axes(tensor) else None)
    if None in tensor.shape[1:] and image_size is None:
        warnings.warn(
            f"The model's input '{tensor.name}' is open in size, {tensor.shape[1:]}; an image "
            f"of shape {made.shape} is made. `image_size` or `seed_input` make another.",
            stacklevel=4,
        )
    return made


def all_of(
    subject: ModelInputs,
    parametrizations: Sequence[Parametrization],
    layouts: Sequence[Layout],
    modifiers: Sequence[InputModifier],
    objective: Objective,
) -> tuple[OptimisedInput, ...]:
    """What a compiled step is to know of each part that is optimised."""
    # Where there are images among the inputs, modifiers are meant for these.
    spatial = any(layout.axes for layout in layouts)
    made = []
    each = zip(subject.varying, parametrizations, layouts, strict=True)
    for tensor, parametrization, layout in each:
        meant = modifiers if bool(layout.axes) == spatial else ()
        in_graph = [m for m in meant if is_in_graph(m)]
        _check_seen(subject, tensor, layout, in_graph, objective)
        by_hand = len(in_graph) < len(meant)
        pixels = isinstance(parametrization, Pixels)
        in_graph = fused(in_graph)
        moves = tuple(t for t in in_graph if pixels and t.only_moves_pixels)
        transforms = tuple(t for t in in_graph if t not in moves)
        number = position_of(tensor, subject.tensors)
        made.append(
            OptimisedInput(number, parametrization, layout, () if by_hand else moves, transforms)
        )
    return tuple(made)


def _check_seen(
    subject: ModelInputs,
    tensor: keras.KerasTensor,
    layout: Layout,
    transforms: Sequence[Transform],
    objective: Objective,
) -> None:
    """Raises a `ValueError` unless the losses' layers can be shown what transforms leave."""
    shape = check_transforms(transforms, (1, *layout.shape), layout.axes)[1:]
    if shape != layout.shape:
        must, received = "`input_modifiers` must leave", f"{transforms}, which leave images"
    elif shape != tensor.shape[1:] and len(subject.tensors) == 1:
        must, received = "`image_size` or `seed_input` must make", "images"
    else:
        return
    for target in (getattr(loss, "target", None) for loss in objective.losses):
        layer = LayerOutput.of(target).layer
        if isinstance(layer, keras.Layer) and not accepts_shape(
            subject.graph, tensor, target, shape
        ):
            raise ValueError(
                f"{must} images of a size that the model takes up to layer '{layer.name}'. "
                f"Received: {received} of shape {shape} for an input of shape {tensor.shape}"
            )


def initial_variables(
    optimised_inputs: Sequence[OptimisedInput],
    input_ranges: Sequence[tuple[float, float]],
    start: Sequence[np.ndarray | None] | None,
    rngs: Sequence[np.random.Generator],
) -> list[list[np.ndarray]]:
    """For each canvas the initial values of what is optimised, `(samples, ...)`."""
    variables = []
    start = start or [None] * len(optimised_inputs)
    for optimised_input, images, input_range in zip(
        optimised_inputs, start, input_ranges, strict=True
    ):
        several = images is not None and len(images) > 1
        initial = [
            optimised_input.parametrization.variables(
                None if images is None else images[i * several],
                optimised_input.layout,
                input_range,
                rng,
            )
            for i, rng in enumerate(rngs)
        ]
        variables.append([np.stack(values) for values in zip(*initial, strict=True)])
    return variables
