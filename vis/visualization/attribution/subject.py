"""The images that are explained, and whether they look like those that the model was made for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.backend.entries import as_numbers, embedded, entry_of, takes_gradients
from vis.backend.network import Network
from vis.backend.roots import Inputs, inputs_of, structure_of
from vis.utils.containers import is_container
from vis.utils.inputs import arranged, by_layer_names
from vis.utils.model import spatial_axes
from vis.utils.validation import check_images

# Values that a network's first trainable layer is usually trained on.
_USUAL = {"from zero": (0.0, 1.0), "centred": (-1.0, 1.0)}
# An image whose contrast is a smaller share of the expected range is in other units, not dark.
_LEAST_CONTRAST = 0.02
# By how much of its width an image may overshoot the expected range, as ringing does.
_OVERSHOOT = 0.25


class Subject(NamedTuple):
    """What is explained.

    Attributes:
        inputs: The model's inputs, the one that is explained first.
        images: Its values, `(samples, ...)`.
        fixed: The values of the others, `(samples, ...)` or `(1, ...)`.
    """

    inputs: Inputs
    images: np.ndarray
    fixed: list[np.ndarray]

    @property
    def input_tensor(self) -> keras.KerasTensor:
        """The input that is explained, or what an embedding makes of it."""
        return self.inputs[0]


def explained_input(inputs: Sequence[keras.KerasTensor], network: Network) -> keras.KerasTensor:
    """The input that is explained where the user does not say: the first that is an image."""
    open_to = [tensor for tensor in inputs if takes_gradients(tensor, network)]
    if not open_to:
        # Words, rather than masks of them.
        return next((t for t in inputs if _has_entry(t, network)), inputs[0])
    return next((t for t in open_to if spatial_axes(t)), open_to[0])


def _has_entry(tensor: keras.KerasTensor, network: Network) -> bool:
    try:
        entry_of(tensor, network)
    except ValueError:
        return False
    return True


def explained_tensor(model: keras.Model) -> keras.KerasTensor:
    """The tensor that a model's attributions belong to."""
    network = Network(inputs_of(model))
    return entry_of(explained_input(network.inputs, network), network)


def subject_of_model(
    model: keras.Model, seed_input: Any, wrt: keras.KerasTensor | None = None
) -> Subject:
    """What of a model is explained; the same as `subject_of` its inputs."""
    inputs = inputs_of(model)
    return subject_of(inputs, by_layer_names(seed_input, structure_of(model)), wrt)


def subject_of(inputs: Inputs, seed_input: Any, wrt: keras.KerasTensor | None = None) -> Subject:
    """What is explained, with images in the model's data format.

    It warns of images in another range than the model expects, where the model itself says which
    that is, by beginning with a `Rescaling` or a `Normalization`.

    Args:
        inputs: The model's inputs.
        seed_input: An image or a batch, with the channels at either end; for several inputs a
            list, or a dict by name.
        wrt: The input that is explained, or None.

    Raises:
        TypeError: If `seed_input` does not hold numbers.
        ValueError: If it is of another shape, or a value is missing.
    """
    network = Network(inputs)
    numbers = [
        as_numbers("seed_input", tensor, value, network)
        for tensor, value in zip(inputs, arranged("seed_input", seed_input, inputs), strict=True)
    ]
    tensors, given = zip(*numbers, strict=True)
    values = []
    for tensor, value in zip(tensors, given, strict=True):
        if value is None and len(tensors) > 1:
            raise ValueError(
                "`seed_input` must have a value for each input. "
                f"Received: nothing for the input '{tensor.name}'"
            )
        values.append(check_images("seed_input", value, tuple(tensor.shape[1:])))
    samples = max(map(len, values))
    if any(len(value) not in (1, samples) for value in values):
        raise ValueError(
            "`seed_input` must have as many samples for each input, or one. "
            f"Received: {[len(value) for value in values]} samples"
        )
    wrt = wrt if any(wrt is tensor for tensor in tensors) else explained_input(tensors, network)
    chosen = next(i for i, tensor in enumerate(tensors) if tensor is wrt)
    others = [i for i in range(len(tensors)) if i != chosen]
    images = np.broadcast_to(values[chosen], (samples, *values[chosen].shape[1:]))
    _warn_of_range(wrt, images)
    fixed = [values[i] for i in others]
    shown = Inputs((wrt, *(tensors[i] for i in others)), inputs.model)
    entry = entry_of(wrt, network)
    if entry is wrt:
        return Subject(shown, images, fixed)
    images_inside = embedded(wrt, entry, images, network)
    return Subject(shown.beginning_with(entry), images_inside, [images, *fixed])


def _warn_of_range(input_tensor: keras.KerasTensor, images: np.ndarray) -> None:
    expected = expected_range(input_tensor)
    if expected is not None and not _looks_like(images, *expected):
        low, high = expected
        warnings.warn(
            f"The model begins by scaling its input, and seems to expect values from about "
            f"{low:.3g} to {high:.3g}. Received: `seed_input` with values from "
            f"{images.min():.3g} to {images.max():.3g}",
            stacklevel=5,
        )


def expected_range(input_tensor: keras.KerasTensor) -> tuple[float, float] | None:
    """The range of images that a model's first layer says it expects, or None.

    Example:
        >>> layers = [keras.Input((4, 4, 3)), keras.layers.Rescaling(1 / 127.5, offset=-1)]
        >>> expected_range(keras.Sequential(layers).inputs[0])
        (0.0, 255.0)
    """
    operation = input_tensor._keras_history.operation
    while operation is not None:
        if isinstance(operation, keras.layers.Rescaling):
            return _of_rescaling(operation)
        if isinstance(operation, keras.layers.Normalization):
            return _of_normalization(operation)
        operation = _next(operation)
    return None


def _next(operation: Any) -> Any:
    """What is done next to an image that the operation has not changed the range of."""
    keeps_range = isinstance(operation, keras.layers.InputLayer) or (
        type(operation).__module__.startswith("keras.src.layers.preprocessing.image")
    )
    if is_container(operation) and len(operation.inputs) == 1:
        return operation.inputs[0]._keras_history.operation
    followers = {id(node.operation): node.operation for node in operation._outbound_nodes}
    return next(iter(followers.values())) if keeps_range and len(followers) == 1 else None


def _of_rescaling(layer: keras.layers.Rescaling) -> tuple[float, float] | None:
    if np.ndim(layer.scale) or np.ndim(layer.offset) or not layer.scale > 0:
        return None
    if layer.scale > 1 and layer.offset == 0:
        return _USUAL["from zero"]
    low, high = _USUAL["centred" if layer.offset < 0 else "from zero"]
    return tuple(round(float((end - layer.offset) / layer.scale), 6) + 0.0 for end in (low, high))


def _of_normalization(layer: keras.layers.Normalization) -> tuple[float, float] | None:
    if layer.invert or getattr(layer, "mean", None) is None:
        return None
    mean, spread = np.array(layer.mean), np.sqrt(np.array(layer.variance))
    return float((mean - 2 * spread).min()), float((mean + 2 * spread).max())


def _looks_like(images: np.ndarray, low: float, high: float) -> bool:
    least, most = float(images.min()), float(images.max())
    width = high - low
    contrast = most - least
    return (
        least >= low - _OVERSHOOT * width
        and most <= high + _OVERSHOOT * width
        and (contrast == 0 or contrast >= _LEAST_CONTRAST * width)
    )
