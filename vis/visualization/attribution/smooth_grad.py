"""SmoothGrad."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vis.backend.tensors import draw_seed
from vis.utils.validation import check_integer, check_number
from vis.visualization.attribution.maps import batches
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import Score


class SmoothGrad(Saliency):
    """The mean gradient over noisy copies of the image.

    Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise", 2017,
    https://arxiv.org/abs/1706.03825.

    Args:
        samples: Number of noisy copies.
        noise: Standard deviation of the noise, as a share of the width of the image's own range.
        seed: Whole number that the noise follows from; by default it follows from NumPy's global
            random state.
        batch_size: How many copies are shown to the model at once.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.
        backprop_modifier: As in `Saliency`.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 8)])
        >>> SmoothGrad(samples=4, seed=0)(model, np.random.rand(8, 8, 3)).shape
        (8, 8)
    """

    def __init__(
        self,
        samples: int = 50,
        noise: float = 0.15,
        seed: int | None = None,
        batch_size: int = 16,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(grad_modifier, keepdims, backprop_modifier)
        self.samples = check_integer("samples", samples, least=1)
        self.noise = check_number("noise", noise)
        if noise < 0:
            raise ValueError(f"`noise` must not be negative. Received: noise={noise!r}")
        self.seed = None if seed is None else check_integer("seed", seed, least=0)
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        seed = draw_seed() if self.seed is None else self.seed
        return np.stack(
            [
                self._of_sample(score.of_sample(i), image, np.random.default_rng((seed, i)))
                for i, image in enumerate(np.asarray(images, "float32"))
            ]
        )

    def _of_sample(self, score: Score, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        deviation = self.noise * np.ptp(image)
        total = np.zeros(image.shape)
        for batch in batches(self.samples, self.batch_size):
            noise = rng.standard_normal((batch.stop - batch.start, *image.shape), "float32")
            total += score.gradients(image + deviation * noise).sum(axis=0)
        return total / self.samples
