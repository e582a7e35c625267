"""One run of a graph, node by node, through nested models."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from vis.backend.graph.inputs import call_subclassed_model
from vis.backend.graph.nodes import innermost, is_container, topological_order
from vis.backend.graph.skip_erosion import Erosion
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.layers import (
    LayerRunner,
    call_in_inference,
    channels_last_convolutions,
    inference_mode,
    layer_runner,
    restore_layer_losses,
    returns_integers,
    rounded,
    with_precision,
    without_softmax,
)
from vis.backend.private import calls_of, get_keras_mask, node_of, set_keras_mask


@dataclass(eq=False)
class Run:
    """One run of a graph in inference mode; see `Graph.run`."""

    graph: Any  # A `Graph`.
    feeds: Sequence[tuple[keras.KerasTensor, Any]]
    runner: LayerRunner
    without_softmax: Sequence[Any] = ()  # Layers to run without their softmax.
    erosion: Erosion | None = None

    def __post_init__(self) -> None:
        # Values on the outermost level and requested values of nested models, by `_key`.
        self.known: dict[Any, Any] = {id(tensor): value for tensor, value in self.feeds}
        self.known |= {id(tensor): None for tensor in self.graph.absent}
        # By the `id` of a node that calls a nested model: the tensors requested inside it, each
        # with the calls of further nested models around it.
        self._requested: dict[int, list[tuple[tuple, TensorRef]]] = defaultdict(list)
        # `id` of the fed tensors inside nested models that have been used.
        self._used_feeds: set[int] = set()

    def values(self, refs: Sequence[TensorRef], operations: Iterable[Any]) -> list[Any]:
        """Runs all calls of some operations, and returns the values of some tensors."""
        targets = [self._request(_path(ref), ref) for ref in refs]
        every_operation = self.graph.operations
        with (
            channels_last_convolutions(),
            restore_layer_losses(every_operation),
            inference_mode(every_operation),
        ):
            for tensor, _ in self.feeds:
                if self.graph.level_of(tensor) is None:
                    self._set_mask(tensor, self.known, None)
            for operation in operations:
                if operation is self.graph.subclassed_model:
                    call_subclassed_model(operation, self.known)
                else:
                    calls = self.graph.calls(operation)
                    targets += [self._request(p, TensorRef.of(n.outputs[0])) for p, n in calls]
            self._run_level(None, targets, self.known)
        return [self.known[_key(ref)] for ref in refs]

    def _request(self, path: tuple, ref: TensorRef) -> keras.KerasTensor:
        """Requests a tensor inside some calls of nested models, and returns the one to run for."""
        if not path:
            return ref.tensor
        outermost, *inner = path
        self._requested[id(outermost)].append((tuple(inner), ref))
        return outermost.outputs[0]

    def _producer_of(self, tensor: keras.KerasTensor, level: Any) -> Any:
        """The node of a level to run for a tensor, which is requested if that calls a model."""
        node = self.graph.node_on_level(tensor, level)
        if node is not node_of(tensor):
            self._requested[id(node)].append(((), TensorRef.of(tensor)))
        return node

    def _run_level(self, level: Any, targets: Sequence, values: dict) -> None:
        """Runs the nodes of a level that compute some targets, and adds their outputs to a dict."""
        nodes = topological_order(targets, values, lambda t: self._producer_of(t, level))
        nodes = sorted(nodes, key=lambda node: self.graph.rank(node, level))
        folded = layer_runner.folded_batch_norms(nodes, {id(t) for t in targets})
        skipped = {id(node) for node in folded.values()}
        if self.erosion and level is None:
            self.erosion.draw_gains(innermost(nodes))
        for node in nodes:
            if id(node) in skipped:
                continue
            if id(node) in folded:
                outputs = self._run_folded(folded[id(node)], node, values)
            else:
                outputs = self._run_node(node, values)
            values.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))

    def _run_folded(self, node: Any, norm_node: Any, values: dict) -> Any:
        """The outputs of a layer and the batch normalisation after it, run as one layer."""
        inputs = values[id(node.input_tensors[0])]
        outputs = self.runner(node.operation, inputs, norm_node.operation)
        if node.operation.supports_masking:
            set_keras_mask(outputs, get_keras_mask(inputs))
        return outputs

    def _run_node(self, node: Any, values: dict) -> Any:
        operation = node.operation
        if node.is_input:
            names = ", ".join(f"'{t.name}'" for t in node.outputs)
            raise ValueError(
                "`layer` and other tensors must depend on the inputs of the model only. "
                f"Received: a tensor that depends on the input {names}"
            )
        is_linear = operation in self.without_softmax
        if not is_linear and self.runner.can_run(node):
            return self.runner(operation, values[id(node.input_tensors[0])])
        if self.erosion:
            values = self.erosion(node, values)
        args, kwargs = node.arguments.fill_in(values)
        if is_container(operation):
            return self._call_model(node, args, kwargs)
        outputs = self._call(without_softmax(operation) if is_linear else operation, args, kwargs)
        return rounded(outputs) if returns_integers(operation, node.input_tensors) else outputs

    def _call(self, operation: Any, args: tuple, kwargs: dict) -> Any:
        if self.runner.precision is not None and isinstance(operation, keras.Layer):
            operation = with_precision(operation, self.runner.precision)
        return call_in_inference(operation, args, kwargs)

    def _call_model(self, node: Any, args: tuple, kwargs: dict) -> Any:
        """The outputs of a nested model, run node by node if its inputs fit."""
        model, requested = node.operation, self._requested.pop(id(node), [])
        inputs = _inputs_of_call(model, args, kwargs)
        if inputs is not None:
            return self._run_model(model, inputs, requested)
        if requested:
            tensors = ", ".join(str(ref.tensor) for _, ref in requested)
            raise ValueError(
                f"The nested model '{model.name}' must be called with the input structure that it "
                "was built with, so that tensors inside it can be computed. "
                f"Received: another input structure, and the tensors {tensors}"
            )
        return self._call(model, args, kwargs)

    def _run_model(self, model: Any, inputs: list, requested: list) -> list:
        values = dict(zip(map(id, model.inputs), inputs, strict=True))
        self._feed_model(model, values)
        tensors = [self._request(path, ref) for path, ref in requested]
        self._run_level(model, [*model.outputs, *tensors], values)
        for (path, ref), tensor in zip(requested, tensors, strict=True):
            if not path and id(tensor) in values:
                self.known[_key(ref)] = values[id(tensor)]
        return [values[id(tensor)] for tensor in model.outputs]

    def _feed_model(self, model: Any, values: dict) -> None:
        """Adds the fed tensors inside a nested model to `values`."""
        for tensor, value in self.feeds:
            if self.graph.level_of(tensor) is not model:
                continue
            if id(tensor) in self._used_feeds:
                raise ValueError(
                    f"`model` must call the nested model '{model.name}' only once, because the "
                    "embedding of its input, which is optimised or explained, is inside. "
                    "Received: a model that calls it several times"
                )
            self._used_feeds.add(id(tensor))
            values[id(tensor)] = value
            self._set_mask(tensor, values, model)

    def _set_mask(self, tensor: keras.KerasTensor, values: dict, level: Any) -> None:
        """Computes the mask of a fed tensor, such as the output of an embedding."""
        mask = get_keras_mask(tensor)
        if mask is not None:
            self._run_level(level, [mask], values)
            set_keras_mask(values[id(tensor)], values[id(mask)])


def _path(ref: TensorRef) -> tuple:
    """The nodes of the nested models around a tensor, outermost first."""
    return tuple(calls_of(model())[node_index] for model, node_index in ref.within)


def _key(ref: TensorRef) -> Any:
    """The key of a value: the tensor's `id`, or the reference if the tensor has several values."""
    return ref if ref.within else id(ref.tensor)


def _inputs_of_call(model: Any, args: tuple, kwargs: dict) -> list | None:
    """The values of a nested model's inputs, or None if only its `call` can arrange them."""
    if len(args) != 1 or isinstance(args[0], dict) != isinstance(model.input, dict):
        return None
    values = tree.flatten(args[0])
    pairs = list(zip(values, model.inputs, strict=False))
    if len(values) != len(model.inputs) or any(
        v is not None and len(v.shape) != len(t.shape) for v, t in pairs
    ):
        return None
    # Optional inputs may be None.
    inputs = [None if v is None else as_input_dtype(v, t.dtype) for v, t in pairs]
    for value, mask in zip(inputs, tree.flatten(kwargs.get("mask")), strict=False):
        if mask is not None:
            set_keras_mask(value, mask)
    return inputs


def as_input_dtype(value: Any, dtype: str) -> Any:
    """Casts a value to the dtype of an input, but keeps floats for an input of integers.

    Pixels rounded to integers would have no gradient.
    """
    is_kept = value.dtype.is_floating and not keras.backend.is_float_dtype(dtype)
    return value if is_kept or value.dtype == dtype else keras.ops.cast(value, dtype)
