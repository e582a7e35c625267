"""Image files in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageOps

from vis.backend.graph import layout_of, spatial_axes
from vis.data.sampling import evenly_spaced
from vis.utils.layout import Layout
from vis.utils.validation import check_input_range, expect, warn

# What Pillow raises for other files, for damaged images and for images larger than memory.
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class ImageFolder:
    """The images in a folder and its subfolders, in the order of their paths.

    They are resized to a model's input and scaled to a range. `names` are the relative paths of
    those that have been read, and `labels` the indices of their subfolders, or None if images are
    outside subfolders.
    """

    def __init__(
        self,
        name: str,
        folder: str | os.PathLike,
        tensor: keras.KerasTensor | None,
        input_range: tuple[float, float],
    ) -> None:
        root = Path(folder)
        # Some versions of Python raise an error for a path with a null character.
        is_folder = "\0" not in str(root) and root.is_dir()
        expect(is_folder, name, "be a folder that exists", f"{name}={folder}")
        self._name = name
        self._layout = _image_layout(name, tensor)
        self._range = check_input_range(input_range)
        files = {path.relative_to(root).as_posix(): path for path in root.rglob("*")}
        self._files = sorted((key, path) for key, path in files.items() if path.is_file())
        self.names: list[str] = []
        folders = sorted({key.partition("/")[0] for key, _ in self._files if "/" in key})
        self._classes = {folder: i for i, folder in enumerate(folders)}
        self.labels: list[int] | None = None

    def __len__(self) -> int:
        return len(self._files)

    def images(self, size: int | None = None) -> Iterator[np.ndarray]:
        """Reads all images, or at most `size`, evenly spaced; a warning lists other files."""
        self.names, self.labels, skipped = [], [], []
        files = self._files
        if size is not None and len(files) > size:
            files = [file for file in files if _is_image(file[1])]
            files = [files[i] for i in evenly_spaced(len(files), size)]
        for name, path in files:
            try:
                image = _read(path, self._layout, self._range)
            except _UNREADABLE:
                skipped.append(name)
                continue
            self.names.append(name)
            folder, is_inside, _ = name.partition("/")
            if not is_inside:
                self.labels = None
            elif self.labels is not None:
                self.labels.append(self._classes[folder])
            yield image
        listed = ", ".join(map(repr, skipped))
        received = f"a folder with {f'no images but {listed}' if skipped else 'no images'}"
        expect(self.names, self._name, "be a folder with images in it", received)
        if skipped:
            warn(f"`{self._name}` has files that are not images; they are skipped: {listed}")


def _image_layout(name: str, tensor: keras.KerasTensor | None) -> Layout:
    """The layout of a model's images, or a `ValueError` unless they are gray or in colour."""
    if tensor is not None and len(spatial_axes(tensor)) == 2:
        layout = layout_of(tensor)
        if layout.channels in (1, 3):
            return layout
    model = "here" if tensor is None else f"for a model whose input is of shape {tensor.shape[1:]}"
    raise ValueError(
        f"`{name}` must be an array, a list or a dataset, unless the model takes gray or colour "
        f"images. Received: a folder {model}"
    )


def _is_image(path: Path) -> bool:
    """Whether the header of a file is that of an image."""
    try:
        with Image.open(path):
            return True
    except _UNREADABLE:
        return False


def _read(path: Path, layout: Layout, input_range: tuple[float, float]) -> np.ndarray:
    """The image in a file, `(height, width, channels)` in the size of a layout."""
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):
            # Pillow would clip 16 bits at 255.
            image = image.point(lambda value: value / 257)
        image = image.convert("L" if layout.channels == 1 else "RGB")
        height, width = layout.spatial_shape
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    low, high = input_range
    if (low, high) == (0, 255):
        return pixels
    return (low + (high - low) * (pixels / 255)).astype("float32")
