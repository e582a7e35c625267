"""Attention rollout and relevance, compared with the papers' formulas in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from test_tokens import IMAGE, Tokens, transformer

from vis.backend.graph import Graph, ModelInputs
from vis.losses import ActivationMaximization
from vis.visualization import AttentionRelevance, AttentionRollout
from vis.visualization.attribution import Score
from vis.visualization.attribution.maps import resize_maps

METHODS = [AttentionRollout, AttentionRelevance]


def attention_by_hand(model, x, blocks, read, index):
    """The scores of each block, `(heads, tokens, tokens)`, and the gradients of a logit by them."""
    recorded = []
    with tf.GradientTape() as tape:
        for i in range(blocks):
            y, layer = model.get_layer(f"norm_{i}")(x), model.get_layer(f"attention_{i}")
            weights = layer.get_weights()
            query, key, value = (
                tf.einsum("bnd,dhe->bhne", y, weights[j]) + weights[j + 1][:, None]
                for j in (0, 2, 4)
            )
            scores = tf.nn.softmax(query @ tf.transpose(key, (0, 1, 3, 2)) / np.sqrt(3))
            tape.watch(scores)
            recorded.append(scores)
            x = x + tf.einsum("bhne,hed->bnd", scores @ value, weights[6]) + weights[7]
        pooled = tf.reduce_mean(x, 1) if read is None else x[:, read]
        logit = model.get_layer("head")(pooled)[0, index]
    grads = tape.gradient(logit, recorded)
    return [s.numpy()[0] for s in recorded], [g.numpy()[0] for g in grads]


def relevance_by_hand(method, scores, grads):
    """Abnar and Zuidema 2020, and equations 5 and 6 of Chefer et al. 2021."""
    identity = relevance = np.eye(scores[0].shape[-1])
    for attention, gradient in zip(scores, grads, strict=True):
        if method is AttentionRollout:
            relevance = (attention.mean(axis=0) / 2 + identity / 2) @ relevance
        else:
            relevance = relevance + np.maximum(gradient * attention, 0).mean(axis=0) @ relevance
    return relevance


@pytest.mark.every(4)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("tokens", "read"), [((1, 0), 0), ((0, 1), -1), ((0, 0), None)])
def test_formula(method, tokens, read):
    model = transformer(tokens)
    first = keras.Model(model.inputs, model.get_layer("norm_0").input)
    scores, grads = attention_by_hand(model, first(IMAGE[None]), 2, read, 1)
    relevance = relevance_by_hand(method, scores, grads)
    row = relevance.mean(axis=0) if read is None else relevance[read]
    expected = resize_maps(row[tokens[0] :][:24].reshape(1, 4, 6), (16, 24))
    actual = method().attributions(model, IMAGE, -1, 1)[..., 0]
    np.testing.assert_allclose(actual, expected, atol=1e-5 * expected.max())


def test_batches_are_explained_image_by_image():
    model = transformer()
    images = np.random.default_rng(1).normal(size=(9, *IMAGE.shape)).astype("float32")
    classes = np.arange(9)[:, None] % 3
    together = AttentionRelevance().attributions(model, images, -1, classes)
    for i in (0, 8):
        alone = AttentionRelevance().attributions(model, images[i], -1, int(classes[i, 0]))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)


class Words(layers.Layer):
    """A text classifier's encoder: attention with a mask, between words."""

    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 4)

    def call(self, words, mask):
        return words + self.attention(words, words, attention_mask=mask[:, None] > 0)


@pytest.mark.parametrize("method", METHODS)
def test_padding_and_the_token_that_is_read_are_left_out(method):
    ids, mask = keras.Input((6,), dtype="int32", name="ids"), keras.Input((6,), name="mask")
    words = Words()(layers.Embedding(20, 8)(ids), mask)
    model = keras.Model({"ids": ids, "mask": mask}, layers.Dense(2)(words[:, 0]))
    given = {"ids": np.array([[1, 5, 7, 2, 0, 0]]), "mask": np.array([[1.0, 1, 1, 1, 0, 0]])}
    heat = method()(model, given, -1, 1, input_name="ids")
    assert heat.shape == (6,)
    assert heat[0] == heat[4] == heat[5] == 0
    assert heat.max() == 1


class FusedAttention(layers.Layer):
    """Attention by the fused kernel, in a layer of one's own."""

    def call(self, x):
        heads = keras.ops.reshape(x, (-1, 24, 2, 3))
        fused = keras.ops.dot_product_attention(heads, heads, heads)
        return keras.ops.reshape(fused, (-1, 24, 6))


def test_scores_of_fused_kernels_are_read():
    inputs = keras.Input((16, 24, 3))
    x = layers.Reshape((24, 6))(layers.Conv2D(6, 4, 4)(inputs))
    outputs = layers.GlobalAveragePooling1D()(FusedAttention()(x))
    model = keras.Model(inputs, layers.Dense(2)(outputs))
    graph = Graph.of(model)
    losses = [(ActivationMaximization(model.layers[-1], 1), -1)]
    score = Score(ModelInputs.with_zeros(graph, graph.inputs[0]), losses)
    (scores,), (grads,) = score.attention(IMAGE[None])
    assert grads.shape == (1, 2, 24, 24)
    heads = keras.Model(inputs, x)(IMAGE[None]).numpy().reshape(24, 2, 3).transpose(1, 0, 2)
    logits = heads @ heads.transpose(0, 2, 1) / np.sqrt(3)
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(
        scores[0], exponents / exponents.sum(axis=-1, keepdims=True), atol=1e-5
    )


def test_models_without_attention_are_refused():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match="`model` must compute its score by self-attention"):
        AttentionRollout()(model, IMAGE[:8, :8], -1, 1)


def test_class_tokens_of_other_places():
    """Register tokens between the class token and the patches."""
    inputs = keras.Input((16, 24, 3))
    x = layers.Reshape((24, 6))(layers.Conv2D(6, 4, 4)(inputs))
    x = Tokens(4, 0)(x)
    x = x + layers.MultiHeadAttention(2, 3)(x, x)
    model = keras.Model(inputs, layers.Dense(3)(x[:, 0]))
    assert AttentionRelevance()(model, IMAGE, -1, 1).shape == (16, 24)
