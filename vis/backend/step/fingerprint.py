"""Fingerprints of compiled functions, which are the same in every process.

Names of layers, functions and tensors do not count, nor do unused operations. A model that is
rebuilt, or loaded from a file, has the same fingerprint.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from vis.backend.graph import Graph
from vis.utils.description import digest

# Other versions may round differently.
VERSIONS = {"TensorFlow's version": tf.__version__, "Keras's version": keras.__version__}

# Attributes that differ between processes, or do not affect the result.
_INCIDENTAL = {"shared_name", "container", "config", "config_proto", "executor_type", "token"}
# Operations whose outputs are not a function of their inputs.
_OWN_STATE = re.compile(
    "Random(?!IndexShuffle)|Stateful(Uniform|StandardNormal|TruncatedNormal|Random)"
    "|(Parameterized)?TruncatedNormal|Multinomial|SampleDistorted|Rng|(Eager)?PyFunc"
)
_WRITES = re.compile("Assign.*VariableOp")


class Fingerprint(NamedTuple):
    """Digests of a function, and its operations that cannot be repeated exactly."""

    structure: str  # Of its operations and their connections.
    weights: str  # Of the variables that it reads.
    # Operations that draw random numbers, call Python, or write to variables that are read.
    own_state: tuple[str, ...]


def fingerprint(function: Any) -> Fingerprint:
    """The fingerprint of a concrete function."""
    graph = function.graph
    graph_def = graph.as_graph_def()
    hasher = _GraphHasher({f.signature.name: f for f in graph_def.library.function})
    arguments = [tensor.op.name for tensor in function.inputs]
    structure, used = hasher.hash(graph_def.node, arguments, [t.name for t in function.outputs])
    values = {id(variable.handle): variable for variable in graph.variables}
    captured = [
        (values.get(id(outside), outside), inside.op.name)
        for outside, inside in graph.captures
        if inside.op.name in used
    ]
    written = {_source(node.input[0]) for node in graph_def.node if _WRITES.fullmatch(node.op)}
    weights = digest(
        value.numpy()
        for value, _ in captured
        if hasattr(value, "numpy") and value.dtype.name not in ("resource", "variant")
    )
    assigned = {f"Assign of {_name(value)}" for value, name in captured if name in written}
    return Fingerprint(structure, weights, tuple(sorted(hasher.own_state | assigned)))


def fingerprint_of(model: keras.Model) -> Fingerprint:
    """The fingerprint of a model in inference mode."""
    graph = Graph.of(model)
    specs = [tf.TensorSpec((t.shape[0] or 1, *t.shape[1:]), t.dtype) for t in graph.inputs]

    @tf.function(autograph=False)
    def run(*inputs: Any) -> Any:
        flat = keras.tree.flatten(graph.input_structure)
        is_one = isinstance(graph.input_structure, (list, tuple)) and len(flat) == 1
        values = dict(zip(map(id, graph.inputs), inputs, strict=True))
        nested = keras.tree.map_structure(lambda t: values.get(id(t)), graph.input_structure)
        return keras.tree.flatten(model(inputs[0] if is_one else nested, training=False))

    return fingerprint(run.get_concrete_function(*specs))


class _GraphHasher:
    """Hashes graphs: each operation by its type, its attributes and its inputs."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._hashes: dict[str, str] = {}
        self.own_state: set[str] = set()

    def hash(
        self, nodes: Sequence[Any], arguments: Sequence[str], results: Sequence[str]
    ) -> tuple[str, set[str]]:
        """The hash of a graph, and the names of the operations that its results depend on."""
        by_name = {node.name: node for node in nodes}
        hashes = {name: f"argument {i}" for i, name in enumerate(arguments)}
        used = set()
        # A stack instead of recursion, which deep networks would take too far.
        stack = [_source(result) for result in results]
        while stack:
            name = stack.pop()
            used.add(name)
            if name in hashes:
                continue
            node = by_name[name]
            inputs = [i for i in node.input if not i.startswith("^")]
            sources = [_source(i) for i in inputs]
            used.update(sources)
            if missing := [source for source in sources if source not in hashes]:
                stack += [name, *missing]
                continue
            hashes[name] = self._operation(node, [hashes[_source(i)] + _output(i) for i in inputs])
        return _hash(*(hashes[_source(result)] + _output(result) for result in results)), used

    def _operation(self, node: Any, inputs: Sequence[str]) -> str:
        if _OWN_STATE.match(node.op):
            self.own_state.add(node.op)
        attributes = [
            f"{key}={self._attribute(value)}"
            for key, value in sorted(node.attr.items())
            if not key.startswith("_") and key not in _INCIDENTAL
        ]
        return _hash(node.op, *attributes, *inputs)

    def _attribute(self, value: Any) -> str:
        functions = [value.func] if value.HasField("func") else value.list.func
        if functions:
            return _hash(*(self._function(function.name) for function in functions))
        return value.SerializeToString(deterministic=True).hex()

    def _function(self, name: str) -> str:
        if name not in self._hashes:
            function = self._functions[name]
            arguments = [argument.name for argument in function.signature.input_arg]
            results = [function.ret[r.name] for r in function.signature.output_arg]
            self._hashes[name] = self.hash(function.node_def, arguments, results)[0]
        return self._hashes[name]


def _source(tensor: str) -> str:
    return tensor.partition(":")[0]


def _output(tensor: str) -> str:
    """The index of an operation's output; the first may be left out."""
    return tensor.partition(":")[2] or "0"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _name(value: Any) -> str:
    return str(getattr(value, "path", None) or getattr(value, "name", "a variable"))
