"""Losses on layers inside nested models, compared with calls of the layers one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import Recorder, nodes, sequential
from keras import layers, ops

from vis.backend.graph import Graph
from vis.backend.layers import onednn as onednn_kernels
from vis.losses import ActivationMaximization, Loss
from vis.optimizer import Optimizer
from vis.visualization import visualize_activation

pytestmark = pytest.mark.versions


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def loss_values(model, losses, image):
    """Values of the losses, and the gradient of their sum."""
    recorder = Recorder()
    before = nodes(model)
    optimizer = Optimizer(model.inputs[0], [(loss, 1) for loss in losses], norm_grads=False)
    _, grads, _ = optimizer.minimize(image, 1, callbacks=[recorder], verbose=False)
    assert nodes(model) == before
    return [value for _, value in recorder.named_losses[0]], grads[0]


class Mean(Loss):
    """A custom loss: the mean square of a tensor."""

    def __init__(self, tensor):
        super().__init__()
        self.tensor = tensor

    def build_loss(self):
        return ops.mean(ops.square(self.tensor))


def check(model, layer, reference, image, index=1):
    """Compares the loss on a layer, and its gradient, with a function that computes the output."""
    losses = [ActivationMaximization(layer, index), Mean(layer.output)]
    values, grads = loss_values(model, losses, image)

    def expected(x):
        y = ops.convert_to_numpy(reference(x))
        others = tuple(range(1, y.ndim - 1))
        return [-y.mean(axis=others)[0, index], np.mean(np.square(y))]

    np.testing.assert_allclose(values, expected(image), rtol=1e-4, atol=1e-5)
    # The derivative in one direction shows that the gradient is complete.
    direction = noise(*image.shape, seed=1)
    step = 1e-2 * direction
    slope = (sum(expected(image + step)) - sum(expected(image - step))) / 2e-2
    assert np.sum(grads * direction) == pytest.approx(slope, rel=2e-2, abs=1e-3)


def base_model(name="base"):
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, activation="tanh", name="base_conv")(x)
    x = layers.Conv2D(5, 2, activation="tanh", name="base_last")(x)
    return keras.Model(inputs, x, name=name)


@pytest.mark.filterwarnings("ignore:`seed_input` should have values")
def test_functional_in_functional():
    base = base_model()
    inputs = keras.Input((6, 6, 3))
    scale = layers.Rescaling(0.5)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(base(scale(inputs)))))
    conv, last = base.layers[1:]
    image = noise(1, 6, 6, 3)
    check(model, conv, lambda x: conv(scale(x)), image)
    check(model, last, lambda x: last(conv(scale(x))), image)
    check(model, model.layers[-1], model, image)


@pytest.mark.filterwarnings("ignore:`seed_input` should have values")
def test_loss_on_a_nested_model():
    base = base_model()
    model = sequential((6, 6, 3), layers.Rescaling(0.5), base, layers.Flatten(), layers.Dense(3))
    values, _ = loss_values(
        model,
        [ActivationMaximization(base, 1), Mean(base.outputs[0]), Mean(base.layers[1].output)],
        noise(1, 6, 6, 3),
    )
    image = 0.5 * noise(1, 6, 6, 3)
    expected = [
        -base(image).numpy()[..., 1].mean(),
        np.mean(base(image).numpy() ** 2),
        np.mean(base.layers[1](image).numpy() ** 2),
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_sequential_in_sequential():
    inner = sequential((8,), layers.Dense(6, "tanh"), layers.Dense(4, "tanh"))
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, "tanh"), inner, layers.Dense(2)])
    first, one, two = model.layers[0], *inner.layers
    image = noise(1, 5)
    check(model, one, lambda x: one(first(x)), image)
    check(model, two, lambda x: two(one(first(x))), image)


@pytest.mark.filterwarnings("ignore:`seed_input` should have values")
def test_nested_twice():
    innermost = sequential((5, 5, 4), layers.Conv2D(3, 2, activation="tanh"))
    inputs = keras.Input((6, 6, 3))
    conv = layers.Conv2D(4, 2, activation="tanh")
    middle = keras.Model(inputs, layers.Conv2D(2, 2)(innermost(conv(inputs))))
    model = sequential((6, 6, 3), layers.Rescaling(2.0), middle, layers.GlobalAveragePooling2D())
    image = 0.3 * noise(1, 6, 6, 3)
    check(model, innermost.layers[0], lambda x: innermost.layers[0](conv(2 * x)), image)
    check(model, middle.layers[-1], lambda x: middle(2 * x), image)


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_transfer_learning():
    """The base model is used by itself, before and afterwards."""
    base = base_model()
    image = noise(1, 6, 6, 3)
    conv = base.layers[1]
    check(base, conv, conv, image)
    base.trainable = False
    model = keras.Sequential([base, layers.GlobalMaxPooling2D(), layers.Dense(2)])
    model.build((None, 6, 6, 3))
    check(model, conv, conv, image)
    check(base, conv, conv, image)
    assert visualize_activation(model, conv, 0, max_iter=2).shape == (6, 6, 3)
    assert visualize_activation(model, "base", 0, max_iter=2).shape == (6, 6, 3)


def test_layer_shared_between_two_models():
    shared = layers.Dense(3, "tanh")
    double, negative = layers.Rescaling(2.0), layers.Rescaling(-1.0)
    one = sequential((4,), double, shared)
    two = sequential((4,), negative, shared)
    image = noise(1, 4)
    values, _ = loss_values(one, [ActivationMaximization(shared, 0)], image)
    assert values[0] == pytest.approx(-shared(2 * image).numpy()[0, 0], rel=1e-4)
    values, _ = loss_values(two, [ActivationMaximization(shared, 0)], image)
    assert values[0] == pytest.approx(-shared(-image).numpy()[0, 0], rel=1e-4)


def test_first_call_of_a_shared_layer_is_the_default():
    shared = layers.Dense(4, "tanh")
    inputs = keras.Input((4,))
    once = shared(inputs)
    twice = shared(once)
    model = keras.Model(inputs, layers.Dense(2)(twice))
    image = noise(1, 4)
    values, _ = loss_values(
        model, [ActivationMaximization(shared, 2), Mean(once), Mean(twice)], image
    )
    y = shared(image)
    expected = [-y.numpy()[0, 2], np.mean(y.numpy() ** 2), np.mean(shared(y).numpy() ** 2)]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_nested_model_called_twice():
    base = sequential((4,), layers.Dense(4, "tanh", name="inside"), layers.Dense(4, "tanh"))
    inputs = keras.Input((4,))
    once = base(layers.Rescaling(0.5)(inputs))
    twice = base(once)
    model = keras.Model(inputs, twice)
    image = noise(1, 4)
    inside = base.layers[0]
    values, _ = loss_values(
        model, [ActivationMaximization(inside, 2), Mean(once), Mean(twice)], image
    )
    y = base(0.5 * image)
    expected = [
        -inside(0.5 * image).numpy()[0, 2],
        np.mean(y.numpy() ** 2),
        np.mean(base(y).numpy() ** 2),
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_residual_graph():
    inputs = keras.Input((6, 6, 3))
    one = layers.Conv2D(3, 3, padding="same", activation="tanh")
    two = layers.Conv2D(3, 3, padding="same")
    add = layers.Add()
    x = one(inputs)
    model = keras.Model(inputs, layers.ReLU()(add([inputs, two(x)])))
    image = noise(1, 6, 6, 3)
    check(model, add, lambda x: x + two(one(x)), image)
    check(model, one, one, image)


def test_operations_in_the_graph():
    inputs = keras.Input((6,))
    dense = layers.Dense(4)
    x = ops.tanh(dense(ops.square(inputs) - 0.5 * inputs[:, ::-1]))
    last = layers.Dense(3)
    model = keras.Model(inputs, last(ops.concatenate([x, -x], axis=-1)))

    def before(x):
        return dense(x**2 - 0.5 * x[:, ::-1])

    image = noise(1, 6)
    check(model, dense, before, image)
    values, _ = loss_values(model, [Mean(x)], image)
    assert values[0] == pytest.approx(np.mean(np.tanh(before(image).numpy()) ** 2), rel=1e-4)


def test_batch_normalisation_after_convolutions():
    """A normalisation is folded into the convolution, unless the tensor in between is a target."""
    x = inputs = keras.Input((6, 6, 3))
    for make in (
        lambda: layers.Conv2D(4, 3, use_bias=False),
        lambda: layers.DepthwiseConv2D(2, bias_initializer="random_normal"),
        lambda: layers.Conv2D(5, 2, activation="tanh"),
    ):
        x = layers.BatchNormalization(name=f"norm{len(x.shape)}{x.name}")(make()(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    model.set_weights([w + 0.3 * np.abs(noise(*w.shape)) for w in model.get_weights()])
    image = noise(1, 6, 6, 3)
    check(model, model.layers[-1], model, image)
    check(model, model.layers[1], model.layers[1], image)
    check(model, model.layers[2], lambda x: model.layers[2](model.layers[1](x)), image)


# Each day, each of the settings with another combination of the other arguments.
@pytest.mark.every(23)
@pytest.mark.parametrize("norm", [False, True], ids=["alone", "with a normalisation"])
@pytest.mark.parametrize("channels", [4, 6], ids=["image", "features"])
@pytest.mark.parametrize("kind", ["full", "depthwise", "depthwise, two filters"])
@pytest.mark.parametrize("kernels", ["oneDNN", "TensorFlow"])
@pytest.mark.parametrize(
    "settings",
    [
        *(
            {"kernel_size": size, "strides": strides, "padding": padding}
            for size in (1, 2, 3, (3, 1), 5)
            for strides in (1, 2, 3)
            for padding in ("valid", "same")
        ),
        {"kernel_size": 3, "strides": (2, 1)},
        {"kernel_size": 2, "dilation_rate": 2},
        {"kernel_size": 3, "groups": 2},
        {"kernel_size": 3, "use_bias": False, "activation": "relu"},
        {"kernel_size": 3, "data_format": "channels_first"},
        {"kernel_size": 1, "data_format": "channels_first"},
    ],
    ids=str,
)
def test_convolutions_and_their_gradients(kernels, kind, channels, settings, norm, monkeypatch):
    """Against TensorFlow's own kernels."""
    monkeypatch.setattr(onednn_kernels, "_works", lambda: kernels == "oneDNN")
    monkeypatch.setattr(onednn_kernels, "_MIN_PRODUCTS", 0)
    first = settings.get("data_format") == "channels_first"
    depth = {"depthwise": 1, "depthwise, two filters": 2}.get(kind)
    if "groups" in settings or settings.get("strides") == (2, 1):
        depth = None  # Keras has no such depthwise layers.

    def build(shape, axis, **settings):
        more = [layers.BatchNormalization(axis)] if norm else []
        if depth:
            layer = layers.DepthwiseConv2D(depth_multiplier=depth, **settings)
        else:
            layer = layers.Conv2D(10, **settings)
        return sequential(shape, layer, *more)

    model = build((channels, 11, 9) if first else (11, 9, channels), 1 if first else -1, **settings)
    model.set_weights([w + 0.3 * np.abs(noise(*w.shape)) for w in model.get_weights()])
    # On a CPU, TensorFlow has no gradient for channels first.
    twin = build((11, 9, channels), -1, **{**settings, "data_format": "channels_last"})
    twin.set_weights(model.get_weights())

    image = noise(11, 9, channels)
    values, grads = loss_values(
        model, [Mean(model.outputs[0])], np.moveaxis(image, -1, 0) if first else image
    )
    x = tf.Variable(image[None])
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(tf.square(twin(x)))
    assert values[0] == pytest.approx(value.numpy(), rel=1e-4)
    expected = tape.gradient(value, x).numpy()[0]
    np.testing.assert_allclose(
        np.moveaxis(grads, 0, -1) if first else grads, expected, rtol=1e-4, atol=2e-6
    )
    assert np.abs(expected).max() > 1e-3


def test_depthwise_convolution_without_onednn(monkeypatch):
    monkeypatch.setattr(onednn_kernels, "_FORWARD", "NoSuchOperation")
    onednn_kernels._works.cache_clear()
    try:
        model = sequential((6, 5, 3), layers.DepthwiseConv2D(3, activation="tanh"))
        check(model, model.layers[-1], model, noise(1, 6, 5, 3))
        assert not onednn_kernels.is_supported(model.layers[-1], "float32")
    finally:
        onednn_kernels._works.cache_clear()


def test_nested_models_of_several_inputs_and_outputs():
    one, two = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    mixed = layers.Dense(5, "tanh", name="mixed")(layers.Concatenate()([one, two]))
    inner = keras.Model([one, two], [mixed, layers.Dense(2)(mixed)])
    inputs = keras.Input((4,))
    project = layers.Dense(3)
    a, b = inner([inputs, project(inputs)])
    model = keras.Model(inputs, layers.Concatenate()([a, b]))
    image = noise(1, 4)
    layer = inner.get_layer("mixed")
    check(model, layer, lambda x: inner([ops.convert_to_tensor(x), project(x)])[0], image)
    check(model, model.layers[-1], model, image)


def test_nested_model_that_takes_a_dictionary():
    one, two = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    inner = keras.Model({"b": two, "a": one}, layers.Dense(3, "tanh")(one - 2 * two))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, inner({"a": inputs, "b": inputs**2}))
    dense = inner.layers[-1]
    check(model, dense, lambda x: dense(x - 2 * x**2), noise(1, 4))


def test_layers_with_arguments():
    inputs = keras.Input((5, 4))
    attention = layers.MultiHeadAttention(2, 3)
    x = attention(inputs, inputs, use_causal_mask=True)
    model = keras.Model(inputs, layers.Dense(2)(x))
    check(model, attention, lambda x: attention(x, x, use_causal_mask=True), noise(1, 5, 4))


def test_custom_layer():
    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, "tanh")

        def call(self, x, training=None):
            assert not training
            return 2 * self.dense(x)

    layer = Twice()
    model = sequential((4,), layer, layers.Dense(2))
    check(model, layer, lambda x: 2 * layer.dense(x), noise(1, 4))


def test_model_in_a_time_distributed_layer():
    inner = sequential((4,), layers.Dense(3, "tanh"))
    wrapper = layers.TimeDistributed(inner)
    model = sequential((5, 4), wrapper)
    check(model, wrapper, lambda x: inner(x[0])[None], noise(1, 5, 4))


def test_input_layer():
    model = base_model()
    values, grads = loss_values(
        model, [ActivationMaximization(model.layers[0], 2)], noise(1, 6, 6, 3)
    )
    assert values[0] == pytest.approx(-noise(1, 6, 6, 3)[..., 2].mean(), rel=1e-4)
    np.testing.assert_allclose(grads, np.broadcast_to([0, 0, -1 / 36], (6, 6, 3)), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:`seed_input` should have values")
def test_inner_tensor_of_a_nested_model_as_wrt_tensor():
    base = base_model()
    pool, dense = layers.GlobalAveragePooling2D(), layers.Dense(2)
    model = sequential((6, 6, 3), layers.Rescaling(0.5), base, pool, dense)
    optimizer = Optimizer(
        model.inputs[0],
        [(ActivationMaximization(dense, 1), 1)],
        wrt_tensor=base.layers[-1].output,
        norm_grads=False,
    )
    image = noise(1, 6, 6, 3)
    _, grads, value = optimizer.minimize(image, 1, verbose=False)
    expected = -dense.kernel.numpy()[:, 1] / np.prod(value.shape[1:3])
    np.testing.assert_allclose(grads, np.broadcast_to(expected, value.shape), rtol=1e-4)
    np.testing.assert_allclose(value, base(0.5 * image), rtol=1e-4, atol=1e-6)


def test_half_and_double_precision():
    for dtype, tolerance in (("mixed_float16", 1e-2), ("mixed_bfloat16", 5e-2), ("float64", 1e-4)):
        model = sequential((6,), layers.Dense(5, "tanh", dtype=dtype), layers.Dense(3, dtype=dtype))
        image = noise(1, 6)
        expected = -float(model(image)[0, 1])
        values, grads = loss_values(model, [ActivationMaximization(model.layers[-1], 1)], image)
        assert values[0] == pytest.approx(expected, rel=tolerance, abs=tolerance)
        assert np.isfinite(grads).all()


def test_loss_that_depends_on_another_input():
    image, condition = keras.Input((4,), name="image"), keras.Input((3,), name="condition")
    x = layers.Dense(2)(layers.Concatenate()([image, condition]))
    model = keras.Model([image, condition], x)
    with pytest.raises(ValueError, match=r"no other inputs than 'image'.*Received: .*'condition'"):
        Optimizer(image, [(ActivationMaximization(model.layers[-1], 0), 1)])


def test_changed_activation_takes_effect():
    """Even without `apply_modifications`."""
    model = sequential((4,), layers.Dense(3, "sigmoid"))
    image = noise(1, 4)
    loss = [ActivationMaximization(model.layers[0], 1)]
    loss_values(model, loss, image)
    model.layers[0].activation = keras.activations.linear
    kernel, bias = model.get_weights()
    values, _ = loss_values(model, loss, image)
    assert values[0] == pytest.approx(-(image @ kernel + bias)[0, 1], rel=1e-4)


@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_changed_weights_take_effect(precision):
    model = sequential(
        (4, 4, 3),
        layers.Conv2D(3, 2),
        layers.BatchNormalization(),
        layers.Conv2D(3, 1),
        layers.Flatten(),
        layers.Dense(3),
        layers.BatchNormalization(),
    )
    image = noise(1, 4, 4, 3)
    optimizer = Optimizer(
        model.inputs[0], [(ActivationMaximization(model.layers[-1], 1), 1)], precision=precision
    )
    for _ in range(3):
        recorder = Recorder()
        optimizer.minimize(image, 1, callbacks=[recorder], verbose=False)
        expected = -model(image).numpy()[0, 1]
        assert recorder.overall[0] == pytest.approx(expected, rel=0.03 if precision else 1e-4)
        model.set_weights([w + 0.3 * np.abs(noise(*w.shape)) for w in model.get_weights()])


def test_layers_upstream_of_a_hidden_layer_in_a_nested_model():
    """Later layers of the enclosing model are not upstream."""

    class Block(keras.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.inner = keras.layers.Dense(4, name="inner")

        def call(self, inputs):
            return inputs + self.inner(inputs)

    blocks = [Block(name=f"block{i}") for i in range(3)]
    nested = keras.Sequential([keras.Input((4,)), *blocks], name="nested")
    model = keras.Sequential([keras.Input((4,)), nested, keras.layers.Dense(2)])
    graph = Graph.of(model)
    graph.layers()
    for number, block in enumerate(blocks):
        upstream = graph.upstream(block.inner)
        assert [id(other.inner) in upstream for other in blocks] == [i <= number for i in range(3)]


def test_layers_upstream_of_all_calls_of_a_shared_layer():
    inputs = [keras.Input((4,)), keras.Input((4,))]
    first, second, shared = layers.Dense(3), layers.Dense(3), layers.Dense(2)
    joined = layers.Add()([shared(first(inputs[0])), shared(second(inputs[1]))])
    model = keras.Model(inputs, layers.Dense(2)(joined))
    graph = Graph.of(model)
    assert {id(first), id(second), id(shared)} <= graph.upstream(model.layers[-1])
    assert graph.upstream(shared) == set(map(id, (model.layers[0], first, shared)))
