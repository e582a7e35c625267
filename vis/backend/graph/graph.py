"""`Graph`: finds, runs and checks the layers of a model, nested and hidden ones included."""

import functools
import operator
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from vis.backend.graph import hidden_layers
from vis.backend.graph.gradient_flow import GradientFlow
from vis.backend.graph.input_shapes import candidate_shapes, fit_recorded, recorded_shapes
from vis.backend.graph.inputs import (
    absent_inputs,
    check_has_weights,
    check_takes_one_argument,
    drop_placeholders,
    has_placeholders,
    input_names,
    input_structure_of,
    latest_placeholders,
    match_to_inputs,
    own_inputs,
    own_outputs,
    placeholder_index,
    placeholders_of,
    without_absent,
)
from vis.backend.graph.layer_paths import LayerOutput, Target, resolve_layer, select_output
from vis.backend.graph.nodes import is_container, node_index_of, nodes_of, topological_order
from vis.backend.graph.output_names import (
    hidden_output_index,
    model_output_names,
    node_output_index,
)
from vis.backend.graph.run import Run
from vis.backend.graph.samples import check_samples, check_specs, has_one_sample_per_image
from vis.backend.graph.skip_erosion import Erosion
from vis.backend.graph.structure import GraphStructure
from vis.backend.graph.tensor_refs import TensorRef
from vis.backend.layers import LayerRunner, TracedWeights
from vis.backend.private import history_of, layers_inside, node_of, operation_of, with_layers_inside
from vis.utils.validation import as_integer, check_model, expect, require

# Weak references to the graphs of models, with the `id` of the inputs and outputs.
_graphs: weakref.WeakKeyDictionary[keras.Model, tuple] = weakref.WeakKeyDictionary()


class Inputs(list):
    """Input tensors with their graph, because a tensor may be the input of several models."""

    def __init__(self, tensors: Iterable[keras.KerasTensor], graph: "Graph") -> None:
        super().__init__(tensors)
        self.graph = graph


class Graph(GraphStructure):
    """The graph of a model, including nested models, or of all that depends on some inputs.

    Nested models are run node by node, so that their inner tensors are available and gradients
    flow through them.

    Args:
        input_structure: A symbolic input, or a list or dict of several.
        model: The model. If None, the graph has all nodes downstream of the inputs.
    """

    def __init__(
        self,
        input_structure: Any,
        model: keras.Model | None = None,
        absent: tuple[keras.KerasTensor, ...] = (),
    ) -> None:
        self._all_inputs = own_inputs(model) or tree.flatten(input_structure)
        self.absent = absent  # The optional inputs that are None.
        inputs = [t for t in self._all_inputs if not any(t is other for other in absent)]
        super().__init__(inputs, model)
        self.input_structure = input_structure

    @classmethod
    def of(
        cls,
        model: keras.Model,
        examples: Any = None,
        image_size: Any = None,
        fixed_inputs: Any = None,
    ) -> "Graph":
        """The graph of a model. It is shared as long as there is a reference to it.

        A model without a graph has inputs of the shapes of `examples` if it accepts them, or else
        of the shapes that Keras has recorded. `examples` are values of the inputs, or a function
        that returns some. Optional inputs without a value there or in `fixed_inputs` are None.
        """
        check_model(model)
        input_structure = input_structure_of(model)
        if input_structure is not None:
            values = () if callable(examples) else (examples,)
            absent = absent_inputs(input_structure, own_inputs(model), (*values, fixed_inputs))
            return cls._shared(input_structure, model, absent)
        check_takes_one_argument(model)
        check_has_weights(model)
        recorded = recorded_shapes(model)
        examples = examples() if callable(examples) else examples
        error: Exception | None = None
        for shapes in candidate_shapes(model, recorded, examples, image_size):
            if recorded is not None and fit_recorded(shapes, recorded):
                break
            if has_placeholders(model, shapes):
                return cls._shared(placeholders_of(model, shapes), model)
            graph = cls(placeholders_of(model, shapes), model)
            # The `call` of a model may raise any error for a shape that it does not accept.
            try:
                graph._trace_hidden_layers(keeps_samples=recorded is not None)
            except Exception as reason:
                error = error or reason
                drop_placeholders(model, shapes)
            else:
                return cls._shared(graph.input_structure, model)
        if recorded is not None:
            return cls._shared(placeholders_of(model, recorded), model)
        if error is not None:
            raise ValueError(
                "`seed_input`, `image_size` or other examples must have a shape that the model "
                f"accepts. Received: the model '{model.name}', which raises: {error}"
            ) from error
        known = latest_placeholders(model)
        expected = (
            "have an input of known shape, and Keras has recorded none. Pass `seed_input` or "
            "`image_size`, or wrap it: `inputs = keras.Input(shape); keras.Model(inputs, "
            "model(inputs))`"
        )
        received = f"model '{model.name}' of type {type(model).__name__}"
        expect(known is not None, "model", expected, received)
        return cls._shared(known, model)

    @classmethod
    def _shared(
        cls, input_structure: Any, model: keras.Model, absent: tuple[keras.KerasTensor, ...] = ()
    ) -> "Graph":
        # The inputs and outputs change if layers are added to a Sequential model.
        tensors = (*tree.flatten(input_structure), *own_outputs(model), *absent)
        ends = [id(tensor) for tensor in tensors]
        reference, known_ends = _graphs.get(model, (None, None))
        graph = reference() if known_ends == ends else None
        if graph is None:
            graph = cls(input_structure, model, absent)
            _graphs[model] = weakref.ref(graph), ends
        return graph

    def for_examples(self, examples: Any, fixed_inputs: Any = None) -> "Graph":
        """The graph of the same model for values of other shapes, or the graph itself."""
        if self.subclassed_model is not None:
            return Graph.of(self.subclassed_model, examples)
        values = (() if callable(examples) else (examples,)) + (fixed_inputs,)
        absent = absent_inputs(self.input_structure, self._all_inputs, values)
        is_same = len(absent) == len(self.absent) and all(map(operator.is_, absent, self.absent))
        return self if is_same else Graph(self.input_structure, self.model, absent)

    def match(self, name: str, values: Any) -> list[Any]:
        """One value for each input, or None; see `match_to_inputs`."""
        return match_to_inputs(name, self.without_absent(values), self.names)

    def without_absent(self, values: Any) -> Any:
        """Values of all inputs without those of absent ones, which are None."""
        return without_absent(self.input_structure, self._all_inputs, self.absent, values)

    @property
    def given_structure(self) -> Any:
        """The inputs in their structure, with None for absent ones."""
        absent = set(map(id, self.absent))
        return tree.map_structure(lambda t: None if id(t) in absent else t, self.input_structure)

    def counterpart(self, tensor: Any) -> Any:
        """The input in place of one for images of another shape, or the tensor itself."""
        model = self.subclassed_model
        if model is None or not isinstance(tensor, keras.KerasTensor):
            return tensor
        index = placeholder_index(model, tensor)
        return tensor if index is None else self.inputs[index]

    @classmethod
    def of_inputs(cls, input_tensor: Any) -> "Graph":
        """The graph of the result of `inputs_of`, or all that depends on other input tensors."""
        if isinstance(input_tensor, Inputs):
            return input_tensor.graph
        tensors = tree.flatten(input_tensor)
        are_inputs = tensors and all(isinstance(tensor, keras.KerasTensor) for tensor in tensors)
        expected = "be the input of a model, `model.input`, or a list or dict of several"
        require(are_inputs, "input_tensor", expected, input_tensor, TypeError)
        are_distinct = len({id(tensor) for tensor in tensors}) == len(tensors)
        require(are_distinct, "input_tensor", "not hold an input twice", input_tensor)
        return cls(input_tensor)

    @functools.cached_property
    def gradient_flow(self) -> GradientFlow:
        """Tells which tensors have a gradient."""
        # By a proxy, because a reference cycle would delay the release of the graph.
        return GradientFlow(weakref.proxy(self))

    @functools.cached_property
    def names(self) -> list[tuple[str, ...]]:
        """The names of each input."""
        return input_names(self.input_structure, self.inputs)

    @property
    def owner(self) -> Any:
        """The object that caches are keyed by: the model, or the operation of the first input."""
        return operation_of(self.inputs[0]) if self.model is None else self.model

    def activations(self) -> tuple[Any, ...]:
        """Weak references to the activations in use, or their names, as part of a cache key."""
        return tuple(
            weakref.ref(activation) if callable(activation) else str(activation)
            for outer in self.called_layers()
            for layer in with_layers_inside(outer)
            if (activation := getattr(layer, "activation", None))
        )

    def find(self, layer_idx: Any, name: str = "layer_idx") -> Target:
        """The layer of the model for an index, a name or a path; see `find_layer`."""
        target = self._model_output(layer_idx) or resolve_layer(self.model, layer_idx, name)
        layer = LayerOutput.of(target).layer
        if not self.in_graph(layer) and not hidden_layers.has_specs(layer):
            self._trace_hidden_layers()
        return target if isinstance(target, LayerOutput) else self._last_inside(layer)

    def _model_output(self, layer_idx: Any) -> Target | None:
        """What computes the model's output, for `-1` or the model itself; None for other layers.

        For a model with several outputs, `-1` is its last layer unless it has an output's name.
        """
        layer, _, output = LayerOutput.of(layer_idx)
        is_last = as_integer(layer) == -1
        if not is_last and layer is not self.model:
            return None
        names = self._output_names()
        count = len(self.outputs) or len(names)
        if is_last and (count > 1 if output is None else output not in names):
            return None
        target = LayerOutput(self.model, 0, output)
        if self.subclassed_model is not None:
            return target if count > 1 else hidden_layers.last_inside(self.model)
        return self._inside(target)

    def _inside(self, target: Target) -> Target:
        """What computes the output of the outermost model, or the layer itself."""
        model = LayerOutput.of(target).layer
        if self.in_graph(model) or not is_container(model):
            return target
        names = functools.partial(model_output_names, model)
        return self._producer(model.outputs[select_output(target, [len(model.outputs)], names)])

    def _output_names(self) -> list[str]:
        """The names of the model's outputs."""
        if self.subclassed_model is None:
            return model_output_names(self.model)
        if not hidden_layers.has_specs(self.model):
            self._trace_hidden_layers()
        return hidden_layers.output_names(self.model)[0]

    def _producer(self, tensor: keras.KerasTensor) -> Target:
        """The layer or operation that computes a tensor, inside nested models as well."""
        path: tuple = ()
        operation, _, index = history_of(tensor)
        while is_container(operation):
            inner = operation.outputs[index]
            if not isinstance(operation_of(inner), keras.Layer):
                break
            path, tensor = (*path, node_of(tensor)), inner
            operation, _, index = history_of(tensor)
        node = node_of(tensor)
        call = self.calls(operation).index((path, node))
        is_only = call == 0 and len(node.outputs) == 1 and isinstance(operation, keras.Layer)
        return operation if is_only else LayerOutput(operation, call, index)

    def _last_inside(self, layer: Any) -> Any:
        """The layer inside a nested model that computes its output, or the layer itself."""
        while is_container(layer) and layer is not self.model and len(layer.outputs) == 1:
            last = operation_of(layer.outputs[0])
            if not isinstance(last, keras.Layer):
                return layer
            layer = last
        if isinstance(layer, keras.Model) and layer in self.opaque_layers:
            if not any(map(hidden_layers.has_specs, layers_inside(layer))):
                self._trace_hidden_layers()
            return hidden_layers.last_inside(layer)
        return layer

    def has(self, target: Target) -> bool:
        """Whether a layer is in the graph, or runs inside another that is."""
        return self.enclosing_operation(LayerOutput.of(self._inside(target)).layer) is not None

    def check_has(self, name: str, target: Target) -> None:
        """Raises a `ValueError` unless a layer, the value of an argument, depends on the inputs."""
        expected = f"be connected to the input {self._listed_inputs()}"
        expect(self.has(target), name, expected, f"layer '{target.name}'")

    def check_connected(self, tensor: keras.KerasTensor) -> None:
        """Raises a `ValueError` if a tensor depends on more than the inputs."""
        known = {id(t) for t in (*self.inputs, *self.absent)}
        nodes = topological_order([tensor], known, lambda t: self.node_on_level(t, None))
        missing = [f"'{t.name}'" for node in nodes if node.is_input for t in node.outputs]
        if missing:
            raise ValueError(
                "`losses` and `wrt_tensor` must depend on no other inputs than "
                f"{self._listed_inputs()}. "
                f"Received: {tensor}, which depends on {', '.join(missing)}"
            )

    def _listed_inputs(self) -> str:
        return ", ".join(f"'{tensor.name}'" for tensor in self.inputs)

    def ref_of(self, target: Target) -> TensorRef:
        """A reference to a layer's output: the only one of its first call by default."""
        target = self._inside(target)
        layer, call, _ = LayerOutput.of(target)
        for tensor in self.inputs:
            if operation_of(tensor) is layer:
                return TensorRef.of(tensor)
        if not self.in_graph(layer):
            index = hidden_output_index(target, layer, call)
            ref = TensorRef(weakref.ref(layer), call, index, is_hidden=True)
            check_specs(self, ref)
            return ref
        calls = self.calls(layer)
        index = node_output_index(target, [node for _, node in calls], call)
        path, node = calls[call]
        is_first = not call and all(node is self.first_node(node.operation) for node in path)
        within = () if is_first else path
        within = tuple((weakref.ref(n.operation), node_index_of(n)) for n in within)
        return TensorRef(weakref.ref(layer), node_index_of(node), index, within)

    def has_one_sample_per_image(self, layer: keras.Layer) -> bool:
        """Whether a layer is not known to have more samples than images, such as windows."""
        return self.in_graph(layer) or has_one_sample_per_image(layer)

    def layers(self) -> list[keras.Layer]:
        """All layers in order, with nested models replaced by their layers."""
        hidden = [
            layer
            for operation in self.opaque_layers
            if not type(operation).__module__.startswith("keras.")
            or any(map(is_container, layers_inside(operation)))
            for layer in layers_inside(operation)
        ]
        if hidden and not any(map(hidden_layers.has_specs, hidden)):
            self._trace_hidden_layers()
        return list(_flat_layers(self.model))

    def upstream(self, layer: keras.Layer) -> set[int]:
        """`id` of all operations that a layer's output depends on, including the layer."""
        enclosing = self.enclosing_operation(layer)
        operations = [] if enclosing is layer else hidden_layers.up_to(layer, enclosing)
        if layer is self.subclassed_model:
            operations = hidden_layers.execution_order(layer)
        if enclosing is not self.subclassed_model:
            for operation in (enclosing, *self.enclosing_models(enclosing)):
                *earlier, _ = topological_order(self.first_node(operation).outputs, (), node_of)
                operations += [operation, *_all_operations(earlier)]
        return set(map(id, operations))

    def run(
        self,
        feeds: Sequence[tuple[keras.KerasTensor, Any]],
        targets: Sequence[TensorRef | keras.KerasTensor],
        runner: LayerRunner,
        without_softmax: Sequence[Any] = (),
        erosion: Erosion | None = None,
        of_one_image: Sequence[TensorRef] = (),
    ) -> list[Any]:
        """The values of some tensors, or of symbolic expressions over them, in inference mode.

        `feeds` are pairs of a tensor and its value, for each input or a tensor computed from it.
        Layers in `without_softmax` run without their softmax. Tensors in `of_one_image` may have
        several rows for a single image.
        """
        refs = [t if isinstance(t, TensorRef) else TensorRef.of(t) for t in targets]
        hidden = [ref.operation() for ref in refs if ref.is_hidden]
        enclosing = {id(o): o for o in map(self.enclosing_operation, hidden)}.values()
        with hidden_layers.record_calls(hidden, enclosing, without_softmax) as recorder:
            run = Run(self, feeds, runner, without_softmax, erosion)
            in_graph = iter(run.values([ref for ref in refs if not ref.is_hidden], enclosing))
            values = [
                recorder.value(ref.operation(), ref.node_index, ref.tensor_index)
                if ref.is_hidden
                else next(in_graph)
                for ref in refs
            ]
        images = feeds[0][1]
        for target, value in zip(targets, values, strict=True):
            is_free = target in of_one_image and images.shape[0] == 1
            if isinstance(target, TensorRef) and not is_free:
                check_samples(self, target, value, images, run.known)
        return values

    def _trace_hidden_layers(self, keeps_samples: bool = False) -> None:
        """Runs the graph once, symbolically, for the output shapes of hidden layers.

        With `keeps_samples`, raises a `ValueError` if a subclassed model turns one image into
        several samples, as a reshape to `(-1, features)` does with images of another size.
        """
        layers = [
            layer for operation in self.opaque_layers for layer in with_layers_inside(operation)
        ]

        # One image, so that layers with more samples than images can be told.
        shapes = [(t.shape[0] or 1, *t.shape[1:]) for t in self.inputs]

        @tf.function(autograph=False)
        def run(*values: Any) -> None:
            with hidden_layers.record_calls(layers, self.opaque_layers) as recorder:
                feeds = list(zip(self.inputs, values, strict=True))
                Run(self, feeds, LayerRunner(TracedWeights())).values([], self.opaque_layers)
            outputs = recorder.outputs[self.subclassed_model][-1] if keeps_samples else []
            if any(value.shape.rank and value.shape[0] not in (1, None) for value in outputs):
                raise ValueError("several samples of one image")
            hidden_layers.store_specs(recorder, shapes[0][0])

        pairs = zip(shapes, self.inputs, strict=True)
        run.get_concrete_function(*(tf.TensorSpec(shape, t.dtype) for shape, t in pairs))


def _flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    has_graph = is_container(model)
    for layer in model.layers if has_graph else hidden_layers.execution_order(model):
        if is_container(layer):
            yield from _flat_layers(layer)
        else:
            if has_graph:
                yield from hidden_layers.execution_order(layer)
            yield layer


def _all_operations(nodes: Iterable[Any]) -> Iterator[Any]:
    """The operations of nodes, those of nested models, and hidden layers."""
    for node in nodes:
        yield node.operation
        if is_container(node.operation):
            yield from _all_operations(nodes_of(node.operation))
        elif isinstance(node.operation, keras.Layer):
            yield from hidden_layers.execution_order(node.operation)
