"""Priors fitted to examples of the data (`like=`), and the defaults that follow from them."""

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


def fit_prior(graph: Graph, like: Any, parametrization: Any, fixed_inputs: Any) -> Any:
    """Fits a prior to the examples in `like`; several inputs have a list of priors.

    Without examples, it returns `parametrization`. For several inputs, `like` and `fixed_inputs`
    are lists by position or dicts by name.
    """
    if like is None:
        return parametrization
    expected = "be None together with `like`, from which a parametrization is made"
    require(parametrization is None, "parametrization", expected, parametrization)
    fixed = match_to_inputs("fixed_inputs", fixed_inputs, graph.names)
    priors = []
    for tensor, examples, value in zip(graph.inputs, _by_input(like, graph), fixed, strict=True):
        if value is None and examples is None:
            raise ValueError(
                "`like` must have examples for each input that is not in `fixed_inputs`. "
                f"Received: no examples for the input '{names_of(tensor)[0]}'"
            )
        if value is None:
            priors.append(_fit(graph, tensor, examples))
    return priors[0] if len(priors) == 1 else priors


def fitted_priors(parametrization: Any) -> list[PrincipalComponents]:
    """The fitted priors among one parametrization or several."""
    flat = keras.tree.flatten(parametrization)
    return [one for one in flat if isinstance(one, PrincipalComponents)]


def is_fitted(parametrization: Any) -> bool:
    """Whether all parametrizations are fitted priors."""
    priors = fitted_priors(parametrization)
    return bool(priors) and len(priors) == len(keras.tree.flatten(parametrization))


def range_or_default(input_range: Any, parametrization: Any) -> Any:
    """The input range, by default that of the examples, or (0, 255) without them."""
    if input_range is not None:
        return input_range
    if not is_fitted(parametrization):
        return 0, 255
    return keras.tree.map_structure(lambda prior: prior.input_range, parametrization)


def size_or_default(image_size: Any, parametrization: Any, graph: Graph) -> Any:
    """The image size, by default that of the examples if a model leaves it open."""
    priors = fitted_priors(parametrization)
    is_open = any(None in tensor.shape[1:] for tensor in graph.inputs)
    if image_size is not None or len(priors) != 1 or not is_open:
        return image_size
    return priors[0].layout.spatial_shape or None


def _fit(graph: Graph, tensor: keras.KerasTensor, examples: Any) -> PrincipalComponents:
    """A prior of an input, or of the output of its embedding."""
    if graph.gradient_flow.encoded(tensor) is not tensor and not hasattr(examples, "__array__"):
        texts = examples_from("like", examples, len(tensor.shape) - 1)
        examples = joined("like", [np.atleast_1d(text) for text in texts], np.concatenate)
    numbers, examples = encode_text("like", graph, tensor, examples)
    examples = check_examples("like", examples, tuple(numbers.shape[1:]))
    entry = graph.gradient_flow.entry_of(numbers)
    if entry is not numbers:
        examples = evaluate_tensor(ModelInputs.with_zeros(graph, numbers), entry, examples)
    is_first = spatial_axes(entry)[:1] == (2,)
    data_format = "channels_first" if is_first else "channels_last"
    return PrincipalComponents(examples, data_format=data_format)


def _by_input(like: Any, graph: Graph) -> list[Any]:
    """The examples of each input."""
    if len(graph.inputs) == 1 or isinstance(like, (Mapping, list, tuple)):
        return match_to_inputs("like", like, graph.names)
    rows = [
        match_to_inputs("like", item, graph.names)
        for item in examples_from("like", like, rank=None)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
