"""LayerCAM."""

from __future__ import annotations

import numpy as np

from vis.visualization.attribution.grad_cam import GradCAM


class LayerCAM(GradCAM):
    """Feature maps weighted by the positive gradients, each place by its own.

    It is sharp in early layers too, and good at fusing several.

    Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", IEEE Transactions on Image Processing 2021,
    https://doi.org/10.1109/TIP.2021.3089943.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: As in `GradCAM`.
        backprop_modifier: As in `CAM`.

    Example:
        >>> import keras
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        ... )
        >>> LayerCAM()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def weights(self, values: np.ndarray, grads: np.ndarray) -> np.ndarray:
        return np.maximum(grads, 0)
