"""Tools for models, by the path that they have always had here."""

from vis.backend.graph.copies import apply_modifications
from vis.backend.graph.formats import input_data_format
from vis.backend.graph.names import LayerOutput, find_layer_idx, resolve_layer

__all__ = [
    "LayerOutput",
    "apply_modifications",
    "find_layer_idx",
    "input_data_format",
    "resolve_layer",
]
