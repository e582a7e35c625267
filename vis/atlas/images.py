"""The user's images: the strongest of them, a sample, and what tells them from others."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np

from vis.atlas.plan import LayerPlan
from vis.backend import device
from vis.backend.graph import Graph
from vis.data import Dataset, EvenSample
from vis.visualization.feeds import Feeds
from vis.visualization.selected_filters import SelectedFilters
from vis.visualization.top_images import TopImagesOfLayer, scan_dataset

_BATCH = 16
# Strongest images of a channel.
_COUNT = 9
# Images that links are averaged over, at most.
_SAMPLE = 64


class DatasetScan(NamedTuple):
    """The top-activating images of layers, and errors of other layers, both by layer path."""

    layers: dict[str, TopImagesOfLayer]
    errors: dict[str, ValueError]
    images: dict[int, np.ndarray]  # The top-activating images by index.
    names: list[str] | None = None
    total: int = 0
    identity: str | None = None
    sample: np.ndarray | None = None


def scan_images(
    dataset: Dataset, model: keras.Model, plans: Sequence[LayerPlan], input_range: tuple, show: bool
) -> DatasetScan:
    """Reads a dataset once."""
    graph = Graph.of(model)
    sample, digest = EvenSample(_SAMPLE), hashlib.sha256()
    errors: dict[str, ValueError] = {}

    def passing() -> Iterator[np.ndarray]:
        for batch in dataset.batches(_BATCH):
            digest.update(f"{batch.dtype}{batch.shape}".encode())
            digest.update(np.ascontiguousarray(batch).tobytes())
            sample.add(batch)
            yield batch

    layers, images = scan_dataset(
        Dataset("images", passing(), graph.inputs[0], input_range),
        Feeds.of(graph, None),
        [
            SelectedFilters(plan.name, graph.find(plan.name, "layers"), list(plan.drawn))
            for plan in plans
        ],
        _COUNT,
        device.images_at_once(),
        show,
        errors.__setitem__,
    )
    identity = digest.hexdigest()[:32]
    # Links are of images of one size.
    first, *others = sample.batches()
    kept = np.concatenate([first, *(batch for batch in others if batch.shape == first.shape)])
    return DatasetScan(layers, errors, images, dataset.names, sample.seen, identity, kept)
