"""Pictures as PNG files."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from vis.plotting.figures import check_labels, save
from vis.plotting.panels import ImagePanel, VolumePanel, common_limits, panels_of
from vis.plotting.pictures import picture
from vis.utils.files import atomic_write
from vis.utils.image import to_bytes
from vis.utils.validation import expect, is_iterable, require
from vis.visualization import TopImages

# Not allowed in file names on all systems.
_NOT_ALLOWED = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
_MOST_CHARACTERS = 100


def save_pictures(
    folder: str | os.PathLike,
    pictures: Any,
    labels: Iterable[str] | None = None,
    *,
    input_range: tuple[float, float] | None = None,
) -> list[Path]:
    """Saves pictures as PNG files, pixel by pixel.

    All pictures are checked before the first file is written, and each file is complete or missing.
    Files with the same names are replaced.

    Args:
        folder: The folder; it is created if it does not exist.
        pictures: Pictures or heat maps, an array or a list; a dict of these by the name of a
            subfolder, such as `visualize_filters` returns for several layers; or the result of
            `top_activating_images`, whose crops are saved. Images are saved as they are, and
            signals, volumes and rows as they are plotted by `picture`.
        labels: The name of each file, without the suffix; by default their numbers. For a dict, the
            same for each subfolder.
        input_range: As in `picture`, for all pictures of a subfolder. Integers from 0 to 255 are
            saved without change.

    Returns:
        The paths of the files.

    Raises:
        ValueError: If there are no pictures, or another number of labels.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = save_pictures(folder, np.zeros((2, 8, 8, 3)), ["day", "night"])
        ...     [path.name for path in paths]
        ['day.png', 'night.png']
    """
    is_path = isinstance(folder, (str, os.PathLike)) and "\0" not in str(folder)
    require(is_path, "folder", "be the path of a folder", folder, TypeError)
    labels = list(labels) if is_iterable(labels) else labels
    groups = _groups(pictures)
    files: dict[Path, Any] = {}
    for parts, group in groups.items():
        panels = panels_of("pictures", group)
        names = _file_names(check_labels("labels", labels, len(panels), "picture"))
        limits = common_limits(panels, input_range)
        for name, panel, own in zip(names, panels, limits, strict=True):
            path = Path(folder, *map(_file_name, parts), f"{name}.png")
            is_image = isinstance(panel, ImagePanel) and not isinstance(panel, VolumePanel)
            files[path] = to_bytes(panel.array, own) if is_image else (panel.array, own)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            save(picture(content[0], input_range=content[1]), path)
            continue
        with atomic_write(path) as unfinished:
            Image.fromarray(content).save(unfinished)
    return list(files)


def _groups(pictures: Any) -> dict[tuple[str, ...], Any]:
    """Lists of pictures by the names of their subfolders."""
    if isinstance(pictures, TopImages):
        return {
            (layer.name, f"channel {c}"): [
                layer.crop(c, rank) for rank in range(layer.indices.shape[1])
            ]
            for layer in pictures.layers
            for c in layer.filters.tolist()
        }
    if isinstance(pictures, Mapping):
        expect(pictures, "pictures", "hold at least one image", "an empty dict")
        return {(str(name),): group for name, group in pictures.items()}
    return {(): pictures}


def _file_names(labels: list[str]) -> list[str]:
    """Unique file names, also on systems that ignore case; numbers by default."""
    digits = len(str(len(labels) - 1))
    names: list[str] = []
    taken: set[str] = set()
    for i, label in enumerate(labels):
        first = name = _file_name(label) if label else f"{i:0{digits}d}"
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{first} {number}"
        taken.add(name.lower())
        names.append(name)
    return names


def _file_name(label: str) -> str:
    """A label as a file name on any system."""
    return _NOT_ALLOWED.sub("_", label).strip(". ")[:_MOST_CHARACTERS] or "_"
