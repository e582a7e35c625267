"""What is wanted of a layer: neurons, channels, classes, directions, features."""

from collections.abc import Callable, Sequence, Sized
from typing import Any

import keras
import numpy as np
from keras import ops

from vis.backend.graph import Graph, ModelInputs, Target, check_layer, filters_of
from vis.backend.step import evaluate_tensor
from vis.losses.base import TensorLoss
from vis.utils.validation import (
    check_images,
    check_indices,
    check_integer,
    check_not_negative,
    expect,
    is_iterable,
    require,
)


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
        >>> print(ActivationMaximization(model.layers[-1], filter_indices=[0, 2]))
        ActivationMax Loss
    """

    def __init__(self, layer: Target, filter_indices: int | Sequence[int] | None = None) -> None:
        super().__init__(check_layer(layer), name="ActivationMax Loss")
        self.layer = layer
        _, axis, count = filters_of(layer)
        listed = filter_indices if isinstance(filter_indices, (list, tuple)) else [filter_indices]
        if any(index is None for index in listed):
            filter_indices = range(count)
        of = f"layer '{layer.name}'"
        self.filter_indices = check_indices("filter_indices", filter_indices, count, of)
        times = np.bincount(self.filter_indices, minlength=count)
        self.parameters = {"filter_weights": times[None].astype("float32")}
        self.settings = {"axis": axis}

    @staticmethod
    def formula(output: Any, filter_weights: Any, axis: int) -> Any:
        means = _means(output, kept=axis)
        return -ops.sum(means * ops.cast(filter_weights, means.dtype), axis=-1)


class FilterActivations(ActivationMaximization):
    """Minus the mean activation of a filter, another for each sample of a batch.

    A layer that ends in a softmax is looked at before it.

    Args:
        layer: As in `ActivationMaximization`.
        filter_indices: The filter of each sample.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> FilterActivations(model.layers[-1], [0, 2]).parameters["filter_weights"].tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def __init__(self, layer: Target, filter_indices: Sequence[int]) -> None:
        super().__init__(layer, filter_indices)
        count = self.parameters["filter_weights"].shape[1]
        self.parameters = {"filter_weights": np.eye(count, dtype="float32")[self.filter_indices]}
        self.before_softmax = True


class ClassScores(FilterActivations):
    """Minus the score of a class against those of all, another class for each sample of a batch.

    A tenth of it is the score before the softmax (Simonyan et al., arXiv:1312.6034), the rest the
    logarithm of the probability. The score alone also draws what a class shares with its like;
    the probability alone has no gradient once it is 1.

    Args:
        layer: The layer that has the classes.
        filter_indices: The class of each sample.

    Example:
        >>> scores = ops.convert_to_tensor([[2.0, 2.0, -50.0]])
        >>> one_hot = ops.convert_to_tensor([[1.0, 0.0, 0.0]])
        >>> round(float(ClassScores.formula(scores, one_hot, axis=1)[0]), 3)
        0.424
    """

    @staticmethod
    def formula(output: Any, filter_weights: Any, axis: int) -> Any:
        own = FilterActivations.formula(output, filter_weights, axis)
        return own + 0.9 * ops.logsumexp(_means(output, kept=axis), axis=-1)


class Neuron(TensorLoss):
    """Minus the activation of a single neuron.

    Args:
        layer: The layer that has the neuron.
        filter_index: Its channel, or unit.
        position: Its place, one index for each spatial axis of the layer's output; None is the
            centre.

    Example:
        >>> model = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Conv2D(4, 3)])
        >>> Neuron(model.layers[-1], filter_index=2).settings["position"]
        (3, 3)
    """

    def __init__(
        self, layer: Target, filter_index: int, *, position: Sequence[int | None] | None = None
    ) -> None:
        super().__init__(check_layer(layer), name="Neuron Loss")
        self.layer = layer
        shape, axis, count = filters_of(layer)
        filter_index = check_integer("filter_index", filter_index, least=-count)
        (index,) = check_indices("filter_index", filter_index, count, of=f"layer '{layer.name}'")
        places = tuple(size for i, size in enumerate(shape) if i not in (0, axis))
        if position is None:
            # An open axis is looked at in the middle of whatever it turns out to be.
            position = [None if size is None else size // 2 for size in places]
        else:
            expected = f"be a place in an output of size {places}, a whole number for each axis"
            require(_is_place(position, places), "position", expected, position)
        self.parameters = {"filter_weights": np.eye(count, dtype="float32")[[index]]}
        self.settings = {"axis": axis, "position": tuple(position)}

    @staticmethod
    def formula(output: Any, filter_weights: Any, axis: int, position: tuple) -> Any:
        places = [i for i in range(1, len(output.shape)) if i != axis]
        at: list[Any] = [slice(None)] * len(output.shape)
        for i, place in zip(places, position, strict=True):
            at[i] = output.shape[i] // 2 if place is None else place
        return -ops.sum(output[tuple(at)] * ops.cast(filter_weights, output.dtype), axis=-1)


class Direction(TensorLoss):
    """Minus the mean dot product of a layer's activations with a direction in channel space.

    What a linear probe or a concept vector stands for (Kim et al., "Interpretability Beyond
    Feature Attribution", arXiv:1711.11279), or a mixture of filters.

    Args:
        layer: The layer.
        direction: One number for each of its filters; not all of them zero.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(Direction(model.layers[-1], [1.0, -1.0, 0.0]))
        Direction Loss
    """

    def __init__(self, layer: Target, direction: Sequence[float]) -> None:
        super().__init__(check_layer(layer), name="Direction Loss")
        self.layer = layer
        _, axis, count = filters_of(layer)
        try:
            values = np.asarray(direction, dtype="float32")
        except (TypeError, ValueError):
            values = np.zeros(0)
        is_direction = values.shape == (count,) and np.isfinite(values).all() and values.any()
        one_each = f"one for each filter of layer '{layer.name}', not all zero"
        require(is_direction, "direction", f"be {count} finite numbers, {one_each}", direction)
        self.parameters = {"direction": values[None]}
        self.settings = {"axis": axis}

    @staticmethod
    def formula(output: Any, direction: Any, axis: int) -> Any:
        dots = channels_last(output, axis) @ ops.cast(direction, output.dtype)[0][:, None]
        return -_means(dots)


class CosineDirection(Direction):
    """A `Direction` that activations must point in, not just be large along.

    Minus the mean dot product, weighted by a power of the cosine of the angle between the two
    (Carter et al., "Activation Atlas", Distill 2019).

    Args:
        layer: As in `Direction`.
        direction: As in `Direction`.
        power: Power of the cosine, non-negative.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(CosineDirection(model.layers[-1], [1.0, -1.0, 0.0]))
        Cosine Direction Loss
    """

    def __init__(self, layer: Target, direction: Sequence[float], *, power: float = 2.0) -> None:
        super().__init__(layer, direction)
        self.name = "Cosine Direction Loss"
        self.settings["power"] = check_not_negative("power", power)

    @staticmethod
    def formula(output: Any, direction: Any, axis: int, power: float = 2.0) -> Any:
        output = channels_last(output, axis)
        direction = ops.cast(direction, output.dtype)[0]
        dots = ops.sum(output * direction, axis=-1)
        lengths = ops.sqrt(ops.sum(ops.square(output), axis=-1) + keras.config.epsilon())
        cosines = dots / (lengths * ops.sqrt(ops.sum(ops.square(direction))))
        # A floor keeps a gradient where the two point apart.
        return -_means(dots * ops.power(ops.maximum(cosines, 0.1), power))


class DeepDream(TensorLoss):
    """Minus the mean square of all activations of a layer.

    Enhances whatever the layer sees in an image (Mordvintsev et al., "Inceptionism", 2015).

    Args:
        layer: The layer.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(DeepDream(model.layers[-1]))
        DeepDream Loss
    """

    def __init__(self, layer: Target) -> None:
        super().__init__(check_layer(layer), name="DeepDream Loss")
        self.layer = layer

    @staticmethod
    def formula(output: Any) -> Any:
        return -_means(ops.square(output))


class Diversity(TensorLoss):
    """How alike the images of a batch are: the mean cosine between their textures and others'.

    With it the images that excite one neuron show several facets of it. Textures are Gram
    matrices, the products of a layer's channels with each other (Olah et al., "Feature
    Visualization", Distill 2017; Gatys et al., arXiv:1508.06576).

    Args:
        layer: The layer whose activations are compared.

    Example:
        >>> model = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Conv2D(4, 3)])
        >>> print(Diversity(model.layers[-1]))
        Diversity Loss
    """

    def __init__(self, layer: Target) -> None:
        super().__init__(check_layer(layer), name="Diversity Loss")
        self.couples_samples = True
        self.layer = layer
        self.settings = {"axis": filters_of(layer)[1]}

    @staticmethod
    def formula(output: Any, axis: int) -> Any:
        output = channels_last(output, axis)
        samples, channels = output.shape[0], output.shape[-1]
        if samples == 1:
            return ops.zeros((1,), output.dtype)
        flat = ops.reshape(output, (samples, -1, channels))
        grams = ops.reshape(ops.matmul(ops.transpose(flat, (0, 2, 1)), flat), (samples, -1))
        squares = ops.sum(ops.square(grams), axis=1, keepdims=True)
        grams = grams / ops.sqrt(squares + keras.config.epsilon())
        cosines = ops.matmul(grams, ops.transpose(grams))
        # Each pair counts once for each of its two images; the gradient of the batch's sum is
        # then that of the whole.
        return (ops.sum(cosines, axis=1) - 1) / (samples - 1)


class OutputScore(TensorLoss):
    """Minus a score of your own: any function of a layer's output.

    Args:
        layer: The layer.
        function: From the output, `(samples, ...)`, to a score for each sample, `(samples,)`,
            written in `keras.ops`. The more, the more the layer is excited.

    Raises:
        TypeError: If `function` is no function.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(OutputScore(model.layers[-1], lambda scores: scores[:, 1] - scores[:, 2]))
        Output Score Loss
    """

    def __init__(self, layer: Target, function: Callable[[Any], Any]) -> None:
        super().__init__(check_layer(layer), name="Output Score Loss")
        is_function = callable(function) and not isinstance(function, (type, keras.Layer))
        expected = "be a function of the layer's output"
        require(is_function, "function", expected, function, TypeError)
        self.layer = layer
        self.settings = {"function": function}

    @staticmethod
    def formula(output: Any, function: Callable[[Any], Any]) -> Any:
        scores = ops.convert_to_tensor(function(output))
        expected = "return a score for each sample, of shape (samples,)"
        received = f"scores of shape {scores.shape} for {output.shape}"
        expect(len(scores.shape) == 1, "function", expected, received)
        return ops.negative(scores)


class FeatureInversion(TensorLoss):
    """How far a layer's activations are from those for a given image.

    Minimising it shows what of an image the layer has kept: the mean squared difference of the
    activations, relative to their mean square (Mahendran & Vedaldi, "Understanding Deep Image
    Representations by Inverting Them", arXiv:1412.0035).

    Args:
        layer: The layer.
        img_input: The model's input, `model.input`.
        image: The image, of the shape of the input, with or without the batch axis.

    Example:
        >>> model = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Conv2D(4, 3)])
        >>> loss = FeatureInversion(model.layers[-1], model.inputs[0], np.ones((9, 9, 1)))
        >>> loss.parameters["features"].shape
        (1, 7, 7, 4)
    """

    def __init__(self, layer: keras.Layer, img_input: keras.KerasTensor, image: np.ndarray) -> None:
        super().__init__(check_layer(layer), name="Feature Inversion Loss")
        self.layer = layer
        is_tensor = isinstance(img_input, keras.KerasTensor)
        expected = "be the model's input, such as `model.inputs[0]`"
        require(is_tensor, "img_input", expected, img_input, TypeError)
        image = check_images("image", image, tuple(img_input.shape[1:]))
        inputs = ModelInputs.with_zeros(Graph.of_inputs(img_input), img_input)
        self.parameters = {"features": evaluate_tensor(inputs, layer, image)}

    @staticmethod
    def formula(output: Any, features: Any) -> Any:
        scale = _means(ops.square(features)) + keras.config.epsilon()
        return _means(ops.square(output - features)) / scale


def _is_place(position: Any, sizes: Sequence[int | None]) -> bool:
    listed = is_iterable(position) and isinstance(position, Sized) and len(position) == len(sizes)
    return listed and all(
        isinstance(place, (int, np.integer)) and (size is None or -size <= place < size)
        for place, size in zip(position, sizes, strict=True)
    )


def channels_last(output: Any, axis: int) -> Any:
    """Activations with the channels on the last axis."""
    return output if axis == len(output.shape) - 1 else ops.moveaxis(output, axis, -1)


def _means(value: Any, kept: int | None = None) -> Any:
    """The mean of each sample, or of each filter on an axis that is kept."""
    # The sum of many values overflows in float16.
    value = ops.cast(value, "float32") if value.dtype == "float16" else value
    axes = [i for i in range(1, len(value.shape)) if i != kept]
    return ops.mean(value, axis=axes) if axes else value
