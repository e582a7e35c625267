"""Attributions of classes: of two classes for one image, and the mean over a dataset."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from vis._core.model_inputs import (
    find_input,
    inputs_for_images,
    inputs_to_explain,
    preprocessed,
    tensor_to_explain,
)
from vis.backend.graph import (
    Graph,
    ModelInputs,
    Target,
    channel_axis,
    filters_of,
    spatial_axes,
)
from vis.backend.step import evaluate_tensor
from vis.data import Dataset, examples_of
from vis.losses import FilterActivations
from vis.utils.validation import (
    check_flag,
    check_indices,
    check_input_range,
    check_integer,
    check_kind,
    expect,
    is_iterable,
    require,
)
from vis.visualization.attribution import Attribution, Occlusion
from vis.visualization.attribution.base import sum_of_channels
from vis.visualization.attribution.maps import MAX_BATCH_SIZE


@dataclass(frozen=True, eq=False, repr=False)
class ClassContrast:
    """The attributions of two classes. `vis.plotting.class_contrast` draws them.

    Attributes:
        classes: The two class indices.
        images: The images, or the embeddings of words, `(samples, ...)`.
        first: Attributions of the first class, summed over the channels, `(samples, ...)`.
        second: The same of the second class.
        spatial_axes: The spatial axes of an image.
    """

    classes: tuple[int, int]
    images: np.ndarray
    first: np.ndarray
    second: np.ndarray
    spatial_axes: tuple[int, ...]

    @property
    def difference(self) -> np.ndarray:
        """Attributions of the first class minus those of the second, `(samples, ...)`."""
        return self.first - self.second


@dataclass(frozen=True, eq=False, repr=False)
class ClassAttributions:
    """The mean attributions of classes. `vis.plotting.class_attributions` draws them.

    Attributes:
        classes: The indices of the classes that have images, ascending, `(classes,)`.
        counts: The number of images of each, `(classes,)`.
        maps: Mean attributions of each, summed over the channels, `(classes, ...)`.
        images: The mean image of each, `(classes, ...)`.
        spatial_axes: The spatial axes of an image.
    """

    classes: np.ndarray
    counts: np.ndarray
    maps: np.ndarray
    images: np.ndarray
    spatial_axes: tuple[int, ...]

    @functools.cached_property
    def peaks(self) -> np.ndarray:
        """The position of the highest mean attribution of each class, `(classes, axes)`."""
        flat = self.maps.reshape(len(self.maps), -1).argmax(axis=1)
        return np.stack(np.unravel_index(flat, self.maps.shape[1:]), axis=1)

    @functools.cached_property
    def areas(self) -> np.ndarray:
        """The smallest share of the image with half of the positive attribution, `(classes,)`.

        A small area in the same place of all images of a class may be a shortcut. It is 0.5 for
        attributions that are the same everywhere, and NaN if none is positive.
        """
        flat = np.sort(np.maximum(self.maps.reshape(len(self.maps), -1), 0))[:, ::-1]
        totals = flat.sum(axis=1)
        cells = (flat.cumsum(axis=1) < totals[:, None] / 2).sum(axis=1) + 1
        return np.where(totals > 0, cells / flat.shape[1], np.nan)


def class_contrast(
    model: keras.Model,
    seed_input: np.ndarray,
    classes: Sequence[int],
    method: Attribution | None = None,
    *,
    layer_idx: int | str | keras.Layer = -1,
    input_name: int | str | None = None,
) -> ClassContrast:
    """Class contrast: why one class and not another.

    The scores of both classes are explained by the same method. The difference of their
    attributions is positive where the image speaks for the first class rather than the second. A
    softmax at the end of the layer is skipped.

    Args:
        model: A Keras model.
        seed_input: An image, or a batch of images, as in `Attribution`.
        classes: The indices of two classes. A layer with one unit has the classes 1, whose score is
            its output, and 0, whose score is minus that.
        method: A method of attribution; by default `Occlusion()`.
        layer_idx: The layer of the classes.
        input_name: The input to explain, as in `Attribution`.

    Returns:
        A `ClassContrast`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        >>> image = np.random.default_rng(0).uniform(size=(8, 8, 1))
        >>> contrast = class_contrast(model, image, classes=(0, 2))
        >>> contrast.first.shape, contrast.difference.shape
        ((1, 8, 8), (1, 8, 8))
    """
    graph = Graph.of(model, seed_input)
    layer = graph.find(layer_idx)
    expected = "be the indices of two different classes"
    is_pair = is_iterable(classes) and len(list(classes)) == 2
    require(is_pair, "classes", expected, classes)
    pair = check_indices("classes", classes, _class_count(layer), f"layer '{layer.name}'")
    require(pair[0] != pair[1], "classes", expected, classes)
    method = _check_method(method)
    inputs = inputs_to_explain(
        graph, preprocessed(graph, seed_input), find_input(graph, input_name)
    )
    first, second = (
        _class_maps(graph, layer, method, seed_input, [c] * len(inputs.images), input_name)
        for c in pair
    )
    axes = tuple(axis - 1 for axis in spatial_axes(inputs.varying[0]))
    return ClassContrast((pair[0], pair[1]), inputs.images, first, second, axes)


def class_attributions(
    model: keras.Model,
    images: Any,
    method: Attribution | None = None,
    *,
    layer_idx: int | str | keras.Layer = -1,
    images_per_class: int | None = 50,
    input_range: tuple[float, float] = (0, 255),
    batch_size: int | None = None,
    fixed_inputs: Any = None,
    progress: bool = True,
) -> ClassAttributions:
    """Mean attributions of each class over a dataset: finds shortcuts without knowing where.

    The score of each image's own class is explained. A feature that is in the same place of all
    images of a class, such as a watermark, stands out in the mean; objects that move average out
    (Lapuschkin et al., "Unmasking Clever Hans predictors and assessing what machines really learn",
    Nature Communications 2019, https://doi.org/10.1038/s41467-019-08987-4). A softmax at the end
    of the layer is skipped.

    Args:
        model: A Keras model.
        images: The images, as in `top_activating_images`. The class of an image is its label, an
            index or one-hot, or the name of its subfolder; without labels it is the predicted one.
        method: A method of attribution; by default `Occlusion()`.
        layer_idx: The layer of the classes.
        images_per_class: Maximum number of images of a class, the first ones; None for all.
        input_range: As in `top_activating_images`.
        batch_size: Maximum batch size; by default 32.
        fixed_inputs: As in `top_activating_images`.
        progress: Whether to show a progress bar.

    Returns:
        A `ClassAttributions`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, or if there are no images.

    Example:
        >>> layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        >>> x, y = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)), [0, 0, 0, 1, 1, 1]
        >>> found = class_attributions(model, (x, y), progress=False)
        >>> found.counts, found.maps.shape, found.peaks.shape
        (array([3, 3]), (2, 8, 8), (2, 2))
    """
    graph = Graph.of(model, functools.partial(examples_of, images), fixed_inputs=fixed_inputs)
    layer, method = graph.find(layer_idx), _check_method(method)
    limit = None
    if images_per_class is not None:
        limit = check_integer("images_per_class", images_per_class, least=1)
    batch_size = MAX_BATCH_SIZE if batch_size is None else batch_size
    batch_size = check_integer("batch_size", batch_size, least=1)
    progress = check_flag("progress", progress)
    inputs = inputs_for_images(graph, fixed_inputs)
    given = graph.match("fixed_inputs", fixed_inputs)
    position = next(i for i, value in enumerate(given) if value is None)
    (tensor,) = inputs.varying
    dataset = Dataset("images", images, tensor, check_input_range(input_range))
    count = _class_count(layer)
    sums: dict[int, _Sums] = defaultdict(_Sums)
    seen = 0
    with tqdm(total=dataset.count, disable=not progress, unit="image") as bar:
        for batch in dataset.batches(batch_size):
            if dataset.labels is None:
                classes = _predicted_classes(layer, inputs, preprocessed(graph, batch, None))
            else:
                classes = np.array(dataset.labels[seen : seen + len(batch)])
                expected = f"have labels from 0 to {count - 1}, the classes of '{layer.name}'"
                expect(max(classes) < count, "images", expected, f"a label {max(classes)}")
            seen += len(batch)
            bar.update(len(batch))
            ranks = [sums[c].count + (classes[:i] == c).sum() for i, c in enumerate(classes)]
            used = [i for i, rank in enumerate(ranks) if limit is None or rank < limit]
            if used:
                batch, classes = batch[used], classes[used]
                seeds = [batch if value is None else value for value in given]
                seed_input = seeds if len(seeds) > 1 else batch
                maps = _class_maps(
                    graph, layer, method, seed_input, classes, position, progress=False
                )
                for c in np.unique(classes):
                    sums[c].add(maps[classes == c], batch[classes == c])
            if len(sums) == count and all(own.count == limit for own in sums.values()):
                break
    found = sorted(sums)
    axes = tuple(axis - 1 for axis in spatial_axes(tensor))
    return ClassAttributions(
        np.array(found),
        np.array([sums[c].count for c in found]),
        np.stack([sums[c].maps / sums[c].count for c in found]),
        np.stack([sums[c].images / sums[c].count for c in found]),
        axes,
    )


class _Sums:
    """Sums over the images of a class."""

    def __init__(self) -> None:
        self.count = 0
        self.maps: Any = 0.0
        self.images: Any = 0.0

    def add(self, maps: np.ndarray, images: np.ndarray) -> None:
        is_same = self.count == 0 or self.images.shape == images.shape[1:]
        received = f"images of shapes {np.shape(self.images)} and {images.shape[1:]}"
        expect(is_same, "images", "be of one shape", received)
        self.count += len(images)
        self.maps = self.maps + maps.sum(axis=0, dtype="float64")
        self.images = self.images + images.sum(axis=0, dtype="float64")


def _class_maps(
    graph: Graph,
    layer: Target,
    method: Attribution,
    seed_input: Any,
    classes: Sequence[int] | np.ndarray,
    input_name: int | str | None,
    progress: bool = True,
) -> np.ndarray:
    """The attributions of one class per image, summed over the channels, `(samples, ...)`."""
    if _units(layer) > 1:
        loss = FilterActivations(layer, list(classes))
    else:
        loss = FilterActivations(layer, [0] * len(classes))
        signs = 2 * np.array(classes, "float32") - 1
        loss.parameters["filter_weights"] = signs[:, None]
    attributions = method.attributions(
        graph.model, seed_input, losses=[(loss, -1)], input_name=input_name, progress=progress
    )
    return sum_of_channels(attributions, tensor_to_explain(graph, find_input(graph, input_name)))


def _predicted_classes(layer: Target, inputs: ModelInputs, images: np.ndarray) -> np.ndarray:
    outputs = evaluate_tensor(inputs, layer, images)
    scores = np.moveaxis(outputs, channel_axis(layer, outputs.ndim), 1)
    scores = scores.reshape(*scores.shape[:2], -1).mean(axis=2)
    if scores.shape[1] > 1:
        return scores.argmax(axis=1)
    is_sigmoid = getattr(layer, "activation", None) is keras.activations.sigmoid
    return (scores[:, 0] > (0.5 if is_sigmoid else 0)).astype(int)


def _units(layer: Target) -> int:
    return filters_of(layer)[2]


def _class_count(layer: Target) -> int:
    return max(_units(layer), 2)


def _check_method(method: Attribution | None) -> Attribution:
    return Occlusion() if method is None else check_kind("method", method, Attribution)
