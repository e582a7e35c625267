"""How a user says which layer is meant, and which of its outputs."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from vis.backend.private import layers_inside
from vis.utils.validation import as_integer, check_integer, check_model, close_matches, require

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
    def of(cls, target: Any) -> "LayerOutput":
        """A layer's only output of its first call, or what says otherwise, as it is."""
        return target if isinstance(target, cls) else cls(target)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        name = getattr(self.layer, "name", str(self.layer))
        name += f", call {self.call}" if self.call else ""
        return name + (f", output {self.output}" if self.output else "")

    def checked(self, layer: keras.Layer) -> "LayerOutput":
        """The same of a layer, or an error unless both numbers are whole ones."""
        call = check_integer("call", self.call, least=0)
        output = None if self.output is None else check_integer("output", self.output, least=0)
        return LayerOutput(layer, call, output)


Target: TypeAlias = keras.Layer | LayerOutput


def check_layer(layer: Any) -> Target:
    """Returns a Keras layer, or one of its outputs, as it is, or raises a `TypeError`."""
    target = LayerOutput.of(layer)
    target.checked(target.layer)
    if not isinstance(target.layer, keras.Layer):
        raise TypeError(
            "`layer` must be a Keras layer. "
            f"Received: layer={layer!r} of type {type(layer).__name__}"
        )
    return layer


def check_tensor(tensor: Any) -> keras.KerasTensor:
    """Returns a symbolic tensor as it is, or raises a `TypeError`."""
    is_symbolic = isinstance(tensor, keras.KerasTensor)
    expected = "be a symbolic tensor of the model, such as `layer.output`"
    require(is_symbolic, "wrt_tensor", expected, tensor, TypeError)
    return tensor


def check_output(layer: keras.Layer, call: int, output: int | None, counts: list[int]) -> None:
    """Raises a `ValueError` unless a call of a layer has one output, or the one that is asked for.

    `counts` says how many outputs each of its calls has; an `output` of None is the only one.
    """
    times = f"the {len(counts)} times that the model runs the layer '{layer.name}', from 0"
    require(0 <= call < len(counts), "call", f"be one of {times}", int(call))
    if output is None and counts[call] != 1:
        raise ValueError(
            "`layer` must have one output to be looked at; say which with "
            f"`vis.utils.utils.LayerOutput(layer, output=0)`. Received: layer '{layer.name}' with "
            f"{counts[call]} outputs"
        )
    outputs = f"the {counts[call]} outputs of the layer '{layer.name}', from 0"
    require(output is None or 0 <= output < counts[call], "output", f"be one of {outputs}", output)


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
    return _index_of(model, layer_name, "layer_name")


def resolve_layer(
    model: keras.Model, layer_idx: int | str | Target, name: str = "layer_idx"
) -> Target:
    """Takes, returns and raises what `vis.visualization.find_layer` does.

    Args:
        model: A Keras model, which need not be built.
        layer_idx: An index, a name, a path, a layer or a `LayerOutput`.
        name: The argument's name, for messages.
    """
    check_model(model)
    if isinstance(layer_idx, LayerOutput):
        return layer_idx.checked(resolve_layer(model, layer_idx.layer, name))
    if isinstance(layer_idx, keras.Layer):
        if layer_idx not in layers_inside(model):
            raise ValueError(
                f"`{name}` must be a layer of the model. "
                f"Received: {name}={layer_idx!r}, which is not part of '{model.name}'"
            )
        return layer_idx
    if isinstance(layer_idx, str):
        return _at_path(model, layer_idx) or model.layers[_index_of(model, layer_idx, name)]
    number = as_integer(layer_idx)
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


def _index_of(model: keras.Model, layer_name: Any, name: str) -> int:
    names = [layer.name for layer in model.layers]
    if isinstance(layer_name, str) and layer_name in names:
        return names.index(layer_name)
    matches, where, known = _alike(model, str(layer_name))
    alternatives = " or ".join(f"'{match}'" for match in matches)
    hint = f"; did you mean {alternatives}?" if matches else "."
    raise ValueError(
        f"`{name}` must be the name of a layer of the model{hint} "
        f"Received: {name}={layer_name!r}, where the layers{where} are {_shortened(known)}"
    )


def _inner(layer: keras.Layer) -> list[keras.Layer]:
    """The layers right inside a layer."""
    return layer.layers if isinstance(layer, keras.Model) else layers_inside(layer, recursive=False)


def _by_path(outer: keras.Layer, start: str = "", to: str = "") -> Iterator[tuple[str, Any]]:
    """The layers inside another with the paths of names that lead to them, its own first.

    Paths begin with `start`. Of those that are not on the way `to` another the rest is left out.
    """
    inner = [(f"{start}{layer.name}", layer) for layer in _inner(outer)]
    yield from inner
    for path, layer in inner:
        if not to or to.startswith(f"{path}/"):
            yield from _by_path(layer, f"{path}/", to)


def _at_path(outer: keras.Layer, path: str) -> keras.Layer | None:
    """The layer at the end of a path of names. Names may hold slashes of their own."""
    return next((layer for known, layer in _by_path(outer, to=path) if known == path), None)


def path_to(outer: keras.Layer, layer: keras.Layer) -> str:
    """The path of names by which a layer is found inside a model or another layer."""
    for inner in _inner(outer):
        if inner is layer:
            return inner.name
        if layer in layers_inside(inner):
            return f"{inner.name}/{path_to(inner, layer)}"
    raise ValueError(f"`layer` must be inside '{outer.name}'. Received: layer '{layer.name}'")


def _alike(model: keras.Model, name: str) -> tuple[Sequence[str], str, list[str]]:
    """Names that may be meant by one that is none, where they are looked for, and all there."""
    names = [layer.name for layer in model.layers]
    if today := _renamed(name, names):
        return [today], "", names
    nested = itertools.islice(_by_path(model), len(names), None)
    paths = list(dict.fromkeys(path for path, _ in nested))
    inner = [path for path in paths if path.rsplit("/", 1)[-1] == name]
    outer, before, last = name.rpartition("/")
    around = _at_path(model, outer) if before else None
    if around is not None and (there := [layer.name for layer in _inner(around)]):
        # As far as it goes, the path is right.
        matches = [f"{outer}/{match}" for match in close_matches(last, there)]
        return inner[:3] or matches, f" of '{outer}'", there
    return inner[:3] or close_matches(name, names + paths * bool(before)), "", names


def _renamed(old: str, names: list[str]) -> str | None:
    """Today's name of a layer that Keras 2's applications called `old`."""
    today = _RENAMED.get(old)
    if today is None and (found := re.fullmatch(r"(res|bn)(\d)([a-z])_branch(1|2[abc])", old)):
        kind, stage, block, branch = found.groups()
        number = 0 if branch == "1" else "abc".index(branch[1]) + 1
        suffix = "conv" if kind == "res" else "bn"
        today = f"conv{stage}_block{ord(block) - ord('a') + 1}_{number}_{suffix}"
    return today if today in names else None


def _shortened(names: list[str]) -> str:
    if len(names) <= 12:
        return str(names)
    return f"{names[:6]} ... {names[-6:]}".replace("] ... [", ", ..., ")
