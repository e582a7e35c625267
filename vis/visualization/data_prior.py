"""Priors fitted to examples of the data (`like=`), and the defaults that follow from them."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import encode_text, preprocessed
from vis.backend.graph import (
    Graph,
    ModelInputs,
    names_of,
    range_after_preprocessing,
    spatial_axes,
    warn_of_range,
)
from vis.backend.step import evaluate_tensor
from vis.data import SAMPLE_SIZE, Dataset, ExampleFormat, check_distinct, sample_inputs
from vis.parametrizations import PrincipalComponents
from vis.utils.validation import is_iterable, require


def fit_prior(
    graph: Graph, like: Any, parametrization: Any, fixed_inputs: Any, input_range: Any = None
) -> Any:
    """Fits a prior to the examples in `like`; several inputs have a list of priors.

    Without examples, it returns `parametrization`. For several inputs, `like` and `fixed_inputs`
    are lists by position or dicts by name. Images from a folder are scaled to `input_range`.
    """
    if like is None:
        for prior in fitted_priors(parametrization) if len(graph.inputs) == 1 else ():
            ends = np.array(prior.input_range)
            warn_of_range(graph.inputs[0], ends, "examples", graph.model)
        return parametrization
    expected = "be None together with `like`, from which a parametrization is made"
    require(parametrization is None, "parametrization", expected, parametrization)
    fixed = graph.match("fixed_inputs", fixed_inputs)
    priors = []
    for tensor, examples, value in zip(graph.inputs, _by_input(like, graph), fixed, strict=True):
        if value is None and examples is None:
            raise ValueError(
                "`like` must have examples for each input that is not in `fixed_inputs`. "
                f"Received: no examples for the input '{names_of(tensor)[0]}'"
            )
        if value is None:
            priors.append(_fit(graph, tensor, examples, input_range))
    return priors[0] if len(priors) == 1 else priors


def fitted_priors(parametrization: Any) -> list[PrincipalComponents]:
    """The fitted priors among one parametrization or several."""
    flat = keras.tree.flatten(parametrization)
    return [one for one in flat if isinstance(one, PrincipalComponents)]


def is_fitted(parametrization: Any) -> bool:
    """Whether all parametrizations are fitted priors."""
    priors = fitted_priors(parametrization)
    return bool(priors) and len(priors) == len(keras.tree.flatten(parametrization))


def range_or_default(input_range: Any, parametrization: Any, graph: Graph) -> Any:
    """The input range, by default that of the examples, of a preprocessor, or (0, 255)."""
    if input_range is not None:
        return input_range
    if not is_fitted(parametrization):
        return range_after_preprocessing(graph.model) or (0, 255)
    return keras.tree.map_structure(lambda prior: prior.input_range, parametrization)


def size_or_default(image_size: Any, parametrization: Any, graph: Graph) -> Any:
    """The image size, by default that of the examples if a model leaves it open."""
    priors = fitted_priors(parametrization)
    is_open = any(None in tensor.shape[1:] for tensor in graph.inputs)
    if image_size is not None or len(priors) != 1 or not is_open:
        return image_size
    return priors[0].layout.spatial_shape or None


def _fit(
    graph: Graph, tensor: keras.KerasTensor, examples: Any, input_range: Any
) -> PrincipalComponents:
    """A prior of an input, or of the output of its embedding."""
    is_folder = isinstance(examples, (str, os.PathLike))
    folder_range = _range_of_input(graph, tensor, input_range) if is_folder else (0, 255)
    values = Dataset("like", examples, tensor, folder_range).sample(SAMPLE_SIZE)
    numbers, values = encode_text("like", graph, tensor, values)
    check_distinct("like", values)
    entry = graph.gradient_flow.entry_of(numbers)
    if entry is numbers:
        warn_of_range(tensor, values, "like")
        values = preprocessed(graph, values, "like")
    else:
        values = evaluate_tensor(ModelInputs.with_zeros(graph, numbers), entry, values)
    is_first = spatial_axes(entry)[:1] == (2,)
    data_format = "channels_first" if is_first else "channels_last"
    return PrincipalComponents(values, data_format=data_format)


def _range_of_input(graph: Graph, tensor: keras.KerasTensor, input_range: Any) -> Any:
    """The range of an input, from one pair for all inputs or one for each."""
    are_pairs = isinstance(input_range, (list, tuple)) and any(map(is_iterable, input_range))
    if isinstance(input_range, Mapping) or are_pairs:
        pairs = graph.match("input_range", input_range)
        input_range = next(p for t, p in zip(graph.inputs, pairs, strict=True) if t is tensor)
    return (0, 255) if input_range is None else input_range


def _by_input(like: Any, graph: Graph) -> list[Any]:
    """The examples of each input."""
    is_folder = isinstance(like, (str, os.PathLike))
    if len(graph.inputs) == 1 or is_folder or isinstance(like, (Mapping, list, tuple)):
        return graph.match("like", like)
    formats = [ExampleFormat.of("like", tensor) for tensor in graph.inputs]

    def to_batches(item: Any) -> list[np.ndarray | None]:
        values = graph.match("like", item)
        pairs = zip(formats, values, strict=True)
        return [None if value is None else own.as_batch(value) for own, value in pairs]

    return sample_inputs("like", like, to_batches, SAMPLE_SIZE)
