"""Graphs of models: finding layers, running them, copying models."""

from vis.backend.graph.axes import (
    channel_axis,
    channel_axis_of,
    filters_of,
    layout_of,
    output_shape,
    spatial_axes,
)
from vis.backend.graph.copies import apply_modifications, layer_in_copy, tensor_in_copy
from vis.backend.graph.expressions import symbolic_scalar
from vis.backend.graph.geometry import UNBOUNDED, Axis, Geometry, Span, unfold_positions
from vis.backend.graph.graph import Graph
from vis.backend.graph.input_ranges import (
    range_after_preprocessing,
    warn_of_range,
    warn_of_range_before_preprocessing,
)
from vis.backend.graph.inputs import match_to_inputs, names_of
from vis.backend.graph.layer_paths import (
    LayerOutput,
    Target,
    check_layer,
    check_tensor,
    find_layer_idx,
    is_path_of_names,
    resolve_layer,
    unique_path_to,
)
from vis.backend.graph.lookups import find_layer, inputs_of
from vis.backend.graph.model_inputs import ModelInputs
from vis.backend.graph.nodes import is_container, position_of
from vis.backend.graph.positions import geometry_of
from vis.backend.graph.run import as_input_dtype
from vis.backend.graph.samples import SAMPLES_ERROR
from vis.backend.graph.skip_erosion import Erosion, check_erosion
from vis.backend.graph.tensor_refs import TensorRef
