"""Shapes of the inputs of models without a graph: recorded by Keras, or those of examples."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from vis.backend.private import layers_inside, shapes_built_with
from vis.utils.layout import fits
from vis.utils.validation import as_integer, is_iterable

# Ranks of arrays that are rather one image or volume than a batch: images `(rows, columns, 3)`.
_RANKS_OF_ONE = (1, 3)
# Channels of images, if the model has no convolution that tells.
_CHANNELS = (3, 1)

Shape = tuple[int | None, ...]


def recorded_shapes(model: keras.Model) -> Any:
    """The shapes that Keras recorded when a model was built, or None. The batch axis is None."""
    shapes = shapes_built_with(model)
    if len(shapes) != 1 or not shapes[0]:
        return None
    return tree.map_shape_structure(lambda shape: (None, *shape[1:]), shapes[0])


def candidate_shapes(
    model: keras.Model, recorded: Any, examples: Any, image_size: Any
) -> Iterator[Any]:
    """Shapes that a model may take: of examples or of an image size, the most likely first.

    `examples` are the values that a user passes, with or without the batch axis and with the
    channels at either end: an array, or a list or dict for several inputs. A size alone says
    something only if no shapes were recorded.
    """
    if examples is not None:
        # Values of no shape are refused later, by the check of the argument.
        with contextlib.suppress(ValueError, TypeError):
            yield from _shapes_of_examples(recorded, examples)
    elif recorded is None and image_size is not None and not isinstance(image_size, str):
        yield from _shapes_of_size(model, image_size)


def fit_recorded(shapes: Any, recorded: Any) -> bool:
    """Whether shapes are those that were recorded, in which open axes match any size."""
    flat, known = _flat(shapes), _flat(recorded)
    pairs = zip(flat, known, strict=False)
    return len(flat) == len(known) and all(fits(*pair) for pair in pairs)


def _flat(shapes: Any) -> list[Shape]:
    flat: list[Shape] = []
    tree.map_shape_structure(flat.append, shapes)
    return flat


def _shapes_of_examples(recorded: Any, examples: Any) -> Iterator[Any]:
    if isinstance(examples, Mapping):
        known: Mapping[Any, Any] = recorded if isinstance(recorded, Mapping) else {}
        names = list(known) or list(examples)
        if not {*examples} <= {*names}:
            return
        each = [_shapes_of_one(examples.get(n), known.get(n)) for n in names]
        yield from (dict(zip(names, shapes, strict=True)) for shapes in zip(*each, strict=False))
    elif _are_several(examples, recorded):
        pairs = zip(examples, recorded or [None] * len(examples), strict=True)
        each = [_shapes_of_one(*pair) for pair in pairs]
        yield from map(list, zip(*each, strict=False))
    else:
        yield from _shapes_of_one(examples, recorded)


def _are_several(examples: Any, recorded: Any) -> bool:
    """Whether examples are a list with those of each of several inputs."""
    if recorded is not None:
        return isinstance(recorded, list) and isinstance(examples, (list, tuple))
    return isinstance(examples, (list, tuple)) and all(hasattr(x, "shape") for x in examples)


def _shapes_of_one(example: Any, recorded: Shape | None) -> list[Shape]:
    if example is None:
        return [] if recorded is None else [recorded]
    shape = tuple(getattr(example, "shape", None) or np.shape(example))
    if recorded is not None:
        rank = len(recorded) - 1
        own = [shape[len(shape) - rank :]] if len(shape) in (rank, rank + 1) else []
    else:
        own = [shape, shape[1:]]
        own = own if len(shape) in _RANKS_OF_ONE else own[::-1]
    orders = [
        order for one in own for order in ((one, (*one[1:], *one[:1]), (*one[-1:], *one[:-1])))
    ]
    return [(None, *order) for order in dict.fromkeys(orders) if order and 0 not in order]


def _shapes_of_size(model: keras.Model, image_size: Any) -> Iterator[Shape]:
    kernels = [
        (layer, tuple(layer.kernel.shape))
        for layer in layers_inside(model)
        if layer.built and hasattr(layer, "data_format") and hasattr(layer, "kernel")
    ]
    rank = next((len(shape) - 2 for _, shape in kernels), 2)
    is_first = bool(kernels) and kernels[0][0].data_format == "channels_first"
    sizes = list(image_size) if is_iterable(image_size) else [image_size] * rank
    if not all(as_integer(size) for size in sizes):
        return
    for channels in dict.fromkeys((*(shape[-2] for _, shape in kernels), *_CHANNELS)):
        yield (None, channels, *sizes) if is_first else (None, *sizes, channels)
