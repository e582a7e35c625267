"""Generates the input that excites filters most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from vis import backprop_modifiers
from vis.losses import ActivationMaximization, Loss
from vis.optimizer import Optimizer
from vis.parametrizations import Parametrization
from vis.regularizers import LPNorm, TotalVariation
from vis.utils.image import in_type_of_range
from vis.utils.model import (
    counterpart,
    counterpart_tensor,
    input_data_format,
    resolve_layer,
    single_input,
)
from vis.utils.utils import add_defaults_to_kwargs


def visualize_activation_with_losses(
    input_tensor: keras.KerasTensor,
    losses: Iterable[tuple[Loss, float]],
    wrt_tensor: keras.KerasTensor | None = None,
    seed_input: np.ndarray | None = None,
    input_range: tuple[float, float] = (0, 255),
    parametrization: Parametrization | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    **optimizer_params: Any,
) -> np.ndarray:
    """Generates the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input`.
        losses: List of `(Loss, weight)`.
        wrt_tensor: The tensor that gradients are taken of; the input by default.
        seed_input: Image to start from; None starts from noise.
        input_range: Lowest and highest value of the image.
        parametrization: What is optimised: `vis.parametrizations.Pixels`, the default, or
            another.
        optimizer: A Keras optimizer; RMSprop as keras-vis has it by default.
        **optimizer_params: Passed to `vis.optimizer.Optimizer.minimize`: `max_iter` (default
            200), `input_modifiers`, `grad_modifier`, `callbacks`, `verbose` (default False),
            `seed`.

    Returns:
        One image, without the batch axis and channels last; with the batch axis where
        `seed_input` has several samples. It is `uint8` where both ends of `input_range` are
        integers from 0 to 255, and float otherwise.

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
    optimizer_params = add_defaults_to_kwargs(
        {"seed_input": seed_input, "max_iter": 200, "verbose": False}, **optimizer_params
    )
    descender = Optimizer(
        input_tensor,
        losses,
        input_range,
        wrt_tensor=wrt_tensor,
        parametrization=parametrization,
        optimizer=optimizer,
    )
    image = descender.minimize(**optimizer_params)[0]
    rank = len(descender.input_tensor.shape)
    if rank > 2 and input_data_format(descender.input_tensor) == "channels_first":
        image = np.moveaxis(image, 1 - rank, -1)
    return in_type_of_range(image, input_range)


def visualize_activation(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None = None,
    wrt_tensor: keras.KerasTensor | None = None,
    seed_input: np.ndarray | None = None,
    input_range: tuple[float, float] = (0, 255),
    backprop_modifier: str | Callable | None = None,
    grad_modifier: str | Callable | None = None,
    act_max_weight: float = 1,
    lp_norm_weight: float = 10,
    tv_weight: float = 10,
    parametrization: Parametrization | None = None,
    optimizer: keras.optimizers.Optimizer | None = None,
    **optimizer_params: Any,
) -> np.ndarray:
    """Generates the input that excites filters of a layer most.

    For a class of a network that ends in a softmax, replace it by a linear activation first:
    a softmax grows just as well when all other classes shrink.

    Args:
        model: A Keras model.
        layer_idx: The layer: an index in `model.layers`, a name, or the layer itself.
        filter_indices: An index, or a list of indices that one image is to excite jointly. None
            means all filters of the layer.
        wrt_tensor: The tensor that gradients are taken of; the input by default.
        seed_input: Image to start from; None starts from noise.
        input_range: Lowest and highest value of the image.
        backprop_modifier: A name in `vis.backprop_modifiers`, or a function from a model to a
            model.
        grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
        act_max_weight: Weight of `vis.losses.ActivationMaximization`.
        lp_norm_weight: Weight of `vis.regularizers.LPNorm`.
        tv_weight: Weight of `vis.regularizers.TotalVariation`.
        parametrization: What is optimised: `vis.parametrizations.Pixels`, the default, or
            another.
        optimizer: A Keras optimizer; RMSprop as keras-vis has it by default.
        **optimizer_params: Passed to `vis.optimizer.Optimizer.minimize`: `max_iter` (default
            200), `input_modifiers`, `callbacks`, `verbose` (default False), `seed`.

    Returns:
        One image, without the batch axis and channels last; with the batch axis where
        `seed_input` has several samples. It is `uint8` where both ends of `input_range` are
        integers from 0 to 255, and float otherwise.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
        >>> image = visualize_activation(model, -1, filter_indices=2, max_iter=5)
        >>> image.shape, str(image.dtype)
        ((8, 8, 1), 'uint8')
    """
    layer = resolve_layer(model, layer_idx)
    modify = backprop_modifiers.get(backprop_modifier)
    if modify is not None:
        original, model = model, modify(model)
        layer = counterpart(layer, original, model)
        if wrt_tensor is not None:
            wrt_tensor = counterpart_tensor(wrt_tensor, original, model)
    input_tensor = single_input(model)
    losses = [
        (ActivationMaximization(layer, filter_indices), act_max_weight),
        (LPNorm(input_tensor), lp_norm_weight),
        (TotalVariation(input_tensor), tv_weight),
    ]
    return visualize_activation_with_losses(
        input_tensor,
        losses,
        wrt_tensor,
        seed_input,
        input_range,
        parametrization,
        optimizer,
        grad_modifier=grad_modifier,
        **optimizer_params,
    )
