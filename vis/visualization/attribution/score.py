"""Scores: the numbers per image that attribution methods explain."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from tqdm import tqdm

from vis._core.flat_scores import saturated_activation
from vis._core.model_inputs import as_model_inputs
from vis._core.objective import Objective, warn_of_softmax
from vis.backend.graph import (
    Axis,
    Geometry,
    ModelInputs,
    Target,
    TensorRef,
    channel_axis,
    check_tensor,
    geometry_of,
)
from vis.backend.layers import safe_precision
from vis.backend.step import (
    Formula,
    ScoreOutput,
    ScoreSpec,
    compiled_scores,
    select_sample,
    split_for_scalar_losses,
)
from vis.losses import ActivationMaximization, Loss, TensorLoss
from vis.utils.validation import check_flag, is_iterable, warn
from vis.visualization.attribution.maps import MAX_BATCH_SIZE, batches, is_zero, warn_of_empty

# Seconds before a progress bar appears.
_DELAY = 2
# One index, several for all images, or several for each image.
FilterIndices = int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray | None


class Score:
    """Score: a weighted sum of losses per image, with its gradients.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs[0]` of a Sequential model).
        losses: List of `(Loss, weight)`.
        fixed_inputs: The values of all inputs but the one that is explained, `(samples, ...)` or
            `(1, ...)`: a dict by name, or a list with None for that input.

    Raises:
        TypeError: If an argument has the wrong type.
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
        fixed_inputs: Any = None,
    ) -> None:
        inputs = as_model_inputs(input_tensor, fixed_inputs)
        if len(inputs.varying) != 1:
            raise ValueError(
                "`fixed_inputs` must give a value for each input but the one that is explained. "
                f"Received: {len(inputs.varying)} inputs without one"
            )
        self._inputs = inputs
        self._graph = inputs.graph
        (self.input_tensor,) = inputs.varying
        # The explained input comes first.
        tensors = sorted(inputs.tensors, key=lambda tensor: tensor is not self.input_tensor)
        self._input_refs = tuple(map(TensorRef.of, tensors))
        self._fixed = inputs.fixed
        self._dtype = "float64" if self.input_tensor.dtype == "float64" else "float32"
        self._objective = Objective(losses, inputs.graph)
        if inputs.images is not None:
            self._objective.check_samples(len(inputs.images))
        self._parameters = self._objective.parameters
        self._weights = np.array(self._objective.weights, self._dtype)
        # These lists are shared by the scores of single samples.
        self.notes: list[str] = []
        self._bar: Any = None
        has_warned = warn_of_softmax(self._objective.losses)
        explains_activations = any(
            isinstance(loss, TensorLoss) and "axis" in loss.settings and loss.is_proportional()
            for loss in self._objective.losses
        )
        self._warnings = ["probabilities"] if explains_activations and not has_warned else []

    def select_filters(self, filter_indices: FilterIndices) -> None:
        """Selects the filters of the only loss, an `ActivationMaximization`.

        None: the filter with the highest mean activation for each image.
        """
        loss: Any = self._objective.losses[0]
        layer, images = loss.layer, self._inputs.images
        if filter_indices is None:
            activations = self.activations(images, self.output_ref(layer))
            channels = np.moveaxis(activations, channel_axis(layer, activations.ndim), 1)
            means = channels.reshape(*channels.shape[:2], -1).mean(axis=2)
            weights = np.eye(means.shape[1], dtype="float32")[means.argmax(axis=1)]
        else:
            weights = _filter_weights(layer, filter_indices, len(images))
        self._parameters[0]["filter_weights"] = weights

    def output_ref(self, layer: Target) -> TensorRef:
        """The output of the layer's first call in the model."""
        self._graph.check_has("layer", layer)
        return self._graph.ref_of(layer)

    def geometry(self, layer: Target, shape: Sequence[int]) -> Geometry:
        """Where the positions of a layer lie in images of some shape."""
        return geometry_of(self._inputs, layer, shape)

    @contextlib.contextmanager
    def progress_bar(self, images: int, show: bool) -> Iterator[None]:
        """Shows how many images have been explained, if it takes long."""
        if not check_flag("progress", show):
            yield
            return
        with tqdm(total=images, delay=_DELAY, unit="image") as self._bar:
            yield

    def _advance(self, images: int) -> None:
        bar = self._bar
        # A bar that appears when all is done is of no use.
        if bar is not None and (bar.last_print_n or bar.n + images < bar.total):
            bar.update(images)

    def for_sample(self, i: int) -> "Score":
        """The score of one sample, applied to any number of images."""
        score = copy.copy(self)
        score._parameters, score._fixed = select_sample((self._parameters, self._fixed), i)
        score._bar = None  # A sample is done when all of its evaluations are.
        return score

    def for_samples(self, samples: slice) -> "Score":
        """The score of some of the samples."""
        score = copy.copy(self)
        score._parameters, score._fixed = tree.map_structure(
            lambda values: values[samples] if len(values) > 1 else values,
            (self._parameters, self._fixed),
        )
        return score

    def map_samples(self, function: Callable[..., np.ndarray], *arrays: Iterable) -> np.ndarray:
        """Stacks `function(score, *elements)` over the samples of some arrays."""
        results = []
        for i, each in enumerate(zip(*arrays, strict=True)):
            results.append(function(self.for_sample(i), *each))
            self._advance(1)
        return np.stack(results)

    def values(self, images: np.ndarray) -> np.ndarray:
        """The score of each image, `(samples,)`."""
        return self._evaluate(images, (), differentiate=False).scores

    def activations(self, images: np.ndarray, tensor: keras.KerasTensor | TensorRef) -> np.ndarray:
        """The value of a tensor of the model, `(samples, ...)`."""
        return self._evaluate(images, (tensor,), differentiate=False).values[0]

    def gradients(
        self, images: np.ndarray, tensor: keras.KerasTensor | TensorRef | None = None
    ) -> np.ndarray:
        """The gradient of each image's score with respect to a tensor; default: the image."""
        return self.value_and_gradient(images, tensor).grads[0]

    def gradients_at(self, images: np.ndarray, refs: Sequence[TensorRef]) -> list[np.ndarray]:
        """The gradient of each image's score with respect to each of several tensors."""
        return self._evaluate(images, refs, differentiate=True).grads

    def attention(self, images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The scores of each self-attention that the score depends on, and the gradients by them.

        They are `(samples, heads, queries, keys)`, in the order of their computation.
        """
        output = self._evaluate(images, (), differentiate=True, attention=True)
        values, grads = (
            [a if a.ndim == 4 else a[:, None] for a in arrays]
            for arrays in (output.values, output.grads)
        )
        return values, grads

    def token_axis(self, count: int, shape: Sequence[int]) -> Axis:
        """The axis of a number of tokens in images of some shape, from the first layer with it."""
        for layer in self._graph.layers():
            try:
                axes = self.geometry(layer, shape).axes
            except ValueError:
                # It has several outputs, or other samples than images.
                continue
            if len(axes) == 2 and axes[0].size == count and axes[0].spans:
                return axes[0]
        raise ValueError(
            "`model` must have a layer whose tokens have places in the image, such as an embedding "
            f"of patches. Received: model '{self._graph.owner.name}' with attention between "
            f"{count} tokens"
        )

    def value_and_gradient(
        self, images: np.ndarray, tensor: keras.KerasTensor | TensorRef | None = None
    ) -> ScoreOutput:
        """Scores, the values of a tensor, and the gradients with respect to it.

        Args:
            images: `(samples, ...)`.
            tensor: A symbolic tensor of the model. The default is the image.

        Returns:
            A named tuple: `scores`, `(samples,)`, and the lists `values` and `grads`, each with one
            array, `(samples, ...)`.

        Raises:
            TypeError: If `tensor` is not a symbolic tensor.
            ValueError: If it does not belong to the model, or has no gradient.
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
        attention: bool = False,
    ) -> ScoreOutput:
        spec = ScoreSpec(
            input_refs=self._input_refs,
            terms=self._objective.terms,
            target_refs=tuple(t if isinstance(t, TensorRef) else TensorRef.of(t) for t in tensors),
            differentiate=differentiate,
            activations=self._graph.activations(),
            precision=safe_precision(self._graph.operations),
            attention=attention,
        )
        images = np.asarray(images, self._dtype)
        if len(images) > MAX_BATCH_SIZE:
            chunks = batches(len(images), MAX_BATCH_SIZE)
            parts = [
                self.for_samples(c)._evaluate(images[c], tensors, differentiate, attention)
                for c in chunks
            ]
            return tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
        inputs = [images, *(np.broadcast_to(v, (len(images), *v.shape[1:])) for v in self._fixed)]
        compiled = self._objective.compiled(compiled_scores, spec, spec.compile)
        outputs = []
        for batch in split_for_scalar_losses((inputs, self._parameters), len(images), spec.terms):
            arguments = tree.map_structure(ops.convert_to_tensor, (*batch, self._weights))
            output = compiled(self._graph, None, *arguments)
            outputs.append(tree.map_structure(ops.convert_to_numpy, output))
        output = outputs[0]
        if len(outputs) > 1:
            output = tree.map_structure(lambda *arrays: np.concatenate(arrays), *outputs)
        if differentiate:
            self._advance(len(images))
        if self._warnings and any(map(np.all, output.are_probabilities)):
            self._warnings.clear()
            warn(
                "The explained scores should not be probabilities: they sum to 1, as behind a "
                "softmax, so that one also rises where others fall, and confident ones have hardly "
                "any gradient. Explain the layer before the softmax. Received: scores of "
                + " and ".join(term.name for term in self._objective.terms)
            )
        for grads in output.grads:
            is_flat = ~grads.reshape(len(grads), -1).any(axis=1)
            if is_flat.any():
                self.note(self._why_flat(output.scores[is_flat]))
        return output

    def note(self, reason: str) -> None:
        """Notes why attributions of some images may be 0, for the warning of empty maps."""
        if reason not in self.notes:
            self.notes.append(reason)

    def _why_flat(self, scores: np.ndarray) -> str:
        """Why the gradient of some scores is 0."""
        for term in self._objective.terms:
            if not isinstance(term, Formula) or term.before_softmax:
                continue
            layer = term.target.operation()
            if activation := saturated_activation(layer, scores):
                return (
                    f"the {activation} of layer '{layer.name}' is saturated, and has no gradient; "
                    "`keras.activations.linear` in its place has one"
                )
        return "the gradient of the score is 0, because all units on the way to it are inactive"


def warn_of_zeros(score: Score, attributions: np.ndarray, reason: str) -> None:
    """Warns of attributions that are 0, for the reasons that the score has noted, or another."""
    advice = (
        "Another class, layer or method, such as `LayerCAM`, `Saliency` or `Occlusion`, may show "
        "something."
    )
    warn_of_empty(is_zero(attributions), ", or ".join(score.notes) or reason, advice)


def _filter_weights(layer: Target, filter_indices: FilterIndices, samples: int) -> np.ndarray:
    """The weight of each filter, `(1, filters)`, or `(samples, filters)` for one list per image."""
    indices: list[Any] = list(filter_indices) if is_iterable(filter_indices) else [filter_indices]
    rows = [indices]
    if any(map(is_iterable, indices)):
        rows = indices
        if len(rows) != samples or not all(map(is_iterable, rows)):
            raise ValueError(
                f"`filter_indices` must have one list of indices for each of the {samples} images. "
                f"Received: filter_indices={filter_indices!r}"
            )
    elif len(indices) == samples > 1:
        warn(
            f"`filter_indices` has as many indices as there are images, {samples}: each image is "
            "explained by all of them together. For one filter per image, pass an array of shape "
            "`(samples, 1)`, or one list per image such as `[[3], [5]]`. "
            f"Received: filter_indices={filter_indices!r}"
        )
    losses = [ActivationMaximization(layer, row) for row in rows]
    return np.concatenate([loss.parameters["filter_weights"] for loss in losses])
