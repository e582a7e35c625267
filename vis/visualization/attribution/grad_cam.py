"""Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis.visualization.attribution.cam import CAM, channels_last
from vis.visualization.attribution.maps import modified_gradients
from vis.visualization.attribution.penultimate import LayerIndex
from vis.visualization.attribution.score import Score


class GradCAM(CAM):
    """Feature maps weighted by the spatial mean of the score's gradients at them.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
    Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: What happens to the gradients first: a name in `vis.grad_modifiers`, a
            function of the array, or None.
        backprop_modifier: As in `CAM`.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        ... )
        >>> GradCAM()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: LayerIndex | Sequence[LayerIndex] | None = None,
        grad_modifier: str | Callable | None = None,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(penultimate_layer_idx, backprop_modifier)
        self.grad_modifier = grad_modifier

    def weighted(self, score: Score, images: np.ndarray, layer: keras.Layer) -> np.ndarray:
        answer = score.look(images, score.output_of(layer))
        values = channels_last(answer.values[0], layer)
        grads = channels_last(modified_gradients(self.grad_modifier, answer.grads[0]), layer)
        return self.weights(values, grads) * values

    def weights(self, values: np.ndarray, grads: np.ndarray) -> np.ndarray:
        """The weights of feature maps; all that the methods of this family differ in.

        Args:
            values: The feature maps, `(samples, spatial..., channels)`.
            grads: The gradients of the score at them, of the same shape.

        Returns:
            An array that broadcasts to that shape.
        """
        return spatial_mean(grads)


def spatial_mean(array: np.ndarray) -> np.ndarray:
    """The mean over all axes but the first and the last, which stay with length 1."""
    return array.mean(axis=tuple(range(1, array.ndim - 1)), keepdims=True)
