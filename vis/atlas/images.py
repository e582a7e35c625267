"""The user's images: the strongest of them, a sample, and what tells them from others."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from vis._core.model_inputs import inputs_for_images
from vis.atlas.plan import LayerPlan
from vis.backend import device
from vis.backend.graph import Graph
from vis.data import Dataset, EvenSample
from vis.visualization.selected_filters import SelectedFilters
from vis.visualization.top_images import TopImagesOfLayer, scan_dataset

_BATCH = 16
# Strongest images of a channel.
_COUNT = 9
# Images that links are averaged over, at most.
_SAMPLE = 64


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


def scan_images(
    dataset: Dataset, model: keras.Model, plans: Sequence[LayerPlan], input_range: tuple, show: bool
) -> DatasetScan:
    """Finds the top-activating images of all layers in one pass."""
    graph = Graph.of(model)
    sample, digest = EvenSample(_SAMPLE), hashlib.sha256()
    errors: dict[str, ValueError] = {}

    def observed_batches() -> Iterator[np.ndarray]:
        for batch in dataset.batches(_BATCH):
            digest.update(f"{batch.dtype}{batch.shape}".encode())
            digest.update(np.ascontiguousarray(batch).tobytes())
            sample.add(batch)
            yield batch

    layers, images = scan_dataset(
        Dataset("images", observed_batches(), graph.inputs[0], input_range),
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
    first, *others = sample.batches()
    of_one_size = [first, *(image for image in others if image.shape == first.shape)]
    sample_images = np.concatenate(of_one_size)
    return DatasetScan(
        layers, errors, images, dataset.names, sample.seen, digest.hexdigest()[:32], sample_images
    )
