"""The user's dataset: a sample, and one pass for top-activating images and a digest."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vis._core.model_inputs import inputs_for_images
from vis.atlas.plan import LayerPlan
from vis.backend import device
from vis.backend.graph import Graph, Target
from vis.backend.layers import WeightCache
from vis.backend.step import ActivationMaps
from vis.data import Dataset
from vis.utils.validation import expect
from vis.visualization.selected_filters import SelectedFilters
from vis.visualization.top_images import TopImagesOfLayer, scan_dataset

_BATCH_SIZE = 16
# Top-activating images of a channel.
_COUNT = 9
# Maximum number of images that relevance and links are averaged over.
_SAMPLE_SIZE = 64


@dataclass(frozen=True)
class DatasetScan:
    """What an atlas shows of a dataset."""

    layers: dict[str, TopImagesOfLayer]  # By layer path.
    errors: dict[str, ValueError]  # Of layers without results, by path.
    images: dict[int, np.ndarray]  # The top-activating images, by number.
    names: list[str] | None = None  # File names of all images, if they are files.
    labels: list[int] | None = None  # Class indices of all images, if they are known.
    total: int = 0  # Number of all images.
    digest: str | None = None  # Identifies the dataset.


def sample_images(dataset: Dataset) -> np.ndarray:
    """Images that relevance and links are averaged over, all of one size."""
    examples = dataset.examples(_SAMPLE_SIZE)
    expect(examples, "images", "hold at least one image", "no images")
    return np.concatenate([x for x in examples if x.shape == examples[0].shape])


def scan_images(
    dataset: Dataset, graph: Graph, plans: Sequence[LayerPlan], input_range: tuple, show: bool
) -> DatasetScan:
    """Finds the top-activating images of all layers in one pass."""
    digest = hashlib.sha256()
    errors: dict[str, ValueError] = {}
    total = 0

    def observed_batches() -> Iterator[np.ndarray]:
        nonlocal total
        for batch in dataset.batches(_BATCH_SIZE):
            digest.update(f"{batch.dtype}{batch.shape}".encode())
            digest.update(np.ascontiguousarray(batch).tobytes())
            total += len(batch)
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
    identity = digest.hexdigest()[:32]
    return DatasetScan(layers, errors, images, dataset.names, dataset.labels, total, identity)


def predict_classes(
    graph: Graph, layer: Target, classes: Sequence[int], images: Mapping[int, np.ndarray]
) -> dict[int, int]:
    """For each image the class with the highest score, of some classes of a layer."""
    inputs, weight_cache = inputs_for_images(graph, None), WeightCache()
    scores = ActivationMaps.of(inputs, [layer])
    predicted: dict[int, int] = {}
    for _, batch in itertools.groupby(sorted(images.items()), lambda item: item[1].shape):
        numbers, arrays = zip(*batch, strict=True)
        for first in range(0, len(numbers), _BATCH_SIZE):
            part = slice(first, first + _BATCH_SIZE)
            values = inputs.complete(np.stack(arrays[part]))
            (batch_scores,) = scores(graph, weight_cache, values, [classes])
            best = np.array(classes)[batch_scores.argmax(axis=1)]
            predicted.update(zip(numbers[part], best.tolist(), strict=True))
    return predicted
