"""Losses of a layer: filters, classes, neurons, directions, features."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis.backend.graph import (
    Graph,
    ModelInputs,
    Target,
    check_layer,
    filters_of,
    output_shape,
    warn_of_range,
)
from vis.backend.step import evaluate_tensor
from vis.losses.base import LossSum, TensorLoss
from vis.utils.validation import (
    as_integer,
    check_array,
    check_images,
    check_indices,
    check_integer,
    check_not_negative,
    expect,
    is_iterable,
    require,
)


class _LayerLoss(TensorLoss):
    """Base class of losses of a layer, not of any tensor."""

    def __init__(self, layer: Target, name: str) -> None:
        super().__init__(check_layer(layer), name)


class _ActivationLoss(_LayerLoss):
    """Base class of losses that are proportional to activations."""

    def is_proportional(self) -> bool:
        return True


class ActivationMaximization(_ActivationLoss):
    """Activation maximization: minus the mean activation of one filter, or of several together.

    Minimising it generates the image that excites the filters most (Erhan et al., "Visualizing
    Higher-Layer Features of a Deep Network", 2009; Simonyan et al., arXiv:1312.6034).

    Args:
        layer: Layer of the filters: channels of a convolution, units of a dense layer, or features
            of a recurrent one.
        filter_indices: An index, a list of indices that are maximised jointly, or None for all.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(ActivationMaximization(model.layers[-1], filter_indices=[0, 2]))
        ActivationMax Loss
    """

    def __init__(self, layer: Target, filter_indices: int | Sequence[int] | None = None) -> None:
        super().__init__(layer, "ActivationMax Loss")
        _, axis, count = filters_of(layer)
        indices = filter_indices if isinstance(filter_indices, (list, tuple)) else [filter_indices]
        if any(index is None for index in indices):
            filter_indices = range(count)
        owner = f"layer '{layer.name}'"
        self.filter_indices = check_indices("filter_indices", filter_indices, count, owner)
        weights = np.bincount(self.filter_indices, minlength=count)
        self.parameters = {"filter_weights": weights[None].astype("float32")}
        self.settings = {"axis": axis}

    @staticmethod
    def formula(output: Any, filter_weights: Any, axis: int) -> Any:
        means = _mean(output, keep=axis)
        return -ops.sum(means * ops.cast(filter_weights, means.dtype), axis=-1)


class FilterActivations(ActivationMaximization):
    """Minus the mean activation of one filter per sample, before the softmax if there is one.

    Args:
        layer: Layer of the filters.
        filter_indices: Filter index of each sample.

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


class LogSumExp(_LayerLoss):
    """Log-sum-exp of a layer's class scores, before the softmax if there is one.

    Args:
        layer: Layer of the classes.

    Example:
        >>> scores = ops.convert_to_tensor([[2.0, 2.0, -50.0]])
        >>> round(float(LogSumExp.formula(scores, axis=1)[0]), 3)
        2.693
    """

    def __init__(self, layer: Target) -> None:
        super().__init__(layer, "Log-Sum-Exp Loss")
        self.settings = {"axis": filters_of(layer)[1]}
        self.before_softmax = True

    @staticmethod
    def formula(output: Any, axis: int) -> Any:
        return ops.logsumexp(_mean(output, keep=axis), axis=-1)


class ClassScores(LossSum):
    """Minus the score of one class per sample: mostly its log-probability.

    A tenth is the score before the softmax (Simonyan et al., arXiv:1312.6034), the rest the
    log-probability. The score alone also draws features shared with similar classes. The
    probability alone has no gradient once it is 1.

    Args:
        layer: Layer of the classes.
        filter_indices: Class index of each sample.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> for loss, weight in ClassScores(model.layers[-1], [0, 2]).pairs:
        ...     print(loss, weight)
        ActivationMax Loss 1
        Log-Sum-Exp Loss 0.9
    """

    def __init__(self, layer: Target, filter_indices: Sequence[int]) -> None:
        super().__init__([(FilterActivations(layer, filter_indices), 1), (LogSumExp(layer), 0.9)])


class Neuron(_ActivationLoss):
    """Minus the activation of a single neuron.

    Args:
        layer: Layer of the neuron.
        filter_index: Its channel, or unit.
        position: One index per spatial axis of the layer's output. The default is the centre.

    Example:
        >>> model = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Conv2D(4, 3)])
        >>> Neuron(model.layers[-1], filter_index=2).settings["position"]
        (3, 3)
    """

    def __init__(
        self, layer: Target, filter_index: int, *, position: Sequence[int | None] | None = None
    ) -> None:
        super().__init__(layer, "Neuron Loss")
        shape, axis, count = filters_of(layer)
        filter_index = check_integer("filter_index", filter_index, least=-count)
        (index,) = check_indices("filter_index", filter_index, count, f"layer '{layer.name}'")
        sizes = tuple(size for i, size in enumerate(shape) if i not in (0, axis))
        if position is None:
            # The centre of an open axis is known only when the formula is called.
            position = [None if size is None else size // 2 for size in sizes]
        else:
            indices = list(map(as_integer, position)) if is_iterable(position) else []
            is_inside = len(indices) == len(sizes) and all(
                i is not None and (size is None or -size <= i < size)
                for i, size in zip(indices, sizes, strict=True)
            )
            expected = f"be one integer per axis, within an output of size {sizes}"
            require(is_inside, "position", expected, position)
        self.parameters = {"filter_weights": np.eye(count, dtype="float32")[[index]]}
        self.settings = {"axis": axis, "position": tuple(position)}

    @staticmethod
    def formula(output: Any, filter_weights: Any, axis: int, position: tuple) -> Any:
        spatial = [i for i in range(1, len(output.shape)) if i != axis]
        indices: list[Any] = [slice(None)] * len(output.shape)
        for i, index in zip(spatial, position, strict=True):
            indices[i] = output.shape[i] // 2 if index is None else index
        return -ops.sum(output[tuple(indices)] * ops.cast(filter_weights, output.dtype), axis=-1)


class Direction(_ActivationLoss):
    """Minus the mean dot product of a layer's activations with a direction in channel space.

    For linear probes, concept vectors (Kim et al., "Interpretability Beyond Feature Attribution",
    arXiv:1711.11279) and mixtures of filters.

    Args:
        layer: The layer.
        direction: One number per filter of the layer; not all zero.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(Direction(model.layers[-1], [1.0, -1.0, 0.0]))
        Direction Loss
    """

    def __init__(self, layer: Target, direction: Sequence[float]) -> None:
        super().__init__(layer, "Direction Loss")
        _, axis, count = filters_of(layer)
        values = check_array("direction", direction).astype("float32")
        is_direction = values.shape == (count,) and np.isfinite(values).all() and values.any()
        expected = (
            f"be {count} finite numbers, one per filter of layer '{layer.name}', not all zero"
        )
        require(is_direction, "direction", expected, direction)
        self.parameters = {"direction": values[None]}
        self.settings = {"axis": axis}

    @staticmethod
    def formula(output: Any, direction: Any, axis: int) -> Any:
        dots = channels_last(output, axis) @ ops.cast(direction, output.dtype)[0][:, None]
        return -_mean(dots)


class CosineDirection(Direction):
    """Minus the mean dot product with a direction, times a power of the cosine of the angle.

    Activations must point in the direction, not only be large along it (Carter et al., "Activation
    Atlas", Distill 2019).

    Args:
        layer: The layer.
        direction: One number per filter of the layer; not all zero.
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
        # The minimum keeps a gradient if the angle is large.
        return -_mean(dots * ops.power(ops.maximum(cosines, 0.1), power))


class DeepDream(_LayerLoss):
    """DeepDream: minus the mean square of all activations of a layer.

    It enhances the patterns that the layer finds in an image (Mordvintsev et al., "Inceptionism",
    2015).

    Args:
        layer: The layer.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(DeepDream(model.layers[-1]))
        DeepDream Loss
    """

    def __init__(self, layer: Target) -> None:
        super().__init__(layer, "DeepDream Loss")

    @staticmethod
    def formula(output: Any) -> Any:
        return -_mean(ops.square(output))


class Diversity(_LayerLoss):
    """Similarity of the images of a batch: the mean cosine between their Gram matrices.

    Minimising it together with other losses shows several facets of a neuron. Gram matrices are the
    products of a layer's channels with each other (Olah et al., "Feature Visualization", Distill
    2017; Gatys et al., arXiv:1508.06576).

    Args:
        layer: Layer whose activations are compared.

    Example:
        >>> model = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Conv2D(4, 3)])
        >>> print(Diversity(model.layers[-1]))
        Diversity Loss
    """

    def __init__(self, layer: Target) -> None:
        super().__init__(layer, "Diversity Loss")
        self.couples_samples = True
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
        # Each pair counts for both of its images.
        return (ops.sum(cosines, axis=1) - 1) / (samples - 1)


class OutputScore(_LayerLoss):
    """Minus a custom score: any function of a layer's output.

    Args:
        layer: The layer.
        function: Function in `keras.ops` from the output, `(samples, ...)`, to the score of each
            sample, `(samples,)`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> print(OutputScore(model.layers[-1], lambda scores: scores[:, 1] - scores[:, 2]))
        Output Score Loss
    """

    def __init__(self, layer: Target, function: Callable[[Any], Any]) -> None:
        super().__init__(layer, "Output Score Loss")
        is_function = callable(function) and not isinstance(function, (type, keras.Layer))
        expected = "be a function of the layer's output"
        require(is_function, "function", expected, function, TypeError)
        self.settings = {"function": function}

    def is_proportional(self) -> bool:
        shape = (1, *(size or 1 for size in output_shape(self.layer)[1:]))
        values = np.random.default_rng(0).uniform(0.1, 1, shape).astype("float32")
        function: Any = self.settings["function"]
        try:
            once, twice = (
                np.asarray(self.formula(ops.convert_to_tensor(v), function))
                for v in (values, 2 * values)
            )
        except Exception:  # Of the user's function, which is called again in the run.
            return False
        return bool(np.allclose(twice, 2 * once, rtol=1e-4))

    @staticmethod
    def formula(output: Any, function: Callable[[Any], Any]) -> Any:
        scores = ops.convert_to_tensor(function(output))
        expected = "return one score per sample, of shape (samples,)"
        received = f"scores of shape {scores.shape} for {output.shape}"
        expect(len(scores.shape) == 1, "function", expected, received)
        return ops.negative(scores)


class FeatureInversion(_LayerLoss):
    """Feature inversion: the distance of a layer's activations from those for a given image.

    Minimising it shows which information about the image the layer keeps. The distance is the mean
    squared difference, relative to the mean square (Mahendran & Vedaldi, "Understanding Deep Image
    Representations by Inverting Them", arXiv:1412.0035).

    Args:
        layer: The layer.
        img_input: The model's input, `model.input`.
        image: Image of the shape of the input, with or without the batch axis.

    Example:
        >>> model = keras.Sequential([keras.Input((9, 9, 1)), keras.layers.Conv2D(4, 3)])
        >>> loss = FeatureInversion(model.layers[-1], model.inputs[0], np.ones((9, 9, 1)))
        >>> loss.parameters["features"].shape
        (1, 7, 7, 4)
    """

    def __init__(self, layer: keras.Layer, img_input: keras.KerasTensor, image: np.ndarray) -> None:
        super().__init__(layer, "Feature Inversion Loss")
        is_tensor = isinstance(img_input, keras.KerasTensor)
        expected = "be the model's input, such as `model.inputs[0]`"
        require(is_tensor, "img_input", expected, img_input, TypeError)
        image = check_images("image", image, tuple(img_input.shape[1:]))
        warn_of_range(img_input, image, "image")
        inputs = ModelInputs.with_zeros(Graph.of_inputs(img_input), img_input)
        self.parameters = {"features": evaluate_tensor(inputs, layer, image)}

    @staticmethod
    def formula(output: Any, features: Any) -> Any:
        scale = _mean(ops.square(features)) + keras.config.epsilon()
        return _mean(ops.square(output - features)) / scale


def channels_last(output: Any, axis: int) -> Any:
    """Activations with the channels on the last axis."""
    return output if axis == len(output.shape) - 1 else ops.moveaxis(output, axis, -1)


def _mean(value: Any, keep: int | None = None) -> Any:
    """The mean of each sample, or of each filter if `keep` is the channels' axis."""
    # Sums of many values overflow in float16.
    value = ops.cast(value, "float32") if value.dtype == "float16" else value
    axes = [i for i in range(1, len(value.shape)) if i != keep]
    return ops.mean(value, axis=axes) if axes else value
