"""One run of a graph: which nodes are run, how each is, and what is found on the way."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import tree

from vis.backend.graph.inputs import call_subclassed_model
from vis.backend.graph.nodes import innermost, is_container, ordered
from vis.backend.graph.skip_erosion import Erosion
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.layers import (
    LayerRunner,
    computed_channels_last,
    in_inference,
    in_precision,
    layer_losses_restored,
    layer_runner,
    without_softmax,
)
from vis.backend.private import calls_of, get_keras_mask, node_of, set_keras_mask

if TYPE_CHECKING:
    from vis.backend.graph.graph import Graph


@dataclass(eq=False)
class Run:
    """One run of a graph, which remembers what is wanted from inside nested models."""

    graph: "Graph"
    feeds: Sequence[tuple[keras.KerasTensor, Any]]  # Tensors of the graph and their values.
    runner: LayerRunner
    linear: Collection[int] = ()  # `id` of layers that are run without their softmax.
    erosion: Erosion | None = None

    def __post_init__(self) -> None:
        self._outermost: dict[Any, Any] = {id(tensor): value for tensor, value in self.feeds}
        # What is asked for of calls of nested models, by their nodes, with the calls on the way.
        self._wanted: dict[int, list[tuple[tuple, TensorRef]]] = defaultdict(list)
        self._fed_inside: set[int] = set()

    def values(self, places: Sequence[TensorRef], layers: Iterable[Any]) -> list[Any]:
        """The values at some places, where all calls of some layers are run, too."""
        tensors = []
        for place in places:
            path = tuple(calls_of(ref())[index] for ref, index in place.within)
            tensors.append(self._to_run(path, place))
        with computed_channels_last(), layer_losses_restored(self.graph.operations):
            for tensor, _ in self.feeds:
                if self.graph.level_of(tensor) is None:
                    self._mask(tensor, self._outermost, None)
            for layer in layers:
                if layer is self.graph.subclassed_model:
                    call_subclassed_model(layer, self._outermost)
                else:
                    tensors.extend(node.outputs[0] for _, node in self.graph.calls(layer))
            self._execute(tensors, self._outermost, None)
        return [self._outermost[_key(place)] for place in places]

    def _to_run(self, path: tuple, place: TensorRef) -> keras.KerasTensor:
        """What to run to come by a place in some calls of nested models, the outermost first."""
        if not path:
            return place.tensor
        self._wanted[id(path[0])].append((path[1:], place))
        return path[0].outputs[0]

    def _execute(self, targets: Sequence, values: dict, level: Any) -> None:
        """Runs what computes some tensors of one level, and puts it among the values there."""

        def maker_of(tensor: keras.KerasTensor) -> Any:
            node = self.graph.node_on_level(tensor, level)
            if node is not node_of(tensor):
                self._wanted[id(node)].append(((), TensorRef.of(tensor)))
            return node

        nodes = ordered(targets, values.keys(), maker_of)
        folded = layer_runner.folded_batch_norms(nodes, {id(t) for t in targets})
        skipped = {id(node) for node in folded.values()}
        if self.erosion and level is None:
            self.erosion.begin(innermost(nodes))
        for node in nodes:
            if node.is_input:
                names = ", ".join(f"'{t.name}'" for t in node.outputs)
                raise ValueError(f"The value of the input {names} is needed, and was not given.")
            if id(node) in skipped:
                continue
            if id(node) in folded:
                before = folded[id(node)]
                inputs = values[id(before.input_tensors[0])]
                outputs = self.runner(before.operation, inputs, node.operation)
                if before.operation.supports_masking:
                    set_keras_mask(outputs, get_keras_mask(inputs))
            elif id(node.operation) not in self.linear and self.runner.can_run(node):
                outputs = self.runner(node.operation, values[id(node.input_tensors[0])])
            else:
                seen = self.erosion(node, values) if self.erosion else values
                outputs = self._call(node, *node.arguments.fill_in(seen))
            values.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))

    def _mask(self, tensor: keras.KerasTensor, values: dict, level: Any) -> None:
        """Says which of the words are padding, where what is made of them is fed."""
        mask = get_keras_mask(tensor)
        if mask is not None:
            self._execute([mask], values, level)
            set_keras_mask(values[id(tensor)], values[id(mask)])

    def _call(self, node: Any, args: tuple, kwargs: dict) -> Any:
        operation = node.operation
        if id(operation) in self.linear:
            operation = without_softmax(operation)
        if is_container(operation):
            feeds = _feeds(operation, args, kwargs)
            wanted = self._wanted.pop(id(node), [])
            if feeds is not None:
                return self._inside(operation, feeds, wanted)
            if wanted:
                tensors = ", ".join(str(place.tensor) for _, place in wanted)
                raise ValueError(
                    f"The layers inside the nested model '{operation.name}' cannot be looked at, "
                    "as it is called with inputs arranged otherwise than its own. "
                    f"Received: {tensors}"
                )
        if self.runner.precision is not None and isinstance(operation, keras.Layer):
            operation = in_precision(operation, self.runner.precision)
        return in_inference(operation, args, kwargs)

    def _inside(self, model: Any, feeds: list, wanted: list) -> list:
        """The outputs of a nested model, walked through in place of its `call`."""
        values = dict(zip(map(id, model.inputs), feeds, strict=True))
        for tensor, value in self.feeds:
            if self.graph.level_of(tensor) is model:
                if id(tensor) in self._fed_inside:
                    raise ValueError(
                        f"`model` must call the nested model '{model.name}' once for what goes "
                        "into it to be optimised or explained, as it is looked up inside of it. "
                        "Received: a model that calls it several times"
                    )
                self._fed_inside.add(id(tensor))
                values[id(tensor)] = value
                self._mask(tensor, values, model)
        tensors = [self._to_run(path, place) for path, place in wanted]
        self._execute([*model.outputs, *tensors], values, model)
        for (path, place), tensor in zip(wanted, tensors, strict=True):
            if not path and id(tensor) in values:
                self._outermost[_key(place)] = values[id(tensor)]
        return [values[id(tensor)] for tensor in model.outputs]


def _key(place: TensorRef) -> Any:
    """What a value is kept by: its tensor's `id`, or its place where one tensor has several."""
    return place if place.within else id(place.tensor)


def _feeds(model: Any, args: tuple, kwargs: dict) -> list | None:
    """The values of a nested model's inputs, or None where only its `call` can place them."""
    if len(args) != 1 or isinstance(args[0], dict) != isinstance(model.input, dict):
        return None
    values = tree.flatten(args[0])
    pairs = list(zip(values, model.inputs, strict=False))
    if len(values) != len(model.inputs) or any(len(v.shape) != len(t.shape) for v, t in pairs):
        return None
    feeds = [as_input_dtype(value, tensor.dtype) for value, tensor in pairs]
    for feed, mask in zip(feeds, tree.flatten(kwargs.get("mask")), strict=False):
        if mask is not None:
            set_keras_mask(feed, mask)
    return feeds


def as_input_dtype(value: Any, dtype: str) -> Any:
    """A value in the type of an input, but floats as they are where it is one of integers.

    Rounded to integers pixels would have no gradient.
    """
    as_it_is = value.dtype.is_floating and not keras.backend.is_float_dtype(dtype)
    return value if as_it_is or value.dtype == dtype else keras.ops.cast(value, dtype)
