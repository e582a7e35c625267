"""Runs a Keras graph from its input tensors to any of its tensors, however deeply nested."""

from __future__ import annotations

import contextlib
import inspect
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
from keras import tree
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

from vis.backend import captures, channels_first, folding, roots
from vis.backend.folding import Folder
from vis.backend.roots import Inputs
from vis.backend.skips import Erosion
from vis.backend.softmax import without_softmax
from vis.utils.containers import is_container
from vis.utils.model import LayerOutput, check_output


class Handle(NamedTuple):
    """A weak handle on a symbolic tensor: compiled steps must not keep a model alive.

    Attributes:
        operation: The operation that it is an output of.
        call: Which of the operation's calls.
        output: Which of the outputs of that call.
        within: The calls of nested models that it lies inside, the outermost first; empty for the
            first of them.
    """

    operation: weakref.ref
    call: int
    output: int
    within: tuple[tuple[weakref.ref, int], ...] = ()

    @classmethod
    def of(cls, tensor: keras.KerasTensor) -> Handle:
        operation, node_index, tensor_index = tensor._keras_history
        return cls(weakref.ref(operation), node_index, tensor_index)

    @property
    def tensor(self) -> keras.KerasTensor:
        return self.operation()._inbound_nodes[self.call].outputs[self.output]

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> str:
        return self.tensor.dtype


class Inside(NamedTuple):
    """A weak handle on what a layer returns that runs inside the `call` of another.

    Attributes:
        operation: The layer.
        call: Which of the times that it runs.
        output: Which of its outputs.
    """

    operation: weakref.ref
    call: int
    output: int

    @property
    def spec(self) -> keras.KerasTensor:
        return captures.known_outputs(self.operation())[self.call][self.output]

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(self.spec.shape)

    @property
    def dtype(self) -> str:
        return self.spec.dtype


Place = Handle | Inside


def _operation(tensor: keras.KerasTensor) -> Any:
    return tensor._keras_history.operation


def _node(tensor: keras.KerasTensor) -> Any:
    operation, node_index, _ = tensor._keras_history
    return operation._inbound_nodes[node_index]


class Source(NamedTuple):
    """A weak handle on the inputs of a network and on its model.

    Attributes:
        handles: The inputs.
        model: A weak reference to the model, or None where it is not known.
    """

    handles: tuple[Handle, ...]
    model: weakref.ref | None

    @classmethod
    def of(cls, inputs: Inputs) -> Source:
        model = None if inputs.model is None else weakref.ref(inputs.model)
        return cls(tuple(map(Handle.of, inputs)), model)

    @property
    def inputs(self) -> Inputs:
        model = None if self.model is None else self.model()
        return Inputs((handle.tensor for handle in self.handles), model)

    @property
    def owner(self) -> Any:
        """What caches are kept for: the model, or its first input."""
        return self.handles[0].operation() if self.model is None else self.model()


class _Level(NamedTuple):
    """The nodes of a nested model, by their `id`; those of the network itself are in none."""

    container: Any
    nodes: dict[int, Any]


class Network:
    """The graph of a model, or all that hangs from some input tensors.

    Layers of models nested in it are part of it: running the graph walks through the nested
    models, so that their inner tensors exist and gradients flow through them, which
    `keras.Model(model.input, inner.output)` cannot do.

    A node may be on several levels, as a model may be built on the input of the one that it is
    nested in.

    Args:
        inputs: The input tensors, as in `model.inputs`.
        without_softmax: Layers that are run without their softmax.
        precision: The type that layers compute in, such as `"bfloat16"`, or None for their own.
    """

    def __init__(
        self,
        inputs: Sequence[keras.KerasTensor],
        without_softmax: Sequence[Any] = (),
        precision: str | None = None,
    ):
        self.inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
        self.without_softmax = {id(layer) for layer in without_softmax}
        self.precision = precision
        # The outermost first.
        self._levels: dict[int, _Level] = {}
        # Where each node is found first, and of each operation the first call.
        self._container: dict[int, Any] = {}
        self._first_node: dict[int, Any] = {}
        self.root = roots.root_of(self.inputs[0])
        model = self.inputs.model
        if model is not None and is_container(model):
            self._add(None, [*map(_node, model.inputs), *nodes_of(model)])
        else:
            self._add_what_hangs_from_inputs()

    def _add_what_hangs_from_inputs(self) -> None:
        # An input inside a nested model is found in it; by itself the graph begins there. What it
        # is made of comes after it.
        outermost = [t for t in self.inputs if isinstance(_operation(t), keras.layers.InputLayer)]
        for tensors in (outermost, *([tensor] for tensor in reversed(self.inputs))):
            if any(id(_node(tensor)) not in self._container for tensor in tensors):
                self._add(None, _hanging_from(tensors))

    def _add(self, container: Any, nodes: Iterable[Any]) -> None:
        """Adds nodes to a level, and the models that they are calls of."""
        added = [(container, nodes)]
        for container, nodes in added:
            level = self._levels.setdefault(id(container), _Level(container, {}))
            level.nodes.update((id(node), node) for node in nodes)
            first: dict[int, Any] = {}
            for node in level.nodes.values():
                self._container.setdefault(id(node), container)
                known = first.setdefault(id(node.operation), node)
                if _index(node) < _index(known):
                    first[id(node.operation)] = node
            for key, node in first.items():
                self._first_node.setdefault(key, node)
                operation = node.operation
                if is_container(operation) and id(operation) not in self._levels:
                    added.append((operation, nodes_of(operation)))

    def __contains__(self, operation: Any) -> bool:
        return self.in_graph(operation) or self.owner(operation) is not None

    def in_graph(self, operation: Any) -> bool:
        """Whether the graph itself has an operation, and does not only run it inside another."""
        return id(operation) in self._first_node

    def owner(self, layer: Any) -> Any:
        """The operation in whose `call` a layer runs that is not part of the graph itself."""
        return next(
            (
                operation
                for operation in self.opaque()
                if any(layer is inner for inner in operation._flatten_layers(include_self=False))
            ),
            None,
        )

    def check_has(self, name: str, target: keras.Layer | LayerOutput) -> None:
        """Raises a `ValueError` that names an argument unless the inputs reach a layer."""
        if LayerOutput.of(target).layer not in self:
            inputs = ", ".join(f"'{tensor.name}'" for tensor in self.inputs)
            raise ValueError(
                f"`{name}` must be connected to the input {inputs}. Received: layer '{target.name}'"
            )

    def opaque(self) -> list[Any]:
        """The layers that hold others, and that the graph does not look into."""
        return [
            operation
            for operation in self.operations()
            if isinstance(operation, keras.Layer)
            and not is_container(operation)
            and any(True for _ in operation._flatten_layers(include_self=False))
        ]

    def operations(self) -> list[Any]:
        """All operations, those of nested models included."""
        roots = [] if self.root is None else [self.root]
        return roots + [node.operation for node in self._first_node.values()]

    def activations(self) -> tuple[Any, ...]:
        """Weak references to the activation functions in use, so that a change can be noticed."""
        layers = [
            layer
            for operation in self.operations()
            if isinstance(operation, keras.Layer) and not is_container(operation)
            for layer in operation._flatten_layers()
        ]
        return tuple(weakref.ref(a) for a in (getattr(x, "activation", None) for x in layers) if a)

    def place_of(self, target: keras.Layer | LayerOutput) -> Place:
        """Where the output of a layer is found: that of its first call, unless it says which.

        Raises:
            ValueError: If the layer has several outputs, or is not called so often.
        """
        layer, call, output = LayerOutput.of(target)
        for tensor in self.inputs:
            if _operation(tensor) is layer:
                return Handle.of(tensor)
        if not self.in_graph(layer):
            outputs = captures.known_outputs(layer)
            check_output(layer, call, output, [len(o) for o in outputs])
            return Inside(weakref.ref(layer), call, output or 0)
        calls = self._calls(layer)
        check_output(layer, call, output, [len(node.outputs) for _, node in calls])
        path, node = calls[call]
        within = tuple((weakref.ref(n.operation), _index(n)) for n in path) if call else ()
        return Handle(weakref.ref(layer), _index(node), output or 0, within)

    def _calls(self, operation: Any) -> list[tuple[tuple, Any]]:
        """All calls of an operation: the calls of nested models around it, and its node."""
        calls = []
        for container, nodes in self._levels.values():
            here = sorted((n for n in nodes.values() if n.operation is operation), key=_index)
            if here:
                around = [()]
                if container is not None:
                    around = [(*path, node) for path, node in self._calls(container)]
                calls += [(path, node) for path in around for node in here]
        return calls

    def level_of(self, tensor: keras.KerasTensor) -> Any:
        """The nested model in which a tensor is found first, or None for the outermost level."""
        return self._container.get(id(_node(tensor)))

    def readers(self, tensor: keras.KerasTensor, container: Any) -> list[Any]:
        """The nodes that take a tensor on one level."""
        nodes = self._levels[id(container)].nodes.values()
        return [node for node in nodes if any(t is tensor for t in node.input_tensors)]

    def check_connected(self, tensor: keras.KerasTensor) -> None:
        """Raises a `ValueError` unless `tensor` can be computed from this network's inputs."""
        given = {id(t) for t in self.inputs}
        nodes = _ordered([tensor], given, lambda t: self.node_on_level(t, None))
        missing = [f"'{t.name}'" for node in nodes if node.is_input for t in node.outputs]
        if missing:
            raise ValueError(
                "`losses` and `wrt_tensor` must be computable from the input "
                f"{', '.join(repr(t.name) for t in self.inputs)} alone. "
                f"Received: {tensor}, which depends on {', '.join(missing)}"
            )

    def node_on_level(self, tensor: keras.KerasTensor, container: Any) -> Any:
        """The node of a level that makes a tensor, or calls the model in which it is made."""
        node, here = _node(tensor), self._levels[id(container)].nodes
        while id(node) not in here and self._container.get(id(node)) is not None:
            node = self._first_node[id(self._container[id(node)])]
        return node

    def run(
        self,
        feeds: Sequence[Any],
        targets: Sequence[Place | keras.KerasTensor],
        folder: Folder,
        erosion: Erosion | None = None,
    ) -> list[Any]:
        """Values of `targets`, in inference mode, given the values of the inputs.

        Args:
            feeds: One backend tensor for each of the inputs.
            targets: Places in this graph, in models nested in it and in layers, or expressions
                over such tensors.
            folder: Runs layers together with the batch normalisation behind them.
            erosion: What happens to skip connections, if anything does.
        """
        inside = [target.operation() for target in targets if isinstance(target, Inside)]
        with captures.recorded(inside, self.without_softmax) as records:
            run = _Run(self, feeds, folder, erosion)
            with channels_first.computed_channels_last(), losses_kept(self.operations()):
                run.execute_all(targets)
            return [
                captures.recorded_value(records, target.operation(), target.call, target.output)
                if isinstance(target, Inside)
                else run.value_of(target)
                for target in targets
            ]

    def run_opaque(self, feeds: Sequence[Any], folder: Folder) -> None:
        """Runs all layers that hold others, and what lies before them."""
        with channels_first.computed_channels_last(), losses_kept(self.operations()):
            _Run(self, feeds, folder).execute_opaque(self.opaque())


class _Run:
    """One run of a network, which remembers what is wanted from inside nested models."""

    def __init__(
        self,
        network: Network,
        feeds: Sequence[Any],
        folder: Folder,
        erosion: Erosion | None = None,
    ):
        self.network = network
        self.folder = folder
        self.erosion = erosion
        self.outermost = {id(t): feed for t, feed in zip(network.inputs, feeds, strict=True)}
        # What is asked for of calls of nested models, by their nodes: of the first call, or any.
        self.wanted_inside: dict[int, list[keras.KerasTensor]] = {}
        self.wanted_of_call: dict[int, list[tuple[tuple, Handle]]] = {}
        self.found: dict[Handle, Any] = {}
        self.fed_inside: set[int] = set()

    def execute_all(self, targets: Sequence[Place | keras.KerasTensor]) -> None:
        tensors = []
        owners = {}
        for target in targets:
            if isinstance(target, keras.KerasTensor):
                tensors.append(target)
            elif isinstance(target, Inside):
                owner = self.network.owner(target.operation())
                owners[id(owner)] = owner
            elif target.within:
                path = tuple(ref()._inbound_nodes[index] for ref, index in target.within)
                self._want(path, target)
                tensors.append(path[0].outputs[0])
            else:
                tensors.append(target.tensor)
        self.execute_opaque(owners.values(), tensors)

    def execute_opaque(self, layers: Iterable[keras.Layer], tensors: Sequence = ()) -> None:
        """Runs all calls of layers that hold others, and what computes some tensors."""
        tensors = list(tensors)
        for tensor in self.network.inputs:
            if self.network.level_of(tensor) is None:
                self._mask(tensor, self.outermost, None)
        for layer in layers:
            if layer is self.network.root:
                roots.call_root(layer, self.outermost)
            else:
                tensors.extend(node.outputs[0] for _, node in self.network._calls(layer))
        self.execute(tensors, self.outermost, container=None)

    def _want(self, path: tuple, target: Handle) -> None:
        self.wanted_of_call.setdefault(id(path[0]), []).append((path[1:], target))

    def value_of(self, target: Handle | keras.KerasTensor) -> Any:
        if isinstance(target, Handle) and target.within:
            return self.found[target]
        tensor = target.tensor if isinstance(target, Handle) else target
        return self.outermost[id(tensor)]

    def execute(self, targets: Sequence, values: dict, container: Any) -> None:
        def node_of(tensor: keras.KerasTensor) -> Any:
            node = self.network.node_on_level(tensor, container)
            if node is not _node(tensor):
                self.wanted_inside.setdefault(id(node), []).append(tensor)
            return node

        nodes = _ordered(targets, values.keys(), node_of)
        looked_at = {id(t) for t in targets}
        folded = folding.plan(nodes, looked_at)
        skipped = {id(node) for node in folded.values()}
        if self.erosion and container is None:
            self.erosion.begin(_innermost(nodes))
        for node in nodes:
            if node.is_input:
                names = ", ".join(f"'{t.name}'" for t in node.outputs)
                raise ValueError(f"The value of the input {names} is needed, and was not given.")
            if id(node) in skipped:
                continue
            if id(node) in folded:
                before = folded[id(node)]
                inputs = values[id(before.input_tensors[0])]
                outputs = self.folder(before.operation, inputs, node.operation)
                if before.operation.supports_masking:
                    set_keras_mask(outputs, get_keras_mask(inputs))
            elif self._alone_in_folder(node):
                inputs = values[id(node.input_tensors[0])]
                outputs = self.folder(node.operation, inputs)
            else:
                seen = self.erosion(node, values) if self.erosion else values
                args, kwargs = node.arguments.fill_in(seen)
                outputs = self.call(node, args, kwargs)
            values.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))

    def _mask(self, tensor: keras.KerasTensor, values: dict, container: Any) -> None:
        """Says which of the words are padding, where what is made of them is fed."""
        mask = get_keras_mask(tensor)
        if mask is not None:
            self.execute([mask], values, container)
            set_keras_mask(values[id(tensor)], values[id(mask)])

    def _alone_in_folder(self, node: Any) -> bool:
        softmax_counts = id(node.operation) in self.network.without_softmax
        return not softmax_counts and self.folder.pays_for(node)

    def call(self, node: Any, args: tuple, kwargs: dict) -> Any:
        operation = node.operation
        if id(operation) in self.network.without_softmax:
            operation = without_softmax(operation)
        if is_container(operation):
            feeds = _feeds(operation, args, kwargs)
            wanted = self.wanted_inside.pop(id(node), [])
            of_call = self.wanted_of_call.pop(id(node), [])
            if feeds is not None:
                return self._inside(operation, feeds, wanted, of_call)
            if inside := [*wanted, *(handle.tensor for _, handle in of_call)]:
                raise ValueError(
                    f"The layers inside the nested model '{operation.name}' cannot be looked at, "
                    "as it is called with inputs arranged otherwise than its own. "
                    f"Received: {', '.join(map(str, inside))}"
                )
        if self.network.precision is not None and isinstance(operation, keras.Layer):
            operation = in_precision(operation, self.network.precision)
        if "training" in inspect.signature(operation.call).parameters:
            kwargs = {**kwargs, "training": False}
        return without_memory(operation)(*args, **kwargs)

    def _inside(self, model: Any, feeds: list, wanted: list, of_call: list) -> list:
        """The outputs of a nested model, walked through in place of its `call`."""
        values = dict(zip(map(id, model.inputs), feeds, strict=True))
        for tensor in self.network.inputs:
            if self.network.level_of(tensor) is model:
                if id(tensor) in self.fed_inside:
                    raise ValueError(
                        f"`model` must call the nested model '{model.name}' once for what goes "
                        "into it to be optimised or explained, as it is looked up inside of it. "
                        "Received: a model that calls it several times"
                    )
                self.fed_inside.add(id(tensor))
                values[id(tensor)] = self.outermost[id(tensor)]
                self._mask(tensor, values, model)
        here = [handle for path, handle in of_call if not path]
        for path, handle in of_call:
            if path:
                self._want(path, handle)
        deeper = [path[0].outputs[0] for path, _ in of_call if path]
        targets = [*model.outputs, *wanted, *(handle.tensor for handle in here), *deeper]
        self.execute(targets, values, model)
        self.found.update((handle, values[id(handle.tensor)]) for handle in here)
        self.outermost.update((id(t), values[id(t)]) for t in wanted if id(t) in values)
        return [values[id(tensor)] for tensor in model.outputs]


@contextlib.contextmanager
def losses_kept(operations: Iterable[Any]) -> Iterator[None]:
    """Inside this, layers forget what they add to the losses of their model.

    Regularizers of activations leave a tensor of the graph there each time that they run.
    """
    layers = [
        layer
        for operation in operations
        if isinstance(operation, keras.Layer)
        for layer in operation._flatten_layers()
    ]
    before = [(layer, layer._losses[:], set(layer._loss_ids)) for layer in layers]
    try:
        yield
    finally:
        for layer, losses, identities in before:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(identities)


def in_precision(layer: keras.Layer, precision: str) -> keras.Layer:
    """A stand-in for a layer that has its variables and computes in another type."""
    return _stand_in(layer, _dtype_policy=keras.DTypePolicy(f"mixed_{precision}"))


def without_memory(operation: Any) -> Any:
    """A stand-in for a stateful recurrent layer that begins anew, or any other operation itself."""
    if isinstance(operation, keras.layers.Bidirectional) and operation.stateful:
        forward, backward = operation.forward_layer, operation.backward_layer
        return _stand_in(
            operation,
            stateful=False,
            forward_layer=without_memory(forward),
            backward_layer=without_memory(backward),
        )
    if isinstance(operation, keras.layers.RNN) and operation.stateful:
        return _stand_in(operation, stateful=False)
    return operation


def _stand_in(layer: keras.Layer, **attributes: Any) -> keras.Layer:
    """A layer that has the variables of another, and all its attributes but some."""
    stand_in = object.__new__(type(layer))
    vars(stand_in).update(vars(layer), **attributes)
    return stand_in


def _feeds(model: Any, args: tuple, kwargs: dict) -> list | None:
    """The values of a nested model's inputs, or None where only its `call` can place them."""
    if len(args) != 1:
        return None
    values = tree.flatten(args[0])
    same_kind = isinstance(args[0], dict) == isinstance(model.input, dict)
    if len(values) != len(model.inputs) or not same_kind:
        return None
    if any(len(v.shape) != len(t.shape) for v, t in zip(values, model.inputs, strict=True)):
        return None
    feeds = [fed(v, tensor.dtype) for v, tensor in zip(values, model.inputs, strict=True)]
    masks = tree.flatten(kwargs.get("mask"))
    for feed, mask in zip(feeds, masks, strict=False):
        if mask is not None:
            set_keras_mask(feed, mask)
    return feeds


def fed(value: Any, dtype: str) -> Any:
    """A value in the type of an input, but floats as they are where it is one of integers.

    Rounded to integers pixels would have no gradient.
    """
    as_it_is = value.dtype.is_floating and not keras.backend.is_float_dtype(dtype)
    return value if as_it_is or value.dtype == dtype else keras.ops.cast(value, dtype)


def _innermost(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes, with those of a nested model in the place of its own."""
    for node in nodes:
        if is_container(node.operation):
            yield from _innermost(nodes_of(node.operation))
        else:
            yield node


def nodes_of(model: Any) -> list[Any]:
    """The nodes that compute what a model of its own graph returns, in order."""
    return _ordered(model.outputs, (), _node)


def _hanging_from(tensors: Sequence[keras.KerasTensor]) -> list[Any]:
    """The nodes of some tensors and those behind, but for those that are inside a nested model."""
    # Layers may be part of other models too, whose nodes these tensors do not reach.
    reached = {id(tensor) for tensor in tensors}
    found: dict[int, Any] = {}
    stack = [_operation(tensor) for tensor in tensors]
    while stack:
        for node in stack.pop()._outbound_nodes:
            if id(node) not in found and not reached.isdisjoint(map(id, node.input_tensors)):
                found[id(node)] = node
                reached.update(map(id, node.outputs))
                stack.append(node.operation)
    # Those of a model that is called on its own input, as the encoder in an autoencoder.
    inside = {
        id(inner)
        for node in found.values()
        if is_container(node.operation) and _is_on_its_own_input(node)
        for inner in nodes_of(node.operation)
    }
    return [*map(_node, tensors), *(node for key, node in found.items() if key not in inside)]


def _is_on_its_own_input(node: Any) -> bool:
    pairs = zip(node.input_tensors, node.operation.inputs, strict=False)
    return all(given is own for given, own in pairs)


def _index(node: Any) -> int:
    """Which of its operation's calls a node is."""
    return next(i for i, n in enumerate(node.operation._inbound_nodes) if n is node)


def _ordered(targets: Sequence, known: Collection[int], node_of: Callable) -> list[Any]:
    """The nodes that compute `targets` from the tensors in `known`, each after its inputs."""
    done: dict[int, Any] = {}
    stack = [(node_of(t), False) for t in reversed(targets) if id(t) not in known]
    while stack:
        node, expanded = stack.pop()
        if id(node) in done:
            continue
        if expanded:
            done[id(node)] = node
        else:
            stack.append((node, True))
            for tensor in node.input_tensors:
                if id(tensor) not in known:
                    stack.append((node_of(tensor), False))
    return list(done.values())
