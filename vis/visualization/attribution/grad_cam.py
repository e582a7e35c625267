"""Grad-CAM and its kin, whose weights are made of the score's gradients at feature maps."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis._core.model_inputs import explained_tensor
from vis.backend.graph import Graph, input_data_format
from vis.grad_modifiers import modified_gradients
from vis.visualization.attribution.cam import CAM, channels_last
from vis.visualization.attribution.penultimate_layer import LayerIdx, PenultimateLayers
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import Score


class GradCAM(CAM):
    """Feature maps weighted by the spatial mean of the score's gradients at them.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep
    Networks via Gradient-based Localization", ICCV 2017, https://arxiv.org/abs/1610.02391.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: A name in `vis.grad_modifiers`, a function of the gradients, or None.
        backprop_modifier: As in `CAM`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> GradCAM()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: PenultimateLayers = None,
        grad_modifier: str | Callable | None = None,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(penultimate_layer_idx, backprop_modifier)
        self.grad_modifier = grad_modifier

    def weighted_features(self, score: Score, images: np.ndarray, layer: keras.Layer) -> np.ndarray:
        answer = score.value_and_gradient(images, score.output_ref(layer))
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
        return grads.mean(axis=tuple(range(1, grads.ndim - 1)), keepdims=True)


class GradCAMPlusPlus(GradCAM):
    """Feature maps weighted by their positive gradients, each place by its share in the score.

    The exponential of the score is explained, whose higher derivatives are powers of the first
    where only rectifiers are not linear. It shows several objects of a class better than `GradCAM`.

    Chattopadhay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++: Generalized Gradient-based Visual
    Explanations for Deep Convolutional Networks", WACV 2018, https://arxiv.org/abs/1710.11063.

    Takes what `GradCAM` takes.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
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


class LayerCAM(GradCAM):
    """Feature maps weighted by the positive gradients, each place by its own.

    It is sharp in early layers too, and good at fusing several.

    Jiang, Zhang, Hou, Cheng, Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", IEEE Transactions on Image Processing 2021,
    https://doi.org/10.1109/TIP.2021.3089943.

    Takes what `GradCAM` takes.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> LayerCAM()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def weights(self, values: np.ndarray, grads: np.ndarray) -> np.ndarray:
        return np.maximum(grads, 0)


class GuidedGradCAM(Saliency):
    """Guided backpropagation times Grad-CAM: fine detail, where the class is.

    It is in section 3.2 of the paper of `GradCAM`.

    Args:
        penultimate_layer_idx: As in `CAM`.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> GuidedGradCAM()(model, np.ones((8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: PenultimateLayers = None,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
    ) -> None:
        super().__init__(grad_modifier, keepdims, backprop_modifier="guided")
        self.penultimate_layer_idx = penultimate_layer_idx

    def attributions(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: LayerIdx = -1,
        filter_indices: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        graph = Graph.of(model)
        where = (model, seed_input, layer_idx, filter_indices)
        maps = GradCAM(self.penultimate_layer_idx).attributions(*where)
        guided = super().attributions(*where)
        first = input_data_format(explained_tensor(graph)) == "channels_first"
        return guided * np.expand_dims(maps, 1 if first else -1)
