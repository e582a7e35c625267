"""One reader for all kinds of datasets."""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from vis.data.examples import ExampleFormat, join
from vis.data.image_folder import ImageFolder
from vis.data.sampling import EvenSample, evenly_spaced
from vis.utils.validation import check_array, expect, is_iterable

# A sample of a stream is taken from its first examples, so many times as many as are needed.
_READ = 10
# `tf.data.Dataset.cardinality()` of a dataset that repeats itself.
_INFINITE = -1


class Dataset:
    """Examples of a model's input, read in batches.

    The source is a folder of image files, an array `(samples, ...)`, a list of single examples or
    of batches, or a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator of either, with or
    without labels: items `(x, y)`, or a pair of arrays.

    Args:
        name: Name of the argument, for error messages.
        source: The data.
        tensor: The model's input. If it is None, examples may have any shape, a list has single
            ones, and a stream has batches.
        input_range: Lowest and highest value, to which images from a folder are scaled.

    Attributes:
        count: Number of examples, or of files in a folder; None if it is not known.
    """

    def __init__(
        self,
        name: str,
        source: Any,
        tensor: keras.KerasTensor | None = None,
        input_range: tuple[float, float] = (0, 255),
    ) -> None:
        self._name = name
        self._format = None if tensor is None else ExampleFormat.of(name, tensor)
        source, labels = source[:2] if self._has_labels(source) else (source, None)
        self._labels: list[int] | None = None
        self._is_list = isinstance(source, (list, tuple))
        self.count: int | None = None
        if isinstance(source, (str, os.PathLike)):
            source = ImageFolder(name, source, tensor, input_range)
            self.count = len(source)
        elif hasattr(source, "__array__") and not isinstance(source, keras.KerasTensor):
            array = source if hasattr(source, "shape") else np.asarray(source)
            source = _Rows(array, labels) if self._is_batch(array) else [array]
            self.count = len(source)
        elif self._is_list:
            self.count = sum(len(item) if self._is_batch(item) else 1 for item in source)
        else:
            _check_is_dataset(name, source)
        self._source = source

    @property
    def names(self) -> list[str] | None:
        """Paths of the images that have been read, relative to the folder; None without files."""
        return self._source.names if isinstance(self._source, ImageFolder) else None

    @property
    def labels(self) -> list[int] | None:
        """Class indices of the examples that `batches` has read; None if there are none.

        In a folder, the classes are its subfolders in alphabetical order, as in
        `keras.utils.image_dataset_from_directory`.
        """
        return self._source.labels if isinstance(self._source, ImageFolder) else self._labels

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Batches `(samples, ...)` of at most `size` examples of one shape, read once in order."""
        is_text = self._format is not None and self._format.is_text
        expect(not is_text, self._name, "be images", "a model with an input of text", TypeError)
        cardinality = getattr(self._source, "cardinality", int)  # Of a `tf.data.Dataset`.
        is_finite = int(cardinality()) != _INFINITE
        received = f"{self._source!r}, which repeats itself forever"
        expect(is_finite, self._name, "come to an end; see its method `take`", received)
        return self._rebatched(size)

    def sample(self, size: int) -> np.ndarray:
        """At most `size` examples, evenly spaced over the data, as one array `(samples, ...)`.

        Of a generator or a `tf.data.Dataset` it is a sample of the first `10 * size`.
        """
        if isinstance(self._source, _Rows) and len(self._source) <= size:
            return self._as_batch(self._source.array)
        return join(self._name, self.examples(size))

    def examples(self, size: int) -> list[np.ndarray]:
        """The examples of `sample` as batches of one. All data can be read afterwards."""
        sample = EvenSample(size)
        for batch in self._read(size):
            sample.add(batch)
        return sample.batches()

    def _rebatched(self, size: int) -> Iterator[np.ndarray]:
        self._labels = []
        held: list[np.ndarray] = []
        for batch in self._read(None):
            for example in batch:
                if held and (len(held) == size or example.shape != held[0].shape):
                    yield np.stack(held)
                    held = []
                held.append(example)
        expect(held, self._name, "hold at least one image", "no images")
        yield np.stack(held)

    def _read(self, size: int | None) -> Iterator[np.ndarray]:
        if isinstance(self._source, ImageFolder):
            return map(self._as_batch, self._source.images(size))
        source = self._source
        if size is not None and isinstance(source, Iterator):
            # What is read for a sample is kept until all data are read.
            self._source, source = itertools.tee(source)
        return _read_items(source, self._as_batch, size)

    def _as_batch(self, item: Any) -> np.ndarray:
        item, labels = _split(item, self._is_list)
        batch = self._convert(item)
        if self._labels is not None:
            classes = _class_indices(labels, len(batch))
            self._labels.extend(classes or ())
            self._labels = None if classes is None else self._labels
        return batch

    def _convert(self, item: Any) -> np.ndarray:
        item = next(iter(item.values())) if isinstance(item, Mapping) and len(item) == 1 else item
        if self._format is None:
            array = check_array(self._name, item)
            rank = array.ndim if self._is_list else array.ndim - 1
            received = f"{self._name} of shape {array.shape}"
            expect(rank >= 1, self._name, "hold examples of at least one axis", received)
            self._format = ExampleFormat(self._name, (None,) * rank)
        return self._format.as_batch(item)

    def _is_batch(self, array: Any) -> bool:
        """Whether an item or the source is an array of several examples."""
        if not _is_array(array):
            return False
        return not self._is_list if self._format is None else self._format.is_batch(array.shape)

    def _has_labels(self, source: Any) -> bool:
        """Whether the source is a pair of arrays `(x, y)`, or `(x, y, sample_weight)`."""
        if not (isinstance(source, tuple) and len(source) in (2, 3) and _is_array(source[0])):
            return False
        x, *labels = source
        if not all(hasattr(y, "__len__") and np.ndim(y) and len(y) == len(x) for y in labels):
            return False
        if self._format is None:
            return len(x.shape) > 1 and any(np.shape(y) != np.shape(x) for y in labels)
        return self._format.is_batch(x.shape)


def sample_inputs(
    name: str, source: Any, to_batches: Callable[[Any], list[np.ndarray | None]], size: int
) -> list[np.ndarray | None]:
    """Samples of several inputs, from a dataset whose items have values for all of them.

    `to_batches` makes of an item, without its labels, a batch for each input, or None.
    """
    _check_is_dataset(name, source)
    samples: list[EvenSample | None] = []
    for batches in _read_items(source, lambda item: to_batches(_split(item)[0]), size):
        samples = samples or [None if batch is None else EvenSample(size) for batch in batches]
        for sample, batch in zip(samples, batches, strict=True):
            if sample is not None and batch is not None:
                sample.add(batch)
    expect(samples, name, "hold at least two examples", "no examples")
    return [None if sample is None else join(name, sample.batches()) for sample in samples]


def examples_of(source: Any, otherwise: Any = None) -> Any:
    """Some examples of a dataset, for their shape; None for files and what can be read only once.

    Without a source, those of another dataset.
    """
    if source is None:
        return None if otherwise is None else examples_of(otherwise)
    if isinstance(source, Mapping):
        return {name: examples_of(examples) for name, examples in source.items()}
    if isinstance(source, (str, os.PathLike)) or _is_array(source):
        return source if _is_array(source) else None
    if isinstance(source, (list, tuple)):
        return _split(source[0], in_list=True)[0] if source else None
    iterator = iter(source) if hasattr(source, "__iter__") else source
    if iterator is source and not hasattr(source, "__getitem__"):
        return None
    item = next(iterator, None) if hasattr(iterator, "__next__") else source[0]
    return _split(item)[0]


class _Rows:
    """An array as a sequence of batches of one example, which need not be in memory."""

    def __init__(self, array: Any, labels: Any) -> None:
        self.array = array
        self._labels = labels

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i: int) -> Any:
        rows = self.array[i : i + 1]
        return rows if self._labels is None else (rows, self._labels[i : i + 1])


def _read_items(source: Any, convert: Callable[[Any], Any], size: int | None) -> Iterator[Any]:
    """Reads all items, or enough of them for a sample of `size` examples.

    Each is converted to a batch, or to a list of batches of several inputs.
    """
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        seen = 0
        for item in source:
            batch = convert(item)
            yield batch
            seen += _samples(batch)
            if size is not None and seen >= _READ * size:
                return
    elif len(source):
        # Read once only, because a dataset may draw random numbers for each batch.
        first = convert(source[0])
        yield first
        positions: Any = range(len(source))
        if size is not None:
            # Twice as many batches as needed, because the others may be smaller.
            count = _samples(first)
            positions = evenly_spaced(len(source), size if count == 1 else -(-2 * size // count))
        for i in positions[1:]:
            yield convert(source[i])


def _samples(batch: np.ndarray | list[np.ndarray | None]) -> int:
    batches = batch if isinstance(batch, list) else [batch]
    return max((len(batch) for batch in batches if batch is not None), default=0)


def _split(item: Any, in_list: bool = False) -> tuple[Any, Any]:
    """`x` and `y` of an item `(x, y)`. In a list, a tuple of numbers is an example itself."""
    is_pair = isinstance(item, tuple) or (isinstance(item, list) and not in_list)
    if not is_pair or not item:
        return item, None
    if in_list and not _is_array(item[0]) and not isinstance(item[0], str):
        return item, None
    return item[0], item[1] if len(item) > 1 else None


def _class_indices(labels: Any, samples: int) -> list[int] | None:
    """Class indices of labels, which are indices or one-hot; None for anything else."""
    try:
        rows = np.asarray(labels, "float64").reshape(samples, -1)
    except (TypeError, ValueError):
        return None
    if rows.shape[1] == 1:
        are_indices = ((rows >= 0) & (rows == np.round(rows))).all()
        return rows[:, 0].astype(int).tolist() if are_indices else None
    is_one_hot = ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all()
    return rows.argmax(axis=1).tolist() if is_one_hot else None


def _is_array(value: Any) -> bool:
    return not isinstance(value, keras.KerasTensor) and len(getattr(value, "shape", ())) > 0


def _check_is_dataset(name: str, source: Any) -> None:
    is_other = isinstance(source, (str, bytes, Mapping, set, frozenset, keras.KerasTensor))
    is_dataset = not is_other and (is_iterable(source) or hasattr(source, "__getitem__"))
    expected = (
        "be a folder, an array, a list, a generator, a `tf.data.Dataset` or a "
        "`keras.utils.PyDataset`"
    )
    received = f"{name} of type {type(source).__name__}"
    expect(is_dataset, name, expected, received, TypeError)
