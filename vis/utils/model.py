"""Plain tools for Keras models and their layers."""

from __future__ import annotations

import contextlib
import operator
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from vis.utils.containers import cloned, is_container
from vis.utils.copies import knows_more, rebuilt, take_weights
from vis.utils.layout import Layout
from vis.utils.validation import check_integer, check_model, close_matches, is_iterable

# Sizes of images where a model leaves the size of its input open, by the number of its axes.
_OPEN_SIZES = {1: 256, 2: 224, 3: 64}
# Names that keras-vis's notebooks use, and what the layers are called in `keras.applications` now.
_RENAMED = {
    "fc1000": "predictions",
    "conv1": "conv1_conv",
    "bn_conv1": "conv1_bn",
    "dense_1": "predictions",
}


class LayerOutput(NamedTuple):
    """One of the outputs of one of the calls of a layer. It is taken wherever a layer is.

    Attributes:
        layer: The layer; where a model is given beside it, its index, name or path will do.
        call: Which of the times that the model runs the layer, from 0.
        output: Which of the outputs, from 0; None where there is only one.

    Example:
        >>> shared = keras.layers.Dense(3, name="shared")
        >>> a, b = keras.Input((4,)), keras.Input((4,))
        >>> model = keras.Model([a, b], keras.ops.add(shared(a), shared(b)))
        >>> LayerOutput(shared, call=1).name
        'shared, call 1'
    """

    layer: Any
    call: int = 0
    output: int | None = None

    @classmethod
    def of(cls, target: Any) -> LayerOutput:
        """A layer's only output of its first call, or what says otherwise, as it is."""
        return target if isinstance(target, cls) else cls(target)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        name = getattr(self.layer, "name", str(self.layer))
        name += f", call {self.call}" if self.call else ""
        return name + (f", output {self.output}" if self.output else "")


def check_output(layer: keras.Layer, call: int, output: int | None, counts: list[int]) -> None:
    """Raises a `ValueError` unless a layer has one output, or the one that is asked for.

    Args:
        layer: The layer.
        call: Which of its calls.
        output: Which of the outputs of that call, or None for the only one.
        counts: How many outputs each of its calls has.
    """
    if not 0 <= call < len(counts):
        raise ValueError(
            f"`call` must be one of the {len(counts)} times that the model runs the layer "
            f"'{layer.name}', from 0. Received: call={call}"
        )
    if output is None and counts[call] != 1:
        raise ValueError(
            "`layer` must have one output to be looked at; say which with "
            f"`vis.utils.utils.LayerOutput(layer, output=0)`. Received: layer '{layer.name}' with "
            f"{counts[call]} outputs"
        )
    if output is not None and not 0 <= output < counts[call]:
        raise ValueError(
            f"`output` must be one of the {counts[call]} outputs of the layer '{layer.name}', "
            f"from 0. Received: output={output}"
        )


def find_layer_idx(model: keras.Model, layer_name: str) -> int:
    """Index of the layer of a given name.

    Args:
        model: A Keras model.
        layer_name: The layer's name.

    Returns:
        Its index in `model.layers`.

    Raises:
        ValueError: If there is no such layer; close matches are named.

    Example:
        >>> from vis.utils.utils import find_layer_idx
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(2, name="predictions")]
        ... )
        >>> find_layer_idx(model, "predictions")
        0
    """
    check_model(model)
    names = [layer.name for layer in model.layers]
    is_name = isinstance(layer_name, str)
    if is_name and layer_name in names:
        return names.index(layer_name)
    today = _renamed(layer_name, names) if is_name else None
    inner = [path for path in _paths(model) if path.rsplit("/", 1)[-1] == layer_name]
    matches = [today] if today else inner[:3] or close_matches(str(layer_name), names)
    hint = "; did you mean " + " or ".join(f"'{name}'" for name in matches) + "?"
    raise ValueError(
        f"`layer_name` must be the name of a layer of the model{hint if matches else '.'} "
        f"Received: layer_name={layer_name!r}, where the layers are {_shortened(names)}"
    )


def resolve_layer(
    model: keras.Model,
    layer_idx: int | str | keras.Layer | LayerOutput,
    name: str = "layer_idx",
) -> keras.Layer | LayerOutput:
    """The layer that an index, a name, a path or the layer itself stands for.

    Args:
        model: A Keras model.
        layer_idx: Index in `model.layers`, negative from the end; a layer's name, or a path such
            as `"outer/inner"`; a layer of the model or of what is nested in it; or a
            `LayerOutput` of one.
        name: The argument's name.

    Returns:
        The layer, or the `LayerOutput`.

    Raises:
        TypeError: If `layer_idx` is none of these.
        ValueError: If the model has no such layer.
    """
    check_model(model)
    if isinstance(layer_idx, LayerOutput):
        return layer_idx._replace(
            layer=resolve_layer(model, layer_idx.layer, name),
            call=check_integer("call", layer_idx.call, least=0),
            output=None
            if layer_idx.output is None
            else check_integer("output", layer_idx.output, least=0),
        )
    if isinstance(layer_idx, keras.Layer):
        if all(layer_idx is not layer for layer in model._flatten_layers(include_self=False)):
            raise ValueError(
                f"`{name}` must be a layer of the model. "
                f"Received: {name}={layer_idx!r}, which is not part of '{model.name}'"
            )
        return layer_idx
    if isinstance(layer_idx, str):
        at_path = _at_path(model, layer_idx)
        return at_path or model.layers[find_layer_idx(model, layer_idx)]
    try:
        number = None if isinstance(layer_idx, bool) else operator.index(layer_idx)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(
            f"`{name}` must be an index in `model.layers`, a layer's name or a layer. "
            f"Received: {name}={layer_idx!r} of type {type(layer_idx).__name__}"
        )
    count = len(model.layers)
    if not -count <= number < count:
        raise ValueError(
            f"`{name}` is out of range: the model has {count} layers, 0 to {count - 1}. "
            f"Received: {name}={layer_idx}"
        )
    return model.layers[number]


def _inner(layer: keras.Layer) -> list[keras.Layer]:
    """The layers right inside a layer."""
    if isinstance(layer, keras.Model):
        return layer.layers
    return list(layer._flatten_layers(recursive=False, include_self=False))


def _at_path(outer: keras.Layer, path: str) -> keras.Layer | None:
    """The layer at the end of a path of names. Names may hold slashes of their own."""
    for layer in _inner(outer):
        if layer.name == path:
            return layer
    for layer in _inner(outer):
        if path.startswith(f"{layer.name}/"):
            found = _at_path(layer, path.removeprefix(f"{layer.name}/"))
            if found is not None:
                return found
    return None


def _paths(outer: keras.Layer, prefix: str = "") -> list[str]:
    """The paths of all layers inside the layers of another, each named once."""
    paths = []
    for layer in _inner(outer):
        inside = _paths(layer, f"{prefix}{layer.name}/")
        paths += [f"{prefix}{layer.name}/{inner.name}" for inner in _inner(layer)] + inside
    return list(dict.fromkeys(paths))


def counterpart(
    layer: keras.Layer | LayerOutput, model: keras.Model, copy: keras.Model
) -> keras.Layer | LayerOutput:
    """The layer of a rebuilt model that stands where `layer` stands in the original."""
    if isinstance(layer, LayerOutput):
        return layer._replace(layer=counterpart(layer.layer, model, copy))
    for old, new in zip(model._flatten_layers(), copy._flatten_layers(), strict=True):
        if old is layer:
            return new
    raise ValueError(f"`layer` must be part of the model '{model.name}'. Received: {layer!r}")


def counterpart_tensor(
    tensor: keras.KerasTensor, model: keras.Model, copy: keras.Model
) -> keras.KerasTensor:
    """The symbolic tensor of a rebuilt model that stands where `tensor` stands in the original."""
    if not isinstance(tensor, keras.KerasTensor):
        raise TypeError(
            "`wrt_tensor` must be a symbolic tensor of the model, such as `layer.output`. "
            f"Received: wrt_tensor={tensor!r}"
        )
    if copy is model:
        return tensor
    for old, new in zip(model.inputs, copy.inputs, strict=True):
        if old is tensor:
            return new
    operation, call, index = tensor._keras_history
    calls = counterpart(operation, model, copy)._inbound_nodes
    # What the original layer does in other models, its copy does not.
    return calls[call if len(calls) == len(operation._inbound_nodes) else 0].outputs[index]


def channel_axis(layer: keras.Layer, rank: int) -> int:
    """The axis of a layer's output that holds the channels, or the units.

    A layer that does not know its data format, an activation for instance, has that of the
    nearest layer before it that does.

    Args:
        layer: A layer.
        rank: Number of axes of its output, the batch included.
    """
    if rank <= 2:
        return rank - 1
    layer = LayerOutput.of(layer).layer
    if isinstance(layer, keras.layers.TimeDistributed):
        return channel_axis(layer.layer, rank - 1) + 1
    queue, seen = [layer], set()
    while queue:
        current = queue.pop(0)
        data_format = getattr(current, "data_format", None)
        if data_format is not None:
            return 1 if data_format == "channels_first" else rank - 1
        axis = getattr(current, "axis", None)
        if isinstance(current, keras.layers.BatchNormalization) and isinstance(axis, int):
            return axis % rank
        for node in getattr(current, "_inbound_nodes", [])[:1]:
            for parent in node.parent_nodes:
                if id(parent.operation) not in seen:
                    seen.add(id(parent.operation))
                    queue.append(parent.operation)
    return 1 if keras.config.image_data_format() == "channels_first" and rank > 3 else rank - 1


def model_inputs(model: keras.Model) -> list[keras.KerasTensor] | None:
    """The symbolic inputs of a model, or None where it has none, as subclassed models have."""
    try:
        inputs = model.inputs
    except (AttributeError, ValueError):
        inputs = None
    return list(inputs) if inputs else None


def layout_of(
    input_tensor: keras.KerasTensor, image_size: int | Sequence[int] | None = None
) -> Layout:
    """How an image of a model's input lies in an array.

    Args:
        input_tensor: A model's symbolic input.
        image_size: Size along each spatial axis, one number for all or one for each; None is that
            of the input, and where it is open 256, 224 or 64, for one, two or three axes.

    Raises:
        TypeError: If `image_size` is neither.
        ValueError: If it is for another number of axes, or another axis is open.
    """
    own = Layout(tuple(input_tensor.shape[1:]), spatial_axes(input_tensor))
    if image_size is None:
        default = _OPEN_SIZES.get(len(own.axes))
        layout = own.resized(tuple(size or default for size in own.spatial_shape))
    else:
        if not own.axes:
            raise ValueError(
                "`image_size` needs images with a spatial axis. "
                f"Received: image_size={image_size!r} for images of shape {own.shape}"
            )
        sizes = image_size if is_iterable(image_size) else [image_size] * len(own.axes)
        sizes = tuple(check_integer("image_size", size, least=1) for size in sizes)
        if len(sizes) != len(own.axes):
            raise ValueError(
                f"`image_size` must be one number, or one for each of the {len(own.axes)} spatial "
                f"axes. Received: image_size={image_size!r}"
            )
        layout = own.resized(sizes)
    if None in layout.shape:
        raise ValueError(
            "The model's input must have a known number of channels. "
            f"Received: an input of shape {input_tensor.shape}"
        )
    return layout


def input_data_format(input_tensor: keras.KerasTensor) -> str:
    """Where a model's input has its channels: `"channels_last"` or `"channels_first"`.

    The first layer behind the input that knows decides; without one, Keras's own setting.

    Args:
        input_tensor: A model's symbolic input.
    """
    queue, seen = [input_tensor._keras_history.operation], set()
    while queue:
        operation = queue.pop(0)
        if isinstance(operation, keras.Layer):
            for layer in operation._flatten_layers():
                data_format = getattr(layer, "data_format", None)
                if data_format in ("channels_last", "channels_first"):
                    return data_format
        for node in operation._outbound_nodes:
            if id(node.operation) not in seen:
                seen.add(id(node.operation))
                queue.append(node.operation)
    return keras.config.image_data_format()


def spatial_axes(input_tensor: keras.KerasTensor) -> tuple[int, ...]:
    """The axes of a batch of images that are neither samples nor channels.

    Args:
        input_tensor: A model's symbolic input.
    """
    return spatial_axes_of(input_tensor.shape, input_data_format(input_tensor))


def spatial_axes_of(shape: Sequence[int | None], data_format: str) -> tuple[int, ...]:
    """The axes of a shape that are neither samples nor channels."""
    rank = len(shape)
    return tuple(range(2, rank) if data_format == "channels_first" else range(1, rank - 1))


def apply_modifications(
    model: keras.Model, custom_objects: Mapping[str, Any] | None = None
) -> keras.Model:
    """Rebuilds a model so that what was changed on its layers takes effect.

    Args:
        model: A Keras model whose layers' attributes, activations for instance, may have been
            changed. It is left as it is.
        custom_objects: Names and the classes or functions that they stand for, where the model
            holds objects that Keras does not know.

    Returns:
        A new model with the same weights. It is compiled as the old one was, with a fresh
        optimizer; where that cannot be made, a warning says so.

    Raises:
        TypeError: If `model` is not a Keras 3 model.

    Example:
        >>> from vis.utils.utils import apply_modifications
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
        >>> model.layers[-1].activation = keras.activations.linear
        >>> apply_modifications(model).layers[-1].get_config()["activation"]
        'linear'
    """
    check_model(model)
    if not model._flatten_layers(include_self=False):
        raise ValueError(f"`model` must have layers. Received: the model '{model.name}'")
    if not isinstance(custom_objects, (Mapping, type(None))):
        raise TypeError(
            "`custom_objects` must be a dict of names and what they stand for. "
            f"Received: custom_objects={custom_objects!r}"
        )
    with keras.saving.custom_object_scope(dict(custom_objects or {})):
        new = _cloned(model)
        if model.compiled:
            _compile_like(new, model)
    return new


def _compile_like(new: keras.Model, model: keras.Model) -> None:
    # The configuration may fail in any way that the author of a loss has not thought of.
    try:
        new.compile_from_config(model.get_compile_config())
    except Exception as error:
        reason = str(error).splitlines()[0]
        warnings.warn(
            f"The copy of the model '{model.name}' is not compiled, as its losses, metrics or "
            f"optimizer cannot be made anew; `custom_objects` helps Keras to find them: {reason}",
            stacklevel=3,
        )


def _cloned(model: keras.Model) -> keras.Model:
    if is_container(model) and not knows_more(model):
        # Where all layers can be rebuilt from their configuration, Keras's own way is best.
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, AttributeError):
            clone = cloned(model)
            take_weights(clone, model)
            return clone
    return rebuilt(model)


def _renamed(old: Any, names: list[str]) -> str | None:
    """Today's name of a layer that Keras 2's applications called `old`."""
    today = _RENAMED.get(old)
    if today is None and (found := re.fullmatch(r"(res|bn)(\d)([a-z])_branch(1|2[abc])", str(old))):
        kind, stage, block, branch = found.groups()
        number = 0 if branch == "1" else "abc".index(branch[1]) + 1
        suffix = "conv" if kind == "res" else "bn"
        today = f"conv{stage}_block{ord(block) - ord('a') + 1}_{number}_{suffix}"
    return today if today in names else None


def _shortened(names: list[str], most: int = 12) -> str:
    if len(names) <= most:
        return str(names)
    return f"{names[: most // 2]} ... {names[-most // 2 :]}".replace("] ... [", ", ..., ")
