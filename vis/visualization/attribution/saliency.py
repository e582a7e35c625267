"""Saliency: the gradient itself."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from vis.backend.graph import channel_axis_of
from vis.utils.validation import check_flag
from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.maps import modified_gradients
from vis.visualization.attribution.score import Score


class Saliency(Attribution):
    """The gradient of the score with respect to the image.

    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks: Visualising Image
    Classification Models and Saliency Maps", 2013, https://arxiv.org/abs/1312.6034. With
    `backprop_modifier="guided"` it is guided backpropagation (Springenberg et al., "Striving for
    Simplicity", https://arxiv.org/abs/1412.6806).

    Args:
        grad_modifier: What is drawn of the attributions: a name in `vis.grad_modifiers`, a
            function of the array, or None for all, signs included.
        keepdims: Whether each channel has its own map; otherwise its greatest value is drawn.
            Plain vectors have no channels.
        backprop_modifier: A name in `vis.backprop_modifiers`, or a function from a model to a
            model.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8)])
        >>> saliency_map = Saliency()(model, np.ones((8, 8, 3)))
        >>> saliency_map.shape, float(saliency_map.min()), float(saliency_map.max())
        ((8, 8), 0.0, 1.0)
    """

    def __init__(
        self,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        self.grad_modifier = grad_modifier
        self.keepdims = check_flag("keepdims", keepdims)
        self.backprop_modifier = backprop_modifier

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        return score.gradients(images)

    def summarise(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        modified = modified_gradients(self.grad_modifier, attributions)
        axis = channel_axis_of(tensor)
        return modified if self.keepdims or axis is None else modified.max(axis=axis)
