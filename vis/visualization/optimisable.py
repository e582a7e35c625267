"""What of a model is optimised: its inputs, or what embeddings make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.backend.entries import as_numbers, entry_of
from vis.backend.network import Network
from vis.backend.roots import Inputs, inputs_of, structure_of
from vis.utils.inputs import arranged, by_layer_names
from vis.utils.model import layout_of

_DEFAULT_RANGE = (0, 255)


class Optimisable(NamedTuple):
    """What of a model is optimised, and what is not.

    Attributes:
        inputs: The inputs, with embeddings in the place of integers, and then these.
        fixed_inputs: Values of those that are not optimised, by position.
        input_range: The range of the others, or a list of ranges.
        tensors: Those that are optimised.
        names: Their names, where the model has its inputs by name.
    """

    inputs: Inputs
    fixed_inputs: list[Any] | None
    input_range: Any
    tensors: list[keras.KerasTensor]
    names: list[str] | None

    @property
    def embeds(self) -> bool:
        """Whether what is optimised is one embedding."""
        operations = [tensor._keras_history.operation for tensor in self.tensors]
        return len(operations) == 1 and not isinstance(operations[0], keras.layers.InputLayer)


def optimisable(
    model: keras.Model,
    fixed_inputs: Any,
    input_range: Any,
    seed_input: Any = None,
    image_size: int | Sequence[int] | None = None,
) -> Optimisable:
    """What of a model is optimised: its inputs, or what embeddings make of integers.

    Embeddings that are not given a range have that of the values that the model knows.

    Args:
        model: A Keras model.
        fixed_inputs: Values of inputs that are not optimised, by position or by name.
        input_range: The range of the inputs, or of each.
        seed_input: What the images start from.
        image_size: Size of the images where it is open.
    """
    tensors = inputs_of(model)
    given = structure_of(model)
    input_range = by_layer_names(input_range, given)
    fixed = arranged("fixed_inputs", by_layer_names(fixed_inputs, given), tensors)
    by_name = isinstance(given, dict) and len(keras.tree.flatten(given)) == len(given)
    key_of = {id(tensor): key for key, tensor in given.items()} if by_name else {}
    names = [key_of[id(t)] for t, v in zip(tensors, fixed, strict=True) if v is None and by_name]
    network = Network(tensors)
    numbers = [
        as_numbers("fixed_inputs", t, value, network)
        for t, value in zip(tensors, fixed, strict=True)
    ]
    tensors, fixed = map(list, zip(*numbers, strict=True))
    entries = [
        entry_of(tensor, network) if value is None else tensor
        for tensor, value in zip(tensors, fixed, strict=True)
    ]
    optimised = [e for e, value in zip(entries, fixed, strict=True) if value is None]
    integers = [t for t, e in zip(tensors, entries, strict=True) if t is not e]
    if len({id(entry) for entry in optimised}) < len(optimised):
        raise ValueError(
            "`model` must look up each of its inputs in a layer that it calls once. Received: "
            f"model '{model.name}', which looks up {len(integers)} inputs in a nested model that "
            "is called more than once"
        )
    if not integers:
        fixed = None if fixed_inputs is None else fixed
        inputs = Inputs(tensors, model)
        return Optimisable(inputs, fixed, input_range, optimised, names or None)
    if isinstance(input_range, (tuple, list)) and tuple(input_range) == _DEFAULT_RANGE:
        input_range = [_range_of(entry) for entry in optimised]
        input_range = input_range[0] if len(optimised) == 1 else input_range
    # Masks are still made of the integers: as if there were no padding among them.
    seeds = dict(
        zip(map(id, optimised), arranged("seed_input", seed_input, optimised), strict=True)
    )
    words = [
        np.ones(_words(tensor, entry, seeds[id(entry)], image_size), tensor.dtype)
        for tensor, entry in zip(tensors, entries, strict=True)
        if tensor is not entry
    ]
    inputs = Inputs([*entries, *integers], model)
    return Optimisable(inputs, [*fixed, *words], input_range, optimised, names or None)


def _words(
    tensor: keras.KerasTensor, entry: keras.KerasTensor, seed: Any, image_size: Any
) -> tuple[int, ...]:
    """The shape of an integer input that goes with what is made of it."""
    layout = layout_of(entry, image_size)
    sizes = layout.shape if seed is None else np.shape(seed)[-len(layout.shape) :]
    return tuple(size or sizes[i] for i, size in enumerate(tensor.shape[1:]))


def _range_of(tensor: keras.KerasTensor) -> tuple[float, float]:
    operation = tensor._keras_history.operation
    if isinstance(operation, keras.layers.InputLayer):
        return _DEFAULT_RANGE
    if isinstance(operation, keras.layers.Embedding):
        values = keras.ops.convert_to_numpy(operation.embeddings)
        return float(np.min(values)), float(np.max(values))
    return -1.0, 1.0
