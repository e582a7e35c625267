"""What an atlas is of: which layers and channels, at which size, and what they are called."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.atlas.links import directly_before
from vis.backend.graph import Graph, LayerOutput, filters_of, is_container, layout_of, path_to
from vis.backend.private import operation_of
from vis.backend.step import accepts, receptive_field
from vis.utils.imagenet import imagenet_classes
from vis.utils.layout import Layout
from vis.utils.validation import check_indices, check_integer, is_iterable

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
)
_MERGES = (keras.layers.Add, keras.layers.Concatenate)
# Of a network with more convolutions the outputs of its blocks say more.
_FEW_CONVOLUTIONS = 16
_MOST_BLOCKS = 24
# Larger pictures of inner channels cost more, and show little more.
_LARGEST = 128


class LayerPlan(NamedTuple):
    """A layer of an atlas, as its pages are told of it. Sizes are height and width."""

    # The path that `layer_idx` finds it by.
    name: str
    # The layer's class.
    kind: str
    # That of its output, without the samples.
    shape: tuple[int | None, ...]
    channels: int
    # The indices of the channels in the atlas, ascending, and what these are called.
    drawn: tuple[int, ...]
    labels: tuple[str, ...] | None
    # Whether it is the model's output.
    is_classes: bool
    # That of its pictures.
    size: tuple[int, int]
    # How much of an image one of its places sees; None for all of it.
    sees: tuple[int, int] | None
    # The positions, in the atlas, of the layers directly before it.
    before: tuple[int, ...]


def picture_size(model: keras.Model, image_size: Any, has_examples: bool) -> tuple[int, int]:
    """Height and width of the pictures of inner channels, or an error where the user's cannot be.

    Pictures that are to be like examples have the size of these.
    """
    height, width = _image_layout(Graph.of(model)).spatial_shape
    if image_size is None:
        most = max(height, width) if has_examples else _LARGEST
        return min(most, height), min(most, width)
    if has_examples:
        raise ValueError(
            "`image_size` must not be given together with `like`, whose pictures have the size "
            f"of the model's input. Received: image_size={image_size!r}"
        )
    return (check_integer("image_size", image_size, least=1),) * 2


def plan_layers(
    model: keras.Model, layers: Any, filters: Any, classes: Any, size: tuple[int, int], labels: Any
) -> list[LayerPlan]:
    """The layers of an atlas, in the order of the network.

    The arguments are those of `draw_atlas`, but for `size`: that of the pictures of inner
    channels, where the network takes it. What is wrong with them is said here.
    """
    graph = Graph.of(model)
    own = _image_layout(graph)
    if layers is None:
        found = list(_default_layers(graph))
        if not found:
            raise ValueError(
                "`layers` must be given for a model whose own graph shows no convolution and no "
                f"classes. Received: layers=None, for '{model.name}'"
            )
    else:
        listed = layers if is_iterable(layers) else [layers]
        found = [graph.find(layer, "layers") for layer in listed]
    if not found:
        raise ValueError("`layers` must hold at least one layer. Received: layers=[]")
    for layer in found:
        if isinstance(layer, LayerOutput):
            raise TypeError(
                "`layers` must be layers as a whole, of which the first call is drawn. "
                f"Received: {layer!r}"
            )
    order = {id(layer): i for i, layer in enumerate(graph.layers())}
    found = list({path_to(model, layer): layer for layer in found}.items())
    found.sort(key=lambda pair: order.get(id(pair[1]), len(order)))
    before = directly_before(graph, [layer for _, layer in found])
    last = _output_layer(graph)
    plans = []
    for (path, layer), earlier in zip(found, before, strict=True):
        shape, _, count = filters_of(layer)
        is_classes = layer is last and len(shape) == 2
        wanted = classes if is_classes else filters
        drawn = _drawn("classes" if is_classes else "filters", wanted, count, path)
        plans.append(
            LayerPlan(
                path,
                type(layer).__name__,
                tuple(shape[1:]),
                count,
                drawn,
                _labels(labels, count, drawn) if is_classes else None,
                is_classes,
                _size(graph, layer, own, own.spatial_shape if is_classes else size),
                _sees(graph, layer, own),
                tuple(earlier),
            )
        )
    if labels is not None and not any(plan.is_classes for plan in plans):
        raise ValueError(
            "`labels` must go with `layers` that hold the layer of the classes, the last one. "
            f"Received: labels, for the layers {[plan.name for plan in plans]}"
        )
    return plans


def default_layers(model: keras.Model) -> list[str]:
    """The layers that an atlas is of unless somebody says which.

    They are every convolution of a small network, the outputs of a large one's blocks, and the
    classes. A block ends where branches meet, or where what follows is smaller.

    Args:
        model: A Keras model that takes images.

    Returns:
        Their paths, in the order of the network.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If it takes no images.

    Example:
        >>> edges = keras.layers.Conv2D(4, 3, name="edges")
        >>> classes = keras.layers.Dense(3, name="classes")
        >>> layers = [keras.Input((16, 16, 1)), edges, keras.layers.Flatten(), classes]
        >>> default_layers(keras.Sequential(layers))
        ['edges', 'classes']
    """
    graph = Graph.of(model)
    _image_layout(graph)
    return [path_to(model, layer) for layer in _default_layers(graph)]


def _default_layers(graph: Graph) -> Iterator[keras.Layer]:
    shapes = [
        (layer, filters_of(layer)[0])
        for layer in graph.layers()
        if graph.in_graph(layer) and _has_one_output(layer)
    ]
    convolved = [
        (layer, shape[1:3])
        for layer, shape in shapes
        if isinstance(layer, _CONVOLUTIONS) and len(shape) == 4
    ]
    chosen = [layer for layer, _ in convolved]
    if len(chosen) > _FEW_CONVOLUTIONS:
        neighbours = itertools.pairwise(convolved)
        ends = [layer for (layer, size), (_, following) in neighbours if size != following]
        chosen = [layer for layer, _ in shapes if isinstance(layer, _MERGES) or layer in ends]
        if len(chosen) > _MOST_BLOCKS:
            spread = np.linspace(0, len(chosen) - 1, _MOST_BLOCKS).round().astype(int)
            chosen = [chosen[i] for i in spread]
    yield from chosen
    last = _output_layer(graph)
    if last is not None and last not in chosen and len(filters_of(last)[0]) == 2:
        yield last


def all_before(plans: Sequence[LayerPlan], position: int) -> list[int]:
    """The positions of all layers that lie before one, ascending."""
    found: set[int] = set()
    ahead = [position]
    while ahead:
        new = set(plans[ahead.pop()].before) - found
        found |= new
        ahead += new
    return sorted(found)


def _image_layout(graph: Graph) -> Layout:
    """How an image lies in the input of a model that takes one, in grey or in colour."""
    layout = layout_of(graph.inputs[0]) if len(graph.inputs) == 1 else None
    if layout is None or len(layout.axes) != 2 or layout.channels not in (1, 3):
        shapes = [tuple(tensor.shape) for tensor in graph.inputs]
        raise ValueError(
            "`model` must take images, with one channel or three, and nothing else. "
            f"Received: a model with inputs of shapes {shapes}"
        )
    return layout


def _has_one_output(layer: keras.Layer) -> bool:
    try:
        filters_of(layer)
    except ValueError:
        return False
    return not isinstance(layer, keras.layers.InputLayer)


def _output_layer(graph: Graph) -> keras.Layer | None:
    """The layer that makes the model's only output, that of nested models inside them."""
    if graph.subclassed_model is not None:
        last = graph.layers()[-1]
        return last if _has_one_output(last) else None
    outputs = graph.outputs
    while len(outputs) == 1:
        operation = operation_of(outputs[0])
        if not is_container(operation):
            is_layer = isinstance(operation, keras.Layer) and _has_one_output(operation)
            return operation if is_layer else None
        outputs = operation.outputs
    return None


def _drawn(name: str, wanted: Any, count: int, path: str) -> tuple[int, ...]:
    if wanted is None:
        return tuple(range(count))
    if is_iterable(wanted):
        return tuple(sorted(set(check_indices(name, wanted, count, of=f"layer '{path}'"))))
    return tuple(range(min(count, check_integer(name, wanted, least=1))))


def _labels(labels: Any, count: int, drawn: Sequence[int]) -> tuple[str, ...] | None:
    if labels is None:
        known = [name for _, name in imagenet_classes()]
        return tuple(known[i].replace("_", " ") for i in drawn) if count == len(known) else None
    if not is_iterable(labels) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"`labels` must be a list of names. Received: labels={labels!r}")
    named = list(labels)
    if len(named) != count:
        raise ValueError(
            f"`labels` must have a name for each of the {count} classes. "
            f"Received: {len(named)} names"
        )
    return tuple(named[i] for i in drawn)


def _size(graph: Graph, layer: keras.Layer, own: Layout, size: tuple[int, ...]) -> tuple[int, int]:
    """The size asked for, where the network takes it up to a layer, or else its own."""
    layout = own.resized(size)
    is_map = len(filters_of(layer)[0]) > 2
    fits = is_map and (layout == own or accepts(graph, graph.inputs[0], layer, layout.shape))
    height, width = (layout if fits else own).spatial_shape
    return height, width


def _sees(graph: Graph, layer: keras.Layer, own: Layout) -> tuple[int, int] | None:
    if len(filters_of(layer)[0]) < 3:
        return None
    height, width = receptive_field(graph, graph.inputs[0], layer, own)
    return None if (height, width) >= own.spatial_shape else (height, width)
