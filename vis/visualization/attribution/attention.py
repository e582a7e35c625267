"""Attention rollout and relevance: maps of transformers from their attention scores."""

import functools
from collections.abc import Sequence

import numpy as np

from vis.backend.graph import spatial_axes
from vis.utils.validation import expect
from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.maps import batches, place_maps
from vis.visualization.attribution.score import Score

# Images per evaluation: attention takes a value for each pair of tokens.
_BATCH_SIZE = 8


class AttentionMap(Attribution):
    """Base class of maps of a transformer from the scores of its self-attention.

    The map has a value for each token that has a place in the image, or for each word of a text.
    Class, register and distillation tokens are left out, as is a token of a text that the score
    alone reads, such as `[CLS]`. Padding that the model masks is 0. A subclass defines `relevance`.
    """

    reason_of_zeros = "the score does not depend on attention between tokens"

    def relevance(self, attention: Sequence[np.ndarray], grads: Sequence[np.ndarray]) -> np.ndarray:
        """How much each token depends on each other one, `(samples, tokens, tokens)`.

        Args:
            attention: The scores of each attention layer, in the order of their computation,
                `(samples, heads, queries, keys)`.
            grads: The gradients of the explained score by them.
        """
        raise NotImplementedError(
            f"`relevance` must be defined by subclasses of `AttentionMap`. Received: {type(self)}"
        )

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        parts = [
            self._of_tokens(score.for_samples(c), images[c])
            for c in batches(len(images), _BATCH_SIZE)
        ]
        maps, shape = np.concatenate(parts), images.shape[1:]
        sizes = {axis: shape[axis - 1] for axis in spatial_axes(score.input_tensor)}
        return place_maps(maps, [score.token_axis(maps.shape[1], shape)], sizes)

    def _of_tokens(self, score: Score, images: np.ndarray) -> np.ndarray:
        """The relevance of each token for the tokens that the score is computed from."""
        attention, grads = score.attention(images)
        _check_attention([*attention, *grads], len(images))
        relevance = self.relevance(attention, grads)
        # The last layer has a gradient at these queries only, for example at the class token.
        read = np.any(grads[-1] != 0, axis=(1, 3)).astype(relevance.dtype)
        counts = read.sum(axis=1, keepdims=True)
        maps = np.einsum("sq,sqk->sk", read / np.maximum(counts, 1), relevance)
        if score.token_axis(maps.shape[1], images.shape[1:]).has_tokens:
            return maps
        return np.where((counts == 1) & (read == 1), 0, maps)


class AttentionRollout(AttentionMap):
    """Attention rollout: the mean attention of each layer, multiplied over all layers.

    Residual connections count as attention of each token to itself: each layer contributes
    `(A + I) / 2` for the mean `A` over its heads. The map does not depend on what is explained.

    Abnar, Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020,
    https://arxiv.org/abs/2005.00928.

    Example:
        >>> import keras
        >>> image = keras.Input((8, 8, 3))
        >>> tokens = keras.layers.Reshape((16, 6))(keras.layers.Conv2D(6, 2, 2)(image))
        >>> mixed = keras.layers.MultiHeadAttention(2, 3)(tokens, tokens)
        >>> pooled = keras.layers.GlobalAveragePooling1D()(mixed)
        >>> model = keras.Model(image, keras.layers.Dense(3)(pooled))
        >>> AttentionRollout()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def relevance(self, attention: Sequence[np.ndarray], grads: Sequence[np.ndarray]) -> np.ndarray:
        identity = np.eye(attention[0].shape[-1])
        layers = [(scores.mean(axis=1) + identity) / 2 for scores in attention]
        return functools.reduce(lambda rollout, layer: layer @ rollout, layers)


class AttentionRelevance(AttentionMap):
    """Attention relevance: attention weighted by its gradients, accumulated over all layers.

    Each layer adds `mean(max(G * A, 0)) @ R` to the relevance `R`, which starts as the identity,
    for its scores `A` and their gradients `G`, with the mean over the heads.

    Chefer, Gur, Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers", ICCV 2021, https://arxiv.org/abs/2103.15679, equations 5 and 6.

    Example:
        >>> import keras
        >>> image = keras.Input((8, 8, 3))
        >>> tokens = keras.layers.Reshape((16, 6))(keras.layers.Conv2D(6, 2, 2)(image))
        >>> mixed = keras.layers.MultiHeadAttention(2, 3)(tokens, tokens)
        >>> pooled = keras.layers.GlobalAveragePooling1D()(mixed)
        >>> model = keras.Model(image, keras.layers.Dense(3)(pooled))
        >>> AttentionRelevance()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def relevance(self, attention: Sequence[np.ndarray], grads: Sequence[np.ndarray]) -> np.ndarray:
        relevance = np.eye(attention[0].shape[-1])[None]
        for scores, gradient in zip(attention, grads, strict=True):
            weighted = np.maximum(gradient * scores, 0).mean(axis=1)
            relevance = relevance + weighted @ relevance
        return relevance


def _check_attention(scores: Sequence[np.ndarray], samples: int) -> None:
    """Raises a `ValueError` unless all layers attend to the same tokens of each image."""
    shapes = sorted({(len(each), *each.shape[2:]) for each in scores})
    expected = "compute its score by self-attention between the tokens of a whole image or text"
    received = f"{samples} images and attention of (samples, queries, keys) = {shapes}"
    is_whole = len(shapes) == 1 and shapes[0][0] == samples and shapes[0][1] == shapes[0][2]
    expect(is_whole, "model", f"{expected}. Use `GradCAM` or `Occlusion`", received)
