"""Pictures like the data that a model is used on: what is learnt of examples, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vis.backend.entries import as_numbers, embedded, entry_of
from vis.backend.network import Network
from vis.backend.roots import inputs_of, structure_of
from vis.optimizer import checked_inputs
from vis.parametrizations import PrincipalComponents
from vis.utils.examples import check_examples, examples_from
from vis.utils.inputs import arranged, by_layer_names, names_of
from vis.utils.model import spatial_axes
from vis.visualization.defaults import defaults_of


def learnt_of_model(model: keras.Model, like: Any, parametrization: Any, fixed_inputs: Any) -> Any:
    """A parametrization learnt of examples, or for a model with several inputs a list of them.

    Args:
        model: A Keras model.
        like: Examples of what the model is used on, of several inputs by position or by name;
            words as the model takes them. None leaves `parametrization` as it is.
        parametrization: What the user has said of it.
        fixed_inputs: Values of inputs that are not optimised, by position or by name.
    """
    if like is None:
        return parametrization
    network = Network(inputs_of(model))
    return _learnt_of_each(
        like,
        parametrization,
        structure_of(model),
        network.inputs,
        fixed_inputs,
        lambda tensor, examples: _learnt_behind(tensor, examples, network),
    )


def learnt_of_inputs(like: Any, parametrization: Any, given: Any, fixed_inputs: Any) -> Any:
    """The same for symbolic inputs, none of which is words.

    Args:
        like: As for `learnt_of_model`.
        parametrization: What the user has said of it.
        given: The inputs, as the user has given them.
        fixed_inputs: Values of those that are not optimised, as the user has given them.
    """
    if like is None:
        return parametrization
    return _learnt_of_each(
        like,
        parametrization,
        given,
        checked_inputs(given),
        fixed_inputs,
        lambda tensor, examples: _learnt(
            tensor, check_examples("like", examples, tuple(tensor.shape[1:]))
        ),
    )


def learnt_ones(parametrization: Any) -> list[PrincipalComponents]:
    """Those that are learnt of examples, of one parametrization or of several."""
    found = keras.tree.flatten(parametrization)
    return [one for one in found if isinstance(one, PrincipalComponents)]


def is_learnt(parametrization: Any) -> bool:
    """Whether what is optimised, all of it, is learnt of examples."""
    found = keras.tree.flatten(parametrization)
    return bool(learnt_ones(parametrization)) and len(learnt_ones(parametrization)) == len(found)


def default_range(input_range: Any) -> Any:
    """The range that the user has given, or that of bytes."""
    return (0, 255) if input_range is None else input_range


def range_of(input_range: Any, default: Any, parametrization: Any) -> Any:
    """The range that the examples have, where the user has given none and all is learnt.

    Args:
        input_range: What the user has given, or None.
        default: What it comes to otherwise.
        parametrization: What is optimised.
    """
    if input_range is not None or not is_learnt(parametrization):
        return default
    return keras.tree.map_structure(lambda one: one.input_range, parametrization)


def size_of(image_size: Any, parametrization: Any, inputs: Sequence[keras.KerasTensor]) -> Any:
    """The size that the user has given, or else, where an input leaves it open, the examples'.

    Args:
        image_size: What the user has given, or None.
        parametrization: What is optimised.
        inputs: A model's inputs.
    """
    learnt = learnt_ones(parametrization)
    is_open = any(None in tensor.shape[1:] for tensor in inputs)
    if image_size is not None or len(learnt) != 1 or not is_open:
        return image_size
    return learnt[0].layout.spatial_shape or None


def defaults_along(parametrization: Any, inputs: Any) -> dict[str, Any]:
    """How an optimizer goes along principal components where the user does not say.

    Args:
        parametrization: What is optimised, all of it learnt of examples.
        inputs: A model's inputs, as the user has given them.
    """
    first = learnt_ones(parametrization)[0]
    size = size_of(None, parametrization, checked_inputs(inputs))
    return {**defaults_of(first, first.layout)._asdict(), "image_size": size}


def _learnt_of_each(
    like: Any,
    parametrization: Any,
    given: Any,
    tensors: Sequence[keras.KerasTensor],
    fixed_inputs: Any,
    learn: Callable[[keras.KerasTensor, Any], PrincipalComponents],
) -> Any:
    """What is learnt of the inputs that are not fixed; of a single one by itself."""
    if parametrization is not None:
        raise ValueError(
            "`parametrization` must not be given together with `like`, which makes one of its "
            f"own. Received: parametrization={parametrization!r}"
        )
    fixed = arranged("fixed_inputs", by_layer_names(fixed_inputs, given), tensors)
    found = []
    for tensor, examples, value in zip(tensors, _of_each(like, given, tensors), fixed, strict=True):
        if value is None and examples is None:
            raise ValueError(
                "`like` must have examples for each input that is optimised; values of others are "
                "given in `fixed_inputs`. "
                f"Received: none for the input '{names_of(tensor)[0]}'"
            )
        if value is None:
            found.append(learn(tensor, examples))
    return found[0] if len(found) == 1 else found


def _learnt_behind(
    tensor: keras.KerasTensor, examples: Any, network: Network
) -> PrincipalComponents:
    """What is learnt of an input, or of what an embedding makes of it."""
    numbers, examples = as_numbers("like", tensor, examples, network)
    examples = check_examples("like", examples, tuple(numbers.shape[1:]))
    entry = entry_of(numbers, network)
    if entry is not numbers:
        examples = embedded(numbers, entry, examples, network)
    return _learnt(entry, examples)


def _learnt(tensor: keras.KerasTensor, examples: np.ndarray) -> PrincipalComponents:
    first = spatial_axes(tensor)[:1] == (2,)
    return PrincipalComponents(examples, data_format="channels_first" if first else "channels_last")


def _of_each(like: Any, given: Any, tensors: Sequence[keras.KerasTensor]) -> list[Any]:
    """The examples of each input."""
    if len(tensors) == 1 and not isinstance(like, Mapping):
        return [like]
    if isinstance(like, (Mapping, list, tuple)) or len(tensors) == 1:
        return arranged("like", by_layer_names(like, given), tensors)
    rows = [
        arranged("like", by_layer_names(item, given), tensors)
        for item in examples_from("like", like, rank=None)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
