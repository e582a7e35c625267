"""The user's images: the strongest of them, a sample, and what tells them from others."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.atlas.plan import LayerPlan
from vis.backend import device
from vis.backend.graph import Graph, layout_of
from vis.data.streams import Stream
from vis.visualization.feeds import Feeds
from vis.visualization.selected_filters import SelectedFilters
from vis.visualization.top_images import TopImagesOfLayer, scan_dataset

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
        self.seen = 0
        self._kept: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Looks at more images, and keeps some. Those of another size than the first are passed."""
        for image in images:
            if self.seen % self._every == 0 and (
                not self._kept or image.shape == self._kept[0].shape
            ):
                self._kept.append(image.copy())
            self.seen += 1
            if len(self._kept) > self._most:
                self._kept = self._kept[::2]
                self._every *= 2

    @property
    def images(self) -> np.ndarray:
        """Those that were kept."""
        return np.stack(self._kept)


class DatasetScan(NamedTuple):
    """The top-activating images of layers, and errors of other layers, both by layer path."""

    layers: dict[str, TopImagesOfLayer]
    errors: dict[str, ValueError]
    images: dict[int, np.ndarray]  # The top-activating images by index.
    names: list[str] | None = None
    total: int = 0
    identity: str | None = None
    sample: np.ndarray | None = None


def stream_of(name: str, model: keras.Model, source: Any, input_range: tuple) -> Stream:
    """Images for a model, as `top_activating_images` takes them."""
    (tensor,) = Graph.of(model).inputs
    return Stream(name, source, tuple(tensor.shape[1:]), layout_of(tensor), input_range)


def scan_images(
    stream: Stream, model: keras.Model, plans: Sequence[LayerPlan], input_range: tuple, show: bool
) -> DatasetScan:
    """Goes through a stream, once."""
    graph = Graph.of(model)
    sample, digest = Sample(_SAMPLE), hashlib.sha256()
    errors: dict[str, ValueError] = {}

    def passing() -> Iterator[np.ndarray]:
        for batch in stream.batches(_BATCH):
            digest.update(f"{batch.dtype}{batch.shape}".encode())
            digest.update(np.ascontiguousarray(batch).tobytes())
            sample.add(batch)
            yield batch

    layers, images = scan_dataset(
        stream_of("images", model, passing(), input_range),
        Feeds.of(graph, None),
        [
            SelectedFilters(plan.name, graph.find(plan.name, "layers"), list(plan.drawn))
            for plan in plans
        ],
        _COUNT,
        device.default_batch_size(),
        show,
        errors.__setitem__,
    )
    identity = digest.hexdigest()[:32]
    return DatasetScan(layers, errors, images, stream.names, sample.seen, identity, sample.images)


def as_examples(model: keras.Model, like: Any, input_range: tuple[float, float]) -> Any:
    """Examples as `visualize_filters` takes them, those in a folder read."""
    if not isinstance(like, (str, os.PathLike)):
        return like
    sample = Sample(_EXAMPLES)
    for batch in stream_of("like", model, like, input_range).batches(_BATCH):
        sample.add(batch)
    return sample.images
