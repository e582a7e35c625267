"""Pictures like the data that a model is used on: what is learnt of examples, and what follows."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import encode_text
from vis.backend.graph import Graph, ModelInputs, match_to_inputs, names_of, spatial_axes
from vis.backend.step import evaluate_tensor
from vis.data.examples import check_examples, examples_from, joined
from vis.parametrizations import PrincipalComponents
from vis.utils.validation import require
from vis.visualization.defaults import RANGE


def fit_prior(graph: Graph, like: Any, parametrization: Any, fixed_inputs: Any) -> Any:
    """A parametrization learnt of examples, or for a model with several inputs a list of them.

    Examples of several inputs in `like`, and `fixed_inputs`, go by position or by name. Words are
    as the model takes them. Where `like` is None, `parametrization` is as the user has said.
    """
    if like is None:
        return parametrization
    expected = "not be given together with `like`, which makes one of its own"
    require(parametrization is None, "parametrization", expected, parametrization)
    fixed = match_to_inputs("fixed_inputs", fixed_inputs, graph.names)
    found = []
    for tensor, examples, value in zip(graph.inputs, _of_each(like, graph), fixed, strict=True):
        if value is None and examples is None:
            raise ValueError(
                "`like` must have examples for each input that is optimised; values of others are "
                "given in `fixed_inputs`. "
                f"Received: none for the input '{names_of(tensor)[0]}'"
            )
        if value is None:
            found.append(_learnt(graph, tensor, examples))
    return found[0] if len(found) == 1 else found


def fitted_priors(parametrization: Any) -> list[PrincipalComponents]:
    """Those that are learnt of examples, of one parametrization or of several."""
    found = keras.tree.flatten(parametrization)
    return [one for one in found if isinstance(one, PrincipalComponents)]


def is_fitted(parametrization: Any) -> bool:
    """Whether what is optimised, all of it, is learnt of examples."""
    learnt = fitted_priors(parametrization)
    return bool(learnt) and len(learnt) == len(keras.tree.flatten(parametrization))


def range_of(input_range: Any, parametrization: Any) -> Any:
    """The range that the examples have, where the user has given none and all is learnt."""
    if input_range is not RANGE or not is_fitted(parametrization):
        return input_range
    return keras.tree.map_structure(lambda one: one.input_range, parametrization)


def size_of(image_size: Any, parametrization: Any, graph: Graph) -> Any:
    """The size that the user has given, or else, where an input leaves it open, the examples'."""
    learnt = fitted_priors(parametrization)
    is_open = any(None in tensor.shape[1:] for tensor in graph.inputs)
    if image_size is not None or len(learnt) != 1 or not is_open:
        return image_size
    return learnt[0].layout.spatial_shape or None


def _learnt(graph: Graph, tensor: keras.KerasTensor, examples: Any) -> PrincipalComponents:
    """What is learnt of an input, or of what an embedding makes of it."""
    if graph.gradient_flow.encoded(tensor) is not tensor and not hasattr(examples, "__array__"):
        texts = examples_from("like", examples, len(tensor.shape) - 1)
        examples = joined("like", [np.atleast_1d(text) for text in texts], np.concatenate)
    numbers, examples = encode_text("like", graph, tensor, examples)
    examples = check_examples("like", examples, tuple(numbers.shape[1:]))
    entry = graph.gradient_flow.entry_of(numbers)
    if entry is not numbers:
        examples = evaluate_tensor(ModelInputs.with_zeros(graph, numbers), entry, examples)
    first = spatial_axes(entry)[:1] == (2,)
    return PrincipalComponents(examples, data_format="channels_first" if first else "channels_last")


def _of_each(like: Any, graph: Graph) -> list[Any]:
    """The examples of each input."""
    if len(graph.inputs) == 1 or isinstance(like, (Mapping, list, tuple)):
        return match_to_inputs("like", like, graph.names)
    rows = [
        match_to_inputs("like", item, graph.names)
        for item in examples_from("like", like, rank=None)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
