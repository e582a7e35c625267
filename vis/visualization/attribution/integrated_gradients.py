"""Integrated gradients."""

from collections.abc import Callable

import keras
import numpy as np

from vis._core.model_inputs import preprocessed
from vis.backend.graph import Graph, warn_of_range
from vis.utils.validation import check_finite, check_integer, expect
from vis.visualization.attribution.base import Losses, explained_losses
from vis.visualization.attribution.maps import batches
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import FilterIndices, Score

# A power of two plus one: halved intervals stay equal if the score is linear.
_FIRST_STEPS = 17
_STEPS_AT_ONCE = 4


class IntegratedGradients(Saliency):
    """Integrated gradients: `(image - baseline)` times the mean gradient between the two.

    The attributions sum to the difference of the scores of image and baseline (completeness). The
    points are denser where the gradient changes: for networks with batch normalisation near a
    black baseline.

    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
    https://arxiv.org/abs/1703.01365.

    Args:
        steps: Number of points on the line, at least 2. Memory grows with it.
        baseline: Reference image without content: a number, or an array of the image's shape.
        batch_size: Number of points per batch.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.
        backprop_modifier: As in `Saliency`.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "exponential")])
        >>> model.set_weights([np.array([[1.0], [2.0]]), np.zeros(1)])
        >>> IntegratedGradients().attributions(model, np.array([1.0, 1.0])).round(1)
        array([[ 6.4, 12.7]])
    """

    reason_of_zeros = "the image equals the `baseline` wherever the score has a gradient"

    def __init__(
        self,
        steps: int = 64,
        *,
        baseline: float | np.ndarray = 0.0,
        batch_size: int = 16,
        grad_modifier: str | Callable | None = "absolute",
        keepdims: bool = False,
        backprop_modifier: str | Callable | None = None,
    ) -> None:
        super().__init__(
            grad_modifier=grad_modifier, keepdims=keepdims, backprop_modifier=backprop_modifier
        )
        self.steps = check_integer("steps", steps, least=2)
        self.baseline = baseline
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        baselines = self._baselines(images)
        warn_of_range(score.input_tensor, baselines, "baseline")
        return score.map_samples(self._of_sample, images, baselines)

    def _of_sample(self, score: Score, image: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        line = _Line(score, image, baseline, self.batch_size)
        line.add(np.linspace(0, 1, min(_FIRST_STEPS, self.steps)))
        while (missing := self.steps - len(line.points)) > 0:
            # A few at a time: each point changes the errors of the others.
            worst = np.argsort(-line.errors(), kind="stable")[: min(missing, _STEPS_AT_ONCE)]
            line.add((line.points[worst] + line.points[worst + 1]) / 2)
        return (image - baseline) * line.mean_gradient()

    def _baselines(self, images: np.ndarray) -> np.ndarray:
        try:
            baselines = np.broadcast_to(np.asarray(self.baseline, "float64"), images.shape)
        except (TypeError, ValueError):
            raise ValueError(
                "`baseline` must be a number, or an array of the image's shape "
                f"{images.shape[1:]}. Received: baseline={self.baseline!r}"
            ) from None
        return check_finite("baseline", baselines)

    def completeness_error(
        self,
        attributions: np.ndarray,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: FilterIndices = None,
        *,
        losses: Losses | None = None,
        input_name: int | str | None = None,
    ) -> np.ndarray:
        """Completeness error: how far attributions are from summing to the score difference.

        Takes the result of `attributions`, and the arguments of `__call__`.

        Returns:
            The error relative to the score difference of image and baseline, `(samples,)`.

        Example:
            >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softplus")])
            >>> method, image = IntegratedGradients(), np.ones(2)
            >>> attributions = method.attributions(model, image)
            >>> bool(method.completeness_error(attributions, model, image) < 1e-4)
            True
        """
        graph = Graph.of(model, seed_input)
        pairs = explained_losses(graph, layer_idx, filter_indices, losses)
        inputs = self.model_inputs(graph, preprocessed(graph, seed_input), input_name)
        images = inputs.images
        expect(
            np.shape(attributions) == images.shape,
            "attributions",
            f"be returned by `attributions` for the same images, of shape {images.shape}",
            f"an array of shape {np.shape(attributions)}",
        )
        score = Score(inputs, pairs)
        if losses is None:
            score.select_filters(filter_indices)
        difference = score.values(images) - score.values(self._baselines(images))
        total = np.reshape(attributions, (len(images), -1)).sum(axis=1)
        return np.abs(total - difference) / np.abs(difference)


class _Line:
    """Scores and gradients at points between a baseline, at 0, and an image, at 1."""

    def __init__(
        self, score: Score, image: np.ndarray, baseline: np.ndarray, batch_size: int
    ) -> None:
        self._score, self._batch_size = score, batch_size
        self._baseline, self._difference = baseline, image - baseline
        self.points, self.scores = np.zeros(0), np.zeros(0)
        self.grads = np.zeros((0, *image.shape), "float32")

    def add(self, points: np.ndarray) -> None:
        """Evaluates the score and its gradient at more points."""
        for batch in batches(len(points), self._batch_size):
            fractions = points[batch].reshape(-1, *[1] * self._difference.ndim)
            images = self._baseline + fractions * self._difference
            output = self._score.value_and_gradient(images)
            self.points = np.append(self.points, points[batch])
            self.scores = np.append(self.scores, output.scores)
            self.grads = np.concatenate([self.grads, output.grads[0]])
        order = np.argsort(self.points)
        self.points, self.scores = self.points[order], self.scores[order]
        self.grads = self.grads[order]

    def mean_gradient(self) -> np.ndarray:
        """The integral of the gradient from 0 to 1."""
        *_, end_weight = self._intervals()
        widths = np.diff(self.points)
        weights = np.append(widths * (1 - end_weight), 0) + np.append(0, widths * end_weight)
        return np.tensordot(weights, self.grads, 1)

    def errors(self) -> np.ndarray:
        """The estimated error of each interval, `(intervals,)`.

        It is the change of the score that the weighted gradients at both ends do not explain, plus
        a quarter of the same for equal weights, so that smooth curves are refined as well.
        """
        start, end, mean, end_weight = self._intervals()
        unexplained = [mean - (start * (1 - w) + end * w) for w in (end_weight, 0.5)]
        return np.diff(self.points) * (np.abs(unexplained[0]) + np.abs(unexplained[1]) / 4)

    def _intervals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The score's slope at the start, at the end and on average, and the end's weight.

        With these weights the two gradients sum to the change of the score. For a network of
        rectifiers with a single kink in the interval, the integral is exact.
        """
        slopes = np.tensordot(self.grads, self._difference, self._difference.ndim)
        start, end = slopes[:-1], slopes[1:]
        mean = np.diff(self.scores) / np.diff(self.points)
        end_weight = np.full(len(mean), 0.5)
        np.divide(mean - start, end - start, out=end_weight, where=end != start)
        return start, end, mean, np.clip(end_weight, 0, 1)
