"""One pass over the user's dataset: top-activating images, a sample, and a digest."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vis._core.model_inputs import inputs_for_images
from vis.atlas.plan import LayerPlan
from vis.backend import device
from vis.backend.graph import Graph
from vis.data import Dataset, EvenSample
from vis.visualization.selected_filters import SelectedFilters
from vis.visualization.top_images import TopImagesOfLayer, scan_dataset

_BATCH_SIZE = 16
# Top-activating images of a channel.
_COUNT = 9
# Maximum number of images that links are averaged over.
_SAMPLE_SIZE = 64


@dataclass(frozen=True)
class DatasetScan:
    """What an atlas shows of a dataset."""

    layers: dict[str, TopImagesOfLayer]  # By layer path.
    errors: dict[str, ValueError]  # Of layers without results, by path.
    images: dict[int, np.ndarray]  # The top-activating images, by number.
    names: list[str] | None = None  # File names of all images, if they are files.
    total: int = 0  # Number of all images.
    digest: str | None = None  # Identifies the dataset.
    sample: np.ndarray | None = None  # Images that links are averaged over.


def scan_images(
    dataset: Dataset, graph: Graph, plans: Sequence[LayerPlan], input_range: tuple, show: bool
) -> DatasetScan:
    """Finds the top-activating images of all layers in one pass."""
    sample, digest = EvenSample(_SAMPLE_SIZE), hashlib.sha256()
    errors: dict[str, ValueError] = {}

    def observed_batches() -> Iterator[np.ndarray]:
        for batch in dataset.batches(_BATCH_SIZE):
            digest.update(f"{batch.dtype}{batch.shape}".encode())
            digest.update(np.ascontiguousarray(batch).tobytes())
            sample.add(batch)
            yield batch

    layers, images = scan_dataset(
        Dataset("images", observed_batches(), graph.inputs[0], input_range),
        inputs_for_images(graph, None),
        [SelectedFilters(p.name, graph.find(p.name), list(p.filters)) for p in plans],
        _COUNT,
        device.default_batch_size(),
        show,
        errors.__setitem__,
    )
    first, *others = sample.batches()
    of_one_size = np.concatenate([first, *(x for x in others if x.shape == first.shape)])
    identity = digest.hexdigest()[:32]
    return DatasetScan(layers, errors, images, dataset.names, sample.seen, identity, of_one_size)
