"""Top-activating images: the images of a dataset with the highest activation of each channel."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from vis._core.model_inputs import inputs_for_images, preprocessed
from vis.backend import device
from vis.backend.graph import Graph, ModelInputs, spatial_axes, warn_of_range
from vis.backend.layers import WeightCache
from vis.backend.step import ActivationMaps
from vis.data import Dataset, examples_of
from vis.utils.layout import Layout
from vis.utils.validation import check_flag, check_input_range, check_integer, require, warn
from vis.visualization.position_grid import PositionGrid
from vis.visualization.selected_filters import SelectedFilters, select_filters


@dataclass(frozen=True, eq=False, repr=False)
class TopImagesOfLayer:
    """The top-activating images of the channels of one layer.

    Attributes:
        name: The layer's path in the model.
        filters: Indices of the channels in the layer, `(channels,)`.
        receptive_field: Size in pixels of the receptive field of the position in the middle of the
            layer, along each spatial axis.
        activations: Each channel's maximum over all positions in each image, `(images, channels)`.
        indices: Indices of the images with the highest activations of each channel, the highest
            first, `(channels, count)`. Ties go to the earlier image.
        values: The activations in these images, `(channels, count)`.
        positions: The positions of these activations in the layer's output,
            `(channels, count, axes)`.
        boxes: Receptive fields of these positions, clipped to the image,
            `(channels, count, 2 * axes)`: the first pixel along each spatial axis, then one past
            the last along each.
        heatmaps: For each channel, a list with the channel's activation over the box of each image,
            at most 16 values along each axis, scaled so that the channel's minimum in the image is
            0 and its maximum 1.
        images: The images by index, as in `TopImages`.
        spatial_axes: The spatial axes of an image.
    """

    name: str
    filters: np.ndarray
    receptive_field: tuple[int, ...]
    activations: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    boxes: np.ndarray
    heatmaps: list[list[np.ndarray]]
    images: Mapping[int, np.ndarray]
    spatial_axes: tuple[int, ...]

    @property
    def inactive(self) -> list[int]:
        """The channels whose activation is the same in all images, so that none is a top image."""
        if len(self.activations) < 2:
            return []
        return self.filters[np.ptp(self.activations, axis=0) == 0].tolist()

    def crop(self, channel: int, rank: int = 0) -> np.ndarray:
        """The part of a top-activating image that activates a channel.

        Args:
            channel: Index of the channel in the layer.
            rank: Rank of the image among those of the channel, 0 for the highest activation.

        Returns:
            The pixels in the receptive field of the position with the highest activation, clipped
            to the image, in the model's data format.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If the channel was not selected, or there is no image of this rank.
        """
        channel, rank = check_integer("channel", channel, least=0), check_integer("rank", rank, 0)
        selected = self.filters.tolist()
        require(channel in selected, "channel", f"be one of {selected}", channel)
        row, count = selected.index(channel), self.indices.shape[1]
        require(rank < count, "rank", f"be less than the number of images, {count}", rank)
        image, box = self.images[int(self.indices[row, rank])], self.boxes[row, rank]
        crop = [slice(None)] * image.ndim
        for axis, start, stop in zip(self.spatial_axes, *np.split(box, 2), strict=True):
            crop[axis] = slice(start, stop)
        return image[tuple(crop)]


@dataclass(frozen=True, eq=False, repr=False)
class TopImages(Mapping):
    """The top-activating images of some layers: a mapping from the layers' names.

    `found["block/conv"]` is the `TopImagesOfLayer` of the layer with this path. If no other layer
    has the same name, `found["conv"]` is the same.

    Attributes:
        layers: A `TopImagesOfLayer` for each layer, in the order of the argument.
        images: The top-activating images of all layers by index, as the model takes them.
        names: The file names of all images in order, or None if they are not files.
        labels: The class index of each image in order, or None if the dataset has no classes.
    """

    layers: list[TopImagesOfLayer]
    images: dict[int, np.ndarray]
    names: list[str] | None
    labels: list[int] | None

    def __getitem__(self, name: str) -> TopImagesOfLayer:
        """The result for a layer, by its path or its name."""
        paths = list(self)
        matches = [i for i, path in enumerate(paths) if path == name] or [
            i for i, path in enumerate(paths) if path.endswith(f"/{name}")
        ]
        if len(matches) == 1:
            return self.layers[matches[0]]
        raise KeyError(f"{name!r} must be one of the layers {paths}")

    def __iter__(self) -> Iterator[str]:
        """The layers' paths."""
        return (layer.name for layer in self.layers)

    def __len__(self) -> int:
        """The number of layers."""
        return len(self.layers)


def top_activating_images(
    model: keras.Model,
    images: Any,
    layers: Any,
    filters: Any = None,
    *,
    count: int = 9,
    input_range: tuple[float, float] = (0, 255),
    batch_size: int | None = None,
    fixed_inputs: Any = None,
    progress: bool = True,
) -> TopImages:
    """Finds the images of a dataset with the highest activation of each channel, in one pass.

    A channel's activation in an image is its maximum over all positions (Zeiler & Fergus,
    "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901; Zhou et al., "Object
    Detectors Emerge in Deep Scene CNNs", arXiv:1412.6856). The receptive field of that position is
    measured by a gradient. If a layer ends in a softmax, its logits are used. Only the
    top-activating images are kept in memory. Without a GPU, each image runs through the network by
    itself in one thread, so that results do not depend on batches or the number of processors.

    Args:
        model: A Keras model.
        images: The images: a folder; an array `(images, ...)`, or a pair `(images, labels)`; or a
            list, a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator, of images or
            batches, with or without labels. The channels may be first or last. A folder is read
            with its subfolders in the order of file names, and images are resized to the model's
            input; other files are skipped with a warning.
        layers: A layer or a list of layers, each as `layer_idx` in `visualize_activation`.
        filters: Channels of the layer: an index, a list of indices, or None for all. For a list of
            layers: a list with one of these for each layer, a dict by layer, or None.
        count: Number of images to find for each channel, if there are as many.
        input_range: Lowest and highest value of the model's input. Images in a folder are scaled to
            it; other images are used as they are.
        batch_size: Maximum batch size; by default twice the number of processors, or 32 on a GPU.
        fixed_inputs: Values of the other inputs: a dict by name, or a list with None for the image.
        progress: Whether to show a progress bar.

    Returns:
        A `TopImages`, a mapping from the name of each layer to a `TopImagesOfLayer`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, or if there are no images.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="a")])
        >>> images = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1))
        >>> found = top_activating_images(model, images, "a", count=3, progress=False)
        >>> found["a"].indices.shape, found["a"].receptive_field
        ((2, 3), (3, 3))
        >>> found["a"].crop(channel=1, rank=0).shape
        (3, 3, 1)
    """
    graph = Graph.of(model, functools.partial(examples_of, images), fixed_inputs=fixed_inputs)
    selected = select_filters(graph, "layers", layers, "filters", filters)
    count = check_integer("count", count, least=1)
    input_range = check_input_range(input_range)
    batch_size = device.default_batch_size() if batch_size is None else batch_size
    batch_size = check_integer("batch_size", batch_size, least=1)
    progress = check_flag("progress", progress)
    inputs = inputs_for_images(graph, fixed_inputs)
    dataset = Dataset("images", images, inputs.varying[0], input_range)
    results, top_images = scan_dataset(dataset, inputs, selected, count, batch_size, progress)
    _warn_of_inactive(list(results.values()))
    return TopImages(list(results.values()), top_images, dataset.names, dataset.labels)


def _warn_of_inactive(results: Sequence[TopImagesOfLayer]) -> None:
    found = [(layer, channels) for layer in results if (channels := layer.inactive)]
    if found:
        listed = " and ".join(f"channels {channels} of '{layer.name}'" for layer, channels in found)
        layer, channels = found[0]
        value = layer.activations[0, layer.filters.tolist().index(channels[0])]
        warn(
            f"`images` should activate all channels, but {listed} have one and the same activation "
            "in all of them: their top images are the first ones, and show nothing. "
            f"Received: {len(layer.activations)} images with an activation of {value:.3g}"
        )


def scan_dataset(
    dataset: Dataset,
    inputs: ModelInputs,
    selected: Sequence[SelectedFilters],
    count: int,
    batch_size: int,
    progress: bool,
    on_error: Callable[[str, ValueError], None] | None = None,
) -> tuple[dict[str, TopImagesOfLayer], dict[int, np.ndarray]]:
    """Runs the images of a dataset through a network once, in batches of at most `batch_size`.

    Returns the result of each layer by path, with the `count` top images of each channel, and the
    images by index. Activations that are not finite raise an error; if there is `on_error`, it is
    called with the layer's path and the error, and the scan goes on with the other layers.
    """
    graph, (tensor,) = inputs.graph, inputs.varying
    layers = [filters.layer for filters in selected]
    channels = [filters.indices for filters in selected]
    activation_maps, weight_cache = ActivationMaps.of(inputs, layers), WeightCache()
    rankings = {filters.path: _Ranking(filters.indices, count) for filters in selected}
    axes = spatial_axes(tensor)
    images: dict[int, np.ndarray] = {}
    seen = 0
    with tqdm(total=dataset.count, disable=not progress, unit="image") as bar:
        for batch in dataset.batches(batch_size):
            if not seen:
                warn_of_range(tensor, batch, "images")
            values = preprocessed(graph, batch, None if seen else "images")
            layout = Layout(batch.shape[1:], axes)
            grids = [PositionGrid.of(inputs, layer, layout) for layer in layers]
            maps = activation_maps(graph, weight_cache, inputs.complete(values), channels)
            for (path, layer, _), grid, values in zip(selected, grids, maps, strict=True):
                if path not in rankings:
                    continue
                if np.isfinite(values).all():
                    rankings[path].add(seen, values, grid)
                    continue
                error = ValueError(
                    "`model` must have finite activations for the images. Received: a model whose "
                    f"layer '{layer.name}' gives NaN or infinite values"
                )
                if on_error is None:
                    raise error
                on_error(path, error)
                del rankings[path]
            top = {int(i) for r in rankings.values() for i in np.unique(r.indices)}
            images = {i: image for i, image in images.items() if i in top}
            # A view would keep the whole batch in memory.
            images |= {i: image.copy() for i, image in enumerate(batch, seen) if i in top}
            seen += len(batch)
            bar.update(len(batch))
    image_axes = tuple(axis - 1 for axis in axes)
    results = {path: r.result(path, images, image_axes) for path, r in rankings.items()}
    return results, images


class _Ranking:
    """The images with the highest activation of each of some channels, among those seen so far."""

    def __init__(self, filters: Sequence[int], count: int) -> None:
        self._filters = np.array(filters)
        self._count = count
        self._activations: list[np.ndarray] = []
        self._receptive_field: tuple[int, ...] = ()
        self._values = np.zeros((len(filters), 0), "float32")
        self.indices = np.zeros((len(filters), 0), "int64")
        # For each of these images the position, its box and the heatmap.
        self._details = np.zeros((len(filters), 0), object)

    def add(self, first: int, maps: np.ndarray, grid: PositionGrid) -> None:
        """Adds images, with `first` the index of the first one.

        `maps` holds the channels' activations, `(images, channels, positions...)`.
        """
        field = grid.receptive_field
        self._receptive_field = tuple(map(max, field, self._receptive_field or field))
        flat = maps.reshape(*maps.shape[:2], -1)
        argmax = flat.argmax(axis=2)
        new_values = np.take_along_axis(flat, argmax[..., None], axis=2)[..., 0]
        self._activations.append(new_values)
        known = self._values.shape[1]
        values = np.concatenate([self._values, new_values.T], axis=1)
        # Stable, so that ties go to the earlier image.
        order = np.argsort(-values, axis=1, kind="stable")[:, : self._count]
        new_indices = np.broadcast_to(np.arange(first, first + len(maps)), new_values.T.shape)
        indices = np.concatenate([self.indices, new_indices], axis=1)
        details = np.concatenate([self._details, np.empty(new_indices.shape, object)], axis=1)
        for channel, rank in np.argwhere(order >= known):
            image = order[channel, rank] - known
            position = np.unravel_index(argmax[image, channel], maps.shape[2:])
            box, heatmap = grid.box_and_heatmap(maps[image, channel], position)
            details[channel, known + image] = (position, box, heatmap)
        self._values, self.indices, self._details = (
            np.take_along_axis(array, order, axis=1) for array in (values, indices, details)
        )

    def result(
        self, name: str, images: Mapping[int, np.ndarray], spatial_axes: tuple[int, ...]
    ) -> TopImagesOfLayer:
        """The ranking as a result."""
        positions, boxes, heatmaps = (
            [[details[part] for details in row] for row in self._details] for part in range(3)
        )
        return TopImagesOfLayer(
            name,
            self._filters,
            self._receptive_field,
            np.concatenate(self._activations),
            self.indices,
            self._values,
            np.array(positions, "int64"),
            np.array(boxes, "int64"),
            heatmaps,
            images,
            spatial_axes,
        )
