"""Names of the outputs of layers that return dicts, and of models."""

from collections.abc import Sequence
from typing import Any

from vis.backend.graph import hidden_layers
from vis.backend.graph.layer_paths import Target, select_output
from vis.backend.graph.nodes import is_container


def node_output_index(target: Target, nodes: Sequence[Any], call: int) -> int:
    """The index of an output of a layer in a graph, or an error. `nodes` are its calls."""
    counts = [len(node.outputs) for node in nodes]
    return select_output(target, counts, lambda: _names(nodes[call]))


def hidden_output_index(target: Target, layer: Any, call: int) -> int:
    """The index of an output of a hidden layer, or an error."""
    counts = [len(outputs) for outputs in hidden_layers.output_specs(layer)]
    return select_output(target, counts, lambda: hidden_layers.output_names(layer)[call])


def model_output_names(model: Any) -> list[str]:
    """The keys of a model's outputs, in their order, followed by the names of their layers."""
    # A Sequential model that was not called has no `output`.
    structure = getattr(model, "output", model.outputs)
    return [*hidden_layers.names_in(structure), *getattr(model, "output_names", ())]


def _names(node: Any) -> list[str]:
    operation, arguments = node.operation, node.arguments
    if is_container(operation):
        return model_output_names(operation)
    # A node keeps its outputs without their structure.
    spec = operation.compute_output_spec(*arguments.args, **arguments.kwargs)
    return hidden_layers.names_in(spec)
