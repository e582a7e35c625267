"""What an attribution explains: a number that a model gives an image."""

import copy
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np
from keras import ops, tree

from vis._core.model_inputs import ModelInputs, as_model_inputs
from vis._core.objective import Objective
from vis.backend.graph import Target, TensorRef, channel_axis, check_tensor
from vis.backend.step import (
    ScoreOutput,
    ScoreSpec,
    compiled_scores,
    of_sample,
    split_for_scalar_losses,
)
from vis.losses import ActivationMaximization, Loss


class Score:
    """A weighted sum of losses, as a number for each image and as a thing to differentiate.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs[0]` of a Sequential model).
            Of several inputs a list, the one that is explained first.
        losses: List of `(Loss, weight)`.
        fixed: The values of the other inputs, `(samples, ...)`, or `(1, ...)` for all samples.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a loss does not belong to `input_tensor`'s model.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[2.0], [3.0]])])
        >>> losses = [(ActivationMaximization(model.layers[-1], 0), -1)]
        >>> score = Score(model.inputs[0], losses)
        >>> score.values(np.array([[1.0, 1.0], [0.0, 1.0]]))
        array([5., 3.], dtype=float32)
        >>> score.gradients(np.array([[1.0, 1.0]]))
        array([[2., 3.]], dtype=float32)
    """

    def __init__(
        self,
        input_tensor: keras.KerasTensor | Sequence[keras.KerasTensor] | ModelInputs,
        losses: Iterable[tuple[Loss, float]],
        fixed: Sequence[np.ndarray] = (),
    ) -> None:
        subject = as_model_inputs(input_tensor, [None, *fixed] if fixed else None)
        self._graph = subject.graph
        (self.input_tensor,) = subject.tensors
        # What is explained is fed first.
        fed = sorted(subject.fed, key=lambda tensor: tensor is not self.input_tensor)
        self._places = tuple(map(TensorRef.of, fed))
        self._fixed = subject.fixed
        self._dtype = "float64" if self.input_tensor.dtype == "float64" else "float32"
        self._objective = Objective(losses, subject.graph)
        self._parameters = self._objective.parameters
        self._weights = np.array(self._objective.weights, self._dtype)

    @classmethod
    def for_filters(
        cls, subject: ModelInputs, layer: Target, filter_indices: int | Sequence[int] | None
    ) -> "Score":
        """The mean activation of filters of a layer, the sum of it where there are several.

        None stands for the filter that is excited most by each of the images.
        """
        loss = ActivationMaximization(layer, 0 if filter_indices is None else filter_indices)
        score = cls(subject, [(loss, -1)])
        if filter_indices is None:
            activation = score.activations(subject.images, score.output_ref(layer))
            channels = np.moveaxis(activation, channel_axis(layer, activation.ndim), 1)
            means = channels.reshape(*channels.shape[:2], -1).mean(axis=2)
            first = np.eye(means.shape[1], dtype="float32")[means.argmax(axis=1)]
            score._parameters[0]["filter_weights"] = first
        return score

    def output_ref(self, layer: Target) -> TensorRef:
        """Where the output of a layer's first call in the model is found."""
        self._graph.check_has("layer", layer)
        return self._graph.ref_of(layer)

    def for_sample(self, i: int) -> "Score":
        """The score that one of the images is given, for any number of images in its place."""
        score = copy.copy(self)
        score._parameters, score._fixed = of_sample((self._parameters, self._fixed), i)
        return score

    def map_samples(self, function: Callable[..., np.ndarray], *arrays: Iterable) -> np.ndarray:
        """What a function makes of each sample: of its score, and its part of some arrays."""
        parts = zip(*arrays, strict=True)
        return np.stack([function(self.for_sample(i), *part) for i, part in enumerate(parts)])

    def values(self, images: np.ndarray) -> np.ndarray:
        """The score of each image, `(samples,)`."""
        return self._evaluate(images, (), differentiate=False).overall

    def activations(self, images: np.ndarray, tensor: keras.KerasTensor | TensorRef) -> np.ndarray:
        """The value of a tensor of the model, `(samples, ...)`."""
        return self._evaluate(images, (tensor,), differentiate=False).values[0]

    def gradients(
        self, images: np.ndarray, tensor: keras.KerasTensor | TensorRef | None = None
    ) -> np.ndarray:
        """The gradient of each image's score with respect to a tensor, by default the image."""
        return self.value_and_gradient(images, tensor).grads[0]

    def value_and_gradient(
        self, images: np.ndarray, tensor: keras.KerasTensor | TensorRef | None = None
    ) -> ScoreOutput:
        """Each image's score, a tensor's value and the score's gradient with respect to it.

        Args:
            images: `(samples, ...)`.
            tensor: A symbolic tensor of the model, by default the image itself.

        Returns:
            The scores as `overall`, the value and the gradient alone in `values` and `grads`.

        Raises:
            TypeError: If `tensor` is not a symbolic tensor.
            ValueError: If it does not belong to the model, or no gradient flows to it.
        """
        tensor = self.input_tensor if tensor is None else tensor
        if not isinstance(tensor, TensorRef):
            self._graph.check_connected(check_tensor(tensor))
        return self._evaluate(images, (tensor,), differentiate=True)

    def _evaluate(
        self,
        images: np.ndarray,
        tensors: Sequence[keras.KerasTensor | TensorRef],
        differentiate: bool,
    ) -> ScoreOutput:
        question = ScoreSpec(
            fed=self._places,
            terms=self._objective.terms,
            places=tuple(t if isinstance(t, TensorRef) else TensorRef.of(t) for t in tensors),
            differentiate=differentiate,
            activations=self._graph.activations(),
        )
        images = np.asarray(images, self._dtype)
        shown = [images, *(np.broadcast_to(v, (len(images), *v.shape[1:])) for v in self._fixed)]
        compiled = self._objective.compiled(compiled_scores, question, question.compiled)
        answers = []
        for some in split_for_scalar_losses((shown, self._parameters), len(images), question.terms):
            given = tree.map_structure(ops.convert_to_tensor, (*some, self._weights))
            answer = compiled(self._graph, None, *given)
            answers.append(tree.map_structure(ops.convert_to_numpy, answer))
        if len(answers) == 1:
            return answers[0]
        return tree.map_structure(lambda *parts: np.concatenate(parts), *answers)
