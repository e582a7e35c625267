"""`VisualizationCallback`: pictures and heat maps during training."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from vis.backend.tensorboard import create_writer, write_image
from vis.utils.files import atomic_write
from vis.utils.image import overlay_heatmap, stitch_images, to_rgb
from vis.utils.validation import check_finite, check_floats, check_integer, expect, require


class VisualizationCallback(keras.callbacks.Callback):
    """Keras callback that writes pictures and heat maps every few epochs of `model.fit`.

    Files are named `folder/<name>/epoch_0001.png`. Several pictures make a grid.

    Args:
        folder: Folder of the pictures; it is created if it does not exist.
        pictures: Dict of names and functions of the model that return one picture or a batch:
            `{"dog": lambda model: visualize_activation(model, -1, filter_indices=5)}`.
        maps: Dict of names and functions of the model and `images` that return heat maps, which
            are drawn over the images: `{"cam": GradCAM()}`.
        images: Images for `maps`, for example validation data: `(samples, height, width,
            channels)`, or channels first.
        every_epochs: Number of epochs between two sets of pictures, at least 1.
        tensorboard: The `keras.callbacks.TensorBoard` of the same `fit`, or its folder, to write
            the pictures to TensorBoard as well.

    Raises:
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
        every_epochs: int = 1,
        tensorboard: keras.callbacks.TensorBoard | str | os.PathLike | None = None,
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
        self.every_epochs = check_integer("every_epochs", every_epochs, least=1)
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
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, name: str, pictures: np.ndarray, epoch: int) -> None:
        grid = stitch_images(pictures, margin=2, cols=int(np.ceil(np.sqrt(len(pictures)))))
        picture = Image.fromarray(grid)  # type: ignore[arg-type]  # It is None without pictures.
        path = self.folder / name / f"epoch_{epoch + 1:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished:
            picture.save(unfinished)
        if self._log_dir is not None:
            if self._writer is None:
                self._writer = create_writer(self._log_dir / "visualization")
            write_image(self._writer, name, path.read_bytes(), picture.size, epoch)


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
