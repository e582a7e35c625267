"""Guided Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis.backend.graph import Graph, input_data_format
from vis.subject import explained_tensor
from vis.visualization.attribution.grad_cam import GradCAM
from vis.visualization.attribution.penultimate import LayerIndex
from vis.visualization.attribution.saliency import Saliency


class GuidedGradCAM(Saliency):
    """Guided backpropagation times Grad-CAM: fine detail, where the class is.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
    Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391,
    section 3.2.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.

    Example:
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 3)),
        ...         keras.layers.Conv2D(4, 3, activation="relu"),
        ...         keras.layers.Flatten(),
        ...     ]
        ... )
        >>> GuidedGradCAM()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: LayerIndex | Sequence[LayerIndex] | None = None,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
    ) -> None:
        super().__init__(grad_modifier, keepdims, backprop_modifier="guided")
        self.penultimate_layer_idx = penultimate_layer_idx

    def attributions(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: LayerIndex = -1,
        filter_indices: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        graph = Graph.of(model)
        where = (model, seed_input, layer_idx, filter_indices)
        maps = GradCAM(self.penultimate_layer_idx).attributions(*where)
        guided = super().attributions(*where)
        first = input_data_format(explained_tensor(graph)) == "channels_first"
        return guided * np.expand_dims(maps, 1 if first else -1)
