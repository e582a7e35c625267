"""Generates the input that excites filters most."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import as_model_inputs, inputs_to_optimise
from vis._core.optimised_inputs import ranges
from vis.backend.graph import Graph, input_data_format, tensor_in_copy
from vis.losses import ActivationMaximization, Loss
from vis.optimizer import Optimizer
from vis.optimizer.updates import RMSprop
from vis.parametrizations import Parametrization
from vis.regularizers import LPNorm, TotalVariation
from vis.utils.image import match_range_dtype
from vis.visualization.attribution.base import apply_backprop_modifier
from vis.visualization.data_prior import fit_prior, fitted_priors, is_fitted, range_of, size_of
from vis.visualization.defaults import RANGE, WEIGHT, defaults_of


def visualize_activation_with_losses(
    input_tensor: keras.KerasTensor,
    losses: Iterable[tuple[Loss, float]],
    wrt_tensor: keras.KerasTensor | None = None,
    seed_input: np.ndarray | None = None,
    input_range: tuple[float, float] = RANGE,
    parametrization: Parametrization | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    fixed_inputs: Any = None,
    precision: str | None = None,
    like: Any = None,
    **optimizer_params: Any,
) -> np.ndarray:
    """Generates the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input`; a list or dict of several.
        losses: List of `(Loss, weight)`.
        wrt_tensor: The tensor that gradients are taken of; the input by default.
        seed_input: As in `visualize_activation`.
        input_range: As in `visualize_activation`.
        parametrization: As in `visualize_activation`.
        optimizer: As in `visualize_activation`.
        fixed_inputs: As in `visualize_activation`.
        precision: As in `visualize_activation`.
        like: As in `visualize_activation`.
        **optimizer_params: As in `visualize_activation`, and `grad_modifier`.

    Returns:
        As `visualize_activation`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> from vis.regularizers import TotalVariation
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> losses = [
        ...     (ActivationMaximization(model.layers[-1], filter_indices=2), 1),
        ...     (TotalVariation(model.inputs[0]), 0.1),
        ... ]
        >>> visualize_activation_with_losses(model.inputs[0], losses, max_iter=5).shape
        (8, 8, 1)
    """
    subject = as_model_inputs(input_tensor, fixed_inputs)
    parametrization = fit_prior(subject.graph, like, parametrization, fixed_inputs, input_range)
    settings: dict[str, Any] = {"seed_input": seed_input, "max_iter": 200, "verbose": False}
    settings |= optimizer_params
    if is_fitted(parametrization):
        first = fitted_priors(parametrization)[0]
        size = size_of(None, parametrization, subject.graph)
        defaults = {**defaults_of(first, first.layout)._asdict(), "image_size": size}
        along_components = defaults.pop("optimizer")
        optimizer = along_components if optimizer is None else optimizer
        settings |= {**defaults, **{k: v for k, v in optimizer_params.items() if v is not None}}
    descender = Optimizer(
        subject,
        losses,
        range_of(input_range, parametrization),
        wrt_tensor=wrt_tensor,
        parametrization=parametrization,
        optimizer=optimizer,
        precision=precision,
    )
    images = subject.match_to_inputs("images", descender.minimize(**settings)[0])
    each = zip(images, subject.tensors, descender.input_ranges, strict=True)
    return subject.as_given([_finished(*one) for one in each])


def _finished(
    image: np.ndarray, tensor: keras.KerasTensor, input_range: tuple[float, float]
) -> np.ndarray:
    """An image with the channels last, in the type of its range."""
    rank = len(tensor.shape)
    if rank > 2 and input_data_format(tensor) == "channels_first":
        image = np.moveaxis(image, 1 - rank, -1)
    return match_range_dtype(image, input_range)


def visualize_activation(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None = None,
    wrt_tensor: keras.KerasTensor | None = None,
    seed_input: np.ndarray | None = None,
    input_range: tuple[float, float] = RANGE,
    backprop_modifier: str | Callable | None = None,
    grad_modifier: str | Callable | None = None,
    act_max_weight: float = 1,
    lp_norm_weight: float = WEIGHT,
    tv_weight: float = WEIGHT,
    parametrization: Parametrization | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    fixed_inputs: Any = None,
    precision: str | None = None,
    like: Any = None,
    **optimizer_params: Any,
) -> np.ndarray:
    """Generates the input that excites filters of a layer most.

    For a class of a network that ends in a softmax, replace it by a linear activation first:
    a softmax grows just as well when all other classes shrink.

    Of words and other integers what the model's embedding makes of them is optimised.

    Args:
        model: A Keras model: Functional, Sequential, or a subclassed one that has been built.
        layer_idx: The layer: an index in `model.layers`, a name or a path such as
            `"outer/inner"`, the layer itself, or a `vis.utils.utils.LayerOutput`.
        filter_indices: An index, a list of those that one image excites jointly, or None for all.
        wrt_tensor: The tensor that gradients are taken of; the input by default.
        seed_input: Image to start from, or None for noise; of several a list, or a dict by name.
        input_range: Lowest and highest value of the image; of several inputs a list of pairs, or a
            dict by name, where they differ. By default (0, 255), or that of the examples in `like`.
        backprop_modifier: A name in `vis.backprop_modifiers`, or a function from model to model.
        grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
        act_max_weight: Weight of `vis.losses.ActivationMaximization`.
        lp_norm_weight: Weight of `vis.regularizers.LPNorm`; by default 10, or 0 with `like`.
        tv_weight: Weight of `vis.regularizers.TotalVariation`; by default 10, or 0 with `like`.
        parametrization: What is optimised: `vis.parametrizations.Pixels`, the default, or another.
        optimizer: A Keras optimizer; RMSprop as keras-vis has it by default.
        fixed_inputs: Values of other inputs: a dict by name, or a list with None for the optimised.
        precision: `"bfloat16"` to run the network in that type, which is quicker on hardware that
            has it; None for the model's own.
        like: A few hundred examples of what the model is used on, as it takes them: an array, a
            list of arrays, or a dataset; of several inputs a dict by name or a list. The image
            then looks like these, as it is made of their principal components
            (`vis.parametrizations.PrincipalComponents`), and all other defaults follow.
        **optimizer_params: Passed to `vis.optimizer.Optimizer.minimize`: `max_iter` (default
            200, or 100 with `like`), `input_modifiers`, `callbacks`, `verbose` (default False),
            `seed`, `image_size` for models that leave the size of their input open, and
            `checkpoint` and `every`, with which a run goes on after an interruption.

    Returns:
        One image, without the batch axis and channels last; with the batch axis where
        `seed_input` has several samples. It is `uint8` where both ends of `input_range` are
        integers from 0 to 255, else float. Of several inputs a list of images, or a dict by name.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> image = visualize_activation(model, -1, filter_indices=2, max_iter=5)
        >>> image.shape, str(image.dtype)
        ((8, 8, 1), 'uint8')
    """
    graph = Graph.of(model)
    graph, (layer,) = apply_backprop_modifier(backprop_modifier, graph, [graph.find(layer_idx)])
    wrt_tensor = tensor_in_copy(wrt_tensor, model, graph.model)
    parametrization = fit_prior(graph, like, parametrization, fixed_inputs, input_range)
    image_size = size_of(optimizer_params.get("image_size"), parametrization, graph)
    subject = inputs_to_optimise(graph, fixed_inputs, seed_input, image_size)
    learnt = is_fitted(parametrization)
    lp_norm_weight, tv_weight = (
        0 if learnt and weight is WEIGHT else weight for weight in (lp_norm_weight, tv_weight)
    )
    if optimizer is None and subject.embeds and len(subject.tensors) == 1 and not learnt:
        # Its steps are for images of bytes; embeddings have another scale.
        ((low, high),) = ranges(subject, input_range)
        optimizer = RMSprop(learning_rate=(high - low) / 255)
    losses: list[tuple[Loss, float]] = []
    losses.append((ActivationMaximization(layer, filter_indices), act_max_weight))
    for tensor in subject.tensors:
        losses += [(LPNorm(tensor), lp_norm_weight), (TotalVariation(tensor), tv_weight)]
    return visualize_activation_with_losses(
        subject,
        losses,
        wrt_tensor,
        seed_input,
        input_range,
        parametrization,
        optimizer,
        precision=precision,
        grad_modifier=grad_modifier,
        **optimizer_params,
    )
