"""The plan of an atlas: its layers, their channels, and the size of their pictures."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis._core.model_inputs import inputs_for_images
from vis.atlas.image_files import suffix_of
from vis.atlas.links import direct_predecessors
from vis.backend.graph import (
    Graph,
    LayerOutput,
    filters_of,
    geometry_of,
    is_container,
    layout_of,
    unique_path_to,
)
from vis.backend.private import operation_of
from vis.backend.step import accepts_shape
from vis.utils.layout import Layout
from vis.utils.validation import (
    check_indices,
    check_integer,
    is_iterable,
    require,
)

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)
_MERGES = (keras.layers.Add, keras.layers.Concatenate)
# Networks with more convolutions are shown by the outputs of their blocks.
_MAX_CONVOLUTIONS = 16
_MAX_BLOCKS = 24
# Pixels. Larger pictures of inner channels take longer and show little more.
_MAX_PICTURE_SIZE = 128


class LayerPlan(NamedTuple):
    """A layer of an atlas, also as the pages receive it. Sizes are `(height, width)` in pixels."""

    name: str  # Path of the layer, as `layer_idx` takes it.
    class_name: str
    output_shape: tuple[int | None, ...]  # Without the batch axis.
    filter_count: int
    filters: tuple[int, ...]  # Channels in the atlas, ascending; none until they are chosen.
    by_relevance: bool  # Whether these are the channels that the classes depend on most.
    is_classes: bool
    picture_size: tuple[int, int]
    receptive_field: tuple[int, int] | None  # None is the whole image.
    predecessors: tuple[int, ...]  # Positions, in the atlas, of the layers directly before it.

    @property
    def suffix(self) -> str:
        """The suffix of the pictures' files."""
        return suffix_of(*self.picture_size)


def plan_layers(
    graph: Graph,
    layers: Any,
    filters: Any,
    max_filters: Any,
    classes: Any,
    max_classes: Any,
    image_size: Any,
    like: Any,
) -> list[LayerPlan]:
    """Checks these arguments of `draw_atlas`, and plans its layers in the order of the network.

    Layers before the classes with more than `max_filters` channels have none yet, unless `filters`
    gives them: those that the classes depend on most are chosen later.
    """
    image = _image_layout(graph)
    size = _inner_picture_size(image, image_size, like)
    by_path = _requested_layers(graph, layers)
    class_layer = class_layer_of(graph)
    inner_paths = [path for path, layer in by_path.items() if layer is not class_layer]
    filters_by_path = _filters_by_path(graph, filters, inner_paths)
    has_classes = len(inner_paths) < len(by_path)
    upstream = graph.upstream(class_layer) if has_classes else set()
    plans = []
    predecessors = direct_predecessors(graph, list(by_path.values()))
    for (path, layer), positions in zip(by_path.items(), predecessors, strict=True):
        shape, _, count = filters_of(layer)
        is_classes, by_relevance = layer is class_layer, False
        if is_classes:
            indices = _select("classes", classes, max_classes, count, path)
        else:
            indices = _select("filters", filters_by_path[path], max_filters, count, path)
            by_relevance = (
                filters_by_path[path] is None and len(indices) < count and id(layer) in upstream
            )
        plan = LayerPlan(
            name=path,
            class_name=type(layer).__name__,
            output_shape=tuple(shape[1:]),
            filter_count=count,
            filters=() if by_relevance else indices,
            by_relevance=by_relevance,
            is_classes=is_classes,
            picture_size=_accepted_size(graph, layer, image, size),
            receptive_field=_receptive_field(graph, layer, image),
            predecessors=tuple(positions),
        )
        plans.append(plan)
    return plans


def default_layers(model: keras.Model) -> list[str]:
    """The layers that `draw_atlas` draws by default.

    All convolutions of a small network, or the outputs of a large network's blocks, and the
    classes. A block ends at a merge, or before the resolution changes.

    Args:
        model: A Keras model with one input: images with one channel or three.

    Returns:
        Paths of the layers, in the order of the network.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If its input is not an image.

    Example:
        >>> edges = keras.layers.Conv2D(4, 3, name="edges")
        >>> classes = keras.layers.Dense(3, name="classes")
        >>> layers = [keras.Input((16, 16, 1)), edges, keras.layers.Flatten(), classes]
        >>> default_layers(keras.Sequential(layers))
        ['edges', 'classes']
    """
    graph = Graph.of(model)
    _image_layout(graph)
    return [unique_path_to(model, layer) for layer in _default_layers(graph)]


def with_channels(
    plans: Sequence[LayerPlan], channels: Mapping[str, Sequence[int]]
) -> list[LayerPlan]:
    """The plans with the channels that were chosen for layers that have none, by path."""
    return [
        plan if plan.filters else plan._replace(filters=tuple(channels.get(plan.name, ())))
        for plan in plans
    ]


def all_predecessors(plans: Sequence[LayerPlan], position: int) -> list[int]:
    """Positions of all layers before one, ascending."""
    visited: set[int] = set()
    queue = [position]
    while queue:
        new = set(plans[queue.pop()].predecessors) - visited
        visited |= new
        queue += new
    return sorted(visited)


def _image_layout(graph: Graph) -> Layout:
    """Layout of the model's only input, which must be a gray or color image."""
    layout = layout_of(graph.inputs[0]) if len(graph.inputs) == 1 else None
    if layout is None or len(layout.axes) != 2 or layout.channels not in (1, 3):
        shapes = [tuple(tensor.shape) for tensor in graph.inputs]
        raise ValueError(
            "`model` must have one input: images with one channel or three. "
            f"Received: a model with inputs of shapes {shapes}"
        )
    return layout


def _inner_picture_size(image: Layout, image_size: Any, like: Any) -> tuple[int, int]:
    """Size of the pictures of inner channels, if the network accepts it."""
    height, width = image.spatial_shape
    if image_size is None:
        limit = _MAX_PICTURE_SIZE if like is None else max(height, width)
        return min(limit, height), min(limit, width)
    expected = "be None together with `like`, whose pictures have the size of the model's input"
    require(like is None, "image_size", expected, image_size)
    return (check_integer("image_size", image_size, least=1),) * 2


def _requested_layers(graph: Graph, layers: Any) -> dict[str, keras.Layer]:
    """The layers by path, in the order of the network."""
    if layers is None:
        requested = list(_default_layers(graph))
        expected = "be given for a model without convolutions and classes in its own graph"
    else:
        listed = layers if is_iterable(layers) else [layers]
        requested = [graph.find(layer, "layers") for layer in listed]
        expected = "hold at least one layer"
    require(requested, "layers", expected, layers)
    for layer in requested:
        expected = "be layers, names, paths or indices; an atlas shows the first call of a layer"
        require(not isinstance(layer, LayerOutput), "layers", expected, layer, TypeError)
    order = {id(layer): i for i, layer in enumerate(graph.layers())}
    by_path = {unique_path_to(graph.model, layer): layer for layer in requested}
    return dict(sorted(by_path.items(), key=lambda item: order.get(id(item[1]), len(order))))


def _default_layers(graph: Graph) -> Iterator[keras.Layer]:
    shapes = [
        (layer, filters_of(layer)[0])
        for layer in graph.layers()
        if graph.in_graph(layer) and _has_one_output(layer)
    ]
    convolutions = [
        (layer, shape[1:3])
        for layer, shape in shapes
        if isinstance(layer, _CONVOLUTIONS) and len(shape) == 4
    ]
    chosen = [layer for layer, _ in convolutions]
    if len(chosen) > _MAX_CONVOLUTIONS:
        neighbours = itertools.pairwise(convolutions)
        ends = [layer for (layer, size), (_, next_size) in neighbours if size != next_size]
        chosen = [layer for layer, _ in shapes if isinstance(layer, _MERGES) or layer in ends]
        if len(chosen) > _MAX_BLOCKS:
            evenly = np.linspace(0, len(chosen) - 1, _MAX_BLOCKS).round().astype(int)
            chosen = [chosen[i] for i in evenly]
    yield from chosen
    class_layer = class_layer_of(graph)
    if class_layer is not None and class_layer not in chosen:
        yield class_layer


def class_layer_of(graph: Graph) -> keras.Layer | None:
    """The layer of the model's only output, if that is one number for each class."""
    if graph.subclassed_model is not None:
        layer = graph.layers()[-1]
        return layer if _has_classes(layer) else None
    outputs = graph.outputs
    while len(outputs) == 1:
        operation = operation_of(outputs[0])
        if not is_container(operation):
            return operation if _has_classes(operation) else None
        outputs = operation.outputs
    return None


def _has_classes(operation: Any) -> bool:
    is_layer = isinstance(operation, keras.Layer) and _has_one_output(operation)
    return is_layer and len(filters_of(operation)[0]) == 2


def _has_one_output(layer: keras.Layer) -> bool:
    try:
        filters_of(layer)
    except ValueError:
        return False
    return not isinstance(layer, keras.layers.InputLayer)


def _filters_by_path(graph: Graph, filters: Any, paths: Sequence[str]) -> dict[str, Any]:
    """The requested indices of each layer, or None for its first channels."""
    if not isinstance(filters, Mapping):
        return dict.fromkeys(paths, filters)
    by_path = {}
    for layer, indices in filters.items():
        target = LayerOutput.of(graph.find(layer, "filters")).layer
        by_path[unique_path_to(graph.model, target)] = indices
    expected = f"be for inner layers of the atlas: {list(paths)}"
    require(by_path.keys() <= {*paths}, "filters", expected, filters)
    return {path: by_path.get(path) for path in paths}


def _select(name: str, indices: Any, limit: Any, count: int, path: str) -> tuple[int, ...]:
    """Requested indices in ascending order, or the first ones up to a limit."""
    limit = count if limit is None else check_integer(f"max_{name}", limit, least=1)
    if indices is None:
        return tuple(range(min(count, limit)))
    return tuple(sorted(set(check_indices(name, indices, count, of=f"layer '{path}'"))))


def _accepted_size(
    graph: Graph, layer: keras.Layer, image: Layout, size: tuple[int, int]
) -> tuple[int, int]:
    """The requested size, if the network accepts it up to the layer, or the input's own size."""
    layout = image.resized(size)
    has_map = len(filters_of(layer)[0]) > 2
    is_accepted = has_map and (
        layout == image or accepts_shape(graph, graph.inputs[0], layer, layout.shape)
    )
    height, width = (layout if is_accepted else image).spatial_shape
    return height, width


def _receptive_field(graph: Graph, layer: keras.Layer, image: Layout) -> tuple[int, int] | None:
    if len(filters_of(layer)[0]) < 3:
        return None
    geometry = geometry_of(inputs_for_images(graph, None), layer, image.shape)
    sizes = dict(zip(image.axes, image.spatial_shape, strict=True))
    height, width = geometry.receptive_field(sizes)
    return None if (height, width) >= image.spatial_shape else (height, width)
