"""Networks with a known answer, of kinds that visualization libraries often get wrong."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers, ops

from vis.visualization import (
    GradCAM,
    GradientTimesInput,
    IntegratedGradients,
    Occlusion,
    Saliency,
    SmoothGrad,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)
from vis.visualization.attribution.maps import resize_maps

pytestmark = pytest.mark.versions

RNG = np.random.default_rng(0)
QUICK = {"max_iter": 4, "seed": 0, "progress": False}


class Writing(layers.Layer):
    """Counts its calls, keeps a moving average, and adds noise from its own generator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.mean = tf.Variable(0.5, trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(inputs))
        return inputs + keras.random.normal(ops.shape(inputs), seed=self.seed_generator)


class TrainingInside(layers.Layer):
    """Calls a normalisation without passing `training` on, or in training mode."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.plain, self.trained = layers.BatchNormalization(), layers.BatchNormalization()

    def call(self, inputs):
        return self.plain(inputs) + self.trained(inputs, training=True)


@pytest.mark.parametrize("kind", [Writing, TrainingInside])
def test_no_variable_changes_and_the_seed_decides(kind):
    model = sequential((8, 8, 1), kind(), layers.Conv2D(3, 3, name="conv"), layers.Flatten())
    state = [*model.variables, getattr(model.layers[0], "mean", tf.Variable(0.0))]
    if kind is Writing:
        state.append(model.layers[0].seed_generator.state)
    before = list(map(ops.convert_to_numpy, state))
    image = RNG.uniform(size=(8, 8, 1)).astype("float32")
    calls = [
        lambda: visualize_saliency(model, -1, 0, image),
        lambda: visualize_cam(model, -1, 0, image),
        lambda: visualize_activation(model, "conv", 0, max_iter=4, seed=0),
        lambda: visualize_filters(model, "conv", [0], **QUICK),
    ]
    for call in calls:
        np.testing.assert_array_equal(call(), call())
    for variable, value in zip(state, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_a_call_decorated_with_tf_function():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.conv = layers.Conv2D(4, 3, padding="same", activation="relu", name="inner")

        @tf.function
        def call(self, inputs):
            return self.conv(inputs)

    block = Block(name="block")
    model = sequential((9, 9, 1), block, layers.GlobalAveragePooling2D(), layers.Dense(3))
    plain = sequential((9, 9, 1), block.conv, *model.layers[1:])
    image = RNG.uniform(size=(9, 9, 1)).astype("float32")
    for draw in (visualize_saliency, visualize_cam):
        np.testing.assert_allclose(draw(model, -1, 1, image), draw(plain, -1, 1, image), atol=1e-5)


def network():
    convolution = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")
    head = layers.Dense(3, activation="softmax", name="predictions")
    return sequential((12, 12, 3), convolution, layers.GlobalAveragePooling2D(), head)


class Subclassed(keras.Model):
    def __init__(self, parts):
        super().__init__(name="network")
        self.parts = parts

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return inputs


@pytest.mark.every(2)
@pytest.mark.filterwarnings("ignore:The score of layer")
@pytest.mark.parametrize("wrap", [lambda plain: plain, lambda plain: Subclassed(plain.layers)])
@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_the_last_layer_is_a_network(wrap):
    plain = network()
    inputs = keras.Input((12, 12, 3))
    model = keras.Model(inputs, wrap(plain)(layers.Rescaling(1.0)(inputs)))
    image = RNG.uniform(size=(12, 12, 3)).astype("float32")
    for draw in (visualize_saliency, visualize_cam):
        np.testing.assert_allclose(draw(model, -1, 1, image), draw(plain, -1, 1, image), atol=1e-4)
    settings = {**QUICK, "input_range": (0.0, 1.0)}
    expected = visualize_filters(plain, -1, [1], **settings)
    np.testing.assert_allclose(visualize_filters(model, -1, [1], **settings), expected, atol=1e-3)


def test_the_output_is_an_operation():
    inputs = keras.Input((4,))
    a, b = layers.Dense(2, use_bias=False)(inputs), layers.Dense(2, use_bias=False)(inputs)
    model = keras.Model(inputs, (a + b) / 2)
    kernels = model.get_weights()
    row = RNG.normal(size=4)
    found = Saliency(None).attributions(model, row, -1, 1)
    np.testing.assert_allclose(found[0], np.mean(kernels, axis=0)[:, 1], atol=1e-6)


def test_regression_outputs_are_increased():
    model = sequential((6,), layers.Dense(2, use_bias=False, name="out"))
    kernel = np.array([0.5, 0.3, -0.4, 0.2, -0.1, 0.6], "float32")
    model.set_weights([np.stack([kernel, 3 * kernel], axis=1)])
    model.compile("adam", "mse")
    (drawn,) = visualize_filters(
        model, -1, [0], input_range=(-1.0, 1.0), seed=0, progress=False, max_iter=40
    )
    assert float(model(drawn[None])[0, 0]) > 0.2


@pytest.mark.skipif(
    keras.__version__.startswith("3.6."), reason="gradients of float16 still vanish in Keras 3.6"
)
def test_half_precision_gives_the_maps_of_single_precision():
    def confident(policy):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(policy)
        head = layers.Dense(1, "sigmoid", dtype="float32", kernel_initializer="ones")
        try:
            return sequential(
                (32, 32, 3),
                layers.Conv2D(8, 3, activation="relu"),
                layers.GlobalAveragePooling2D(),
                head,
            )
        finally:
            keras.config.set_dtype_policy("float32")

    exact, half = confident("float32"), confident("mixed_float16")
    exact.layers[-1].bias.assign([11.0])
    half.set_weights(exact.get_weights())
    image = RNG.uniform(size=(32, 32, 3)).astype("float32")
    for draw in (visualize_saliency, visualize_cam):
        np.testing.assert_allclose(draw(half, -1, 0, image), draw(exact, -1, 0, image), atol=1e-3)


@pytest.mark.parametrize(
    "method",
    [
        Saliency(None),
        GradientTimesInput(None),
        IntegratedGradients(8, grad_modifier=None),
        SmoothGrad(samples=8, seed=0, grad_modifier=None),
        Occlusion(patch=1),
    ],
    ids=lambda method: type(method).__name__,
)
def test_padded_steps_have_no_attribution(method):
    inputs = keras.Input((10, 2))
    model = keras.Model(inputs, layers.Dense(2)(layers.LSTM(4)(layers.Masking(0.0)(inputs))))
    series = RNG.normal(size=(10, 2)).astype("float32")
    series[6:] = 0
    found = np.abs(method.attributions(model, series, -1, 1)[0]).reshape(10, -1).max(axis=1)
    assert found[:6].max() > 1e-3
    assert found[6:].max() < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_operations_without_a_gradient(dtype):
    inputs = keras.Input((16, 16, 3), dtype=dtype)
    small = layers.Resizing(8, 8, interpolation="area")(inputs)
    scaled = layers.Rescaling(1 / 255)(small)
    maps = layers.Conv2D(4, 3, padding="same", activation="relu")(scaled)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(maps)))
    image = RNG.integers(0, 256, (16, 16, 3)).astype(dtype)
    # Keras rounds the means of integers.
    means = image.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    pixels = np.round(means) if dtype == "uint8" else means
    features = keras.Model(small, maps)(pixels[None].astype("float32")).numpy()[0]
    heat = np.maximum(features @ model.layers[-1].kernel.numpy()[:, 1], 0)
    heat = resize_maps(heat[None], (16, 16))[0]
    expected = (heat - heat.min()) / np.ptp(heat)
    np.testing.assert_allclose(visualize_cam(model, -1, 1, image), expected, atol=1e-4)
    for refused in (
        lambda: visualize_saliency(model, -1, 1, image),
        lambda: visualize_activation(model, -1, 1, max_iter=2),
    ):
        with pytest.raises(ValueError, match=r"must have gradients .*ResizeArea.*Received: "):
            refused()


def test_maps_of_many_images_are_those_of_each():
    model = network()
    images = RNG.uniform(size=(70, 12, 12, 3)).astype("float32")
    for method in (Saliency(), GradCAM()):
        maps = method(model, images, filter_indices=1)
        for i in (0, 31, 32, 69):
            np.testing.assert_allclose(maps[i], method(model, images[i], -1, 1), atol=1e-4)


def test_a_layer_that_stores_the_name_of_its_activation():
    class Named(layers.Layer):
        activation = "gelu"

        def call(self, inputs):
            return ops.gelu(inputs)

    model = sequential((4,), Named(), layers.Dense(2))
    row = RNG.normal(size=4).astype("float32")
    value = tf.Variable(row[None])
    with tf.GradientTape() as tape:
        score = model(value)[:, 1]
    expected = tape.gradient(score, value)
    np.testing.assert_allclose(Saliency(None).attributions(model, row, -1, 1), expected, atol=1e-6)
