"""Plain tools for Keras models and their layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras.src.models.functional import Functional

from vis.utils.validation import check_model, close_matches

# Names that keras-vis's notebooks use, and what the layers are called in `keras.applications` now.
_RENAMED = {
    "fc1000": "predictions",
    "conv1": "conv1_conv",
    "bn_conv1": "conv1_bn",
    "dense_1": "predictions",
}


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
    if layer_name in names:
        return names.index(layer_name)
    today = _renamed(layer_name, names)
    matches = [today] if today else close_matches(str(layer_name), names)
    hint = "; did you mean " + " or ".join(f"'{name}'" for name in matches) + "?"
    raise ValueError(
        f"`layer_name` must be the name of a layer of the model{hint if matches else '.'} "
        f"Received: layer_name={layer_name!r}, where the layers are {_shortened(names)}"
    )


def resolve_layer(model: keras.Model, layer_idx: int | str | keras.Layer) -> keras.Layer:
    """The layer that an index, a name or the layer itself stands for.

    Args:
        model: A Keras model.
        layer_idx: Index in `model.layers`, negative from the end; a layer's name; or a layer of
            the model or of a model nested in it.

    Returns:
        The layer.

    Raises:
        TypeError: If `layer_idx` is none of these.
        ValueError: If the model has no such layer.
    """
    check_model(model)
    if isinstance(layer_idx, keras.Layer):
        if all(layer_idx is not layer for layer in model._flatten_layers()):
            raise ValueError(
                "`layer_idx` must be a layer of the model. "
                f"Received: layer_idx={layer_idx!r}, which is not part of '{model.name}'"
            )
        return layer_idx
    if isinstance(layer_idx, str):
        return model.layers[find_layer_idx(model, layer_idx)]
    if isinstance(layer_idx, bool) or not hasattr(layer_idx, "__index__"):
        raise TypeError(
            "`layer_idx` must be an index in `model.layers`, a layer's name or a layer. "
            f"Received: layer_idx={layer_idx!r} of type {type(layer_idx).__name__}"
        )
    count = len(model.layers)
    if not -count <= layer_idx < count:
        raise ValueError(
            f"`layer_idx` is out of range: the model has {count} layers, 0 to {count - 1}. "
            f"Received: layer_idx={layer_idx}"
        )
    return model.layers[layer_idx]


def counterpart(layer: keras.Layer, model: keras.Model, copy: keras.Model) -> keras.Layer:
    """The layer of a rebuilt model that stands where `layer` stands in the original."""
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


def single_input(model: keras.Model) -> keras.KerasTensor:
    """The symbolic input of a model that has one.

    Raises:
        ValueError: If the model has several inputs, or has not been built.
    """
    try:
        inputs = model.inputs
    except (AttributeError, ValueError):
        inputs = None
    if not inputs or len(inputs) != 1:
        raise ValueError(
            "`model` must have been built, and have one input. "
            f"Received: model '{model.name}' with inputs {inputs}"
        )
    return inputs[0]


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
        model: A Functional or Sequential model whose layers' attributes, activations for
            instance, may have been changed. It is left as it is.
        custom_objects: Names and the classes or functions that they stand for, where the model
            holds objects that Keras does not know.

    Returns:
        A new model with the same weights. It is compiled as the old one was, with a fresh
        optimizer.

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
    custom_objects = dict(custom_objects or {})
    with keras.saving.custom_object_scope(custom_objects):
        rebuilt = keras.models.clone_model(model, fresh_inputs(model))
        rebuilt.set_weights(model.get_weights())
        if model.compiled and not rebuilt.compiled:
            rebuilt.compile_from_config(model.get_compile_config())
    return rebuilt


def fresh_inputs(model: keras.Model) -> Any:
    """Inputs for a copy of a Functional model, named as its input layers; else None.

    Left to itself, `keras.models.clone_model` names input layers after their tensors.
    """
    if not isinstance(model, Functional):
        return None
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape,
            dtype=tensor.dtype,
            name=tensor._keras_history.operation.name,
        ),
        model.input,
    )


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
