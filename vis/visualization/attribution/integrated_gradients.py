"""Integrated gradients."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis._core.model_inputs import ModelInputs, inside
from vis.backend.graph import Graph
from vis.utils.validation import check_finite, check_integer, expect
from vis.visualization.attribution.maps import batches
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import Score

# Powers of two apart from the end, so that the points stay evenly spaced where nothing happens.
_FIRST_STEPS = 17
_STEPS_AT_ONCE = 4


class IntegratedGradients(Saliency):
    """The gradient integrated along the line from a baseline to the image, times their difference.

    The attributions add up to the difference between the scores of image and baseline, which is
    called completeness. Most of the points are where the score bends: for networks with batch
    normalisation near a black baseline.

    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017,
    https://arxiv.org/abs/1703.01365.

    Args:
        steps: Number of points on the line, at least 2. Memory grows with it.
        baseline: The image that says nothing: a number for a uniform one, or an array of its shape.
        batch_size: How many points are shown to the model at once.
        grad_modifier: As in `Saliency`.
        keepdims: As in `Saliency`.
        backprop_modifier: As in `Saliency`.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "exponential")])
        >>> model.set_weights([np.array([[1.0], [2.0]]), np.zeros(1)])
        >>> IntegratedGradients().attributions(model, np.array([1.0, 1.0])).round(1)
        array([[ 6.4, 12.7]])
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
        self.steps = check_integer("steps", steps, least=2)
        self.baseline = baseline
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def model_inputs(self, graph: Graph, seed_input: np.ndarray) -> ModelInputs:
        # A baseline of the value that a mask stands for would hide everything.
        subject = super().model_inputs(graph, seed_input)
        return inside(subject, graph.gradient_flow.after_masking(subject.tensors[0]))

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        return score.map_samples(self._of_sample, images, self._baselines(images))

    def _of_sample(self, score: Score, image: np.ndarray, baseline: np.ndarray) -> np.ndarray:
        line = _Line(score, image, baseline, self.batch_size)
        line.add(np.linspace(0, 1, min(_FIRST_STEPS, self.steps)))
        while (missing := self.steps - len(line.places)) > 0:
            # Each halved interval adds to what is known of the next that should be.
            worst = np.argsort(-line.errors(), kind="stable")[: min(missing, _STEPS_AT_ONCE)]
            line.add((line.places[worst] + line.places[worst + 1]) / 2)
        return (image - baseline) * line.mean_gradient()

    def _baselines(self, images: np.ndarray) -> np.ndarray:
        try:
            baselines = np.broadcast_to(np.asarray(self.baseline, "float64"), images.shape)
        except (TypeError, ValueError):
            raise ValueError(
                "`baseline` must be a number, or an array of an image's shape "
                f"{images.shape[1:]}. Received: baseline={self.baseline!r}"
            ) from None
        return check_finite("baseline", baselines)

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
        graph = Graph.of(model)
        subject = self.model_inputs(graph, seed_input)
        images = subject.images
        same = f"the same images, of shape {images.shape}"
        received = f"an array of shape {np.shape(attributions)}"
        fits = np.shape(attributions) == images.shape
        expect(fits, "attributions", f"be what `attributions` has returned for {same}", received)
        score = Score.for_filters(subject, graph.find(layer_idx), filter_indices)
        inputs_to_explain = score.values(images) - score.values(self._baselines(images))
        total = np.reshape(attributions, (len(images), -1)).sum(axis=1)
        return np.abs(total - inputs_to_explain) / np.abs(inputs_to_explain)


class _Line:
    """The score and its gradients at points between a baseline, at 0, and an image, at 1."""

    def __init__(
        self, score: Score, image: np.ndarray, baseline: np.ndarray, batch_size: int
    ) -> None:
        self._score, self._batch_size = score, batch_size
        self._baseline, self._way = baseline, image - baseline
        self.places, self.scores = np.zeros(0), np.zeros(0)
        self.grads = np.zeros((0, *image.shape), "float32")

    def add(self, places: np.ndarray) -> None:
        """Looks at more points."""
        for batch in batches(len(places), self._batch_size):
            share = places[batch].reshape(-1, *[1] * self._way.ndim)
            answer = self._score.value_and_gradient(self._baseline + share * self._way)
            self.places = np.append(self.places, places[batch])
            self.scores = np.append(self.scores, answer.overall)
            self.grads = np.concatenate([self.grads, answer.grads[0]])
        order = np.argsort(self.places)
        self.places, self.scores = self.places[order], self.scores[order]
        self.grads = self.grads[order]

    def mean_gradient(self) -> np.ndarray:
        """The gradients' integral."""
        *_, share = self._intervals()
        widths = np.diff(self.places)
        weights = np.append(widths * (1 - share), 0) + np.append(0, widths * share)
        return np.tensordot(weights, self.grads, 1)

    def errors(self) -> np.ndarray:
        """How little is known of the gradient in each interval.

        The change of the score that the two gradients do not explain, and a share of what they
        would not with equal weights, so that smooth curves are followed as well.
        """
        before, after, mean, share = self._intervals()
        unexplained = [mean - (before * (1 - s) + after * s) for s in (share, 0.5)]
        return np.diff(self.places) * (np.abs(unexplained[0]) + np.abs(unexplained[1]) / 4)

    def _intervals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """How the score changes where each begins, where it ends and on average, and a weight.

        That of the gradient at the end: by their weights the two gradients add up to the change of
        the score. Where a network of rectifiers has a single kink in the interval, this is exact.
        """
        slopes = np.tensordot(self.grads, self._way, self._way.ndim)
        before, after = slopes[:-1], slopes[1:]
        mean = np.diff(self.scores) / np.diff(self.places)
        share = np.full(len(mean), 0.5)
        np.divide(mean - before, after - before, out=share, where=after != before)
        return before, after, mean, np.clip(share, 0, 1)
