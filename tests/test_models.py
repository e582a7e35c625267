"""Several inputs, embeddings, shared layers, subclassed models and custom layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import Recorder
from keras import layers

from vis.backend.graph import channel_axis
from vis.callbacks import GifGenerator, History, Progress
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.utils.utils import LayerOutput
from vis.visualization import (
    GradCAM,
    GuidedGradCAM,
    IntegratedGradients,
    LayerCAM,
    Occlusion,
    ScoreCAM,
    SmoothGrad,
    find_layer,
    inputs_of,
    visualize_activation,
    visualize_activation_with_losses,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)

pytestmark = pytest.mark.versions

QUICK = {"max_iter": 4, "seed": 0}
FILTERS = {"input_modifiers": [], "progress": False, **QUICK}
METHODS = (
    SmoothGrad(),
    IntegratedGradients(8),
    GuidedGradCAM(),
    LayerCAM(),
    ScoreCAM(),
    Occlusion(),
)


class Subclassed(keras.Model):
    """A subclassed model that calls functions of TensorFlow."""

    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.conv = layers.Conv2D(4, 3, name="conv")
        self.pool = layers.MaxPooling2D(name="pool")
        self.drop = layers.Dropout(0.5)
        self.out = layers.Dense(3, activation="softmax", name="out")

    def call(self, images, training=False):
        x = self.pool(tf.nn.relu(self.conv(images)))
        x = tf.reshape(x, [tf.shape(x)[0], 7 * 7 * 4])
        return self.out(self.drop(x, training=training))


class Block(layers.Layer):
    """A custom layer with layers inside."""

    def __init__(self, filters: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(filters, 3, activation="relu", name=f"{self.name}_conv")
        self.norm = layers.BatchNormalization(name=f"{self.name}_norm")

    def call(self, inputs):
        return self.norm(self.conv(inputs))


@pytest.fixture
def photograph():
    return np.random.default_rng(0).uniform(0, 1, (16, 16, 1)).astype("float32")


@pytest.fixture
def subclassed():
    model = Subclassed()
    model(np.zeros((2, 16, 16, 1), "float32"))
    return model


@pytest.mark.filterwarnings("ignore:The score of layer")
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_subclassed_model_gives_the_results_of_a_functional_model(subclassed, photograph):
    names = ("conv", "pool", "out")
    maps = {
        name: (
            visualize_saliency(subclassed, name, 1, photograph),
            visualize_activation(subclassed, name, 1, **QUICK),
        )
        for name in names
    }
    filters = visualize_filters(subclassed, "out", [0, 2], **FILTERS)
    cam = visualize_cam(subclassed, "out", 1, photograph)
    for name in names:
        assert "call" not in vars(subclassed.get_layer(name))
        assert not subclassed.get_layer(name)._inbound_nodes

    inputs = keras.Input((16, 16, 1))
    x = subclassed.pool(keras.ops.relu(subclassed.conv(inputs)))
    functional = keras.Model(inputs, subclassed.out(layers.Flatten()(x)))
    for name in names:
        saliency, activation = maps[name]
        np.testing.assert_allclose(
            visualize_saliency(functional, name, 1, photograph), saliency, atol=1e-5
        )
        difference = visualize_activation(functional, name, 1, **QUICK).astype(float) - activation
        assert np.abs(difference).max() <= 1
    expected = visualize_filters(functional, "out", [0, 2], **FILTERS)
    assert np.abs(expected.astype(float) - filters).max() <= 1
    np.testing.assert_allclose(visualize_cam(functional, "out", 1, photograph), cam, atol=1e-5)


def test_subclassed_model_with_losses(subclassed, photograph):
    losses = [(ActivationMaximization(find_layer(subclassed, "conv"), 2), 1)]
    result = visualize_activation_with_losses(inputs_of(subclassed), losses, **QUICK)
    expected = visualize_activation(subclassed, "conv", 2, lp_norm_weight=0, tv_weight=0, **QUICK)
    np.testing.assert_array_equal(result, expected)
    with pytest.raises(ValueError, match=r"find_layer.*Received: layer"):
        ActivationMaximization(Subclassed().conv, 2)


def test_guided_backpropagation_in_a_subclassed_model(photograph):
    class Rectified(keras.Model):
        def __init__(self):
            super().__init__()
            self.one = layers.Dense(5, activation="relu")
            self.two = layers.Dense(2)

        def call(self, x):
            return self.two(self.one(x))

    model = Rectified()
    vector = photograph[0, :4, 0]
    model(vector[None])
    functional = keras.Sequential([keras.Input((4,)), model.one, model.two])
    expected = visualize_saliency(functional, -1, 0, vector, backprop_modifier="guided")
    result = visualize_saliency(model, model.two, 0, vector, None, "guided")
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert np.abs(expected - visualize_saliency(functional, -1, 0, vector)).max() > 0.01


def test_subclassed_model_that_was_not_built():
    with pytest.raises(ValueError, match=r"`model` must have been built.*Call it once.*Received: "):
        visualize_activation(Subclassed(), -1, 0)


def test_subclassed_model_with_inputs_by_name():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(3), layers.Dense(3)

        def call(self, inputs):
            return self.a(inputs["a"]) * self.b(inputs["b"])

    model = Two()
    model({"a": np.zeros((1, 2)), "b": np.zeros((1, 4))})
    image = visualize_activation(model, model.a, 1, fixed_inputs=[None, np.ones(4)], **QUICK)
    assert image.shape == (2,)
    assert visualize_saliency(model, model.a, 1, [np.ones(2), np.ones(4)]).shape == (2,)


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_layers_inside_custom_layers(photograph):
    inputs = keras.Input((16, 16, 1))
    first, second = Block(3, name="first"), Block(4, name="second")
    x = layers.GlobalAveragePooling2D()(second(first(inputs)))
    model = keras.Model(inputs, layers.Dense(3)(x))
    inputs = keras.Input((16, 16, 1))
    x = first.norm(first.conv(inputs))
    conv = second.conv(x)
    flat = keras.Model(inputs, model.layers[-1](layers.GlobalAveragePooling2D()(second.norm(conv))))
    for layer_idx, layer in (("second/second_conv", second.conv), ("first/first_norm", first.norm)):
        result = visualize_activation(model, layer_idx, 1, **QUICK)
        expected = visualize_activation(flat, layer, 1, **QUICK)
        assert np.abs(result.astype(float) - expected).max() <= 1
    result = visualize_cam(model, -1, 2, photograph)
    expected = visualize_cam(flat, -1, 2, photograph, penultimate_layer_idx=second.conv)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_suggestion_for_an_unknown_layer():
    model = keras.Sequential([keras.Input((16, 16, 1)), Block(3, name="block")])
    with pytest.raises(ValueError, match=r"did you mean 'block/block_conv'\?.*Received: "):
        visualize_activation(model, "block_conv", 0)


def test_paths_through_nested_models():
    deep = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="x")], name="deep")
    base = keras.Sequential([keras.Input((8, 8, 1)), deep, layers.ReLU()], name="base")
    model = keras.Sequential([keras.Input((8, 8, 1)), base, layers.Flatten(), layers.Dense(2)])
    by_path = visualize_activation(model, "base/deep/x", 1, **QUICK)
    np.testing.assert_array_equal(by_path, visualize_activation(model, deep.layers[0], 1, **QUICK))


class TestSharedLayers:
    @pytest.fixture
    def siamese(self):
        encoder = keras.Sequential(
            [keras.Input((8, 8, 1)), layers.Conv2D(3, 3, activation="relu", name="conv")],
            name="encoder",
        )
        a, b = keras.Input((8, 8, 1), name="a"), keras.Input((8, 8, 1), name="b")
        both = layers.Subtract()([encoder(a), encoder(b)])
        return keras.Model([a, b], layers.Dense(2)(layers.Flatten()(both)))

    def test_which_call(self, siamese):
        """The gradient of each call flows into its own input only."""
        images = [np.random.default_rng(i).uniform(0, 1, (8, 8, 1)) for i in range(2)]
        encoder = siamese.get_layer("encoder")
        alone = keras.Sequential([keras.Input((8, 8, 1)), *encoder.layers])
        for call in range(2):
            for target in ("encoder", "encoder/conv"):
                result = visualize_saliency(
                    siamese, LayerOutput(target, call), 1, images, siamese.inputs[call]
                )
                expected = visualize_saliency(alone, -1, 1, images[call])
                np.testing.assert_allclose(result, expected, atol=1e-5)
            other = siamese.inputs[1 - call]
            with pytest.raises(ValueError, match="No gradient flows"):
                visualize_saliency(siamese, LayerOutput("encoder/conv", call), 1, images, other)

    def test_call_out_of_range(self, siamese):
        with pytest.raises(
            ValueError, match=r"`call` must be one of the 2 calls.*Received: call=2"
        ):
            visualize_activation(siamese, LayerOutput("encoder/conv", 2), 0)


def test_layer_with_several_outputs():
    inputs = keras.Input((5, 3))
    sequence, state, _ = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(
        inputs
    )
    model = keras.Model(inputs, [layers.Flatten()(sequence), state])
    with pytest.raises(ValueError, match=r"one output.*LayerOutput.*Received: layer 'lstm' with 3"):
        visualize_activation(model, "lstm", 1)
    image = visualize_activation(model, LayerOutput("lstm", output=1), 1, **QUICK)
    assert image.shape == (5, 3)
    grads = visualize_saliency(model, LayerOutput("lstm", output=0), 1, np.ones((5, 3)))
    assert grads.shape == (5,)


class TestSeveralInputs:
    @pytest.fixture
    def model(self):
        image = keras.Input((12, 12, 3), name="image")
        numbers = keras.Input((5,), name="numbers")
        tokens = keras.Input((4,), dtype="int32", name="tokens")
        pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(image))
        embedded = layers.GlobalAveragePooling1D()(
            layers.Embedding(10, 6, name="embedding")(tokens)
        )
        joined = layers.Concatenate()([pooled, layers.Dense(3)(numbers), embedded])
        outputs = layers.Dense(4, name="out")(joined)
        return keras.Model({"image": image, "numbers": numbers, "tokens": tokens}, outputs)

    @pytest.fixture
    def values(self):
        image = np.random.default_rng(0).uniform(0, 1, (12, 12, 3)).astype("float32")
        return {"image": image, "numbers": np.ones(5, "float32"), "tokens": np.array([1, 2, 3, 4])}

    def test_all_are_optimised(self, model):
        images = visualize_activation(model, "out", 1, **QUICK)
        assert {name: image.shape for name, image in images.items()} == {
            "image": (12, 12, 3),
            "numbers": (5,),
            "tokens": (4, 6),
        }
        embeddings = model.get_layer("embedding").get_weights()[0]
        assert (
            embeddings.min() <= images["tokens"].min() < images["tokens"].max() <= embeddings.max()
        )

    def test_fixed_inputs_act_as_constants(self, model, values):
        fixed = {name: values[name] for name in ("numbers", "tokens")}
        image = keras.Input((12, 12, 3))
        constant = keras.Model(
            image,
            keras.Model(model.input, model.output)(
                {
                    "image": image,
                    "numbers": keras.ops.zeros_like(image[:, 0, 0, :1]) + fixed["numbers"],
                    "tokens": keras.ops.cast(
                        keras.ops.zeros_like(image[:, 0, 0, :1]) + fixed["tokens"], "int32"
                    ),
                }
            ),
        )
        seed = values["image"] * 255
        result = visualize_activation(
            model, "out", 1, seed_input={"image": seed}, fixed_inputs=fixed, **QUICK
        )
        expected = visualize_activation(constant, -1, 1, seed_input=seed, **QUICK)
        assert np.abs(result.astype(float) - expected).max() <= 1
        pictures = visualize_filters(model, "out", [0, 1], fixed_inputs=fixed, **FILTERS)
        assert pictures.shape == (2, 12, 12, 3)

    def test_seeds_and_ranges_by_name(self, model, values):
        images = visualize_activation(
            model,
            "out",
            1,
            seed_input={"numbers": np.zeros(5)},
            input_range={"image": (0, 255), "numbers": (-1.0, 1.0)},
            fixed_inputs={"tokens": values["tokens"]},
            **QUICK,
        )
        assert images["image"].dtype == "uint8"
        assert images["numbers"].dtype == "float32"
        assert np.abs(images["numbers"]).max() <= 1

    @pytest.mark.filterwarnings("ignore:. of . maps show nothing")
    def test_saliency_of_each_input(self, model, values):
        """Compares with `tf.GradientTape`."""
        batch = {name: tf.constant(value[None]) for name, value in values.items()}
        with tf.GradientTape() as tape:
            tape.watch([batch["image"], batch["numbers"]])
            score = model(batch)[:, 2]
        image, numbers = tape.gradient(score, [batch["image"], batch["numbers"]])

        def scaled(grads):
            return (grads - grads.min()) / (grads.max() - grads.min())

        expected = scaled(np.abs(image[0]).max(axis=-1))
        np.testing.assert_allclose(visualize_saliency(model, "out", 2, values), expected, atol=1e-5)
        result = visualize_saliency(model, "out", 2, values, model.input["numbers"])
        np.testing.assert_allclose(result, scaled(np.abs(numbers[0])), atol=1e-5)
        assert visualize_saliency(model, "out", 2, values, model.input["tokens"]).shape == (4,)

    @pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
    def test_method(self, model, values, method):
        heat = method(model, values, "out", 2)
        assert heat.shape == (12, 12)
        assert 0 <= heat.min() < heat.max() <= 1

    def test_missing_or_wrong_values(self, model, values):
        with pytest.raises(ValueError, match=r"`seed_input` must have a value for each.*Received"):
            visualize_saliency(model, "out", 1, {"image": values["image"]})
        with pytest.raises(ValueError, match=r"did you mean 'numbers'\?.*Received.*'number'"):
            visualize_activation(model, "out", 1, fixed_inputs={"number": values["numbers"]})
        with pytest.raises(ValueError, match=r"leave an input to be optimised.*Received"):
            visualize_activation(model, "out", 1, fixed_inputs=values)
        with pytest.raises(ValueError, match=r"`fixed_inputs` must give.*Received: 3 inputs"):
            visualize_filters(model, "out", 1, progress=False)
        with pytest.raises(ValueError, match=r"same number|as many samples.*Received"):
            visualize_saliency(
                model,
                "out",
                1,
                {**values, "image": np.zeros((2, 12, 12, 3)), "numbers": np.zeros((3, 5))},
            )

    def test_callbacks_receive_the_first_image(self, model, tmp_path):
        history = History(frames_every=1)
        callbacks = [history, GifGenerator(tmp_path / "run.gif"), Progress(4)]
        visualize_activation(model, "out", 1, callbacks=callbacks, **QUICK)
        assert [frame.shape for frame in history.frames] == [(12, 12, 3)] * 4
        assert (tmp_path / "run.gif").exists()

    def test_optimizer_returns_the_structure_of_the_inputs(self, model, values):
        inputs = [model.input["image"], model.input["numbers"], model.input["tokens"]]
        losses = [(ActivationMaximization(model.get_layer("out"), 1), 1)]
        optimizer = Optimizer(inputs, losses, fixed_inputs=[None, None, values["tokens"]])
        images, grads, wrt_values = optimizer.minimize(max_iter=3, seed=0, verbose=False)
        assert [image.shape for image in images] == [(12, 12, 3), (5,)]
        assert [g.shape for g in grads] == [v.shape for v in wrt_values] == [(1, 12, 12, 3), (1, 5)]


class TestTokens:
    @pytest.fixture
    def model(self):
        tokens = keras.Input((None,), dtype="int32")
        x = layers.Embedding(20, 8, mask_zero=True)(tokens)
        x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
        x = layers.MultiHeadAttention(2, 4)(x, x)
        return keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))

    def test_embeddings_are_optimised(self, model):
        embedded = visualize_activation(model, -1, 1, image_size=6, max_iter=30, seed=0)
        start = visualize_activation(model, -1, 1, image_size=6, max_iter=1, seed=0)
        assert embedded.shape == (6, 8)
        assert not np.allclose(embedded, start)

    def test_saliency_of_tokens(self, model):
        """The gradient at the embeddings, with the model's mask."""
        tokens = np.array([3, 5, 7, 2])
        heat = visualize_saliency(model, -1, 1, tokens)
        assert heat.shape == (4,)
        assert IntegratedGradients(8)(model, tokens, -1, 1).shape == (4,)


@pytest.mark.every(2)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_models_of_other_precisions(policy, photograph):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential(
            [
                keras.Input((16, 16, 1)),
                layers.Conv2D(4, 3, use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )
    finally:
        keras.config.set_dtype_policy(before)
    float32 = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(
            {**layer.get_config(), "dtype": "float32"}
        ),
    )
    float32.set_weights(model.get_weights())
    image = visualize_activation(model, -1, 1, max_iter=30, seed=0)
    score = [
        float(float32(i[None].astype("float32"))[0, 1]) for i in (image, np.full_like(image, 128))
    ]
    assert score[0] > score[1] + 1
    exact = visualize_saliency(float32, -1, 1, photograph)
    assert (
        np.corrcoef(exact.ravel(), visualize_saliency(model, -1, 1, photograph).ravel())[0, 1]
        > 0.98
    )
    assert np.isfinite(GradCAM()(model, photograph, -1, 1)).all()


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_precision_argument():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )
    exact = visualize_activation(model, -1, 1, max_iter=10, seed=0)
    rounded = visualize_activation(model, -1, 1, max_iter=10, seed=0, precision="bfloat16")
    difference = np.abs(exact.astype(float) - rounded)
    assert difference.max() > 0
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.98
    assert visualize_filters(model, -1, 0, precision="bfloat16", **FILTERS).any()
    with pytest.raises(ValueError, match=r"`precision` must be .*Received: precision='int8'"):
        visualize_activation(model, -1, 1, precision="int8")


def check_equal(model, other, names, image):
    """Compares the results of two models for some layers, and their CAMs of a nested layer."""
    methods = [
        lambda m, name: visualize_activation(m, name, 1, input_range=(0.0, 1.0), **QUICK),
        lambda m, name: visualize_saliency(m, name, 1, image),
    ]
    for name in names:
        for method in methods:
            np.testing.assert_allclose(method(model, name), method(other, name), atol=1e-5)
    result, expected = (
        visualize_cam(m, -1, 1, image, penultimate_layer_idx="encoder/hidden")
        for m in (model, other)
    )
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_nested_model_that_is_called_on_its_own_input():
    """In many autoencoders the encoder and the whole model share their input."""
    images = keras.Input((8, 8, 1))
    hidden = layers.Conv2D(4, 3, activation="relu", name="hidden")(images)
    encoder = keras.Model(images, layers.Dense(5)(layers.Flatten()(hidden)), name="encoder")
    code = keras.Input((5,))
    decoder = keras.Model(code, layers.Dense(3)(code), name="decoder")
    model = keras.Model(images, decoder(encoder(images)))
    inputs = keras.Input((8, 8, 1))
    other = keras.Model(inputs, decoder(encoder(inputs)))
    image = np.random.default_rng(0).uniform(size=(8, 8, 1))
    check_equal(model, other, ("decoder", "encoder", "encoder/hidden"), image)


def test_nested_model_that_is_called_after_a_layer_on_its_own_input():
    """A base built on the whole model's input, and then called on the scaled input."""
    images = keras.Input((8, 8, 1))
    hidden = layers.Conv2D(4, 3, activation="relu", name="hidden")(images)
    encoder = keras.Model(images, layers.Dense(5)(layers.Flatten()(hidden)), name="encoder")
    scaled = layers.Rescaling(2.0, offset=-0.7)
    model = keras.Model(images, layers.Dense(3, name="top")(encoder(scaled(images))))
    inputs = keras.Input((8, 8, 1))
    other = keras.Model(inputs, model.get_layer("top")(encoder(scaled(inputs))))
    image = np.random.default_rng(0).uniform(size=(8, 8, 1))
    names = ("top", "encoder", "encoder/hidden")
    check_equal(model, other, names, image)
    for layer in names:
        # The losses belong to both models; the result of `inputs_of` decides.
        losses = [(ActivationMaximization(find_layer(model, layer), 1), 1)]
        values = []
        for m in (model, other):
            recorder = Recorder()
            optimizer = Optimizer(inputs_of(m), losses)
            optimizer.minimize(image, 1, callbacks=[recorder], verbose=False)
            values.append(recorder.overall[0])
        assert values[0] == pytest.approx(values[1], rel=1e-5)
    # The input of the encoder by itself is not scaled.
    alone = keras.models.clone_model(encoder, keras.Input((8, 8, 1)))
    alone.set_weights(encoder.get_weights())
    result, expected = (visualize_saliency(m, "hidden", 1, image) for m in (encoder, alone))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_nested_model_whose_second_call_comes_first():
    """A layer inside stands for the first call, even if another call runs before."""
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, "tanh", name="x")], name="inner")
    inputs = keras.Input((4,))
    late = inner(layers.Rescaling(3.0)(inputs))
    early = inner(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()([early, late])))
    vector = np.random.default_rng(0).normal(size=4)
    x, w = 3 * vector, inner.layers[0].kernel.numpy()[:, 1]
    slopes = np.abs(3 * w * (1 - np.tanh(x @ w) ** 2))
    result = visualize_saliency(model, "inner/x", 1, vector)
    np.testing.assert_allclose(result, (slopes - slopes.min()) / np.ptp(slopes), atol=1e-4)
    losses = [(ActivationMaximization(model.layers[-1], 0), 1)]
    losses.append((ActivationMaximization(inner.layers[0], 1), 1))
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], losses)
    optimizer.minimize(vector, 1, callbacks=[recorder], verbose=False)
    assert recorder.named_losses[0][1][1] == pytest.approx(-np.tanh(x @ w), rel=1e-4)


def test_suggestions_for_an_unknown_path():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="units")], name="inner")
    outer = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2)], name="outer")
    model = keras.Sequential([keras.Input((4,)), outer, layers.Dense(2, name="last")])
    expected = r"did you mean 'outer/inner/units'\?.*layers of 'outer/inner' are \['units'\]"
    with pytest.raises(ValueError, match=expected):
        find_layer(model, "outer/inner/unit")
    with pytest.raises(ValueError, match=r"did you mean 'outer/inner'\?"):
        find_layer(model, "outer/iner")
    with pytest.raises(ValueError, match=r"did you mean 'outer/inner/units'\?"):
        find_layer(model, "units")


def test_error_without_a_gradient_names_the_layer_and_the_input():
    inputs = keras.Input((6, 6, 1), name="pixels")
    steps = layers.Lambda(lambda x: keras.ops.cast(x > 0, "float32"))
    flat = steps(layers.Conv2D(2, 1)(inputs))
    model = keras.Model(inputs, layers.Conv2D(3, 3, name="conv")(flat))
    expected = r"gradient with respect to 'pixels'.*Received: .*'conv'"
    with pytest.raises(ValueError, match=expected) as error:
        visualize_filters(model, "conv", 1, max_iter=1)
    for internal in ("Formula", "weakref", "TensorRef(", "function"):
        assert internal not in str(error.value)


def test_channel_axis_of_a_layer_whose_input_has_another_rank():
    frames = keras.Input((3, 2, 8, 8))
    recurrent = layers.ConvLSTM2D(5, 3, data_format="channels_first")
    recurrent(frames)
    assert channel_axis(recurrent, 4) == 1
    pool, reshape = layers.MaxPooling2D(data_format="channels_first"), layers.Reshape((4, 16))
    reshape(pool(keras.Input((4, 8, 8))))
    assert channel_axis(reshape, 3) == 1


def test_input_named_like_the_key_of_another():
    first, second = keras.Input((2,), name="y"), keras.Input((2,), name="q")
    outputs = layers.Dense(2)(layers.Concatenate()([first, second]))
    model = keras.Model({"x": first, "y": second}, outputs)
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    optimizer = Optimizer(model.input, losses, input_range={"y": (0.0, 1.0)})
    assert optimizer.input_ranges == [(0, 255), (0.0, 1.0)]


def test_layer_that_was_called_on_another_rank_before():
    layer = layers.Dense(2)
    layer(keras.Input((7, 3)))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    assert visualize_saliency(model, -1, None, np.ones(3)).shape == (3,)
