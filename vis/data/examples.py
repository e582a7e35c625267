"""Examples of data, from arrays, lists, datasets and whatever else hands them out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from vis.utils.layout import arrangements, fits
from vis.utils.validation import check_array, check_finite, is_iterable

# More examples tell little more of what data are like.
_ENOUGH = 500


def check_examples(name: str, examples: Any, shape: tuple[int | None, ...] | None) -> np.ndarray:
    """Returns examples as one array `(samples, ...)`, or raises unless there are some that differ.

    Of an array or list that holds more than are needed they are taken from all over it, as they
    often lie in the order of their classes; of a stream the first ones, and no more are read. A
    stream hands out single ones or batches, with or without labels: a `tf.data.Dataset`, a
    `PyDataset`, a generator. `shape` is that of one example, with the channels at either end, and
    None where an axis is open. Where it is not known itself, streams hand out batches.
    """
    if hasattr(examples, "__array__") and not isinstance(examples, keras.KerasTensor):
        whole = check_array(name, examples)
    else:
        rank = None if shape is None else len(shape)
        items = [check_array(name, item) for item in examples_from(name, examples, rank)]
        listed = isinstance(examples, (list, tuple))
        are_batches = items and (not listed if rank is None else items[0].ndim > rank)
        whole = joined(name, items, np.concatenate if are_batches else np.stack)
    if whole.ndim < 2 or len(whole) < 2:
        raise ValueError(
            f"`{name}` must hold at least two examples. Received: {name} of shape {whole.shape}"
        )
    if len(whole) > _ENOUGH:
        whole = whole[np.linspace(0, len(whole) - 1, _ENOUGH).astype(int)]
    if shape is not None:
        whole = _arranged(name, whole, shape)
    check_finite(name, whole)
    if (whole == whole[:1]).all():
        raise ValueError(
            f"`{name}` must hold examples that differ. "
            f"Received: {len(whole)} examples that are all alike"
        )
    return whole


def examples_from(name: str, source: Any, rank: int | None) -> list[Any]:
    """What a list holds, or what a stream hands out until it is enough, without labels.

    `rank` is the number of axes of one example, or None where all come in batches.
    """
    items = items_of(name, source)
    if isinstance(source, (list, tuple)):
        return list(source)
    found: list[Any] = []
    count = 0
    for item in items:
        item = item[0] if isinstance(item, (list, tuple)) else item
        found.append(item)
        first = keras.tree.flatten(item)[0]
        count += len(first) if rank is None or np.ndim(first) > rank else 1
        if count >= _ENOUGH:
            break
    return found


def items_of(name: str, source: Any) -> Iterator[Any]:
    """What a list or a stream hands out, to be gone through once; a `TypeError` for all else."""
    if isinstance(source, (str, bytes, Mapping, set, frozenset, keras.KerasTensor)) or not (
        is_iterable(source) or hasattr(source, "__getitem__")
    ):
        raise TypeError(
            f"`{name}` must be an array of examples, a list of them, or a dataset. "
            f"Received: {name} of type {type(source).__name__}"
        )
    # Keras's datasets in Python go on for ever when they are gone through.
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return (source[i] for i in range(len(source)))
    return iter(source)


def joined(name: str, arrays: list[np.ndarray], join: Callable) -> np.ndarray:
    """Examples, or batches of them, as one array; an error for none, or for shapes that differ."""
    if not arrays:
        raise ValueError(f"`{name}` must hold at least two examples. Received: none")
    try:
        return join(arrays)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must hold examples of one shape. "
            f"Received: arrays of shapes {sorted({array.shape for array in arrays})}"
        ) from error


def _arranged(name: str, whole: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """Examples in the order of a model's axes, with the channels where it has them."""
    # Gray pictures often come without an axis for their only channel.
    gray = [whole[..., None], whole[:, None]]
    for arranged in gray if whole.ndim == len(shape) else arrangements(whole):
        if fits(arranged.shape[1:], shape):
            return arranged
    raise ValueError(
        f"`{name}` must hold examples of shape {shape}, an array {(None, *shape)}. "
        f"Received: {name} of shape {whole.shape}"
    )
