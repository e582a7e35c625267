"""Layers and filters selected by the arguments of a visualization."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from vis.backend.graph import (
    Graph,
    LayerOutput,
    Target,
    filters_of,
    is_path_of_names,
    unique_path_to,
)
from vis.utils.validation import check_indices, expect, require


class SelectedFilters(NamedTuple):
    """Filters of a layer."""

    path: str  # The layer's path in the model, and the call or output if it is not the first.
    layer: Target
    indices: list[int]


def are_several_layers(layers: Any) -> bool:
    """Whether an argument holds a list of layers and not one layer."""
    return isinstance(layers, (list, tuple)) and not isinstance(layers, LayerOutput)


def select_filters(
    graph: Graph, layers_name: str, layers: Any, filters_name: str, filters: Any
) -> list[SelectedFilters]:
    """Filters of one layer or of each layer in a list.

    For one layer, `filters` is an index, a list of indices, or None for all. For several layers, it
    is a list with one of these for each layer, a dict by layer, or None.
    """
    several = are_several_layers(layers)
    requested = layers if several else [layers]
    targets = [graph.find(layer, layers_name) for layer in requested]
    require(targets, layers_name, "hold at least one layer", layers)
    for target in targets:
        graph.check_has(layers_name, target)
    paths = [_path_of(graph, *pair) for pair in zip(requested, targets, strict=True)]
    expect(len({*targets}) == len(paths), layers_name, "not hold a layer twice", f"layers {paths}")
    if several and isinstance(filters, Mapping):
        names = dict(zip(targets, paths, strict=True))
        found = {graph.find(layer, filters_name): indices for layer, indices in filters.items()}
        by_path = {names.get(target, str(target)): indices for target, indices in found.items()}
        expected = f"be a dict whose keys are among the selected layers, {paths}"
        require(by_path.keys() <= {*paths}, filters_name, expected, filters)
        each = [by_path.get(path) for path in paths]
    elif several and filters is not None:
        is_for_each = isinstance(filters, (list, tuple)) and len(filters) == len(targets)
        expected = f"be None, a dict by layer, or a list with an entry for each of {paths}"
        require(is_for_each, filters_name, expected, filters)
        each = list(filters)
    else:
        each = [filters] * len(targets)
    return [
        SelectedFilters(path, target, _checked(filters_name, indices, target))
        for path, target, indices in zip(paths, targets, each, strict=True)
    ]


def _path_of(graph: Graph, requested: Any, target: Target) -> str:
    """The path of a layer: that of its names, unless the user has found it by attributes."""
    layer, call, output = LayerOutput.of(target)
    given = LayerOutput.of(requested).layer
    if not isinstance(given, str) or is_path_of_names(graph.model, given):
        is_inside = isinstance(layer, keras.Layer) and layer is not graph.model
        given = unique_path_to(graph.model, layer) if is_inside else layer.name
    return LayerOutput(given, call, output).name


def _checked(name: str, indices: Any, layer: Target) -> list[int]:
    _, _, count = filters_of(layer)
    indices = range(count) if indices is None else indices
    return check_indices(name, indices, count, of=f"layer '{layer.name}'")
