"""What of a graph is acted on, optimised or explained, and what everything else is."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.backend.graph import (
    Graph,
    layout_of,
    match_to_inputs,
    names_of,
    position_of,
    spatial_axes,
    warn_of_range,
)
from vis.backend.step import value_of
from vis.utils.layout import fits
from vis.utils.validation import check_images, expect


class ModelInputs(NamedTuple):
    """What of a graph is acted on, and the values of all else that it is fed.

    Words and categories are looked up, which has no gradient: what an embedding makes of them is
    acted on, and they are still fed, as masks are made of them.
    """

    graph: Graph
    structure: Any  # The inputs as a user names them: a tensor, or a list or dict of several.
    # For each input of the graph what is fed in its place, and then what is fed besides.
    fed: tuple[keras.KerasTensor, ...]
    # For each of these its values, (samples, ...), or None where it is acted on.
    values: tuple[np.ndarray | None, ...]
    images: Any = None  # Those of what is explained, (samples, ...); None for what is optimised.

    @property
    def tensors(self) -> list[keras.KerasTensor]:
        """What is acted on."""
        return [t for t, value in zip(self.fed, self.values, strict=True) if value is None]

    @property
    def fixed(self) -> list[np.ndarray]:
        """The values of all else."""
        return [value for value in self.values if value is not None]

    @property
    def embeds(self) -> bool:
        """Whether embeddings, or what is like them, stand in the place of inputs."""
        return len(self.fed) > len(self.graph.inputs)

    def match_to_inputs(self, name: str, values: Any) -> list[Any]:
        """One value for each that is acted on, of values for these or for all inputs.

        They are a list, a dict by name, or one alone. Messages call them by the argument's name.
        """
        # What stands in the place of an input goes by that one's names, and by its own.
        names = [
            own if fed is tensor else (*own, *names_of(fed))
            for own, fed, tensor in zip(self.graph.names, self.fed, self.graph.inputs, strict=False)
        ]
        acted_on = [value is None for value in self.values[: len(names)]]
        for_all = isinstance(values, (list, tuple)) and len(values) == len(names) > 1
        if for_all or isinstance(values, Mapping):
            return list(itertools.compress(match_to_inputs(name, values, names), acted_on))
        return match_to_inputs(name, values, list(itertools.compress(names, acted_on)))

    def as_given(self, values: Sequence[Any]) -> Any:
        """Values of what is acted on: alone, by name where inputs are named, or a list."""
        if len(values) == 1:
            return values[0]
        given = self.structure
        if not isinstance(given, Mapping) or len(given) < len(keras.tree.flatten(given)):
            return list(values)
        pairs = zip(self.graph.names, self.values, strict=False)
        keys = [names[0] for names, value in pairs if value is None]
        return dict(zip(keys, values, strict=True))


def as_model_inputs(input_tensor: Any, fixed_inputs: Any) -> ModelInputs:
    """The inputs of a model, or what hangs from tensors, but for those that are fixed.

    In place of tensors a subject may be given, which is returned as it is.
    """
    if isinstance(input_tensor, ModelInputs):
        return input_tensor
    graph = Graph.of_inputs(input_tensor)
    fixed = match_to_inputs("fixed_inputs", fixed_inputs, graph.names)
    subject = _all_but_fixed(graph, input_tensor, graph.inputs, fixed)
    for tensor in subject.tensors:
        if not graph.gradient_flow.has_gradient(tensor):
            raise ValueError(
                "`input_tensor` must be what gradients flow into, and none flow into what is "
                "looked up, such as words; give such inputs a value in `fixed_inputs`, or optimise "
                "what an embedding makes of them: `embedding.output`. Received: the input "
                f"'{tensor.name}' of type {tensor.dtype}"
            )
    return subject


def inputs_to_optimise(
    graph: Graph,
    fixed_inputs: Any,
    seed_input: Any = None,
    image_size: int | Sequence[int] | None = None,
) -> ModelInputs:
    """What of a model is optimised: its inputs, or what embeddings make of integers.

    Inputs that are not optimised have `fixed_inputs`, by position or by name. Images start from
    `seed_input`, or have `image_size` where their size is open.
    """
    tensors, fixed = _all_as_numbers("fixed_inputs", graph, fixed_inputs)
    entries = [
        graph.gradient_flow.entry_of(tensor) if value is None else tensor
        for tensor, value in zip(tensors, fixed, strict=True)
    ]
    subject = _all_but_fixed(graph, graph.input_structure, entries, fixed)
    acted_on = list(map(id, subject.tensors))
    looked_up = [(t, e) for t, e in zip(tensors, entries, strict=True) if t is not e]
    expected = "look up each of its inputs in a layer that it calls once"
    nested = f"{len(looked_up)} inputs in a nested model that is called more than once"
    received = f"model '{graph.owner.name}', which looks up {nested}"
    expect(len(set(acted_on)) == len(acted_on), "model", expected, received)
    seeds = dict(zip(acted_on, subject.match_to_inputs("seed_input", seed_input), strict=True))
    words = []
    for tensor, entry in looked_up:
        layout, seed = layout_of(entry, image_size), seeds[id(entry)]
        sizes = layout.shape if seed is None else np.shape(seed)[-len(layout.shape) :]
        shape = (1, *(size or sizes[i] for i, size in enumerate(tensor.shape[1:])))
        # Masks are still made of the integers: as if there were no padding among them.
        words.append(np.ones(shape, tensor.dtype))
    return subject._replace(
        fed=(*entries, *(tensor for tensor, _ in looked_up)), values=(*subject.values, *words)
    )


def inputs_to_explain(
    graph: Graph, seed_input: Any, wrt: keras.KerasTensor | None = None
) -> ModelInputs:
    """What is explained, with images in the model's data format.

    `seed_input` is an image or a batch, with the channels at either end; for several inputs a list,
    or a dict by name. `wrt` is the input that is explained, by default the first that is an image.
    """
    tensors, given = _all_as_numbers("seed_input", graph, seed_input)
    for tensor, value in zip(tensors, given, strict=True):
        is_given = value is not None or len(tensors) == 1
        received = f"nothing for the input '{tensor.name}'"
        expect(is_given, "seed_input", "have a value for each input", received)
    values = [
        check_images("seed_input", value, tuple(tensor.shape[1:]))
        for tensor, value in zip(tensors, given, strict=True)
    ]
    samples = max(map(len, values))
    counts = [len(value) for value in values]
    expected = "have as many samples for each input, or one"
    expect({*counts} <= {1, samples}, "seed_input", expected, f"{counts} samples")
    wrt = wrt if any(wrt is tensor for tensor in tensors) else _first_image(tensors, graph)
    chosen = position_of(wrt, tensors)
    images = np.broadcast_to(values[chosen], (samples, *values[chosen].shape[1:]))
    warn_of_range(wrt, images)
    fixed: list[np.ndarray | None] = [*values]
    fixed[chosen] = None
    subject = ModelInputs(graph, graph.input_structure, tuple(tensors), tuple(fixed), images)
    return inside(subject, graph.gradient_flow.entry_of(wrt))


def explained_tensor(graph: Graph) -> keras.KerasTensor:
    """The tensor that a model's attributions belong to."""
    return graph.gradient_flow.entry_of(_first_image(graph.inputs, graph))


def inside(subject: ModelInputs, entry: keras.KerasTensor) -> ModelInputs:
    """The same explained further inside: what a model makes of the images there.

    `entry` is what is made of the tensor that they are values of, or that tensor itself.
    """
    (tensor,) = subject.tensors
    if entry is tensor:
        return subject
    fed = (*(entry if t is tensor else t for t in subject.fed), tensor)
    images = value_of(subject.graph, entry, subject.images, tensor)
    return subject._replace(fed=fed, values=(*subject.values, subject.images), images=images)


def _first_image(tensors: Sequence[keras.KerasTensor], graph: Graph) -> keras.KerasTensor:
    """The input that is explained where the user does not say."""
    open_to = [tensor for tensor in tensors if graph.gradient_flow.has_gradient(tensor)]
    if not open_to:
        # Words, rather than masks of them.
        return next((t for t in tensors if graph.gradient_flow.has_entry(t)), tensors[0])
    return next((t for t in open_to if spatial_axes(t)), open_to[0])


def _all_but_fixed(
    graph: Graph, structure: Any, fed: Sequence[keras.KerasTensor], fixed: Sequence[Any]
) -> ModelInputs:
    """All that a graph is fed is optimised, but for what has a value, which is checked."""
    values = tuple(
        None if value is None else check_images("fixed_inputs", value, tuple(tensor.shape[1:]))
        for tensor, value in zip(fed, fixed, strict=True)
    )
    is_left = any(value is None for value in values)
    received = f"fixed_inputs for all of the {len(graph.inputs)} inputs"
    expect(is_left, "fixed_inputs", "leave an input to be optimised", received)
    return ModelInputs(graph, structure, tuple(fed), values)


def as_numbers(
    name: str, graph: Graph, tensor: keras.KerasTensor, value: Any
) -> tuple[keras.KerasTensor, Any]:
    """An input and a value for it; where it holds text, the numbers that the model makes of it."""
    numbers = graph.gradient_flow.encoded(tensor)
    if value is not None and numbers is not tensor:
        value = value_of(graph, numbers, _texts(name, value, tensor.shape), tensor)
    return numbers, value


def _all_as_numbers(name: str, graph: Graph, values: Any) -> tuple[tuple, tuple]:
    """The same of all inputs."""
    pairs = zip(graph.inputs, match_to_inputs(name, values, graph.names), strict=True)
    tensors, numbers = zip(*(as_numbers(name, graph, *pair) for pair in pairs), strict=True)
    return tensors, numbers


def _texts(name: str, values: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    texts = np.asarray(values, object)
    if not all(isinstance(text, (str, bytes)) for text in texts.flat):
        raise TypeError(f"`{name}` must hold text for an input of text. Received: {values!r}")
    if not texts.ndim:
        texts = texts.reshape((1,) * len(shape))
    for given in (texts, texts[None], texts[..., None]):
        if fits(given.shape, shape):
            return given
    raise ValueError(
        f"`{name}` must be text of shape {tuple(shape[1:])}, or {tuple(shape)} with the batch "
        f"axis. Received: text of shape {texts.shape}"
    )
