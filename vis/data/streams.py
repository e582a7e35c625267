"""Images from wherever they come: read once, in batches, and never held all at a time."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps

from vis.data.examples import items_of
from vis.utils.layout import Layout, fits
from vis.utils.validation import check_array, check_images

# What Pillow raises for files that are no images, or torn ones, or larger than memory.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# What a `tf.data.Dataset` says of how many it holds where it has no end.
_INFINITE = -1


class Stream:
    """Images, to be gone through once.

    The source is a folder, an array, a list of single images or of batches, or whatever hands out
    images or batches of them, with or without labels. `shape` is that of one image, None where an
    axis is open; pictures of files are brought into a layout and a range.
    """

    def __init__(
        self,
        name: str,
        source: Any,
        shape: tuple[int | None, ...],
        layout: Layout,
        input_range: tuple[float, float],
    ) -> None:
        self._name = name
        self._shape = shape
        # How many there are at most, where that is known.
        self.count: int | None = None
        # Those of the files that have been read, where there are files.
        self.names: list[str] | None = None
        if isinstance(source, (str, os.PathLike)):
            files = _files(name, source)
            _check_takes_pictures(name, layout)
            self.count = len(files)
            self._items = self._pictures(files, layout, input_range)
        elif hasattr(source, "shape") and not isinstance(source, keras.KerasTensor):
            rank = len(source.shape)
            several = rank > len(shape) or (rank == len(shape) and self._is_gray(source.shape))
            self.count = len(source) if several else 1
            each = (source[i : i + 1] for i in range(self.count))
            self._items = each if several else iter([source])
        elif isinstance(source, (list, tuple)):
            self.count, self._items = len(source), iter(source)
        else:
            cardinality = getattr(source, "cardinality", None)
            if callable(cardinality) and int(cardinality()) == _INFINITE:
                raise ValueError(
                    f"`{name}` must come to an end. "
                    f"Received: {source!r}, which repeats itself for ever"
                )
            self._items = map(_without_labels, items_of(name, source))

    def batches(self, most: int) -> Iterator[np.ndarray]:
        """Batches `(samples, ...)` of at most so many images of one size, as the model has axes."""
        held: list[np.ndarray] = []
        for item in self._items:
            for image in self._arranged(item):
                if held and (len(held) == most or image.shape != held[0].shape):
                    yield np.stack(held)
                    held = []
                held.append(image)
        if not held:
            raise ValueError(f"`{self._name}` must hold at least one image. Received: none")
        yield np.stack(held)

    def _arranged(self, item: Any) -> np.ndarray:
        """An image or some, `(samples, ...)`; gray ones may come without an axis of channels."""
        array = check_array(self._name, item)
        array = array[..., None] if self._is_gray(array.shape) else array
        return check_images(self._name, array, self._shape)

    def _is_gray(self, given: Sequence[int]) -> bool:
        """Whether a shape is that of an image or some without the axis of their only channel."""
        rank = len(self._shape)
        if 1 not in (self._shape[0], self._shape[-1]) or len(given) > rank:
            return False
        given = tuple(given)
        turned = (given, (*given[1:], *given[:1]), (*given[-1:], *given[:-1]))
        return not any(fits(sizes, self._shape) for sizes in turned)

    def _pictures(
        self, files: Iterable[tuple[str, Path]], layout: Layout, input_range: tuple[float, float]
    ) -> Iterator[np.ndarray]:
        """The pictures in some files; a warning names the files that are none."""
        left_out, self.names = [], []
        for name, path in files:
            try:
                picture = _picture(path, layout, input_range)
            except _UNREADABLE:
                left_out.append(name)
                continue
            self.names.append(name)
            yield picture
        listed = ", ".join(repr(name) for name in left_out)
        if not self.names:
            raise ValueError(
                f"`{self._name}` must be a folder with images in it. "
                f"Received: a folder with {f'no images but {listed}' if listed else 'no files'}"
            )
        if left_out:
            warnings.warn(
                f"`{self._name}` holds files that are no images, and are left out: {listed}",
                stacklevel=2,
            )


def _files(name: str, folder: str | os.PathLike) -> list[tuple[str, Path]]:
    """The files in a folder and in those inside it, by their names there, in sorted order."""
    folder = Path(folder)
    # Some Pythons do not look for a path that holds such a character.
    if "\0" in str(folder) or not folder.is_dir():
        raise ValueError(f"`{name}` must be a folder that is there. Received: {name}={folder}")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return sorted((key, path) for key, path in found.items() if path.is_file())


def _check_takes_pictures(name: str, layout: Layout) -> None:
    if len(layout.axes) != 2 or layout.channels not in (1, 3):
        raise ValueError(
            f"`{name}` must be an array, a list or a dataset for a model that does not take gray "
            "or colour images. "
            f"Received: a folder, for a model whose input is of shape {layout.shape}"
        )


def _picture(path: Path, layout: Layout, input_range: tuple[float, float]) -> np.ndarray:
    """The picture in a file, `(height, width, channels)`, as large as the model takes."""
    with Image.open(path) as file:
        upright = ImageOps.exif_transpose(file)
        if upright.mode.startswith("I"):
            # Of sixteen bits, which Pillow would cut off at 255.
            upright = upright.point(lambda value: value / 257)
        picture = upright.convert("L" if layout.channels == 1 else "RGB")
        height, width = layout.spatial_shape
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture).reshape(height, width, layout.channels)
    low, high = input_range
    if (low, high) == (0, 255):
        return pixels
    return (low + (high - low) * (pixels / 255)).astype("float32")


def _without_labels(item: Any) -> Any:
    item = item[0] if isinstance(item, (list, tuple)) else item
    return next(iter(item.values())) if isinstance(item, Mapping) and len(item) == 1 else item
