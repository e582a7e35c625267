"""The user's images: the strongest of them, a sample, and what tells them from others."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import inputs_for_images
from vis.atlas.plan import LayerPlan
from vis.backend import device
from vis.backend.graph import Graph, layout_of
from vis.data.streams import Stream
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


@dataclass(frozen=True)
class DatasetScan:
    """The top-activating images of a dataset.

    Attributes:
        layers: Results, by layer path.
        errors: Errors of layers without results, by layer path.
        images: The top-activating images, by number.
        names: File names of all images, if they are files.
        total: Number of all images.
        digest: Hash of all images, which identifies the dataset.
        sample: Images that links are averaged over.
    """

    layers: dict[str, TopImagesOfLayer]
    errors: dict[str, ValueError]
    images: dict[int, np.ndarray]
    names: list[str] | None = None
    total: int = 0
    digest: str | None = None
    sample: np.ndarray | None = None


def stream_of(name: str, model: keras.Model, source: Any, input_range: tuple) -> Stream:
    """Images for a model, as `top_activating_images` takes them."""
    (tensor,) = Graph.of(model).inputs
    return Stream(name, source, tuple(tensor.shape[1:]), layout_of(tensor), input_range)


def scan_images(
    stream: Stream, model: keras.Model, plans: Sequence[LayerPlan], input_range: tuple, show: bool
) -> DatasetScan:
    """Finds the top-activating images of all layers in one pass."""
    graph = Graph.of(model)
    sample, digest = Sample(_SAMPLE), hashlib.sha256()
    errors: dict[str, ValueError] = {}

    def observed_batches() -> Iterator[np.ndarray]:
        for batch in stream.batches(_BATCH):
            digest.update(f"{batch.dtype}{batch.shape}".encode())
            digest.update(np.ascontiguousarray(batch).tobytes())
            sample.add(batch)
            yield batch

    layers, images = scan_dataset(
        stream_of("images", model, observed_batches(), input_range),
        inputs_for_images(graph, None),
        [
            SelectedFilters(plan.name, graph.find(plan.name, "layers"), list(plan.filters))
            for plan in plans
        ],
        _COUNT,
        device.default_batch_size(),
        show,
        errors.__setitem__,
    )
    return DatasetScan(
        layers, errors, images, stream.names, sample.seen, digest.hexdigest()[:32], sample.images
    )


def as_examples(model: keras.Model, like: Any, input_range: tuple[float, float]) -> Any:
    """Examples as `visualize_filters` takes them, those in a folder read."""
    if not isinstance(like, (str, os.PathLike)):
        return like
    sample = Sample(_EXAMPLES)
    for batch in stream_of("like", model, like, input_range).batches(_BATCH):
        sample.add(batch)
    return sample.images
