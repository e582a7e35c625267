"""Tools for models, by the path that they have always had here."""

from vis.backend.graph import LayerOutput as LayerOutput
from vis.backend.graph import apply_modifications as apply_modifications
from vis.backend.graph import find_layer_idx as find_layer_idx
from vis.backend.graph import input_data_format as input_data_format
from vis.backend.graph import resolve_layer as resolve_layer
