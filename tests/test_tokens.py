"""Transformers: where tokens lie in the image, and class activation maps made of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from vis.backend.graph import Graph, ModelInputs, geometry_of
from vis.visualization import GradCAM, LayerCAM
from vis.visualization.attribution.maps import resize_maps, scale_maps

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(16, 24, 3)).astype("float32")


class Tokens(layers.Layer):
    """Adds class tokens before and after the tokens."""

    def __init__(self, before, after):
        super().__init__()
        self.counts = before, after

    def build(self, shape):
        self.values = [self.add_weight((1, n, shape[-1]), "random_normal") for n in self.counts]

    def call(self, tokens):
        first, last = (ops.tile(v, (ops.shape(tokens)[0], 1, 1)) for v in self.values)
        return ops.concatenate([first, tokens, last], axis=1)


class Patches(layers.Layer):
    """Embeds patches by hand, in a layer without a rule, and adds class tokens."""

    def __init__(self, before, after):
        super().__init__(name="patches")
        self.embed = layers.Dense(6)
        self.tokens = Tokens(before, after)

    def call(self, images):
        patches = ops.reshape(images, (-1, 4, 4, 6, 4, 3))
        patches = ops.reshape(ops.transpose(patches, (0, 1, 3, 2, 4, 5)), (-1, 24, 48))
        return self.tokens(self.embed(patches))


def transformer(tokens=(1, 0), patches="convolution", blocks=2, head=None):
    """A transformer over 4 x 6 patches of a 16 x 24 image."""
    inputs = keras.Input((16, 24, 3))
    if patches == "by hand":
        x = Patches(*tokens)(inputs)
    else:
        x = layers.Reshape((24, 6))(layers.Conv2D(6, 4, 4, name="patches")(inputs))
        x = Tokens(*tokens)(x)
    for i in range(blocks):
        y = layers.LayerNormalization(name=f"norm_{i}")(x)
        attention = layers.MultiHeadAttention(2, 3, name=f"attention_{i}")
        x = layers.Add(name=f"block_{i}")([x, attention(y, y)])
    class_token = 0 if tokens[0] else -1
    x = x[:, class_token] if sum(tokens) else layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(x))


def token_axis(model, layer):
    graph = Graph.of(model)
    inputs = ModelInputs.with_zeros(graph, graph.inputs[0])
    return geometry_of(inputs, graph.find(layer), IMAGE.shape).axes[0]


@pytest.mark.every(2)
@pytest.mark.parametrize("patches", ["convolution", "by hand"])
@pytest.mark.parametrize("tokens", [(1, 0), (0, 2), (0, 0), (2, 1)])
def test_tokens_have_the_places_of_their_patches(tokens, patches):
    axis = token_axis(transformer(tokens, patches), "block_1")
    assert (axis.size, axis.start) == (24 + sum(tokens), tokens[0])
    assert [(s.axis, s.length) for s in axis.spans] == [(1, 4), (2, 6)]
    for span in axis.spans:
        assert (span.offset, span.stride) == pytest.approx((1.5, 4), abs=1e-5)


class Merge(layers.Layer):
    """Joins 2 x 2 patches, as stages of hierarchical transformers do."""

    def call(self, tokens):
        grid = ops.reshape(tokens, (-1, 2, 2, 3, 2, ops.shape(tokens)[-1]))
        return ops.reshape(ops.sum(grid, axis=(2, 4)), (-1, 6, tokens.shape[-1]))


def test_merged_patches():
    inputs = keras.Input((16, 24, 3))
    tokens = layers.Reshape((24, 6))(layers.Conv2D(6, 4, 4)(inputs))
    model = keras.Model(inputs, Merge(name="merged")(tokens))
    axis = token_axis(model, "merged")
    assert [(s.length, s.offset, s.stride) for s in axis.spans] == [(2, 3.5, 8), (3, 3.5, 8)]


def expected_map(model, layer, tokens, weigh):
    """A class activation map of patch tokens by the gradients of the head, computed by hand."""
    rest = keras.Model(model.get_layer(layer).output, model.outputs)
    features = tf.Variable(keras.Model(model.inputs, model.get_layer(layer).output)(IMAGE[None]))
    with tf.GradientTape() as tape:
        score = rest(features)[0, 1]
    grads, values = tape.gradient(score, features).numpy()[0], features.numpy()[0]
    grads, values = (x[tokens[0] : tokens[0] + 24] for x in (grads, values))
    maps = np.maximum((weigh(grads) * values).sum(axis=-1), 0).reshape(1, 4, 6)
    return scale_maps(resize_maps(maps, (16, 24)))[0]


@pytest.mark.parametrize("tokens", [(1, 0), (0, 1)])
def test_maps_of_patch_tokens(tokens):
    keras.utils.set_random_seed(4)
    model = transformer(tokens, blocks=1)
    layer = model.layers[3].name
    for method, weigh in (
        (GradCAM, lambda g: g.mean(axis=0)),
        (LayerCAM, lambda g: np.maximum(g, 0)),
    ):
        heat = method(layer)(model, IMAGE, -1, 1)
        expected = expected_map(model, layer, tokens, weigh)
        assert np.ptp(expected) == 1
        np.testing.assert_allclose(heat, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "last"), [((1, 0), "norm_1"), ((0, 1), "norm_1"), ((0, 0), "block_1")]
)
def test_default_layer_has_a_gradient_at_patch_tokens(tokens, last):
    """After the last attention, only the class token reaches the head."""
    model = transformer(tokens)
    default, expected = (GradCAM(x).attributions(model, IMAGE, -1, 1) for x in (None, last))
    np.testing.assert_array_equal(default, expected)


def test_layers_without_a_gradient_at_patch_tokens_are_refused():
    with pytest.raises(ValueError, match=r"patch tokens.*Received: layer 'block_1'"):
        GradCAM("block_1")(transformer(), IMAGE, -1, 1)


def test_score_layers_of_segmenters_are_skipped():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="features")(inputs)
    x = layers.Conv2D(3, 1, name="scores")(x)
    model = keras.Model(inputs, layers.Activation("sigmoid")(layers.UpSampling2D(2)(x)))
    image = RNG.normal(size=(8, 8, 3)).astype("float32")
    default, expected = (GradCAM(x).attributions(model, image, -1, 1) for x in (None, "features"))
    np.testing.assert_array_equal(default, expected)
