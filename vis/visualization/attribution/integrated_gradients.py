"""Integrated gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis.utils.model import resolve_layer, single_input
from vis.utils.validation import check_integer
from vis.visualization.attribution.maps import batches
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import Score
from vis.visualization.attribution.seed import check_seed_input


class IntegratedGradients(Saliency):
    """The gradient integrated along the line from a baseline to the image, times their difference.

    The attributions add up to the difference between the scores of image and baseline, which is
    called completeness.

    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
    https://arxiv.org/abs/1703.01365. The integral is a Gauss-Legendre quadrature.

    Args:
        steps: Number of points on the line.
        baseline: The image that says nothing: a number for a uniform one, 0 by default, or an
            array of an image's shape.
        batch_size: How many points are shown to the model at once.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.
        backprop_modifier: As in `Saliency`.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "exponential")])
        >>> model.set_weights([np.array([[1.0], [2.0]]), np.zeros(1)])
        >>> IntegratedGradients().attributions(model, np.array([1.0, 1.0])).round(4)
        array([[ 6.3618, 12.7237]])
    """

    def __init__(
        self,
        steps: int = 64,
        baseline: float | np.ndarray = 0.0,
        batch_size: int = 16,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(grad_modifier, keepdims, backprop_modifier)
        self.steps = check_integer("steps", steps, least=1)
        self.baseline = baseline
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                self._of_sample(score.of_sample(i), image, baseline)
                for i, (image, baseline) in enumerate(
                    zip(images, self._baselines(images), strict=True)
                )
            ]
        )

    def _of_sample(self, score: Score, image: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        shares = (1 + nodes) / 2
        mean = np.zeros(image.shape)
        for batch in batches(self.steps, self.batch_size):
            share = shares[batch].reshape(-1, *[1] * image.ndim)
            grads = score.gradients(baseline + share * (image - baseline))
            mean += np.tensordot(weights[batch] / 2, grads, axes=1)
        return (image - baseline) * mean

    def _baselines(self, images: np.ndarray) -> np.ndarray:
        try:
            return np.broadcast_to(np.asarray(self.baseline, "float64"), images.shape)
        except (TypeError, ValueError):
            raise ValueError(
                "`baseline` must be a number, or an array of an image's shape "
                f"{images.shape[1:]}. Received: baseline={self.baseline!r}"
            ) from None

    def completeness_error(
        self,
        attributions: np.ndarray,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        """How far the attributions are from adding up to what they explain.

        Args:
            attributions: What `attributions` has returned for the other arguments.
            model: As for the call.
            seed_input: As for the call.
            layer_idx: As for the call.
            filter_indices: As for the call.

        Returns:
            For each image the difference as a share of what is explained, `(samples,)`.

        Example:
            >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softplus")])
            >>> method, image = IntegratedGradients(), np.ones(2)
            >>> attributions = method.attributions(model, image)
            >>> bool(method.completeness_error(attributions, model, image) < 1e-4)
            True
        """
        input_tensor = single_input(model)
        images = check_seed_input(input_tensor, seed_input)
        layer = resolve_layer(model, layer_idx)
        score = Score.of_filters(input_tensor, layer, filter_indices, images)
        explained = score.values(images) - score.values(self._baselines(images))
        total = attributions.reshape(len(images), -1).sum(axis=1)
        return np.abs(total - explained) / np.abs(explained)
