"""Tasks that workers run for an atlas, and the data that a worker stores between tasks."""

import io
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from PIL import Image

from vis.atlas.links import contributions
from vis.backend.graph import Graph, layout_of
from vis.visualization.filters import render_filters

# A worker that serves several atlases, one after another, evicts the oldest data.
_CAPACITY = 6
_stored: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()
# High enough that JPEG blocks are invisible.
_JPEG_QUALITY = 90


class PackedModel(NamedTuple):
    """A model as the bytes of a `.keras` file, to send to another process."""

    file: bytes
    safe_mode: bool

    @classmethod
    def pack(cls, model: keras.Model, safe_mode: bool) -> "PackedModel":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            model.save(path)
            packed = cls(path.read_bytes(), safe_mode)
        try:
            packed.unpack()
        except Exception as error:
            raise ValueError(
                "`model` must be loadable from a `.keras` file, to be sent to workers. Register "
                "custom classes in a module that workers import. If it contains code, such as a "
                "Lambda layer, and you trust it, pass `safe_mode=False`. "
                f"Received: {model.name}; Keras reports: {error}"
            ) from error
        return packed

    def unpack(self) -> keras.Model:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(self.file)
            return keras.models.load_model(path, compile=False, safe_mode=self.safe_mode)


class MissingData(NamedTuple):
    """Result of a task whose data the worker has not stored."""

    keys: tuple[str, ...]


class RenderTask(NamedTuple):
    """Renders pictures of some channels of a layer."""

    data_keys: tuple[str, ...]  # Keys of the arguments of `run`.
    layer: str
    channels: tuple[int, ...]
    settings: Mapping[str, Any]  # Arguments of `visualize_filters`.

    def run(self, model: keras.Model, prior: Any) -> list[bytes]:
        """Returns the pictures as JPEG files. `prior` is a fitted parametrization or None."""
        settings = self.settings if prior is None else {**self.settings, "parametrization": prior}
        pictures, _ = render_filters(
            model, self.layer, list(self.channels), progress=False, **settings
        )
        return [
            encode_jpeg(picture, self.settings["input_range"]) for picture in pictures[self.layer]
        ]


class LinkTask(NamedTuple):
    """Computes links from channels of earlier layers to some channels of a layer."""

    data_keys: tuple[str, ...]  # Keys of the arguments of `run`.
    layer: str
    channels: tuple[int, ...]
    earlier: tuple[tuple[str, tuple[int, ...]], ...]  # Paths and channels of earlier layers.
    pictures: tuple[bytes, ...]  # Without images, a JPEG file for each channel.
    input_range: tuple[float, float]

    def run(self, model: keras.Model, images: np.ndarray | None) -> list[np.ndarray]:
        """Returns an array `(channels, earlier channels)` for each earlier layer."""
        own_images = images is None
        if images is None:
            layout = layout_of(Graph.of(model).inputs[0])
            decoded = np.stack([decode_jpeg(file, self.input_range) for file in self.pictures])
            images = layout.from_channels_first(np.moveaxis(decoded, -1, 1))
        paths, channels = zip(*self.earlier, strict=True)
        return contributions(
            model, self.layer, self.channels, paths, channels, images, own_images=own_images
        )


Task = RenderTask | LinkTask


def store(shared_data: Mapping[str, Any]) -> None:
    """Stores data in this process by key. Packed models are unpacked."""
    with _lock:
        for key, item in shared_data.items():
            if key not in _stored:
                _stored[key] = item.unpack() if isinstance(item, PackedModel) else item
            _stored.move_to_end(key)
        while len(_stored) > _CAPACITY:
            _stored.popitem(last=False)


def evict(keys: Iterable[str]) -> None:
    """Removes stored data."""
    with _lock:
        for key in keys:
            _stored.pop(key, None)


def run_task(task: Task, shared_data: Mapping[str, Any]) -> Any:
    """Stores the data, then runs the task, or returns `MissingData` if it needs more."""
    store(shared_data)
    with _lock:
        missing = tuple(key for key in task.data_keys if key not in _stored)
        if missing:
            return MissingData(missing)
        data = [_stored[key] for key in task.data_keys]
    return task.run(*data)


def encode_jpeg(picture: np.ndarray, input_range: tuple[float, float]) -> bytes:
    """A picture `(height, width, 1 or 3)` with values in `input_range` as a JPEG file."""
    low, high = input_range
    fractions = (np.asarray(picture, "float64") - low) / (high - low)
    pixels = np.round(np.clip(fractions, 0, 1) * 255).astype("uint8")
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def decode_jpeg(file: bytes, input_range: tuple[float, float]) -> np.ndarray:
    """The picture `(height, width, channels)` in a JPEG file, with values in `input_range`."""
    low, high = input_range
    with Image.open(io.BytesIO(file)) as image:
        pixels = np.asarray(image, "float32") / 255
    return np.asarray(low + (high - low) * pixels, "float32").reshape(*pixels.shape[:2], -1)
