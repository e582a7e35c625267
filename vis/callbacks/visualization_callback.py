"""`VisualizationCallback`: pictures and heat maps during training."""

import math
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from vis.backend.tensorboard import create_writer, write_image
from vis.utils.files import atomic_write
from vis.utils.image import draw_text, overlay_heatmap, stitch_images, to_rgb
from vis.utils.validation import (
    check_all,
    check_finite,
    check_floats,
    check_integer,
    expect,
    require,
)

# In pixels. Smaller pictures are scaled up.
_LEAST_SIZE = 128
_MARGIN = 4
_LINE, _FONT_SIZE, _CHARACTER = 18, 13, 8
_MILLISECONDS_PER_FRAME = 250


class VisualizationCallback(keras.callbacks.Callback):
    """Keras callback that writes pictures and heat maps every few epochs of `model.fit`.

    Each name has a sheet, with several pictures in a grid: `folder/<name>/epoch_0001.png`. At the
    end of training, `folder/<name>.gif` shows all sheets of the run. Pictures of fewer than 128
    pixels are scaled up by a whole number.

    Args:
        folder: Folder of the pictures; it is created if it does not exist.
        pictures: Dict of names and functions of the model that return one picture or a batch:
            `{"dog": lambda model: visualize_activation(model, -1, filter_indices=5)}`.
        maps: Dict of names and functions of the model and `images` that return heat maps, which
            are drawn over the images: `{"cam": GradCAM()}`.
        images: Images for `maps`, for example validation data: `(samples, height, width,
            channels)`, or channels first.
        labels: Dict of names and the labels of their pictures, which are drawn above each:
            `{"cam": ["cat", "dog"]}`.
        every_epochs: Number of epochs between two sets of pictures, at least 1.
        tensorboard: The `keras.callbacks.TensorBoard` of the same `fit`, or its folder, to write
            the sheets to TensorBoard as well.
        log: Function of `(name, image, step)` that sends a sheet elsewhere, such as to MLflow:
            `lambda name, image, step: mlflow.log_image(image, key=name, step=step)`. The image is
            a `uint8` array `(height, width, 3)`, the step is the epoch, from 0.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If `pictures` and `maps` are empty, or `maps` are given without `images`.

    Example:
        >>> import tempfile
        >>> from vis.visualization import GradCAM
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
        ... )
        >>> model.compile("sgd", "mse")
        >>> x, y = np.random.rand(4, 8, 8, 1), np.random.rand(4, 72)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw = VisualizationCallback(
        ...         folder, maps={"cam": GradCAM()}, images=x[:2], every_epochs=2
        ...     )
        ...     _ = model.fit(x, y, epochs=4, verbose=0, callbacks=[draw])
        ...     sorted(path.name for path in Path(folder, "cam").iterdir())
        ['epoch_0002.png', 'epoch_0004.png']
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        pictures: Mapping[str, Callable[[keras.Model], np.ndarray]] | None = None,
        maps: Mapping[str, Callable[[keras.Model, np.ndarray], np.ndarray]] | None = None,
        images: np.ndarray | None = None,
        labels: Mapping[str, Sequence[str]] | None = None,
        every_epochs: int = 1,
        tensorboard: keras.callbacks.TensorBoard | str | os.PathLike | None = None,
        log: Callable[[str, np.ndarray, int], Any] | None = None,
    ) -> None:
        super().__init__()
        self.folder = _check_folder("folder", folder)
        self.pictures = _check_functions("pictures", pictures)
        self.maps = _check_functions("maps", maps)
        if not self.pictures and not self.maps:
            raise ValueError(
                "`pictures` or `maps` must hold a function. Received: "
                f"pictures={pictures!r}, maps={maps!r}"
            )
        if both := self.pictures.keys() & self.maps.keys():
            raise ValueError(
                f"`pictures` and `maps` must have different names. Received: {sorted(both)} in both"
            )
        self.images = None if images is None else check_finite("images", images)
        require(not self.maps or images is not None, "images", "be given for `maps`", images)
        if self.images is not None:
            _to_rgb_bytes("images", self.images)
        self.labels = self._check_labels(labels)
        self.every_epochs = check_integer("every_epochs", every_epochs, least=1)
        require(log is None or callable(log), "log", "be a function", log, TypeError)
        self.log = log
        self._last_epoch = -1
        log_dir = getattr(tensorboard, "log_dir", tensorboard)
        self._log_dir = None if log_dir is None else _check_folder("tensorboard", log_dir)
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: Mapping | None = None) -> None:
        if (epoch + 1) % self.every_epochs:
            return
        # Neither training nor the noise of the next pictures depends on these pictures.
        state = np.random.get_state()  # noqa: NPY002
        try:
            for name, function in self.pictures.items():
                self._write(name, _to_rgb_bytes(name, function(self.model)), epoch)
            for name, function in self.maps.items():
                heat = np.asarray(function(self.model, self.images))
                images = _to_rgb_bytes("images", self.images)
                self._write(name, _overlay(name, heat, images), epoch)
        finally:
            np.random.set_state(state)  # noqa: NPY002

    def on_train_end(self, logs: Mapping | None = None) -> None:
        for name in (*self.pictures, *self.maps):
            # Files of an earlier part of an interrupted training belong to the run as well.
            epochs = range(self.every_epochs - 1, self._last_epoch + 1, self.every_epochs)
            files = [path for path in map(self._path(name), epochs) if path.is_file()]
            if files:
                _write_gif(self.folder / f"{name}.gif", files)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _path(self, name: str) -> Callable[[int], Path]:
        return lambda epoch: self.folder / name / f"epoch_{epoch + 1:04d}.png"

    def _write(self, name: str, pictures: np.ndarray, epoch: int) -> None:
        sheet = _sheet(pictures, f"{name}, epoch {epoch + 1}", self.labels.get(name))
        path = self._path(name)(epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            Image.fromarray(sheet).save(unfinished)
        self._last_epoch = epoch
        if self._log_dir is not None:
            if self._writer is None:
                self._writer = create_writer(self._log_dir / "visualization")
            height, width = sheet.shape[:2]
            write_image(self._writer, name, path.read_bytes(), (width, height), epoch)
        if self.log is not None:
            self.log(name, sheet, epoch)

    def _check_labels(self, labels: Any) -> dict[str, list[str]]:
        labels = {} if labels is None else labels
        expected = "be a dict from the names of `pictures` and `maps` to lists of labels"
        require(isinstance(labels, Mapping), "labels", expected, labels, TypeError)
        names = [*self.pictures, *self.maps]
        expected = f"have names of `pictures` and `maps` as keys, among {names}"
        require(labels.keys() <= {*names}, "labels", expected, labels)
        return {name: check_all("labels", texts, str) for name, texts in labels.items()}


def _check_folder(name: str, folder: Any) -> Path:
    is_path = isinstance(folder, (str, os.PathLike))
    require(is_path, name, "be the path of a folder", folder, TypeError)
    return Path(folder)


def _check_functions(name: str, functions: Mapping | None) -> dict[str, Callable]:
    functions = {} if functions is None else functions
    are_functions = isinstance(functions, Mapping) and all(
        isinstance(key, str) and callable(function) for key, function in functions.items()
    )
    require(are_functions, name, "be a dict of names and functions", functions, TypeError)
    return dict(functions)


def _to_rgb_bytes(name: str, images: Any) -> np.ndarray:
    """Images as `(samples, height, width, 3)` of `uint8`; floats are scaled to the full range."""
    images = np.asarray(images)
    batch = images[None] if images.ndim == 3 else images
    are_pictures = batch.ndim == 4 and {1, 3} & {batch.shape[1], batch.shape[-1]} and len(batch)
    expected = "be images with two spatial dimensions and 1 or 3 channels"
    expect(are_pictures, name, expected, f"an array of shape {images.shape}")
    if batch.dtype != np.uint8:
        low, high = float(batch.min()), float(batch.max())
        batch = np.round(255 * (batch - low) / (high - low or 1)).astype("uint8")
    return to_rgb(batch)


def _overlay(name: str, heat: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Heat maps over images."""
    heat = check_floats("maps", heat)
    heat = heat[None] if heat.ndim == 2 else heat
    expected = f"return a map for each image, {images.shape[:3]}"
    received = f"an array of shape {heat.shape} from '{name}'"
    expect(heat.shape == images.shape[:3], "maps", expected, received)
    return overlay_heatmap(images, heat)


def _sheet(pictures: np.ndarray, title: str, labels: Sequence[str] | None) -> np.ndarray:
    """RGB pictures `(samples, height, width, 3)` as a grid on white, with a title and labels."""
    scale = math.ceil(_LEAST_SIZE / max(pictures.shape[1:3]))
    pictures = pictures.repeat(scale, axis=1).repeat(scale, axis=2)
    if labels is not None:
        expected = f"have a label for each of the {len(pictures)} pictures of a sheet"
        expect(len(labels) == len(pictures), "labels", expected, f"{list(labels)}")
        pictures = _captioned(pictures, labels)
    columns = math.ceil(math.sqrt(len(pictures)))
    # Margins of `stitch_images` are black.
    grid = 255 - np.asarray(stitch_images(255 - pictures, _MARGIN, columns))
    return _captioned(grid[None], [title])[0]


def _captioned(pictures: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Pictures of one size, each below its text."""
    wrapped = [textwrap.wrap(text, max(1, pictures.shape[2] // _CHARACTER)) for text in texts]
    height = _LINE * max(map(len, wrapped)) + _MARGIN
    strip = np.full((height, *pictures.shape[2:]), 255, "uint8")
    strips = [
        draw_text(strip, "\n".join(lines), (2, 0), font=None, font_size=_FONT_SIZE)
        for lines in wrapped
    ]
    return np.concatenate([strips, pictures], axis=1)


def _write_gif(path: Path, files: Sequence[Path]) -> None:
    """Writes images as an animated GIF, in the size of the largest one."""
    sheets = []
    for file in files:
        with Image.open(file) as image:
            sheets.append(image.copy())
    size = max(sheet.width for sheet in sheets), max(sheet.height for sheet in sheets)
    frames = [Image.new("RGB", size, "white") for _ in sheets]
    for frame, sheet in zip(frames, sheets, strict=True):
        frame.paste(sheet)
    timing: dict[str, Any] = {"duration": _MILLISECONDS_PER_FRAME, "loop": 0}
    with atomic_write(path) as unfinished:
        frames[0].save(unfinished, save_all=True, append_images=frames[1:], **timing)
