"""Layers by attribute path, such as `"blocks/0/conv"` for `model.blocks[0].conv`.

A part of a path is an attribute, a key of a dict, an index in a list, or the name of a layer.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from vis.backend.private import OWN_ATTRIBUTES, layers_inside


def direct_layers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly inside a layer."""
    return layer.layers if isinstance(layer, keras.Model) else layers_inside(layer, recursive=False)


def at_attribute_path(outer: Any, path: str) -> Iterator[keras.Layer]:
    """The layers at a path of attributes and names, the same one perhaps several times."""
    for name, value in _parts(outer):
        if name == path and isinstance(value, keras.Layer):
            yield value
        elif path.startswith(f"{name}/"):
            yield from at_attribute_path(value, path[len(name) + 1 :])


def attribute_paths(outer: Any) -> Iterator[tuple[str, keras.Layer]]:
    """A path to each layer inside another, by attributes where that is possible."""
    queue, seen = [("", outer)], {id(outer)}
    for by_name in (False, True):
        # It grows in the loop.
        for start, value in queue:
            for name, part in _parts(value, by_name):
                if id(part) not in seen:
                    seen.add(id(part))
                    queue.append((f"{start}/{name}" if start else name, part))
    yield from ((path, part) for path, part in queue[1:] if isinstance(part, keras.Layer))


def _parts(value: Any, by_name: bool = True) -> Iterator[tuple[str, Any]]:
    """The parts of a layer, list or dict that are or may hold layers."""
    parts: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    elif isinstance(value, keras.Layer):
        attributes = vars(value).items()
        parts = [(name, part) for name, part in attributes if name not in OWN_ATTRIBUTES]
        if by_name:
            parts += [(layer.name, layer) for layer in direct_layers(value)]
    for name, part in parts:
        if isinstance(part, (keras.Layer, Mapping, list, tuple)):
            yield str(name), part
