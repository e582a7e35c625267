"""Model inputs to optimise, to explain and to run images through."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vis.backend.graph import (
    Graph,
    ModelInputs,
    layout_of,
    names_of,
    position_of,
    spatial_axes,
    warn_of_range,
    warn_of_range_before_preprocessing,
)
from vis.backend.private import operation_of
from vis.backend.step import evaluate_tensor
from vis.utils.layout import Layout, fits
from vis.utils.validation import (
    as_integer,
    check_array,
    check_images,
    close_matches,
    expect,
    require,
)

# Numbers of channels that images have.
_PIXEL_CHANNELS = (1, 3, 4)
# Fewer pixels along an axis are no image, but for example the corners of a box.
_SMALLEST_IMAGE = 8


def as_model_inputs(input_tensor: Any, fixed_inputs: Any, examples: Any = None) -> ModelInputs:
    """The inputs of the model that some tensors belong to; those without a fixed value vary.

    `ModelInputs` are returned as they are. `examples` are as in `Graph.of`.
    """
    if isinstance(input_tensor, ModelInputs):
        return input_tensor
    graph = Graph.of_inputs(input_tensor).for_examples(examples, fixed_inputs)
    tensors, fixed = _fixed_values(graph, fixed_inputs)
    inputs = _varying_unless_fixed(graph, input_tensor, tensors, fixed)
    for tensor in inputs.varying:
        if not graph.gradient_flow.has_gradient(tensor):
            raise ValueError(
                "`input_tensor` must have a gradient, and token ids and categories have none. Give "
                "such inputs a value in `fixed_inputs`, or optimise the output of the embedding: "
                f"`embedding.output`. Received: the input '{tensor.name}' of type {tensor.dtype}"
            )
    return inputs


def inputs_to_optimise(
    graph: Graph,
    fixed_inputs: Any,
    seed_input: Any = None,
    image_size: int | Sequence[int] | None = None,
) -> ModelInputs:
    """The inputs of a model, or the outputs of their embeddings, but for `fixed_inputs`.

    The sizes of open axes are those of `seed_input`, or `image_size`.
    """
    tensors, fixed = _fixed_values(graph, fixed_inputs)
    entries = [
        graph.gradient_flow.entry_of(tensor) if value is None else tensor
        for tensor, value in zip(tensors, fixed, strict=True)
    ]
    inputs = _varying_unless_fixed(graph, graph.input_structure, entries, fixed)
    varying = list(map(id, inputs.varying))
    embedded = [(t, e) for t, e in zip(tensors, entries, strict=True) if t is not e]
    expect(
        len(set(varying)) == len(varying),
        "model",
        "call the embedding of each input once",
        f"model '{graph.owner.name}', in which {len(embedded)} inputs share an embedding inside a "
        "nested model that is called more than once",
    )
    seeds = dict(zip(varying, inputs.match("seed_input", seed_input), strict=True))
    ids = []
    for tensor, entry in embedded:
        layout, seed = layout_of(entry, image_size), seeds[id(entry)]
        sizes = layout.shape if seed is None else np.shape(seed)[-len(layout.shape) :]
        shape = (1, *(size or sizes[i] for i, size in enumerate(tensor.shape[1:])))
        # Masks are computed from the ids: there is no padding among these.
        ids.append(np.ones(shape, tensor.dtype))
    return inputs._replace(
        tensors=(*entries, *(tensor for tensor, _ in embedded)), values=(*inputs.values, *ids)
    )


def preprocessed(graph: Graph, values: Any, name: str | None = "seed_input") -> Any:
    """Raw images or texts as the model takes them, as `predict` of a KerasHub task makes them.

    Other values, such as a dict of token ids, are returned as they are. With a `name`, that of the
    argument, the range of images is checked.
    """
    model: Any = graph.model
    preprocessor = getattr(model, "preprocessor", None)
    if preprocessor is None or values is None or not hasattr(model, "preprocess_samples"):
        return values
    takes_images = getattr(preprocessor, "image_converter", None) is not None
    if takes_images and len(graph.inputs) == 1:
        values = check_array(name or "images", values)
        if name:
            warn_of_range_before_preprocessing(model, values, name)
    elif _is_text(values):
        values = np.asarray(values, object).tolist()
    elif not takes_images and _are_inputs(graph, values):
        return values
    return keras.tree.map_structure(np.asarray, model.preprocess_samples(values))


def _is_text(values: Any) -> bool:
    return all(isinstance(value, (str, bytes)) for value in np.asarray(values, object).flat)


def _are_inputs(graph: Graph, values: Any) -> bool:
    known = {name for names in graph.names for name in names}
    return not isinstance(values, Mapping) or not known.isdisjoint(values)


def inputs_to_explain(
    graph: Graph, seed_input: Any, wrt: keras.KerasTensor | None = None
) -> ModelInputs:
    """The input that is explained, with its images; all other inputs are fixed.

    Args:
        graph: The graph of the model.
        seed_input: An image or a batch, with the channels at either end; for several inputs a
            list, or a dict by name.
        wrt: The input to explain; see `tensor_to_explain`.
    """
    given = graph.match("seed_input", seed_input)
    for tensor, value in zip(graph.inputs, given, strict=True):
        is_given = value is not None or len(given) == 1
        received = f"nothing for the input '{tensor.name}'"
        expect(is_given, "seed_input", "have a value for each input", received)
    tensors, encoded = _encoded_values("seed_input", graph, given)
    values = [
        _checked("seed_input", value, tensor)
        for tensor, value in zip(tensors, encoded, strict=True)
    ]
    samples = max(map(len, values))
    counts = [len(value) for value in values]
    expected = "have as many samples for each input, or one"
    expect({*counts} <= {1, samples}, "seed_input", expected, f"{counts} samples")
    wrt = wrt if any(wrt is tensor for tensor in tensors) else _default_of(tensors, graph)
    # Raises an error for text that cannot be explained.
    wrt = graph.gradient_flow.encoded(wrt)
    explained = position_of(wrt, tensors)
    images = np.broadcast_to(values[explained], (samples, *values[explained].shape[1:]))
    fixed: list[np.ndarray | None] = [*values]
    fixed[explained] = None
    inputs = ModelInputs(graph, graph.input_structure, tuple(tensors), tuple(fixed), images)
    return moved_to(inputs, graph.gradient_flow.explained_at(wrt))


def inputs_for_images(graph: Graph, fixed_inputs: Any) -> ModelInputs:
    """The input that takes images, which varies; all other inputs are fixed."""
    fixed = graph.match("fixed_inputs", fixed_inputs)
    missing = sum(value is None for value in fixed)
    if missing != 1:
        raise ValueError(
            "`fixed_inputs` must give a value for each input but the one that takes the images. "
            f"Received: {missing} inputs without one"
        )
    tensors, fixed = _fixed_values(graph, fixed_inputs)
    inputs = _varying_unless_fixed(graph, graph.input_structure, tensors, fixed)
    for value in inputs.fixed:
        expect(len(value) == 1, "fixed_inputs", "hold one sample", f"{len(value)} samples")
    return inputs


def tensor_to_explain(graph: Graph, wrt: keras.KerasTensor | None = None) -> keras.KerasTensor:
    """The input `wrt`, or the output of its embedding.

    The default is the input with pixels, or else the first one with a gradient, or else the
    embedding with the most entries: token ids rather than segment ids.
    """
    wrt = _default_of(graph.inputs, graph) if wrt is None else wrt
    return graph.gradient_flow.explained_at(wrt)


def find_input(graph: Graph, input_name: int | str | None) -> keras.KerasTensor | None:
    """The input with a name or index; for text, the numbers that encode it. None returns None."""
    if input_name is None:
        return None
    by_name = {name: i for i, names in enumerate(graph.names) for name in names}
    index = by_name.get(input_name) if isinstance(input_name, str) else as_integer(input_name)
    is_valid = isinstance(input_name, str) or index is not None
    require(is_valid, "input_name", "be the name or index of an input", input_name, TypeError)
    if index is None or not -len(graph.inputs) <= index < len(graph.inputs):
        listed = ", ".join(repr(names[0]) for names in graph.names)
        matches = close_matches(str(input_name), by_name)
        hint = f"; did you mean {matches[0]!r}?" if matches else "."
        raise ValueError(
            f"`input_name` must be the name or index of an input, {listed}{hint} "
            f"Received: input_name={input_name!r}"
        )
    return graph.gradient_flow.encoded(graph.inputs[index])


def moved_to(inputs: ModelInputs, entry: keras.KerasTensor) -> ModelInputs:
    """The same explanation at a tensor that is computed from the explained one."""
    (tensor,) = inputs.varying
    if entry is tensor:
        return inputs
    images = evaluate_tensor(inputs, entry, inputs.images)
    return inputs._replace(
        tensors=(*(entry if t is tensor else t for t in inputs.tensors), tensor),
        values=(*inputs.values, inputs.images),
        images=images,
    )


def encode_text(
    name: str, graph: Graph, tensor: keras.KerasTensor, value: Any
) -> tuple[keras.KerasTensor, Any]:
    """A tensor and its value: for an input of text, the numbers that the model encodes it as."""
    numbers = graph.gradient_flow.encoded(tensor)
    if value is not None and numbers is not tensor:
        texts = check_texts(name, value, tensor.shape)
        value = evaluate_tensor(ModelInputs.with_zeros(graph, tensor), numbers, texts)
    return numbers, value


def check_texts(name: str, values: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Returns texts as an array with a batch axis, or raises unless they fit an input's shape."""
    texts = np.asarray(values, object)
    if not all(isinstance(text, (str, bytes)) for text in texts.flat):
        raise TypeError(f"`{name}` must hold text for an input of text. Received: {values!r}")
    if not texts.ndim:
        texts = texts.reshape((1,) * len(shape))
    for batch in (texts, texts[None], texts[..., None]):
        if fits(batch.shape, shape):
            return batch
    raise ValueError(
        f"`{name}` must be text of shape {tuple(shape[1:])}, or {tuple(shape)} with the batch "
        f"axis. Received: text of shape {texts.shape}"
    )


def _default_of(tensors: Sequence[keras.KerasTensor], graph: Graph) -> keras.KerasTensor:
    differentiable = [tensor for tensor in tensors if graph.gradient_flow.has_gradient(tensor)]
    if not differentiable:
        embedded = [tensor for tensor in tensors if graph.gradient_flow.has_entry(tensor)]
        return max(
            embedded, key=lambda t: _vocabulary(graph.gradient_flow.entry_of(t)), default=tensors[0]
        )
    spatial = [tensor for tensor in differentiable if spatial_axes(tensor)]
    return max(spatial, key=_likeness_to_image, default=differentiable[0])


def _likeness_to_image(tensor: keras.KerasTensor) -> tuple:
    """A rank for inputs with spatial axes; the first of equals is the highest."""
    layout = Layout(tuple(tensor.shape[1:]), spatial_axes(tensor))
    sizes = layout.spatial_shape
    has_pixels = layout.channels in _PIXEL_CHANNELS and all(
        size is None or size >= _SMALLEST_IMAGE for size in sizes
    )
    is_named = any(word in name for name in names_of(tensor) for word in ("image", "pixel"))
    return has_pixels, has_pixels and is_named, has_pixels and len(sizes) == 2


def _vocabulary(entry: keras.KerasTensor) -> int:
    """The number of rows of the embedding that computes a tensor."""
    weights = getattr(operation_of(entry), "weights", [])
    return max((weight.shape[0] for weight in weights if len(weight.shape) == 2), default=0)


def _fixed_values(graph: Graph, fixed_inputs: Any) -> tuple[list, list]:
    given = graph.match("fixed_inputs", fixed_inputs)
    return _encoded_values("fixed_inputs", graph, given)


def _encoded_values(name: str, graph: Graph, values: Sequence[Any]) -> tuple[list, list]:
    """For each input a tensor and its value, texts as numbers if one layer encodes them."""
    tensors, encoded = [], []
    for tensor, value in zip(graph.inputs, values, strict=True):
        if (
            value is not None
            and tensor.dtype == "string"
            and not graph.gradient_flow.is_encoded(tensor)
        ):
            # Texts that several layers read stay what they are: nothing has to vary here.
            value = check_texts(name, value, tensor.shape)
        else:
            tensor, value = encode_text(name, graph, tensor, value)
        tensors.append(tensor)
        encoded.append(value)
    return tensors, encoded


def _varying_unless_fixed(
    graph: Graph, structure: Any, tensors: Sequence[keras.KerasTensor], fixed: Sequence[Any]
) -> ModelInputs:
    values = tuple(
        None if value is None else _checked("fixed_inputs", value, tensor)
        for tensor, value in zip(tensors, fixed, strict=True)
    )
    varies = any(value is None for value in values)
    received = f"fixed_inputs for all of the {len(graph.inputs)} inputs"
    expect(varies, "fixed_inputs", "leave an input to be optimised", received)
    return ModelInputs(graph, structure, tuple(tensors), values)


def _checked(name: str, value: Any, tensor: keras.KerasTensor) -> np.ndarray:
    if tensor.dtype == "string":
        return check_texts(name, value, tensor.shape)
    images = check_images(name, value, tuple(tensor.shape[1:]))
    warn_of_range(tensor, images, name)
    return images
