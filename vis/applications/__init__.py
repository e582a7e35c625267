"""Pretrained networks, with the interface of `keras.applications`."""

from vis.applications.efficientnet_lite import (
    EfficientNetLite0,
    decode_predictions,
    preprocess_input,
)

__all__ = ["EfficientNetLite0", "decode_predictions", "preprocess_input"]
