"""Layer indices, names and paths, and `LayerOutput` for one output of a layer."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from vis.backend.graph.attribute_paths import at_attribute_path, attribute_paths, direct_layers
from vis.backend.private import layers_inside
from vis.utils.validation import (
    as_integer,
    check_integer,
    check_model,
    close_matches,
    expect,
    require,
)

# Layer names in keras-vis's notebooks, and today's names in `keras.applications`.
_RENAMED = {
    "fc1000": "predictions",
    "conv1": "conv1_conv",
    "bn_conv1": "conv1_bn",
    "dense_1": "predictions",
}


class LayerOutput(NamedTuple):
    """One output of one call of a layer. All functions that take a layer accept it.

    Attributes:
        layer: The layer, or its index, name or path in a model that is passed as well.
        call: Index of the call, from 0, for a layer that the model calls several times.
        output: Index of the output, from 0, or its name, for a layer that returns a dict or a
            model with named outputs; None for the only output.

    Example:
        >>> shared = keras.layers.Dense(3, name="shared")
        >>> a, b = keras.Input((4,)), keras.Input((4,))
        >>> model = keras.Model([a, b], keras.ops.add(shared(a), shared(b)))
        >>> LayerOutput(shared, call=1).name
        'shared, call 1'
    """

    layer: Any
    call: int = 0
    output: int | str | None = None

    @classmethod
    def of(cls, target: Any) -> "LayerOutput":
        """The `LayerOutput` itself, or that of the only output of a layer's first call."""
        return target if isinstance(target, cls) else cls(target)

    @property
    def name(self) -> str:
        """Name in messages."""
        name = getattr(self.layer, "name", str(self.layer))
        name += f", call {self.call}" if self.call else ""
        return name + (f", output {self.output}" if self.output else "")

    def checked(self, layer: keras.Layer) -> "LayerOutput":
        """The `LayerOutput` of a layer, or an error if an index is not an integer."""
        call, output = check_integer("call", self.call, least=0), self.output
        is_name = output is None or isinstance(output, str)
        return LayerOutput(layer, call, output if is_name else check_integer("output", output, 0))


Target: TypeAlias = keras.Layer | LayerOutput


def check_layer(layer: Any) -> Target:
    """Returns a layer or a `LayerOutput`, or raises a `TypeError`."""
    target = LayerOutput.of(layer)
    target.checked(target.layer)
    is_operation = isinstance(target.layer, keras.Operation)
    require(is_operation, "layer", "be a Keras layer", layer, TypeError)
    return layer


def check_tensor(tensor: Any) -> keras.KerasTensor:
    """Returns a symbolic tensor, or raises a `TypeError`."""
    is_symbolic = isinstance(tensor, keras.KerasTensor)
    expected = "be a symbolic tensor of the model, such as `layer.output`"
    require(is_symbolic, "wrt_tensor", expected, tensor, TypeError)
    return tensor


def select_output(target: Target, counts: Sequence[int], names: Callable[[], Sequence[str]]) -> int:
    """The index of a layer's output, or a `ValueError` unless it has this call and output.

    Args:
        target: The layer, or one of its calls or outputs.
        counts: The number of outputs of each call.
        names: Returns the names of the outputs.
    """
    layer, call, output = LayerOutput.of(target)
    calls = f"one of the {len(counts)} calls of the layer '{layer.name}', from 0"
    require(0 <= call < len(counts), "call", f"be {calls}", int(call))
    count = counts[call]
    if isinstance(output, str):
        known = [*names()]
        if output in known:
            return known.index(output) % count
        matches = close_matches(output, known)
        hint = f"; did you mean '{matches[0]}'?" if matches else "."
        raise ValueError(
            f"`output` must be the index or name of an output of '{layer.name}', one of "
            f"{', '.join(map(repr, known))}{hint} Received: output={output!r}"
        )
    example = names()[0] if output is None and count > 1 else 0
    expected = f"have one output. Choose one with `LayerOutput(layer, output={example!r})`"
    received = f"layer '{layer.name}' with {count} outputs"
    expect(output is not None or count == 1, "layer", expected, received)
    outputs = f"one of the {count} outputs of the layer '{layer.name}', from 0"
    require(output is None or 0 <= output < count, "output", f"be {outputs}", output)
    return output or 0


def find_layer_idx(model: keras.Model, layer_name: str) -> int:
    """Finds the index of a layer by its name.

    Args:
        model: A Keras model.
        layer_name: The layer's name.

    Returns:
        Its index in `model.layers`.

    Raises:
        ValueError: If there is no such layer. The message suggests similar names.

    Example:
        >>> from vis.utils.utils import find_layer_idx
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(2, name="predictions")]
        ... )
        >>> find_layer_idx(model, "predictions")
        0
    """
    check_model(model)
    return _index_of(model, layer_name, "layer_name")


def resolve_layer(
    model: keras.Model, layer_idx: int | str | Target, name: str = "layer_idx"
) -> Target:
    """The same as `vis.visualization.find_layer`, for models that need not be built."""
    check_model(model)
    if isinstance(layer_idx, LayerOutput):
        return layer_idx.checked(resolve_layer(model, layer_idx.layer, name))
    if isinstance(layer_idx, keras.Layer):
        is_inside = layer_idx is model or layer_idx in layers_inside(model)
        require(is_inside, name, f"be a layer of the model '{model.name}'", layer_idx)
        return layer_idx
    if isinstance(layer_idx, str):
        return _at_path(model, layer_idx, name) or model.layers[_index_of(model, layer_idx, name)]
    number = as_integer(layer_idx)
    if number is None:
        raise TypeError(
            f"`{name}` must be an index in `model.layers`, a layer's name or path, or a layer. "
            f"Received: {name}={layer_idx!r} of type {type(layer_idx).__name__}"
        )
    count = len(model.layers)
    if not -count <= number < count:
        raise ValueError(
            f"`{name}` is out of range: the model has {count} layers, 0 to {count - 1}. "
            f"Received: {name}={layer_idx}"
        )
    return model.layers[number]


def _index_of(model: keras.Model, layer_name: Any, name: str) -> int:
    names = [layer.name for layer in model.layers]
    if isinstance(layer_name, str) and layer_name in names:
        return names.index(layer_name)
    matches, outer, known = _suggestions(model, str(layer_name))
    alternatives = " or ".join(f"'{match}'" for match in matches)
    hint = f"; did you mean {alternatives}?" if matches else "."
    raise ValueError(
        f"`{name}` must be the name of a layer of the model{hint} The layers{outer} are "
        f"{_shortened(known)}. Received: {name}={layer_name!r}"
    )


def _by_path(outer: keras.Layer, start: str = "", to: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and layers inside a layer, the direct ones first.

    Paths begin with `start`. With `to`, only layers on the way to this path are entered.
    """
    inner = [(f"{start}{layer.name}", layer) for layer in direct_layers(outer)]
    yield from inner
    for path, layer in inner:
        if not to or to.startswith(f"{path}/"):
            yield from _by_path(layer, f"{path}/", to)


def _at_path(outer: keras.Layer, path: str, name: str) -> keras.Layer | None:
    """The layer at a path of names, or else of attributes, or None. Names may contain slashes."""
    layers = _at_names(outer, path) or list(dict.fromkeys(at_attribute_path(outer, path)))
    if len(layers) > 1:
        listed = " and ".join(f"'{unique_path_to(outer, layer)}'" for layer in layers)
        raise ValueError(
            f"`{name}` must be the path of one layer, and that of {listed} is the same. Choose "
            f"one of these paths. Received: {name}={path!r}"
        )
    return layers[0] if layers else None


def _at_names(outer: keras.Layer, path: str) -> list[keras.Layer]:
    """The layers at a path of names."""
    return list(dict.fromkeys(layer for known, layer in _by_path(outer, to=path) if known == path))


def is_path_of_names(outer: keras.Layer, path: str) -> bool:
    """Whether a path consists of names of layers, and not of attributes."""
    return bool(_at_names(outer, path))


def path_to(outer: keras.Layer, layer: keras.Layer) -> str:
    """The path of names of a layer inside a model or another layer."""
    for direct in direct_layers(outer):
        if direct is layer:
            return direct.name
        if layer in layers_inside(direct):
            return f"{direct.name}/{path_to(direct, layer)}"
    raise ValueError(f"`layer` must be inside '{outer.name}'. Received: layer '{layer.name}'")


def unique_path_to(outer: keras.Layer, layer: keras.Layer) -> str:
    """The path of names, or a path of attributes if several layers have the same names."""
    path = path_to(outer, layer)
    if len(_at_names(outer, path)) == 1:
        return path
    return next((p for p, inner in attribute_paths(outer) if inner is layer), path)


def _suggestions(model: keras.Model, name: str) -> tuple[Sequence[str], str, list[str]]:
    """Similar names or paths, and for the message " of 'outer'" and the names inside it."""
    names = [layer.name for layer in model.layers]
    if today := _renamed(name, names):
        return [today], "", names
    nested = itertools.islice(_by_path(model), len(names), None)
    by_path = itertools.chain(nested, attribute_paths(model))
    paths = list(dict.fromkeys(path for path, _ in by_path if path not in names))
    same_name = [path for path in paths if path.rsplit("/", 1)[-1] == name][:3]
    outer_path, slash, last = name.rpartition("/")
    outer = _at_path(model, outer_path, "layer") if slash else None
    attributes = [] if outer is None else [p for p, _ in attribute_paths(outer) if "/" not in p]
    if outer is not None and (inner := [layer.name for layer in direct_layers(outer)]):
        inner = list(dict.fromkeys([*inner, *attributes]))
        matches = [f"{outer_path}/{match}" for match in close_matches(last, inner)]
        return same_name or matches, f" of '{outer_path}'", inner
    return (
        same_name or close_matches(name, names + [p for p in paths if slash or "/" not in p]),
        "",
        names,
    )


def _renamed(old: str, names: list[str]) -> str | None:
    """Today's name of a layer that was called `old` in Keras 2's applications."""
    today = _RENAMED.get(old)
    if today is None and (match := re.fullmatch(r"(res|bn)(\d)([a-z])_branch(1|2[abc])", old)):
        kind, stage, block, branch = match.groups()
        number = 0 if branch == "1" else "abc".index(branch[1]) + 1
        suffix = "conv" if kind == "res" else "bn"
        today = f"conv{stage}_block{ord(block) - ord('a') + 1}_{number}_{suffix}"
    return today if today in names else None


def _shortened(names: list[str]) -> str:
    if len(names) <= 12:
        return str(names)
    return f"{names[:6]} ... {names[-6:]}".replace("] ... [", ", ..., ")
