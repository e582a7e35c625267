"""Gradient times input."""

from __future__ import annotations

import numpy as np

from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import Score


class GradientTimesInput(Saliency):
    """The gradient times the image: what each value adds to the score, to first order.

    Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box: Learning Important Features
    Through Propagating Activation Differences", 2016, https://arxiv.org/abs/1605.01713.

    Args:
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.
        backprop_modifier: As in `Saliency`.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[2.0], [3.0]])])
        >>> GradientTimesInput().attributions(model, np.array([5.0, 7.0]))
        array([[10., 21.]])
    """

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        return images * score.gradients(images)
