"""Grad-CAM++."""

from __future__ import annotations

import numpy as np

from vis.visualization.attribution.grad_cam import GradCAM


class GradCAMPlusPlus(GradCAM):
    """Feature maps weighted by their positive gradients, each place by its share in the score.

    The exponential of the score is explained, whose higher derivatives are powers of the first
    where rectifiers are all that is not linear. It shows several objects of one class better
    than `GradCAM`.

    Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, https://arxiv.org/abs/1710.11063.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: As in `GradCAM`.
        backprop_modifier: As in `CAM`.

    Example:
        >>> import keras
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        ... )
        >>> GradCAMPlusPlus()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def weights(self, values: np.ndarray, grads: np.ndarray) -> np.ndarray:
        spatial = tuple(range(1, values.ndim - 1))
        # Equations 10 and 19; the largest gradient is 1, as its powers would leave float32.
        largest = np.abs(grads).max(axis=(*spatial, -1), keepdims=True)
        unit = np.divide(grads, largest, out=np.zeros_like(grads), where=largest > 0)
        below = 2 * unit**2 + values.sum(axis=spatial, keepdims=True) * largest * unit**3
        shares = np.divide(unit**2, below, out=np.zeros_like(unit), where=below != 0)
        return (shares * np.maximum(unit, 0)).sum(axis=spatial, keepdims=True)
