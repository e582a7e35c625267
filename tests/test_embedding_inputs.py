"""Inputs of tokens, text and integer pixels: where gradients enter the model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers, ops

from vis._core.model_inputs import inputs_to_explain
from vis.backend.graph import Graph
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.visualization import (
    GradCAM,
    IntegratedGradients,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)
from vis.visualization.attribution.score import Score

QUICK = {"max_iter": 4, "seed": 0}
TOKENS = np.array([3, 1, 4, 1, 5])
KERAS = tuple(int(part) for part in keras.__version__.split(".")[:2])


def features(embedded):
    return layers.Flatten()(layers.Dense(6, "tanh")(embedded))


def head(embedded):
    """The layers after an embedding."""
    return layers.Dense(3)(features(embedded))


def token_input(dtype="int32"):
    return keras.Input((5,), dtype=dtype)


@pytest.fixture(scope="module")
def expected():
    """Weights of a model of integer tokens, a picture, and a map of `TOKENS`."""
    inputs = token_input()
    model = keras.Model(inputs, head(layers.Embedding(9, 4)(inputs)))
    picture, heat = visualize_activation(model, -1, 1, **QUICK), saliency(model)
    assert picture.shape == (5, 4)
    assert heat.shape == (5,)
    return model.get_weights(), picture, heat


def saliency(model):
    return visualize_saliency(model, -1, 1, TOKENS)


def check_equal(model, expected):
    """Compares the results of a model that gets the same weights."""
    weights, picture, heat = expected
    model.set_weights(weights)
    np.testing.assert_array_equal(visualize_activation(model, -1, 1, **QUICK), picture)
    np.testing.assert_allclose(saliency(model), heat, atol=1e-5)


def test_float_tokens(expected):
    inputs = keras.Input((5,))
    check_equal(keras.Model(inputs, head(layers.Embedding(9, 4)(inputs))), expected)


def test_model_that_was_built_by_its_first_call(expected):
    rest = [layers.Dense(6, "tanh"), layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential([layers.Embedding(9, 4), *rest])
    model(TOKENS[None])
    check_equal(model, expected)


@pytest.mark.every(2)
@pytest.mark.parametrize("dtypes", [[], ["int32"], ["float32"], ["int32", "float32"]])
def test_embedding_inside_nested_models(expected, dtypes):
    inputs = token_input()
    model = keras.Model(inputs, features(layers.Embedding(9, 4)(inputs)))
    for dtype in dtypes:
        inputs = token_input(dtype)
        model = keras.Model(inputs, model(inputs))
    # The innermost and the outermost model may share their input.
    check_equal(keras.Model(inputs, layers.Dense(3)(model(inputs))), expected)


def test_nested_embedding_that_is_called_twice():
    inner = sequential((5,), layers.Embedding(9, 4), layers.Flatten())
    a, b = token_input(), token_input()
    model = keras.Model([a, b], layers.Dense(2)(layers.Add()([inner(a), inner(b)])))
    with pytest.raises(ValueError, match=r"`model` must call the embedding.*Received: .* 2 inputs"):
        visualize_activation(model, -1, 0, **QUICK)
    with pytest.raises(ValueError, match=r"`model` must call.*Received: .*several times"):
        visualize_activation(model, -1, 0, fixed_inputs=[None, TOKENS], **QUICK)


class TokensAndPositions(layers.Layer):
    """The sum of token and position embeddings, as in many transformers."""

    def __init__(self):
        super().__init__()
        self.tokens = layers.Embedding(9, 4)
        self.positions = layers.Embedding(5, 4)

    def call(self, x):
        return self.tokens(x) + self.positions(ops.arange(5))


def test_embedding_inside_a_custom_layer():
    inputs = keras.Input((5,))
    embedded = TokensAndPositions()(inputs)
    attended = layers.MultiHeadAttention(2, 2)(embedded, embedded)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(attended)))
    rest = keras.Model(embedded, model.output)
    assert visualize_activation(model, -1, 1, **QUICK).shape == (5, 4)
    embedded = model.layers[1](TOKENS[None])[0]
    np.testing.assert_allclose(
        visualize_saliency(model, -1, 1, TOKENS),
        visualize_saliency(rest, -1, 1, embedded),
        atol=1e-5,
    )


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_text():
    look_up = layers.TextVectorization(9, output_sequence_length=5)
    look_up.adapt(["one two three", "one two", "three four"])
    texts = keras.Input((1,), dtype="string")
    embedding, dense = layers.Embedding(9, 4), layers.Dense(3)

    def rest(numbers):
        return dense(layers.GlobalAveragePooling1D()(embedding(numbers)))

    model = keras.Model(texts, rest(look_up(texts)))
    numbers = token_input("int64")
    plain = keras.Model(numbers, rest(numbers))
    np.testing.assert_array_equal(
        visualize_activation(model, -1, 1, **QUICK), visualize_activation(plain, -1, 1, **QUICK)
    )
    for text in (["three five one"], [["three five one"]], np.array([["three five one"]])):
        np.testing.assert_allclose(
            visualize_saliency(model, -1, 1, text),
            visualize_saliency(plain, -1, 1, look_up(["three five one"])),
            atol=1e-6,
        )


def convnet(dtype, *first):
    inputs = keras.Input((16, 16, 3), dtype=dtype)
    x = inputs
    for layer in (*first, layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu")):
        x = layer(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.every(2)
@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
@pytest.mark.parametrize(("dtype", "nested"), [("uint8", False), ("int32", True)])
def test_integer_images(dtype, nested):
    inner, plain = convnet(dtype), convnet("float32")
    inner.set_weights(plain.get_weights())
    model = inner
    if nested:
        inputs = keras.Input((16, 16, 3), dtype=dtype)
        model = keras.Model(inputs, layers.Activation("linear")(inner(inputs)))
    expected = visualize_activation(plain, -1, 1, **QUICK)
    assert expected.dtype == np.uint8
    np.testing.assert_array_equal(visualize_activation(model, -1, 1, **QUICK), expected)
    image = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype="uint8")
    for method in (visualize_saliency, visualize_cam):
        np.testing.assert_allclose(
            method(model, -1, 1, image), method(plain, -1, 1, image), atol=1e-5
        )
    np.testing.assert_allclose(
        IntegratedGradients(8)(model, image), IntegratedGradients(8)(plain, image), atol=1e-5
    )


def test_filters_for_integer_images():
    model, plain = convnet("uint8"), convnet("float32")
    model.set_weights(plain.get_weights())
    settings = {"input_modifiers": [], "skip_erosion": 0, "progress": False, **QUICK}
    pictures, expected = (visualize_filters(m, -1, [1], **settings) for m in (model, plain))
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, expected)


def test_integer_images_that_are_resized():
    model = convnet("uint8", layers.Resizing(8, 8))
    image = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype="uint8")
    assert visualize_activation(model, -1, 1, **QUICK).shape == (16, 16, 3)
    assert visualize_saliency(model, -1, 1, image).shape == (16, 16)
    assert GradCAM()(model, image).shape == (16, 16)


def test_keys_that_differ_from_the_names_of_inputs():
    pixels, numbers = keras.Input((4, 4, 1), name="pixels"), keras.Input((3,), name="numbers")
    dense = layers.Dense(2)
    joined = dense(layers.Concatenate()([layers.Flatten()(pixels), numbers]))
    with pytest.warns(UserWarning, match="must match the names"):
        model = keras.Model({"image": pixels, "meta": numbers}, joined)
    by_key = {"image": np.ones((4, 4, 1)), "meta": np.ones(3)}
    both = visualize_activation(
        model, -1, 0, seed_input=by_key, input_range={"meta": (0, 1)}, **QUICK
    )
    assert {key: image.shape for key, image in both.items()} == {"image": (4, 4, 1), "meta": (3,)}
    assert both["meta"].max() <= 1
    one = visualize_activation(model, -1, 0, fixed_inputs={"meta": np.ones(3)}, **QUICK)
    assert one.shape == (4, 4, 1)
    kernel = dense.kernel.numpy()[:16, 1].reshape(4, 4)
    for values in (by_key, {"pixels": by_key["image"], "numbers": by_key["meta"]}):
        grads = visualize_saliency(model, -1, 1, values, grad_modifier=None)
        np.testing.assert_allclose(grads, (kernel - kernel.min()) / np.ptp(kernel), atol=1e-5)
    losses = [(ActivationMaximization(dense, 0), 1)]
    optimizer = Optimizer(model.input, losses, fixed_inputs={"image": np.ones((4, 4, 1))})
    assert optimizer.minimize(max_iter=2, verbose=False)[0].shape == (3,)


def test_layer_inside_a_nested_model_that_gets_a_mask():
    inner = sequential((5, 4), layers.LSTM(6, name="recurrent"))
    inputs = token_input()
    masked = layers.Embedding(9, 4, mask_zero=True)(inputs)
    with pytest.warns(UserWarning, match="does not support masking"):
        model = keras.Model(inputs, layers.Dense(3)(inner(masked)))
    padded = np.array([3, 1, 4, 0, 0])
    embedded = model.layers[1](padded[None])
    with tf.GradientTape() as tape:
        tape.watch(embedded)
        activation = inner.layers[-1](embedded[:, :3])[0, 2]
    grads = np.abs(tape.gradient(activation, embedded)[0]).max(axis=1)
    assert grads[:3].all()
    heat = visualize_saliency(model, inner.layers[-1], 2, padded)
    np.testing.assert_allclose(heat, grads / grads.max(), atol=1e-5)


@pytest.mark.every(3)
@pytest.mark.parametrize(
    "before",
    [lambda x: x + 1, lambda x: x[:, :4], lambda x: ops.minimum(x, 3), layers.Reshape((5,))],
    ids=["shifted", "cut", "clipped", "reshaped"],
)
def test_operations_before_the_embedding(before):
    inputs, embedding = token_input(), layers.Embedding(9, 4)
    changed = before(inputs)
    embedded = embedding(changed)
    model = keras.Model(inputs, head(embedded))
    rest = keras.Model(embedded, model.output)
    assert visualize_activation(model, -1, 1, **QUICK).shape == tuple(embedded.shape[1:])
    values = keras.Model(inputs, embedded)(TOKENS[None])[0]
    np.testing.assert_allclose(
        visualize_saliency(model, -1, 1, TOKENS),
        visualize_saliency(rest, -1, 1, values),
        atol=1e-5,
    )


def test_integer_mask_as_an_input():
    tokens, mask = token_input(), token_input()
    embedded = layers.Embedding(9, 4)(tokens)
    attended = layers.MultiHeadAttention(2, 2)(embedded, embedded, attention_mask=mask[:, None, :])
    model = keras.Model(
        {"tokens": tokens, "mask": mask}, layers.Dense(2)(layers.GlobalAveragePooling1D()(attended))
    )
    heat = visualize_saliency(model, -1, 0, {"tokens": TOKENS, "mask": np.ones(5)})
    assert heat.shape == (5,)
    assert heat.max() == 1
    fixed = {"mask": np.ones(5)}
    assert visualize_activation(model, -1, 0, fixed_inputs=fixed, **QUICK).shape == (5, 4)
    if KERAS < (3, 7):
        # In Keras 3.6 a gradient flows into the mask of an attention.
        return
    with pytest.raises(ValueError, match=r"`fixed_inputs` gives.*Received: "):
        visualize_activation(model, -1, 0, **QUICK)


def structured(shares_inputs):
    """A model of text and numbers with a nested preprocessing model."""
    inputs = {
        "kind": keras.Input((1,), dtype="string", name="kind"),
        "size": keras.Input((1,), name="size"),
    }
    look_up = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    joined = layers.Concatenate()([look_up(inputs["kind"]), inputs["size"]])
    prepare = keras.Model(inputs, joined)
    if not shares_inputs:
        inputs = {
            "kind": keras.Input((1,), dtype="string", name="kind"),
            "size": keras.Input((1,), name="size"),
        }
    return keras.Model(inputs, layers.Dense(2)(prepare(inputs)))


@pytest.mark.parametrize("shares_inputs", [True, False])
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_structured_inputs_behind_a_nested_preprocessing_model(shares_inputs):
    model = structured(shares_inputs)
    values = {"kind": np.array([["a"]], object), "size": np.array([[0.5]])}
    assert np.isfinite(visualize_saliency(model, -1, 0, values)).all()
    size = visualize_activation(
        model, -1, 0, input_range=(0.0, 1.0), fixed_inputs={"kind": [["a"]]}, **QUICK
    )
    assert size.shape == (1,)


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
@pytest.mark.parametrize("nested", ["lookup", "rest"])
def test_text_and_nested_models(nested):
    look_up = layers.TextVectorization(9, output_sequence_length=5)
    look_up.adapt(["one two three", "one two", "three four"])
    numbers = token_input("int64")
    rest = keras.Model(numbers, head(layers.Embedding(9, 4)(numbers)))
    inner = keras.Input((1,), dtype="string")
    prepare = keras.Model(inner, look_up(inner))
    texts = keras.Input((1,), dtype="string")
    if nested == "lookup":
        x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(prepare(texts)))
        model = keras.Model(texts, layers.Dense(3)(x))
    else:
        model = keras.Model(texts, rest(look_up(texts)))
    assert visualize_activation(model, -1, 1, **QUICK).shape == (5, 4)
    heat = visualize_saliency(model, -1, 1, ["three five one"])
    assert heat.shape == (5,)
    if nested == "rest":
        expected = visualize_saliency(rest, -1, 1, look_up(["three five one"]))
        np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_text_that_a_nested_model_encodes_and_embeds():
    look_up = layers.TextVectorization(9, output_sequence_length=5)
    look_up.adapt(["one two three"])
    inner, texts = (keras.Input((1,), dtype="string") for _ in range(2))
    whole = keras.Model(inner, layers.Flatten()(layers.Embedding(9, 4)(look_up(inner))), name="all")
    model = keras.Model(texts, layers.Dense(2)(whole(texts)))
    assert visualize_saliency(whole, -1, 0, "one two").shape == (5,)
    for call in (
        lambda: visualize_saliency(model, -1, 0, "one two"),
        lambda: visualize_activation(model, -1, 0, **QUICK),
    ):
        with pytest.raises(ValueError, match=r"'all' must not take text, .*Received: a model"):
            call()


def test_nested_model_that_two_models_share():
    inputs = token_input()
    tower = sequential((5,), layers.Embedding(9, 4), layers.Flatten())
    one = keras.Model(inputs, layers.Dense(2)(tower(inputs)))
    before = visualize_saliency(one, -1, 0, TOKENS)
    two = keras.Model(inputs, layers.Dense(3)(tower(inputs)))
    np.testing.assert_array_equal(visualize_saliency(one, -1, 0, TOKENS), before)
    assert visualize_saliency(two, -1, 0, TOKENS).shape == (5,)


def test_seeds_of_text():
    look_up = layers.TextVectorization(9, output_sequence_length=5)
    look_up.adapt(["one two three"])
    texts = keras.Input((1,), dtype="string")
    model = keras.Model(texts, layers.Flatten()(layers.Embedding(9, 4)(look_up(texts))))
    assert visualize_saliency(model, -1, 0, "one two").shape == (5,)
    assert visualize_saliency(model, -1, 0, ["one two", "three"]).shape == (2, 5)
    with pytest.raises(TypeError, match=r"`seed_input` must hold text.*Received: "):
        visualize_saliency(model, -1, 0, np.zeros((1, 1)))
    with pytest.raises(ValueError, match=r"`seed_input` must be text of shape.*Received: "):
        visualize_saliency(model, -1, 0, [["one", "two"]])


class Positions(layers.Layer):
    """Token and position embeddings, with a mask of the tokens."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = layers.Embedding(9, 4), layers.Embedding(5, 4)

    def call(self, inputs):
        return self.tokens(inputs) + self.positions(ops.arange(5))

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0)


class Block(layers.Layer):
    """Attention inside a custom layer, which uses the mask of its input."""

    def __init__(self):
        super().__init__()
        self.supports_masking = True
        self.attention = layers.MultiHeadAttention(2, 4)

    def call(self, inputs):
        return inputs + self.attention(inputs, inputs)


def embedding():
    return layers.Embedding(9, 4, mask_zero=True)


def attended(x):
    return layers.MultiHeadAttention(2, 4)(x, x)


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("embed", "read"),
    [
        (embedding, layers.LSTM(4)),
        (embedding, attended),
        pytest.param(
            embedding,
            lambda x: layers.Attention()([x, x]),
            marks=pytest.mark.skipif(KERAS < (3, 7), reason="Keras 3.6 cannot build this model"),
        ),
        (embedding, Block()),
        (embedding, lambda x: attended(layers.BatchNormalization()(layers.Dense(4)(x)))),
        (Positions, attended),
        (lambda: sequential((5,), embedding()), layers.LSTM(4)),
        (lambda: sequential((5,), embedding(), layers.Dense(4)), attended),
    ],
)
def test_padding_is_masked(embed, read):
    """Padding has no gradient."""
    keras.utils.set_random_seed(0)
    inputs = token_input()
    x = read(embed()(inputs))
    x = layers.GlobalAveragePooling1D()(x) if len(x.shape) == 3 else x
    model = keras.Model(inputs, layers.Dense(2)(x))
    tokens = np.array([[7, 3, 2, 0, 0]])
    heat = visualize_saliency(model, -1, 1, tokens, keepdims=True, grad_modifier=None)
    flat = np.ptp(heat.reshape(5, -1)[3:], axis=0)
    np.testing.assert_allclose(flat, 0, atol=1e-6)
    # The score is that of the model with the mask.
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    subject = inputs_to_explain(Graph.of(model), tokens)
    expected = -model(tokens, training=False)[0, 1]
    values = Score(subject, losses).values(subject.images)
    np.testing.assert_allclose(values, [expected], rtol=1e-4)


def test_embedding_inside_a_subclassed_model():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.dense = layers.Embedding(9, 4), layers.Dense(2)
            self.pool = layers.GlobalAveragePooling1D()

        def call(self, inputs):
            return self.dense(self.pool(self.embedding(inputs)))

    model = Classifier()
    model(TOKENS[None])
    inputs = token_input()
    for wrong in (model, keras.Model(inputs, Classifier()(inputs))):
        for method in (
            lambda model: visualize_saliency(model, -1, 0, TOKENS),
            lambda model: visualize_activation(model, -1, 0, **QUICK),
        ):
            with pytest.raises(ValueError, match=r"must be looked up by a layer.*Received: "):
                method(wrong)
