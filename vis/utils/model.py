"""Tools for models, by the path that they have always had here."""

from vis.backend.graph import (
    LayerOutput,
    apply_modifications,
    find_layer_idx,
    input_data_format,
    resolve_layer,
)

__all__ = [
    "LayerOutput",
    "apply_modifications",
    "find_layer_idx",
    "input_data_format",
    "resolve_layer",
]
