"""The images of a data set that excite the channels of a network most."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from vis.backend import device
from vis.backend.graph import (
    Graph,
    LayerOutput,
    Target,
    filters_of,
    layout_of,
    spatial_axes,
    warn_of_range,
)
from vis.backend.layers import WeightCache
from vis.backend.step import ReceptiveField, maps_of, receptive_fields
from vis.data.streams import Stream
from vis.utils.layout import Layout
from vis.utils.validation import (
    check_flag,
    check_indices,
    check_input_range,
    check_integer,
    require,
)
from vis.visualization.feeds import Feeds
from vis.visualization.receptive_field_boxes import axes_of, box_and_heat


class TopImagesOfLayer(NamedTuple):
    """What excites the channels of one layer most.

    Attributes:
        name: The layer's name.
        filters: The channels that were looked at, `(channels,)`.
        sees: How many pixels the place in the middle of the layer sees along each spatial axis.
        activations: Each channel's greatest activation in each image, `(images, channels)`.
        images: The numbers of the images that excite each channel most, the strongest first,
            `(channels, count)`. Of equals that which comes first in the data.
        values: The activations in these, `(channels, count)`.
        places: Where in the layer's map they are, `(channels, count, axes)`.
        boxes: What these places see, `(channels, count, 2 * axes)`: along each spatial axis of an
            image the first pixel, and then along each axis the pixel behind the last.
        maps: For each channel and each of its images how excited it is all over the box, at most 16
            values along each axis: 0 for the channel's least in the image and 1 for its greatest.
    """

    name: str
    filters: np.ndarray
    sees: tuple[int, ...]
    activations: np.ndarray
    images: np.ndarray
    values: np.ndarray
    places: np.ndarray
    boxes: np.ndarray
    maps: list[list[np.ndarray]]


class TopImages(NamedTuple):
    """What excites the channels of some layers most.

    Attributes:
        layers: For each layer, in the order in which they were given, a `TopImagesOfLayer`.
        pictures: By their numbers the images that are among the strongest, as the model takes them.
        names: The names of all images in order, where they are files, or None.
    """

    layers: list[TopImagesOfLayer]
    pictures: dict[int, np.ndarray]
    names: list[str] | None


def top_activating_images(
    model: keras.Model,
    images: Any,
    layers: Any,
    filters: Any = None,
    count: int = 9,
    input_range: tuple[float, float] = (0, 255),
    batch_size: int | None = None,
    fixed_inputs: Any = None,
    progress: bool = True,
) -> TopImages:
    """Finds the images that excite each channel of some layers most, in one pass over the data.

    How much an image excites a channel is the channel's greatest activation in it, of all places
    (Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901;
    Zhou et al., "Object Detectors Emerge in Deep Scene CNNs", arXiv:1412.6856). What that place
    sees is its receptive field, measured on the network by a gradient. A layer that ends in a
    softmax is looked at before it. The data are read once, and of the images only those are kept
    that are among the strongest. Without a GPU each image is looked at by itself and by one
    thread, so that the numbers do not depend on batches or on how many processors there are.

    Args:
        model: A Keras model.
        images: The images: a folder of them; an array `(images, ...)`; a list of single images; or
            a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator, of images or of batches,
            with or without labels. The channels may be at either end. Of a folder all files in it
            and in folders inside it are read, in the order of their names, and resized to the
            model's input; those that are no images are left out with a warning.
        layers: A layer or a list of layers, each as `layer_idx` in `visualize_activation`.
        filters: An index or a list of indices, or None for all; of several layers a list of these.
        count: How many images to find for each channel; fewer where there are fewer.
        input_range: Lowest and highest value of the model's input, into which the pictures in a
            folder are brought. Other images are taken as they are.
        batch_size: Most images at a time; by default twice as many as processors, or 32 on a GPU.
        fixed_inputs: Values of all inputs but one: a dict by name, or a list with None for that.
        progress: Whether to show a progress bar.

    Returns:
        A `TopImages`: a list with a result for each layer, and the images found.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, or if there are no images.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
        >>> images = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1))
        >>> found = top_activating_images(model, images, -1, count=3, progress=False)
        >>> found.layers[0].images.shape, found.layers[0].sees
        ((2, 3), (3, 3))
        >>> top, left, bottom, right = found.layers[0].boxes[1, 0]
        >>> found.pictures[found.layers[0].images[1, 0]][top:bottom, left:right].shape
        (3, 3, 1)
    """
    graph = Graph.of(model)
    targets, chosen = _targets(graph, layers, filters)
    count = check_integer("count", count, least=1)
    input_range = check_input_range(input_range)
    most = device.images_at_once()
    if batch_size is not None:
        most = check_integer("batch_size", batch_size, least=1)
    feeds = Feeds.of(graph, fixed_inputs)
    show = check_flag("progress", progress)
    axes, shape = spatial_axes(feeds.tensor), tuple(feeds.tensor.shape[1:])
    layout = layout_of(feeds.tensor) if axes else Layout(shape, axes)
    stream = Stream("images", images, shape, layout, input_range)
    results, pictures = scan_dataset(stream, feeds, targets, chosen, count, most, show)
    return TopImages(list(results.values()), pictures, stream.names)


def scan_dataset(
    stream: Stream,
    feeds: Feeds,
    targets: Sequence[Target],
    chosen: Sequence[Sequence[int]],
    count: int,
    most: int,
    show: bool,
    refuse: Callable[[int, ValueError], None] | None = None,
) -> tuple[dict[int, TopImagesOfLayer], dict[int, np.ndarray]]:
    """Looks once at the images of a stream, at most `most` at a time.

    `chosen` has the channels of each of the `targets`, and `count` is how many images are found
    for each channel. A layer that has no finite numbers for an image is an error, or `refuse` is
    told its position and what is wrong, and the other layers are looked at. Of each layer that was
    not refused the result is returned by position, and with them the images.
    """
    graph = feeds.graph
    look, weight_cache = maps_of(graph, targets), WeightCache()
    rankings = {i: _Ranking(indices, count) for i, indices in enumerate(chosen)}
    pictures: dict[int, np.ndarray] = {}
    seen = 0
    with tqdm(total=stream.count, disable=not show, unit="image") as bar:
        for batch in stream.batches(most):
            if not seen:
                warn_of_range(feeds.tensor, batch, "images")
            of_size = Layout(batch.shape[1:], spatial_axes(feeds.tensor))
            looks = receptive_fields(graph, feeds.tensor, targets, of_size)
            maps = look(graph, weight_cache, feeds.shown(batch), chosen)
            for i, (target, sight, found) in enumerate(zip(targets, looks, maps, strict=True)):
                if i not in rankings:
                    continue
                if np.isfinite(found).all():
                    rankings[i].add(seen, found, sight, of_size.spatial_shape)
                    continue
                reason = ValueError(
                    "`model` must make finite numbers of the images. Received: a model whose layer "
                    f"'{target.name}' gives NaN or infinite values"
                )
                if refuse is None:
                    raise reason
                refuse(i, reason)
                del rankings[i]
            wanted = {int(i) for r in rankings.values() for i in np.unique(r.images)}
            pictures = {i: picture for i, picture in pictures.items() if i in wanted}
            # Copies, as a part of a batch keeps all of it.
            pictures |= {i: image.copy() for i, image in enumerate(batch, seen) if i in wanted}
            seen += len(batch)
            bar.update(len(batch))
    return {i: ranking.result(targets[i].name) for i, ranking in rankings.items()}, pictures


class _Ranking:
    """The `count` images that excite each of some channels most, of all that have been seen."""

    def __init__(self, filters: Sequence[int], count: int) -> None:
        self._filters = np.array(filters)
        self._count = count
        self._activations: list[np.ndarray] = []
        self._sees: tuple[int, ...] = ()
        self._values = np.zeros((len(filters), 0), "float32")
        self.images = np.zeros((len(filters), 0), "int64")
        # For each of them what is known of the place: where it is, what it sees, a map of that.
        self._looks = np.zeros((len(filters), 0), object)

    def add(
        self, first: int, maps: np.ndarray, sight: ReceptiveField, pixels: tuple[int, ...]
    ) -> None:
        """Looks at more images, of so many pixels along each spatial axis, from number `first` on.

        `maps` are the channels at each place, `(images, channels, places...)`.
        """
        axes = axes_of(sight, maps.shape[2:], pixels)
        extents = tuple(high - low for low, high in sight.middle)
        self._sees = tuple(map(max, extents, self._sees or extents))
        flat = maps.reshape(*maps.shape[:2], -1)
        at = flat.argmax(axis=2)
        values = np.take_along_axis(flat, at[..., None], axis=2)[..., 0]
        self._activations.append(values)
        known = self._values.shape[1]
        everything = np.concatenate([self._values, values.T], axis=1)
        # Stable, so that of equals the first in the data come first.
        order = np.argsort(-everything, axis=1, kind="stable")[:, : self._count]
        numbers = np.broadcast_to(np.arange(first, first + len(maps)), (len(flat[0]), len(maps)))
        looks = np.concatenate([self._looks, np.empty(numbers.shape, object)], axis=1)
        for channel, place in np.argwhere(order >= known):
            image = order[channel, place] - known
            where = np.unravel_index(at[image, channel], maps.shape[2:])
            seen = box_and_heat(maps[image, channel], axes, where, pixels)
            looks[channel, known + image] = (where, *seen)
        self._values, self.images, self._looks = (
            np.take_along_axis(values, order, axis=1)
            for values in (everything, np.concatenate([self.images, numbers], axis=1), looks)
        )

    def result(self, name: str) -> TopImagesOfLayer:
        """What has been found."""
        places, boxes, maps = (
            [[look[part] for look in of_channel] for of_channel in self._looks] for part in range(3)
        )
        return TopImagesOfLayer(
            name,
            self._filters,
            self._sees,
            np.concatenate(self._activations),
            self.images,
            self._values,
            np.array(places, "int64"),
            np.array(boxes, "int64"),
            maps,
        )


def _targets(graph: Graph, layers: Any, filters: Any) -> tuple[list[Target], list[list[int]]]:
    """The layers that are looked at, and of each its channels."""
    several = isinstance(layers, (list, tuple)) and not isinstance(layers, LayerOutput)
    targets = [graph.find(layer, "layers") for layer in (layers if several else [layers])]
    require(targets, "layers", "hold at least one layer", layers)
    each = filters if several and filters is not None else [filters] * len(targets)
    fit = isinstance(each, (list, tuple)) and len(each) == len(targets)
    expected = f"be None, or a list with the filters of each of the {len(targets)} layers"
    require(fit, "filters", expected, filters)
    chosen = []
    for target, of_layer in zip(targets, each, strict=True):
        graph.check_has("layers", target)
        _, _, count = filters_of(target)
        own = range(count) if of_layer is None else of_layer
        chosen.append(check_indices("filters", own, count, of=f"layer '{target.name}'"))
    return targets, chosen
