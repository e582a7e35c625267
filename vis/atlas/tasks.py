"""What a worker is asked to do, and what it keeps of what all such orders need."""

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
from vis.visualization import visualize_filters

# A worker that serves several atlases, one after the other, forgets the first.
_KEPT = 6
_kept: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()
# Of a hundred: no block of a JPEG file is to be seen in what is drawn.
_QUALITY = 90


class PackedModel(NamedTuple):
    """A model as what a `.keras` file holds, to send to another machine.

    Code that the file brings along is run where `allow_code` says so.
    """

    file: bytes
    allow_code: bool

    @classmethod
    def of(cls, model: keras.Model, allow_code: bool) -> "PackedModel":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            model.save(path)
            packed = cls(path.read_bytes(), allow_code)
        try:
            packed.unpacked()
        except Exception as error:
            raise ValueError(
                "`model` must be one that Keras loads from its file, to be sent to other "
                "processes: its own classes registered in a module that these import, and no code "
                "in the file unless `allow_code` says so. "
                f"Received: {model.name}, of which Keras says: {error}"
            ) from error
        return packed

    def unpacked(self) -> keras.Model:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            path.write_bytes(self.file)
            return keras.models.load_model(path, compile=False, safe_mode=not self.allow_code)


class MissingData(NamedTuple):
    """The answer of a worker that lacks something that an order needs."""

    keys: tuple[str, ...]


class RenderTask(NamedTuple):
    """An order of the pictures of some channels of a layer, which its path names.

    It needs the model, and what is optimised where that was learnt of examples.
    """

    needs: tuple[str, ...]
    layer: str
    channels: tuple[int, ...]
    # Arguments of `visualize_filters`.
    settings: Mapping[str, Any]

    def run_task(self, model: keras.Model, learnt: Any = None) -> list[bytes]:
        """The pictures, as JPEG files."""
        settings = self.settings if learnt is None else {**self.settings, "parametrization": learnt}
        pictures = visualize_filters(
            model, self.layer, list(self.channels), progress=False, **settings
        )
        return [as_jpeg(picture, self.settings["input_range"]) for picture in pictures]


class LinkTask(NamedTuple):
    """An order of what channels of earlier layers do for those of a layer.

    It needs the model, and the images that this is averaged over, if there are any.
    """

    needs: tuple[str, ...]
    layer: str
    channels: tuple[int, ...]
    # For each of the earlier layers its path and its channels.
    before: tuple[tuple[str, tuple[int, ...]], ...]
    # For each channel a picture of its own, a JPEG file, in place of images for all.
    own: tuple[bytes, ...]
    input_range: tuple[float, float]

    def run_task(self, model: keras.Model, images: np.ndarray | None = None) -> list[np.ndarray]:
        """For each of the earlier layers an array `(channels, its channels)`."""
        is_own = images is None
        if images is None:
            channel_axis = layout_of(Graph.of(model).inputs[0]).channel_axis
            shown = np.stack([from_jpeg(file, self.input_range) for file in self.own])
            images = np.moveaxis(shown, -1, channel_axis)
        paths, chosen = zip(*self.before, strict=True)
        return contributions(
            model, self.layer, self.channels, paths, chosen, images, own_images=is_own
        )


Task = RenderTask | LinkTask


def keep(shared_data: Mapping[str, Any]) -> None:
    """Keeps what orders need, by key, packed models unpacked."""
    with _lock:
        for key, item in shared_data.items():
            if key not in _kept:
                _kept[key] = item.unpacked() if isinstance(item, PackedModel) else item
            _kept.move_to_end(key)
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)


def forget(keys: Iterable[str]) -> None:
    """Lets go of what was kept."""
    with _lock:
        for key in keys:
            _kept.pop(key, None)


def run_task(order: Task, shared_data: Mapping[str, Any]) -> Any:
    """Does what is asked for, where all that it needs is here; otherwise says what is missing."""
    keep(shared_data)
    with _lock:
        missing = tuple(key for key in order.needs if key not in _kept)
        if missing:
            return MissingData(missing)
        needed = [_kept[key] for key in order.needs]
    return order.run_task(*needed)


def as_jpeg(picture: np.ndarray, input_range: tuple[float, float]) -> bytes:
    """A picture `(height, width, 1 or 3)` of values in a range as a file."""
    low, high = input_range
    shares = (np.asarray(picture, "float64") - low) / (high - low)
    pixels = np.round(np.clip(shares, 0, 1) * 255).astype("uint8")
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


def from_jpeg(file: bytes, input_range: tuple[float, float]) -> np.ndarray:
    """The picture in a file, as it was given to `as_jpeg`."""
    low, high = input_range
    with Image.open(io.BytesIO(file)) as image:
        pixels = np.asarray(image, "float32") / 255
    return np.asarray(low + (high - low) * pixels, "float32").reshape(*pixels.shape[:2], -1)
