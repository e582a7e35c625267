"""Activation maximization: generates the input with the highest activation of some filters."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vis._core.model_inputs import as_model_inputs, inputs_to_optimise, preprocessed
from vis._core.objective import warn_of_softmax
from vis._core.optimised_inputs import resolve_ranges
from vis.backend.graph import (
    Graph,
    ModelInputs,
    channel_axis_of,
    tensor_in_copy,
    warn_of_range,
)
from vis.callbacks import OptimizerCallback
from vis.data import examples_of
from vis.losses import ActivationMaximization, Loss
from vis.optimizer import Optimizer
from vis.optimizer.updates import RMSprop
from vis.parametrizations import Parametrization
from vis.regularizers import LPNorm, TotalVariation
from vis.utils.image import match_range_dtype
from vis.utils.validation import check_all
from vis.visualization.attribution.base import apply_backprop_modifier
from vis.visualization.data_prior import (
    fit_prior,
    fitted_priors,
    is_fitted,
    range_or_default,
    size_or_default,
)
from vis.visualization.defaults import defaults_of
from vis.visualization.score_check import ActivationCurve, LossRecorder, warn_of_activations


def visualize_activation_with_losses(
    input_tensor: keras.KerasTensor,
    losses: Iterable[tuple[Loss, float]],
    wrt_tensor: keras.KerasTensor | None = None,
    seed_input: np.ndarray | None = None,
    input_range: tuple[float, float] | None = None,
    *,
    parametrization: Parametrization | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    fixed_inputs: Any = None,
    precision: str | None = None,
    like: Any = None,
    **optimizer_params: Any,
) -> np.ndarray:
    """Generates the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input`; for several inputs a list or dict.
        losses: List of `(Loss, weight)`.
        wrt_tensor: Tensor with respect to which gradients are taken; by default the input.
        seed_input: As in `visualize_activation`.
        input_range: As in `visualize_activation`.
        parametrization: As in `visualize_activation`.
        optimizer: As in `visualize_activation`.
        fixed_inputs: As in `visualize_activation`.
        precision: As in `visualize_activation`.
        like: As in `visualize_activation`.
        **optimizer_params: As in `visualize_activation`, and `grad_modifier`.

    Returns:
        As in `visualize_activation`.

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
    examples = functools.partial(examples_of, seed_input, like)
    inputs = as_model_inputs(input_tensor, fixed_inputs, examples)
    parametrization = fit_prior(inputs.graph, like, parametrization, fixed_inputs, input_range)
    input_range = range_or_default(input_range, parametrization, inputs.graph)
    params = {"seed_input": seed_input, **optimizer_params}
    return _minimize(
        inputs, losses, wrt_tensor, input_range, parametrization, optimizer, precision, params
    )


def visualize_activation(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None = None,
    wrt_tensor: keras.KerasTensor | None = None,
    seed_input: np.ndarray | None = None,
    input_range: tuple[float, float] | None = None,
    backprop_modifier: str | Callable | None = None,
    grad_modifier: str | Callable | None = None,
    act_max_weight: float = 1,
    lp_norm_weight: float | None = None,
    tv_weight: float | None = None,
    *,
    parametrization: Parametrization | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    fixed_inputs: Any = None,
    precision: str | None = None,
    like: Any = None,
    **optimizer_params: Any,
) -> np.ndarray:
    """Generates the input with the highest activation of filters of a layer.

    For a class of a network that ends in a softmax, replace the softmax by a linear activation
    first: it also grows if all other classes shrink. For token ids and other integers, the output
    of the model's embedding is optimised.

    Args:
        model: A Keras model: Functional, Sequential, or a subclassed model that has been built.
        layer_idx: The layer: an index in `model.layers`, a name, a path such as `"outer/inner"`,
            the layer itself, or a `vis.utils.utils.LayerOutput`.
        filter_indices: An index, a list of indices that one image activates jointly, or None for
            all.
        wrt_tensor: Tensor with respect to which gradients are taken; by default the input.
        seed_input: Image to start from, or None for noise. For several inputs: a list, or a dict by
            name.
        input_range: Lowest and highest value of the image; by default (0, 255), or the range of the
            examples in `like`. For several inputs with different ranges: a list of pairs, or a dict
            by name.
        backprop_modifier: A name in `vis.backprop_modifiers`, or a function from model to model.
        grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
        act_max_weight: Weight of `vis.losses.ActivationMaximization`.
        lp_norm_weight: Weight of `vis.regularizers.LPNorm`; by default 10, or 0 with `like`.
        tv_weight: Weight of `vis.regularizers.TotalVariation`; by default 10, or 0 with `like`.
        parametrization: Parametrization of the image; by default `vis.parametrizations.Pixels`.
        optimizer: A Keras optimizer; by default the RMSprop of keras-vis.
        fixed_inputs: Values of inputs that are not optimised: a dict by name, or a list with None
            for those that are.
        precision: `"bfloat16"` to run the network in this type, which is faster on hardware with
            bfloat16; None for the model's own.
        like: A few hundred examples of the model's inputs: an array, a list, a folder of image
            files, a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator, with or without
            labels; for several inputs a dict by name, or a list. At most 500 are used, evenly
            spaced. The image then looks like them, because it is composed of their principal
            components (`vis.parametrizations.PrincipalComponents`).
        **optimizer_params: Arguments of `vis.optimizer.Optimizer.minimize`: `max_iter` (by default
            200, or 100 with `like`), `input_modifiers`, `callbacks`, `verbose` (by default False),
            `seed`, `image_size` for models with an open input size, and `checkpoint` and
            `checkpoint_every` to resume an interrupted call.

    Returns:
        One image, channels last and without the batch axis; a batch if `seed_input` has several
        samples. It is `uint8` if `input_range` is (0, 255) in integers, and float otherwise. For
        several inputs: a list of images, or a dict by name.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> image = visualize_activation(model, -1, filter_indices=2, max_iter=5)
        >>> image.shape, str(image.dtype)
        ((8, 8, 1), 'uint8')
    """
    image_size = optimizer_params.get("image_size")
    examples = functools.partial(examples_of, seed_input, like)
    graph = Graph.of(model, examples, image_size, fixed_inputs)
    original, seed_input = graph, preprocessed(graph, seed_input)
    graph, (layer,) = apply_backprop_modifier(backprop_modifier, graph, [graph.find(layer_idx)])
    wrt_tensor = tensor_in_copy(wrt_tensor, model, graph.model)
    parametrization = fit_prior(graph, like, parametrization, fixed_inputs, input_range)
    image_size = size_or_default(image_size, parametrization, graph)
    inputs = inputs_to_optimise(graph, fixed_inputs, seed_input, image_size)
    input_range = range_or_default(input_range, parametrization, original)
    fitted = is_fitted(parametrization)
    default_weight = 0 if fitted else 10
    lp_norm_weight = default_weight if lp_norm_weight is None else lp_norm_weight
    tv_weight = default_weight if tv_weight is None else tv_weight
    if optimizer is None and inputs.has_embeddings and len(inputs.varying) == 1 and not fitted:
        # keras-vis's steps are for images from 0 to 255; embeddings have another scale.
        ((low, high),) = resolve_ranges(inputs, input_range, [parametrization])
        optimizer = RMSprop(learning_rate=(high - low) / 255)
    losses: list[tuple[Loss, float]] = []
    losses.append((ActivationMaximization(layer, filter_indices), act_max_weight))
    for tensor in inputs.varying:
        losses += [(LPNorm(tensor), lp_norm_weight), (TotalVariation(tensor), tv_weight)]
    params = {"seed_input": seed_input, "grad_modifier": grad_modifier, **optimizer_params}
    return _minimize(
        inputs, losses, wrt_tensor, input_range, parametrization, optimizer, precision, params
    )


def _minimize(
    inputs: ModelInputs,
    losses: Iterable[tuple[Loss, float]],
    wrt_tensor: keras.KerasTensor | None,
    input_range: Any,
    parametrization: Any,
    optimizer: Any,
    precision: str | None,
    params: Mapping[str, Any],
) -> Any:
    """Images that minimise losses; arguments that are None have the defaults."""
    args: dict[str, Any] = {"max_iter": 200, "verbose": False}
    if is_fitted(parametrization):
        prior = fitted_priors(parametrization)[0]
        defaults = defaults_of(prior, prior.layout)
        args["max_iter"] = defaults.max_iter
        args["input_modifiers"] = defaults.input_modifiers
        args["image_size"] = size_or_default(None, parametrization, inputs.graph)
        optimizer = defaults.optimizer if optimizer is None else optimizer
    args |= {name: value for name, value in params.items() if value is not None}
    descender = Optimizer(
        inputs,
        losses,
        input_range,
        wrt_tensor=wrt_tensor,
        parametrization=parametrization,
        optimizer=optimizer,
        precision=precision,
    )
    for tensor, ends in zip(inputs.varying, descender.input_ranges, strict=True):
        if not is_fitted(parametrization):
            warn_of_range(tensor, np.array(ends), "input_range", inputs.graph.model)
    warn_of_softmax(loss for loss, _ in descender.losses)
    callbacks = check_all("callbacks", args.get("callbacks"), OptimizerCallback)
    recorders = {
        i: LossRecorder(i)
        for i, (loss, weight) in enumerate(descender.losses)
        if isinstance(loss, ActivationMaximization) and weight > 0
    }
    args["callbacks"] = [*callbacks, *recorders.values()]
    images = inputs.match("images", descender.minimize(**args)[0])
    curves = []
    for i, recorder in recorders.items():
        loss: Any = descender.losses[i][0]
        if recorder.is_from_start:
            values = -np.array(recorder.values) / descender.losses[i][1]
            curves.append(ActivationCurve(loss.layer, loss.filter_indices, values))
    warn_of_activations(
        curves, "Other losses may outweigh it: give it a larger weight, or more steps."
    )
    each = zip(images, inputs.varying, descender.input_ranges, strict=True)
    return inputs.like_structure([_to_picture(*one) for one in each])


def _to_picture(
    image: np.ndarray, tensor: keras.KerasTensor, input_range: tuple[float, float]
) -> np.ndarray:
    """An image with the channels last, in the type of its range."""
    rank = len(tensor.shape)
    axis = channel_axis_of(tensor)
    if axis is not None:
        image = np.moveaxis(image, axis - rank, -1)
    return match_range_dtype(image, input_range)
