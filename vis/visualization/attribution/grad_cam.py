"""Grad-CAM, Grad-CAM++, LayerCAM and guided Grad-CAM: feature maps weighted by gradients."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from vis.grad_modifiers import modified_gradients
from vis.visualization.attribution.base import Losses
from vis.visualization.attribution.cam import CAM
from vis.visualization.attribution.penultimate_layer import PenultimateLayers
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import FilterIndices, Score


class GradCAM(CAM):
    """Grad-CAM: feature maps weighted by the spatial mean of the score's gradients.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
    Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: A name in `vis.grad_modifiers`, a function of the gradients, or None.
        backprop_modifier: As in `CAM`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> GradCAM()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: PenultimateLayers = None,
        *,
        grad_modifier: str | Callable | None = None,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(penultimate_layer_idx, backprop_modifier=backprop_modifier)
        self.grad_modifier = grad_modifier

    def weighted_features(self, score: Score, images: np.ndarray, layer: keras.Layer) -> np.ndarray:
        output = score.value_and_gradient(images, score.output_ref(layer))
        modified = modified_gradients(self.grad_modifier, output.grads[0])
        features, grads = (
            self.features(score, layer, images.shape[1:], values)
            for values in (output.values[0], modified)
        )
        if modified.any() and not grads.any():
            raise ValueError(
                "`penultimate_layer_idx` must be a layer at whose patch tokens the score has a "
                "gradient, such as the normalization before the last attention layer, or None. "
                f"Received: layer '{layer.name}', of which only the other tokens have one"
            )
        return self.weights(features, grads) * features

    def weights(self, features: np.ndarray, grads: np.ndarray) -> np.ndarray:
        """The weights of feature maps, `(samples, spatial..., channels)`, from their gradients.

        They broadcast to the shape of the feature maps. Subclasses override this.
        """
        return grads.mean(axis=tuple(range(1, grads.ndim - 1)), keepdims=True)


class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++: feature maps weighted by positive gradients, for several objects of a class.

    The weight of a channel is the sum over all positions of `alpha * relu(gradient)`, with
    `alpha = g**2 / (2 * g**2 + sum(features) * g**3)` for the gradient `g`.

    Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, https://arxiv.org/abs/1710.11063.

    Args: as in `GradCAM`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> GradCAMPlusPlus()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def weights(self, features: np.ndarray, grads: np.ndarray) -> np.ndarray:
        spatial = tuple(range(1, features.ndim - 1))
        # Equations 10 and 19. Gradients are scaled to at most 1: their powers overflow float32.
        largest = np.abs(grads).max(axis=(*spatial, -1), keepdims=True)
        unit = np.divide(grads, largest, out=np.zeros_like(grads), where=largest > 0)
        divisor = 2 * unit**2 + features.sum(axis=spatial, keepdims=True) * largest * unit**3
        alpha = np.divide(unit**2, divisor, out=np.zeros_like(unit), where=divisor != 0)
        return (alpha * np.maximum(unit, 0)).sum(axis=spatial, keepdims=True)


class LayerCAM(GradCAM):
    """LayerCAM: feature maps weighted by the positive gradient at each position.

    Maps of early layers are sharp too, and several layers can be fused.

    Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", IEEE Transactions on Image Processing 2021,
    https://doi.org/10.1109/TIP.2021.3089943.

    Args: as in `GradCAM`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> LayerCAM()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def weights(self, features: np.ndarray, grads: np.ndarray) -> np.ndarray:
        return np.maximum(grads, 0)


class GuidedGradCAM(Saliency):
    """Guided Grad-CAM: guided backpropagation times Grad-CAM.

    Section 3.2 of the paper of `GradCAM`.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> GuidedGradCAM()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: PenultimateLayers = None,
        *,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
    ) -> None:
        super().__init__(grad_modifier=grad_modifier, keepdims=keepdims, backprop_modifier="guided")
        self.penultimate_layer_idx = penultimate_layer_idx

    def attributions(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: FilterIndices = None,
        *,
        losses: Losses | None = None,
        input_name: int | str | None = None,
        progress: bool = True,
    ) -> np.ndarray:
        explained = (model, seed_input, layer_idx, filter_indices)
        options: dict[str, Any] = {"losses": losses, "input_name": input_name}
        options["progress"] = progress
        maps = GradCAM(self.penultimate_layer_idx).attributions(*explained, **options)
        return super().attributions(*explained, **options) * maps
