"""Examples of a model's input: their shape, and checks of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from vis.utils.layout import fits
from vis.utils.validation import check_array, check_images, expect


class ExampleFormat:
    """The shape of one example of an input, without the samples; open axes are None.

    Examples may have their channels at either end, and be without the axis of a single channel.
    """

    def __init__(self, name: str, shape: tuple[int | None, ...], is_text: bool = False) -> None:
        self._name = name
        self._shape = shape
        self.is_text = is_text

    @classmethod
    def of(cls, name: str, tensor: keras.KerasTensor) -> "ExampleFormat":
        """The format of a model's input. `name` is the argument's, for error messages."""
        return cls(name, tuple(tensor.shape[1:]), tensor.dtype == "string")

    def is_batch(self, sizes: Sequence[int]) -> bool:
        """Whether an array of this shape has an axis of samples."""
        return len(sizes) + self._misses_channel(sizes) > len(self._shape)

    def as_batch(self, value: Any) -> np.ndarray:
        """One example or a batch as `(samples, *shape)`, or an error."""
        array = np.asarray(value, object) if self.is_text else check_array(self._name, value)
        if self._misses_channel(array.shape):
            array = array[..., None]
        if not self.is_text:
            return check_images(self._name, array, self._shape)
        batch = array if self.is_batch(array.shape) else array[None]
        received = f"text of shape {array.shape}"
        is_valid = fits(batch.shape[1:], self._shape)
        expect(is_valid, self._name, f"be text of shape {self._shape}", received)
        return batch

    def _misses_channel(self, sizes: Sequence[int]) -> bool:
        sizes = tuple(sizes)
        as_it_is = (sizes, (*sizes[1:], *sizes[:1]), (*sizes[-1:], *sizes[:-1]))
        with_channel = ((*own, 1) for own in (sizes, sizes[1:]))
        return not self._fits_any(as_it_is) and self._fits_any(
            order for own in with_channel for order in (own, (1, *own[:-1]))
        )

    def _fits_any(self, shapes: Iterable[tuple[int, ...]]) -> bool:
        return any(fits(shape, self._shape) for shape in shapes)


def join(name: str, batches: Sequence[np.ndarray]) -> np.ndarray:
    """Batches of examples as one, or a `ValueError` if there are none or their shapes differ."""
    expect(batches, name, "hold at least two examples", "no examples")
    shapes = sorted({batch.shape[1:] for batch in batches})
    received = f"examples of shapes {shapes}"
    expect(len(shapes) == 1, name, "hold examples of one shape", received)
    return np.concatenate(batches)


def check_distinct(name: str, examples: np.ndarray) -> None:
    """Raises a `ValueError` unless there are at least two examples, and they differ."""
    received = f"{len(examples)} example{'s' * (len(examples) != 1)}"
    expect(len(examples) > 1, name, "hold at least two examples", received)
    differ = (examples != examples[:1]).any()
    expect(differ, name, "hold examples that differ", f"{received} that are all alike")
