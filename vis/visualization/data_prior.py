"""Pictures like the data that a model is used on: what is learnt of examples, and what follows."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import as_numbers
from vis.backend.graph import Graph, match_to_inputs, names_of, spatial_axes
from vis.backend.step import value_of
from vis.data import SAMPLE_SIZE, Dataset, ExampleFormat, check_distinct, sample_inputs
from vis.parametrizations import PrincipalComponents
from vis.utils.validation import is_iterable, require
from vis.visualization.defaults import RANGE


def fit_prior(
    graph: Graph, like: Any, parametrization: Any, fixed_inputs: Any, input_range: Any = None
) -> Any:
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
    for tensor, examples, value in zip(graph.inputs, _by_input(like, graph), fixed, strict=True):
        if value is None and examples is None:
            raise ValueError(
                "`like` must have examples for each input that is optimised; values of others are "
                "given in `fixed_inputs`. "
                f"Received: none for the input '{names_of(tensor)[0]}'"
            )
        if value is None:
            found.append(_fit(graph, tensor, examples, input_range))
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


def _fit(
    graph: Graph, tensor: keras.KerasTensor, examples: Any, input_range: Any
) -> PrincipalComponents:
    """A prior of an input, or of the output of its embedding."""
    is_folder = isinstance(examples, (str, os.PathLike))
    folder_range = _range_of_input(graph, tensor, input_range) if is_folder else (0, 255)
    values = Dataset("like", examples, tensor, folder_range).sample(SAMPLE_SIZE)
    numbers, values = as_numbers("like", graph, tensor, values)
    check_distinct("like", values)
    entry = graph.gradient_flow.entry_of(numbers)
    if entry is not numbers:
        values = value_of(graph, entry, values, numbers)
    is_first = spatial_axes(entry)[:1] == (2,)
    data_format = "channels_first" if is_first else "channels_last"
    return PrincipalComponents(values, data_format=data_format)


def _range_of_input(graph: Graph, tensor: keras.KerasTensor, input_range: Any) -> Any:
    """The range of an input, from one pair for all inputs or one for each."""
    are_pairs = isinstance(input_range, (list, tuple)) and any(map(is_iterable, input_range))
    if isinstance(input_range, Mapping) or are_pairs:
        pairs = match_to_inputs("input_range", input_range, graph.names)
        input_range = next(p for t, p in zip(graph.inputs, pairs, strict=True) if t is tensor)
    return (0, 255) if input_range is None else input_range


def _by_input(like: Any, graph: Graph) -> list[Any]:
    """The examples of each input."""
    is_folder = isinstance(like, (str, os.PathLike))
    if len(graph.inputs) == 1 or is_folder or isinstance(like, (Mapping, list, tuple)):
        return match_to_inputs("like", like, graph.names)
    formats = [ExampleFormat.of("like", tensor) for tensor in graph.inputs]

    def to_batches(item: Any) -> list[np.ndarray | None]:
        values = match_to_inputs("like", item, graph.names)
        pairs = zip(formats, values, strict=True)
        return [None if value is None else own.as_batch(value) for own, value in pairs]

    return sample_inputs("like", like, to_batches, SAMPLE_SIZE)
