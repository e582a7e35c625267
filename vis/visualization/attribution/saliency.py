"""Saliency, gradient x input and SmoothGrad: gradients with respect to the image."""

from collections.abc import Callable

import keras
import numpy as np

from vis.backend.graph import channel_axis_of
from vis.backend.tensors import draw_seed
from vis.grad_modifiers import modified_gradients
from vis.utils.validation import check_flag, check_integer, check_not_negative
from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.maps import batches
from vis.visualization.attribution.score import Score


class Saliency(Attribution):
    """Saliency: the gradient of the score with respect to the image.

    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks: Visualising Image
    Classification Models and Saliency Maps", 2013, https://arxiv.org/abs/1312.6034. With
    `backprop_modifier="guided"`: guided backpropagation (Springenberg et al., "Striving for
    Simplicity", https://arxiv.org/abs/1412.6806).

    Args:
        grad_modifier: Applied to the attributions for the map: a name in `vis.grad_modifiers`, a
            function of the array, or None.
        keepdims: Whether each channel has its own map. If False, the map is the maximum over the
            channels. Vectors have no channels.
        backprop_modifier: A name in `vis.backprop_modifiers`, a function from model to model, or
            None.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8)])
        >>> saliency_map = Saliency()(model, np.ones((8, 8, 3)))
        >>> saliency_map.shape, float(saliency_map.min()), float(saliency_map.max())
        ((8, 8), 0.0, 1.0)
    """

    def __init__(
        self,
        grad_modifier: str | Callable | None = "absolute",
        *,
        keepdims: bool = False,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        self.grad_modifier = grad_modifier
        self.keepdims = check_flag("keepdims", keepdims)
        self.backprop_modifier = backprop_modifier

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        return score.gradients(images)

    def to_maps(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        modified = modified_gradients(self.grad_modifier, attributions)
        axis = channel_axis_of(tensor)
        return modified if self.keepdims or axis is None else modified.max(axis=axis)


class GradientTimesInput(Saliency):
    """Gradient x input: the contribution of each value to the score, to first order.

    Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box: Learning Important Features
    Through Propagating Activation Differences", 2016, https://arxiv.org/abs/1605.01713.

    Args: as in `Saliency`.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[2.0], [3.0]])])
        >>> GradientTimesInput().attributions(model, np.array([5.0, 7.0]))
        array([[10., 21.]])
    """

    reason_of_zeros = "the image is 0 wherever the score has a gradient"

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        return images * score.gradients(images)


class SmoothGrad(Saliency):
    """SmoothGrad: the mean gradient over noisy copies of the image.

    Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise", 2017,
    https://arxiv.org/abs/1706.03825.

    Args:
        samples: Number of noisy copies.
        noise: Standard deviation of the noise, as a fraction of the range of the image's values.
        seed: Random seed, a non-negative integer. None draws one from NumPy's global state.
        batch_size: Number of copies per batch.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.
        backprop_modifier: As in `Saliency`.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8)])
        >>> SmoothGrad(samples=4, seed=0)(model, np.random.rand(8, 8, 3)).shape
        (8, 8)
    """

    def __init__(
        self,
        samples: int = 50,
        *,
        noise: float = 0.15,
        seed: int | None = None,
        batch_size: int = 16,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(
            grad_modifier=grad_modifier, keepdims=keepdims, backprop_modifier=backprop_modifier
        )
        self.samples = check_integer("samples", samples, least=1)
        self.noise = check_not_negative("noise", noise)
        self.seed = None if seed is None else check_integer("seed", seed, least=0)
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        seed = draw_seed() if self.seed is None else self.seed
        rngs = [np.random.default_rng((seed, i)) for i in range(len(images))]
        return score.map_samples(self._of_sample, np.asarray(images, "float32"), rngs)

    def _of_sample(self, score: Score, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        deviation = self.noise * np.ptp(image)
        total = np.zeros(image.shape)
        for batch in batches(self.samples, self.batch_size):
            noise = rng.standard_normal((batch.stop - batch.start, *image.shape), "float32")
            total += score.gradients(image + deviation * noise).sum(axis=0)
        return total / self.samples
