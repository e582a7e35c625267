"""Unusual models and layers, compared with the results of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers, ops

from vis.utils.utils import LayerOutput, apply_modifications
from vis.visualization import (
    ScoreCAM,
    SmoothGrad,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)

SHAPE = (12, 12, 3)


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(size=SHAPE).astype("float32")


def convnet(*last):
    return sequential(
        SHAPE, layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D(), *last
    )


class Rows(keras.Model):
    """A model with its layers in nested lists."""

    def __init__(self):
        super().__init__()
        self.rows = [[layers.Conv2D(4, 3, activation="relu") for _ in range(2)]]
        self.out = layers.Dense(2, name="out")

    def call(self, x):
        for row in self.rows:
            for layer in row:
                x = layer(x)
        return self.out(ops.mean(x, axis=(1, 2)))


class Squared(keras.Model):
    """A model with a graph, and a `call` that squares the input first."""

    def __init__(self):
        inputs = keras.Input(SHAPE)
        features = layers.Conv2D(4, 3, activation="relu")(inputs)
        super().__init__(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(features)))

    def call(self, x, training=None, mask=None):
        return super().call(ops.square(x), training=training, mask=mask)


def test_modifications_keep_the_statistics_of_a_normalization():
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    for others in ([], [layers.Lambda(lambda x: 2 * x)]):
        model = sequential((4,), norm, *others, layers.Dense(2))
        values = np.full((1, 4), 3, "float32")
        np.testing.assert_allclose(apply_modifications(model)(values), model(values), rtol=1e-5)


def test_layers_in_nested_lists(image):
    model = Rows()
    model(image[None])
    plain = visualize_saliency(model, "out", 0, image)
    guided = visualize_saliency(model, "out", 0, image, backprop_modifier="guided")
    assert abs(guided - plain).max() > 0.05
    copy = apply_modifications(model)
    before = model(image[None]).numpy()
    np.testing.assert_allclose(copy(image[None]), before, rtol=1e-5)
    copy.set_weights([np.zeros_like(w) for w in copy.get_weights()])
    assert not copy(image[None]).numpy().any()
    np.testing.assert_array_equal(model(image[None]), before)


def test_copy_of_a_subclassed_model_compiles_its_own_predict_function():
    class Classifier(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(2, "softmax")

        def call(self, x):
            return self.out(x)

    model, values = Classifier(), np.ones((1, 4))
    model.predict(values, verbose=0)
    model.out.activation = keras.activations.linear
    copy = apply_modifications(model)
    logits = values @ model.out.kernel.numpy()
    np.testing.assert_allclose(copy.predict(values, verbose=0), logits, rtol=1e-5)


def test_model_with_a_graph_and_a_call_of_its_own(image):
    model = Squared()
    for method in (visualize_saliency, visualize_cam):
        with pytest.raises(ValueError, match=r"`call` of its own.*Received: model 'squared"):
            method(model, -1, 0, image)
    inputs = keras.Input(SHAPE)
    heat = visualize_saliency(keras.Model(inputs, model(inputs)), -1, 0, image)
    x = tf.constant(image[None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = model(x)[:, 0]
    expected = abs(tape.gradient(value, x).numpy()[0]).max(axis=-1)
    expected = (expected - expected.min()) / np.ptp(expected)
    np.testing.assert_allclose(heat, expected, atol=1e-4)


def test_weights_that_are_nan(image):
    model = convnet(layers.Dense(2))
    model.layers[-1].kernel.assign(np.full((4, 2), np.nan))
    functions = [visualize_saliency, visualize_cam]
    functions += [
        lambda model, layer, index, image, method=method: method(model, image, layer, index)
        for method in (SmoothGrad(samples=2), ScoreCAM())
    ]
    for function in functions:
        with pytest.raises(ValueError, match=r"`model` must have finite.*Received: "):
            function(model, -1, 0, image)


def test_softmax_layer_is_removed():
    model = convnet(layers.Dense(3), layers.Softmax())
    logits = keras.Model(model.inputs, model.layers[-2].output)
    settings = {"input_modifiers": [], "max_iter": 3, "seed": 0, "progress": False}
    pictures = visualize_filters(model, -1, [0, 2], **settings)
    np.testing.assert_array_equal(pictures, visualize_filters(logits, -1, [0, 2], **settings))


def mean_square(true, predicted):
    return ops.mean(ops.square(true - predicted))


def test_model_compiled_with_a_custom_loss(image):
    model = convnet(layers.Dense(3))
    model.compile("sgd", loss=mean_square)
    visualize_saliency(model, -1, 0, image, backprop_modifier="guided")
    with pytest.warns(UserWarning, match=r"not compiled.*`custom_objects`.*mean_square"):
        copy = apply_modifications(model)
    assert not copy.compiled
    assert model.compiled
    np.testing.assert_allclose(copy(image[None]), model(image[None]), rtol=1e-5)
    assert apply_modifications(model, {"mean_square": mean_square}).compiled


def test_cam_of_a_second_call(image):
    convolution = layers.Conv2D(3, 3, padding="same")
    inputs = keras.Input(SHAPE)
    last = convolution(convolution(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(last)))
    target = LayerOutput(convolution, call=1)
    heat = visualize_cam(model, -1, 0, image, penultimate_layer_idx=target)
    maps = convolution(convolution(image[None])).numpy()[0]
    expected = np.maximum(maps @ model.layers[-1].kernel.numpy()[:, 0], 0)
    np.testing.assert_allclose(heat, (expected - expected.min()) / np.ptp(expected), atol=1e-4)


def test_nested_structure_of_inputs():
    a, b, c = (keras.Input((6,), name=name) for name in "abc")
    model = keras.Model({"pair": [a, b], "single": c}, layers.Dense(2)(layers.Add()([a, b, c])))
    images = visualize_activation(model, -1, 0, max_iter=2, seed=0)
    assert [image.shape for image in images] == [(6,)] * 3


def test_sizes_that_do_not_fit():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 5)(inputs))
    with pytest.raises(ValueError, match=r"`image_size` or `seed_input` must.*Received: images"):
        visualize_activation(model, -1, 0, max_iter=1, image_size=3)
    with pytest.raises(ValueError, match=r"`seed_input` must have a size.*negative.*Received: "):
        visualize_saliency(model, -1, 0, np.ones((3, 3, 3)))
    flat = sequential(SHAPE, layers.Flatten(), layers.Dense(3))
    with pytest.raises(ValueError, match=r"`image_size` or `seed_input` must.*Received: images"):
        visualize_activation(flat, -1, 0, max_iter=1, image_size=20)


def test_token_out_of_range():
    inputs = keras.Input((5,), dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(9, 4)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(embedded))
    with pytest.raises(ValueError, match=r"`seed_input` must.* = 99 is not in.*Received: values"):
        visualize_saliency(model, -1, 0, [1, 2, 3, 4, 99])


class TiedHead(layers.Layer):
    """Scores tokens by the embedding of another layer."""

    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.embedding.embeddings))


class ConfiguredTiedHead(TiedHead):
    """The configuration contains the other layer."""

    def get_config(self):
        return {"embedding": keras.saving.serialize_keras_object(self.embedding)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["embedding"]))


@pytest.mark.parametrize("kind", [TiedHead, ConfiguredTiedHead])
def test_layer_that_refers_to_another_layer_of_the_model(kind):
    embedding, dense = layers.Embedding(20, 4), layers.Dense(4, "tanh")
    inputs = keras.Input((6,), dtype="int32")
    model = keras.Model(inputs, kind(embedding)(dense(embedding(inputs))))
    tokens = np.arange(6)[None]
    before = model(tokens)
    dense.activation = keras.activations.linear
    copy = apply_modifications(model)
    expected = embedding(tokens) @ dense.kernel + dense.bias
    np.testing.assert_allclose(copy(tokens), expected @ ops.transpose(embedding.embeddings), 1e-5)
    assert copy.layers[-1].embedding is copy.layers[1] is not embedding
    copy.layers[1].embeddings.assign(ops.zeros((20, 4)))
    assert not np.any(copy(tokens))
    dense.activation = keras.activations.tanh
    np.testing.assert_array_equal(model(tokens), before)


class TwoArguments(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, a, b):
        return self.dense(ops.concatenate([a, b], axis=-1))


def test_call_with_two_arguments():
    model = TwoArguments()
    values = np.ones((1, 3)), np.ones((1, 2))
    model(*values)
    with pytest.raises(ValueError, match=r"one argument.*Received: .*`call` needs `a`, `b`"):
        visualize_activation(model, -1, 0, max_iter=1)
    inputs = [keras.Input((3,)), keras.Input((2,))]
    wrapped = keras.Model(inputs, model(*inputs))
    grads = visualize_saliency(wrapped, -1, 1, list(values), grad_modifier=None)
    kernel = model.dense.kernel.numpy()[:3, 1]
    np.testing.assert_allclose(grads, (kernel - kernel.min()) / np.ptp(kernel), atol=1e-5)


def test_activity_regularizer_leaves_no_losses_on_the_model(image):
    model = sequential(
        SHAPE,
        layers.Conv2D(4, 3, activity_regularizer="l2"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    )
    model(image[None])
    before = [float(loss) for loss in model.losses]
    assert before
    visualize_saliency(model, -1, 0, image)
    visualize_activation(model, -1, 0, max_iter=2, seed=0)
    assert [float(loss) for loss in model.losses] == before


@pytest.mark.parametrize("mode", ["int", "tf_idf"])
def test_modifications_keep_a_vocabulary(mode):
    length = {"output_sequence_length": 4} if mode == "int" else {}
    look_up = layers.TextVectorization(20, output_mode=mode, **length)
    look_up.adapt(["a fine film", "a bad film"])
    kinds = layers.StringLookup(output_mode="one_hot")
    kinds.adapt(["drama", "comedy"])
    texts, kind = (keras.Input((1,), dtype="string", name=name) for name in ("text", "kind"))
    numbers = look_up(texts)
    if mode == "int":
        numbers = layers.Embedding(20, 3)(numbers)
    numbers = layers.Flatten()(numbers)
    outputs = layers.Dense(2)(layers.Concatenate()([numbers, keras.Model(kind, kinds(kind))(kind)]))
    model = keras.Model([texts, kind], outputs)
    data = [tf.constant([["a fine film"], ["bad"]]), tf.constant([["comedy"], ["opera"]])]
    before = model(data).numpy()
    copy = apply_modifications(model)
    np.testing.assert_array_equal(copy(data), before)
    np.testing.assert_array_equal(model(data), before)
    assert copy.layers[-1].kernel is not model.layers[-1].kernel


def test_subclassed_model_that_takes_a_dict(image):
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.flat = layers.Conv2D(2, 3), layers.Flatten()
            self.join, self.out = layers.Concatenate(), layers.Dense(2)

        def call(self, inputs):
            features = self.flat(self.conv(inputs["image"]))
            return self.out(self.join([features, inputs["meta"]]))

    model = Two()
    values = {"image": image[None], "meta": np.ones((1, 5), "float32")}
    model(values)
    assert visualize_saliency(model, -1, 0, values).shape == image.shape[:2]
    images = visualize_activation(model, -1, 0, max_iter=2)
    assert {name: value.shape for name, value in images.items()} == {
        "image": image.shape,
        "meta": (5,),
    }
    alone = visualize_activation(model, -1, 0, max_iter=2, fixed_inputs={"meta": values["meta"]})
    assert alone.shape == image.shape


@pytest.mark.parametrize("wrap", [lambda layer: layer, layers.Bidirectional])
def test_stateful_layers_are_reset_and_keep_their_state(wrap):
    series = np.random.default_rng(0).normal(size=(1, 7, 3)).astype("float32")
    stateful = keras.Input(batch_shape=(1, 7, 3))
    model = keras.Sequential([stateful, wrap(layers.LSTM(4, stateful=True)), layers.Dense(2)])
    plain = keras.Sequential([keras.Input((7, 3)), wrap(layers.LSTM(4)), layers.Dense(2)])
    plain.set_weights(model.get_weights())
    model(series)
    before = [state.numpy() for state in model.non_trainable_variables]
    methods = [
        lambda m: visualize_saliency(m, -1, 0, series),
        lambda m: SmoothGrad(samples=3, seed=0)(m, series, -1, 0),
        lambda m: visualize_activation(m, -1, 0, max_iter=3, seed=0),
    ]
    for method in methods[:1] if wrap is layers.Bidirectional else methods:
        np.testing.assert_allclose(method(model), method(plain), atol=1e-5)
    assert any(np.any(state) for state in before)
    for state, old in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(state, old)


def test_float64_by_default():
    keras.config.set_floatx("float64")
    try:
        model = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(2, 3), layers.Flatten()])
        pictures = visualize_filters(model, 0, [0], max_iter=2, progress=False)
    finally:
        keras.config.set_floatx("float32")
    assert pictures.shape == (1, 16, 16, 1)
