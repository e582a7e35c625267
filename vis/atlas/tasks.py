"""Tasks that workers run for an atlas, and the data that a worker stores between tasks."""

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.atlas.image_files import decode_image, encode_image
from vis.atlas.links import contributions
from vis.backend.graph import Graph, layout_of
from vis.visualization.filters import render_filters

# A worker that serves several atlases, one after another, evicts the oldest data.
_CAPACITY = 6
_stored: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()


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

    def run(self, model: keras.Model, prior: Any) -> list[bytes | None]:
        """Returns the pictures as files, and None for channels that no image activates.

        `prior` is a fitted parametrization or None.
        """
        settings = self.settings if prior is None else {**self.settings, "parametrization": prior}
        pictures, curves = render_filters(
            model, self.layer, list(self.channels), progress=False, **settings
        )
        inactive = {curve.filters for curve in curves if curve.is_constant}
        return [
            None if channel in inactive else encode_image(picture, self.settings["input_range"])
            for channel, picture in zip(self.channels, pictures[self.layer], strict=True)
        ]


class LinkTask(NamedTuple):
    """Computes links from channels of earlier layers to some channels of a layer."""

    data_keys: tuple[str, ...]  # Keys of the arguments of `run`.
    layer: str
    channels: tuple[int, ...]
    earlier: tuple[tuple[str, tuple[int, ...]], ...]  # Paths and channels of earlier layers.
    pictures: tuple[bytes, ...]  # Without images, the file of each channel's picture.
    input_range: tuple[float, float]

    def run(self, model: keras.Model, images: np.ndarray | None) -> list[np.ndarray]:
        """Returns an array `(channels, earlier channels)` for each earlier layer."""
        own_images = images is None
        if images is None:
            images = decode_pictures(Graph.of(model), self.pictures, self.input_range)
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


def decode_pictures(
    graph: Graph, files: Sequence[bytes], input_range: tuple[float, float]
) -> np.ndarray:
    """Pictures of one size as the model takes them."""
    decoded = np.stack([decode_image(file, input_range) for file in files])
    layout = layout_of(graph.inputs[0])
    return layout.from_channels_first(np.moveaxis(decoded, -1, 1))
