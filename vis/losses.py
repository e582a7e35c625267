"""What is wanted of an image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from vis.utils.model import channel_axis
from vis.utils.validation import check_indices


class Loss:
    """Base class of all losses.

    Subclasses set `self.name` and define `build_loss`.

    Example:
        >>> class Brightness(Loss):
        ...     def __init__(self, layer):
        ...         super().__init__()
        ...         self.name = "Brightness"
        ...         self.layer = layer
        ...
        ...     def build_loss(self):
        ...         return -ops.mean(self.layer.output)
        >>> print(Brightness(layer=None))
        Brightness
    """

    def __init__(self) -> None:
        self.name = "Unnamed Loss"

    def __str__(self) -> str:
        return self.name

    def build_loss(self) -> keras.KerasTensor:
        """The loss as a scalar expression in `keras.ops` over `layer.output` and `model.input`.

        Returns:
            A symbolic scalar.
        """
        raise NotImplementedError(
            f"`build_loss` must be defined by subclasses of `Loss`. Received: {type(self)}"
        )


class TensorLoss(Loss):
    """Base class of losses that are a formula of one tensor, sample by sample.

    Such a loss is compiled into the step once for all its parameters. A subclass sets
    `formula`, and in its constructor whatever the formula is called with.

    Attributes:
        target: The layer whose output the formula is given, or a symbolic tensor.
        parameters: Arrays the formula is called with by name, which may differ from call to
            call without another trace. Their first axis is the samples', of length 1 where one
            value serves all.
        settings: Hashable values the formula is called with by name, which are fixed in a trace.
        before_softmax: Whether a layer that ends in a softmax is looked at before it.
    """

    formula: ClassVar[Callable]

    def __init__(self, target: keras.Layer | keras.KerasTensor, name: str) -> None:
        super().__init__()
        self.name = name
        self.target = target
        self.parameters: dict[str, np.ndarray] = {}
        self.settings: dict[str, Hashable] = {}
        self.before_softmax = False

    def build_loss(self) -> keras.KerasTensor:
        value = self.target.output if isinstance(self.target, keras.Layer) else self.target
        return ops.mean(type(self).formula(value, **self.parameters, **self.settings))


class ActivationMaximization(TensorLoss):
    """Minus the sum over some filters of the mean activation of each.

    Minimising it generates the image that excites the filters most (Erhan et al., "Visualizing
    Higher-Layer Features of a Deep Network", 2009; Simonyan et al., arXiv:1312.6034).

    Args:
        layer: The layer that has the filters. Any kind will do: channels of a convolution, units
            of a dense layer, features of a recurrent one.
        filter_indices: An index, a list of indices that are maximised jointly, or None for all.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> loss = ActivationMaximization(model.layers[-1], filter_indices=[0, 2])
        >>> print(loss)
        ActivationMax Loss
    """

    def __init__(
        self, layer: keras.Layer, filter_indices: int | Sequence[int] | None = None
    ) -> None:
        if not isinstance(layer, keras.Layer):
            raise TypeError(
                "`layer` must be a Keras layer. "
                f"Received: layer={layer!r} of type {type(layer).__name__}"
            )
        super().__init__(layer, name="ActivationMax Loss")
        self.layer = layer
        shape = output_shape(layer)
        axis = channel_axis(layer, len(shape))
        count = shape[axis]
        if count is None:
            raise ValueError(
                f"`layer` must have a known number of filters. Received: layer '{layer.name}' "
                f"with an output of shape {shape}"
            )
        listed = isinstance(filter_indices, (list, tuple))
        if filter_indices is None or (listed and any(i is None for i in filter_indices)):
            filter_indices = range(count)
        self.filter_indices = check_indices(
            "filter_indices", filter_indices, count, of=f"layer '{layer.name}'"
        )
        filter_weights = np.zeros((1, count), dtype="float32")
        np.add.at(filter_weights[0], self.filter_indices, 1)
        self.parameters = {"filter_weights": filter_weights}
        self.settings = {"axis": axis}

    @staticmethod
    def formula(output: Any, filter_weights: Any, axis: int) -> Any:
        output = ops.cast(output, "float32") if output.dtype == "float16" else output
        others = [i for i in range(1, len(output.shape)) if i != axis]
        means = ops.mean(output, axis=others) if others else output
        return -ops.sum(means * ops.cast(filter_weights, means.dtype), axis=-1)


class FilterActivations(ActivationMaximization):
    """Minus the mean activation of a filter, another for each sample of a batch.

    A layer that ends in a softmax is looked at before it.

    Args:
        layer: The layer that has the filters.
        filter_indices: The filter of each sample.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> FilterActivations(model.layers[-1], [0, 2]).parameters["filter_weights"]
        array([[1., 0., 0.],
               [0., 0., 1.]], dtype=float32)
    """

    def __init__(self, layer: keras.Layer, filter_indices: Sequence[int]) -> None:
        super().__init__(layer, filter_indices)
        count = self.parameters["filter_weights"].shape[1]
        self.parameters = {"filter_weights": np.eye(count, dtype="float32")[self.filter_indices]}
        self.before_softmax = True


def output_shape(layer: keras.Layer) -> tuple[int | None, ...]:
    """Shape of the output of a layer's first call, the batch included.

    Args:
        layer: A layer that has been called in a Functional or Sequential model.

    Raises:
        ValueError: If the layer has not been called so, or has several outputs.
    """
    try:
        output = layer.output
    except (AttributeError, ValueError):
        output = None
    if not isinstance(output, keras.KerasTensor):
        raise ValueError(
            "`layer` must be part of a Functional or Sequential model that has been built, with "
            f"one output. Received: layer '{layer.name}' of type {type(layer).__name__}"
        )
    return tuple(output.shape)
