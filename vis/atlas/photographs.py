"""The user's images: the strongest of them, a sample, and what tells them from others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.atlas.plan import Chart
from vis.backend import device
from vis.backend.graph import Graph, layout_of
from vis.utils.layout import Layout
from vis.utils.streams import Stream
from vis.visualization.feeds import Feeds
from vis.visualization.strongest import StrongestOfLayer, strongest_in

_BATCH = 16
# Strongest images of a channel.
_COUNT = 9
# Images that links are averaged over, and examples that pictures are drawn like, at most.
_SAMPLE, _EXAMPLES = 64, 500


class Sample:
    """At most so many images from all over a stream whose length nobody knows, evenly spaced.

    With more in the stream it is half of them at least.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._every = 1
        self._seen = 0
        self._kept: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Looks at more images, and keeps some. Those of another size than the first are passed."""
        for image in images:
            if self._seen % self._every == 0 and (
                not self._kept or image.shape == self._kept[0].shape
            ):
                self._kept.append(image.copy())
            self._seen += 1
            if len(self._kept) > self._most:
                self._kept = self._kept[::2]
                self._every *= 2

    @property
    def images(self) -> np.ndarray:
        """Those that were kept."""
        return np.stack(self._kept)


class Strongest(NamedTuple):
    """What the images excite most: what was found of layers, and why not of others, by position.

    Pictures, by number, are those images that are among the strongest somewhere; all images have
    names where they are files.
    """

    layers: dict[int, StrongestOfLayer]
    refused: dict[int, ValueError]
    pictures: dict[int, np.ndarray]
    names: list[str] | None
    total: int


class Photographs:
    """Images that a network is looked at with, as for `strongest_images`."""

    def __init__(self, model: keras.Model, images: Any, input_range: tuple[float, float]) -> None:
        self._model = model
        self._range = input_range
        self._stream = _stream("images", model, images, input_range)
        self.sample = Sample(_SAMPLE)
        self._digest = hashlib.sha256()
        self._seen = 0

    def strongest(self, charts: Sequence[Chart], show: bool) -> Strongest:
        """Goes through all of them, once."""
        graph = Graph.of(self._model)
        passing = _stream("images", self._model, self._passing(), self._range)
        refused: dict[int, ValueError] = {}
        layers, pictures = strongest_in(
            passing,
            Feeds.of(graph, None),
            [graph.find(chart.name, "layers") for chart in charts],
            [list(chart.drawn) for chart in charts],
            _COUNT,
            device.images_at_once(),
            show,
            refused.__setitem__,
        )
        return Strongest(layers, refused, pictures, self._stream.names, self._seen)

    def _passing(self) -> Iterator[np.ndarray]:
        for batch in self._stream.batches(_BATCH):
            self._digest.update(f"{batch.dtype}{batch.shape}".encode())
            self._digest.update(np.ascontiguousarray(batch).tobytes())
            self.sample.add(batch)
            self._seen += len(batch)
            yield batch

    @property
    def identity(self) -> str:
        """A digest of all, once they have been gone through."""
        return self._digest.hexdigest()[:32]


def as_examples(model: keras.Model, like: Any, input_range: tuple[float, float]) -> Any:
    """Examples as `visualize_filters` takes them, those in a folder read."""
    if not isinstance(like, (str, os.PathLike)):
        return like
    sample = Sample(_EXAMPLES)
    for batch in _stream("like", model, like, input_range).batches(_BATCH):
        sample.add(batch)
    return sample.images


def in_unit_range(
    layout: Layout, image: np.ndarray, input_range: tuple[float, float]
) -> np.ndarray:
    """An image that a model takes as a picture `(height, width, channels)`, from 0 to 1."""
    low, high = input_range
    picture = np.moveaxis(np.asarray(image, float), layout.channel_axis - 1, -1)
    return (picture - low) / (high - low)


def as_taken(layout: Layout, picture: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    """A picture `(height, width, channels)`, from 0 to 1, as an image that a model takes."""
    low, high = input_range
    image = np.asarray(low + (high - low) * picture, "float32")
    return np.moveaxis(image, -1, layout.channel_axis - 1)


def _stream(name: str, model: keras.Model, source: Any, input_range: tuple) -> Stream:
    (tensor,) = Graph.of(model).inputs
    return Stream(name, source, tuple(tensor.shape[1:]), layout_of(tensor), input_range)
