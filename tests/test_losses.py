from __future__ import annotations

import gc
import re
import weakref

import keras
import numpy as np
import pytest
from helpers import Recorder, nodes, sequential
from keras import layers, ops

from vis import backend as K  # noqa: N812  (the name in old losses)
from vis.losses import ActivationMaximization, ClassScores, Loss, OutputScore
from vis.optimizer import Optimizer
from vis.visualization.attribution.score import Score


def value_of(loss, model, image, weight=1):
    """The value of a loss in an optimisation."""
    recorder = Recorder()
    Optimizer(model.inputs[0], [(loss, weight)]).minimize(
        image, 1, callbacks=[recorder], verbose=False
    )
    return recorder.overall[0]


def gradient_of(loss, model, image):
    optimizer = Optimizer(model.inputs[0], [(loss, 1)], norm_grads=False)
    return optimizer.minimize(image, 1, verbose=False)[1]


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture
def model():
    return sequential((6, 5, 2), layers.Conv2D(4, 3, activation="tanh"), layers.Conv2D(3, 2))


@pytest.mark.every(4)
@pytest.mark.parametrize(
    ("indices", "columns"),
    [(2, [2]), ([0, 3], [0, 3]), ((1,), [1]), (np.int64(1), [1]), (np.array([3, 1]), [3, 1]),
     (None, [0, 1, 2, 3]), ([None], [0, 1, 2, 3]), (-1, [3]), ([2, 2], [2, 2]), (range(2), [0, 1])],
)  # fmt: skip
def test_activation_maximization(model, indices, columns):
    image = noise(1, 6, 5, 2)
    expected = -sum(model.layers[0](image).numpy()[..., i].mean() for i in columns)
    loss = ActivationMaximization(model.layers[0], indices)
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-5)
    assert value_of(loss, model, image, weight=-2.5) == pytest.approx(-2.5 * expected, rel=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_class_scores(activation):
    model = sequential((5,), layers.Dense(4, activation))
    image = noise(1, 5)
    kernel, bias = model.get_weights()
    scores = image[0] @ kernel + bias
    log_probability = scores[2] - np.log(np.exp(scores).sum())
    expected = -(0.1 * scores[2] + 0.9 * log_probability)
    loss = ClassScores(model.layers[0], [2])
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-5)


@pytest.mark.every(3)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_first(rank):
    conv = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[rank]
    depth = {1: layers.MaxPool1D, 2: layers.MaxPool2D, 3: layers.MaxPool3D}[rank]
    shape = (7, 6, 4)[:rank]
    kwargs = {"data_format": "channels_first"}
    parts = conv(5, 3, **kwargs), depth(2, **kwargs), layers.Activation("tanh")
    first = sequential((3, *shape), *parts)
    last = sequential((*shape, 3), conv(5, 3), depth(2), layers.Activation("tanh"))
    last.set_weights(first.get_weights())
    image = noise(1, *shape, 3)
    expected = last(image).numpy()[0].reshape(-1, 5).mean(axis=0)
    for i in range(5):
        # The last layer has no `data_format`.
        loss = ActivationMaximization(first.layers[-1], i)
        value = value_of(loss, first, np.moveaxis(image, -1, 1))
        assert value == pytest.approx(-expected[i], rel=1e-4, abs=1e-6)


def test_dense_layer_with_a_time_axis():
    model = sequential((5, 3), layers.Dense(4))
    image = noise(1, 5, 3)
    expected = -model(image).numpy()[0, :, 2].mean()
    loss = ActivationMaximization(model.layers[0], 2)
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-5)


@pytest.mark.every(4)
@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(4),
        layers.GRU(4, return_sequences=True),
        layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(4)),
        layers.LayerNormalization(),
        layers.EinsumDense("abc,cd->abd", output_shape=(None, 4)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers(layer):
    model = sequential((5, 4), layer)
    image = noise(1, 5, 4)
    expected = -np.mean(layer(image).numpy()[..., 1])
    loss = ActivationMaximization(layer, 1)
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(gradient_of(loss, model, image)).all()


def test_layers_run_in_inference_mode():
    model = sequential(
        (8,), layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.9),
        layers.GaussianNoise(1.0), layers.Dense(2),
    )  # fmt: skip
    model.layers[1].set_weights([noise(4) ** 2, noise(4), noise(4), noise(4) ** 2 + 0.1])
    image = noise(1, 8)
    expected = -model(image, training=False).numpy()[0, 1]
    loss = ActivationMaximization(model.layers[-1], 1)
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-4)


def test_str_is_the_name(model):
    assert str(ActivationMaximization(model.layers[0], 1)) == "ActivationMax Loss"
    loss = Loss()
    loss.name = "my loss"
    assert str(loss) == "my loss"
    with pytest.raises(NotImplementedError, match="build_loss"):
        loss.build_loss()


@pytest.mark.parametrize(
    ("indices", "kind", "message"),
    [
        (4, ValueError, "has 4 filters, 0 to 3"),
        (-5, ValueError, "has 4 filters"),
        ([0, 4], ValueError, "has 4 filters"),
        ([], ValueError, "at least one"),
        (1.0, TypeError, "integer"),
        ("1", TypeError, "integer"),
        (True, TypeError, "integer"),
        ([[0, 1]], TypeError, "integer"),
        (np.array(1.5), TypeError, "integer"),
    ],
)
def test_bad_filter_indices(model, indices, kind, message):
    with pytest.raises(kind, match=f"`filter_indices` .*{message}.*Received: "):
        ActivationMaximization(model.layers[0], indices)


@pytest.mark.parametrize("layer", [0, "conv2d", None])
def test_layer_of_the_wrong_type(layer):
    with pytest.raises(TypeError, match=r"`layer` must be a Keras layer.*Received: "):
        ActivationMaximization(layer, 0)


def test_layer_that_was_never_called():
    with pytest.raises(ValueError, match=r"`layer` must be part of .*Received: layer 'lonely'"):
        ActivationMaximization(layers.Dense(2, name="lonely"), 0)


# Custom losses.


class Contrast(Loss):
    """Depends on an inner layer, on the output and on the input."""

    def __init__(self, model, functions):
        super().__init__()
        self.name = "contrast"
        self.model, self.functions = model, functions

    def build_loss(self):
        f = self.functions
        inner, last = (layer.output for layer in self.model.layers)
        image = self.model.inputs[0]
        return (
            f.mean(f.square(inner))
            - 2 * f.sum(last[:, 0])
            + 0.5 * f.max(f.abs(image)) / f.sqrt(3.0)
        )


@pytest.mark.parametrize("functions", [ops, K], ids=["keras.ops", "K"])
def test_custom_loss(model, functions):
    image = noise(1, 6, 5, 2)
    inner = model.layers[0](image)
    last = model.layers[1](inner).numpy()
    expected = (
        np.mean(np.square(inner.numpy())) - 2 * last[:, 0].sum()
        + 0.5 * np.abs(image).max() / np.sqrt(3)
    )  # fmt: skip
    loss = Contrast(model, functions)
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-4)


def test_gradient_of_a_custom_loss():
    model = sequential((4,), layers.Dense(3, "tanh"))

    class Squares(Loss):
        def build_loss(self):
            return ops.sum(ops.square(model.layers[0].output)) + ops.sum(model.inputs[0] ** 3)

    image = noise(1, 4)
    kernel, bias = map(np.float64, model.get_weights())
    y = np.tanh(image @ kernel + bias)
    expected = (2 * y * (1 - y**2)) @ kernel.T + 3 * image**2
    np.testing.assert_allclose(gradient_of(Squares(), model, image), expected, rtol=1e-4, atol=1e-6)


def test_old_loss_needs_only_another_import(model):
    class Old(Loss):
        """A loss from a notebook of 2018."""

        def __init__(self, layer, image, p=6.0):
            super(Old, self).__init__()  # noqa: UP008
            self.name = "old"
            self.layer, self.image, self.p = layer, image, p

        def build_loss(self):
            x = self.layer.output
            assert K.ndim(x) == 4
            assert K.int_shape(x) == (None, 4, 3, 4)
            assert K.floatx() == "float32"
            assert K.image_data_format() == "channels_last"
            value = K.sum(K.pow(K.abs(K.flatten(self.image)), self.p))
            norm = K.pow(value, 1.0 / self.p) / np.prod(K.int_shape(self.image)[1:])
            soft = K.log(K.epsilon() + K.sum(K.exp(K.batch_flatten(x)), axis=-1))
            clipped = K.clip(x, 0.0, 0.5)
            largest = K.max(x, axis=[1, 2, 3])
            return norm - K.mean(soft) + K.mean(K.maximum(clipped, 0.1)) - K.sum(largest)

    image = noise(1, 6, 5, 2)
    x = np.float64(model.layers[0](image).numpy())
    expected = (
        np.sum(np.abs(np.float64(image)) ** 6) ** (1 / 6) / 60
        - np.log(1e-7 + np.exp(x).sum())
        + np.maximum(np.clip(x, 0, 0.5), 0.1).mean()
        - x.max()
    )
    loss = Old(model.layers[0], model.inputs[0])
    assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-4)


def test_custom_loss_with_a_variable(model):
    target = keras.Variable(noise(1, 4, 3, 4))

    class Distance(Loss):
        def build_loss(self):
            return ops.mean(ops.square(model.layers[0].output - target))

    image = noise(1, 6, 5, 2)
    expected = np.mean((model.layers[0](image).numpy() - target.numpy()) ** 2)
    assert value_of(Distance(), model, image) == pytest.approx(expected, rel=1e-4)


def test_subclass_with_another_build_loss(model):
    class Squared(ActivationMaximization):
        def build_loss(self):
            return ops.square(super().build_loss())

    image = noise(1, 6, 5, 2)
    plain = value_of(ActivationMaximization(model.layers[0], 1), model, image)
    assert value_of(Squared(model.layers[0], 1), model, image) == pytest.approx(plain**2, rel=1e-4)


def test_loss_of_shape_one_is_a_scalar(model):
    class PerSample(Loss):
        def build_loss(self):
            return ops.mean(model.layers[0].output, axis=(1, 2, 3))

    image = noise(1, 6, 5, 2)
    expected = model.layers[0](image).numpy().mean()
    assert value_of(PerSample(), model, image) == pytest.approx(expected, rel=1e-4)


def test_custom_losses_leave_the_model_unchanged(model):
    before = nodes(model)
    for _ in range(3):
        value_of(Contrast(model, ops), model, noise(1, 6, 5, 2))
    assert nodes(model) == before

    class Fails(Loss):
        def build_loss(self):
            ops.mean(model.layers[0].output)
            raise RuntimeError("custom")

    with pytest.raises(RuntimeError, match="custom"):
        Optimizer(model.inputs[0], [(Fails(), 1)])
    assert nodes(model) == before


def old_k_of_keras():
    from keras import backend

    return backend


def old_k_of_tensorflow():
    from tensorflow.keras import backend

    return backend


def functions_of_tensorflow():
    import tensorflow

    return tensorflow.math


OLD_LOSSES = {
    "mean": lambda k, x: -k.mean(x),
    "sum of square": lambda k, x: k.sum(k.square(x)),
    "tensorflow": lambda k, x: k.reduce_mean(x),
}


@pytest.mark.parametrize(
    ("functions", "loss"),
    [
        (old_k_of_keras, "mean"),
        (old_k_of_tensorflow, "mean"),
        (old_k_of_keras, "sum of square"),
        (old_k_of_tensorflow, "sum of square"),
        (functions_of_tensorflow, "tensorflow"),
    ],
)
def test_keras_backend_error_names_the_line_to_change(model, functions, loss):
    class Old(Loss):
        def build_loss(self):
            return OLD_LOSSES[loss](functions(), model.layers[0].output)

    with pytest.raises(TypeError) as caught:
        Optimizer(model.inputs[0], [(Old(), 1)])
    message = str(caught.value)
    assert "`from keras import backend as K`" in message
    assert "`from tensorflow.keras import backend as K`" in message
    assert "`from vis import backend as K`" in message
    assert "Received: " in message
    assert re.search(r"test_losses\.py:\d+", message)


def test_other_errors_in_build_loss_are_not_changed(model):
    class Typo(Loss):
        def build_loss(self):
            return ops.meen(model.layers[0].output)

    class Wrong(Loss):
        def build_loss(self):
            return ops.mean(model.layers[0].output + model.layers[1].output)

    with pytest.raises(AttributeError, match="meen"):
        Optimizer(model.inputs[0], [(Typo(), 1)])
    with pytest.raises(ValueError, match="broadcast"):
        Optimizer(model.inputs[0], [(Wrong(), 1)])


def test_function_missing_in_vis_backend(model):
    class Old(Loss):
        def build_loss(self):
            return K.conv2d_backwards(model.layers[0].output)

    with pytest.raises(AttributeError, match=r"'vis\.backend' has no attribute 'conv2d_backwards'"):
        Optimizer(model.inputs[0], [(Old(), 1)])


@pytest.mark.parametrize("value", [1.0, None, np.float32(2), "loss"])
def test_loss_that_is_not_symbolic(model, value):
    class Constant(Loss):
        def build_loss(self):
            return value

    with pytest.raises(TypeError, match=r"`build_loss` .*symbolic.*Received: "):
        Optimizer(model.inputs[0], [(Constant(), 1)])


def test_loss_that_is_not_a_scalar(model):
    class Image(Loss):
        def build_loss(self):
            return model.layers[0].output

    with pytest.raises(ValueError, match=r"`build_loss` .*scalar.*Received: .*4, 3, 4"):
        Optimizer(model.inputs[0], [(Image(), 1)])


def test_loss_of_another_model(model):
    other = sequential((4,), layers.Dense(2))

    class Elsewhere(Loss):
        def build_loss(self):
            return ops.mean(other.layers[0].output)

    with pytest.raises(ValueError, match=r"must depend on no other inputs than.*Received: "):
        Optimizer(model.inputs[0], [(Elsewhere(), 1)])


# `vis.backend` in place of `keras.backend`.


def test_functions_of_keras_backend():
    x = np.array([[1.0, -2.0, 3.0]], "float32")
    assert float(K.mean(x)) == pytest.approx(2 / 3)
    assert float(K.sum(x)) == 2
    np.testing.assert_allclose(K.square(x), [[1, 4, 9]])
    np.testing.assert_allclose(K.abs(x), [[1, 2, 3]])
    np.testing.assert_allclose(K.pow(x, 2), [[1, 4, 9]])
    np.testing.assert_allclose(K.max(x, axis=-1), [3])
    np.testing.assert_allclose(K.sqrt(K.abs(x)), np.sqrt(np.abs(x)))
    np.testing.assert_allclose(K.log(K.exp(x)), x, rtol=1e-6)
    np.testing.assert_allclose(K.l2_normalize(x), x / np.sqrt(14), rtol=1e-6)
    np.testing.assert_allclose(K.l2_normalize(x, axis=0), np.sign(x), rtol=1e-6)
    np.testing.assert_allclose(K.permute_dimensions(x, (1, 0)), x.T)
    np.testing.assert_allclose(K.gather(x, [0, 0]), np.concatenate([x, x]))
    np.testing.assert_allclose(K.switch(x > 0, x, -x), [[1, 2, 3]])
    np.testing.assert_allclose(K.repeat_elements(x, 2, axis=1), np.repeat(x, 2, axis=1))
    np.testing.assert_allclose(K.concatenate([x, x], axis=0), np.concatenate([x, x]))
    assert K.ndim(x) == 2
    assert K.int_shape(keras.Input((4,))) == (None, 4)
    assert K.dtype(x) == "float32"
    assert K.epsilon() == keras.config.epsilon()
    assert K.floatx() == keras.config.floatx()


def test_constants_have_keras_2_dtypes_and_shapes():
    assert K.dtype(K.constant([1, 2])) == "float32"
    assert K.dtype(K.constant([1.5], "int32", name="one")) == "int32"
    np.testing.assert_array_equal(K.constant(np.arange(6), shape=(2, 3)), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(K.constant(7, dtype="int64", shape=(2, 1)), [[7], [7]])
    np.testing.assert_array_equal(K.constant(7, shape=2), [7, 7])
    with pytest.raises(ValueError, match=r"`shape` must have size 3.*Received: shape=\(2,"):
        K.constant([1, 2, 3], shape=(2, 3))


def test_variables_have_keras_2_dtypes_and_shapes():
    variable = K.variable([[1, 2]], name="weight", constraint=abs)
    assert K.dtype(variable) == "float32"
    assert variable.name.startswith("weight")
    assert variable.constraint is abs
    assert K.dtype(K.variable(np.zeros(2, "float64"), "float16")) == "float16"
    variable.assign([[3.0, 4.0]])
    np.testing.assert_array_equal(K.square(variable), [[9, 16]])
    for make, value in [(K.zeros, 0), (K.ones, 1)]:
        filled = make((2, 3), "int32", "filled")
        np.testing.assert_array_equal(K.eval(filled), np.full((2, 3), value))
        assert K.dtype(filled) == "int32"
        assert K.dtype(make(4)) == "float32"
        filled.assign_add(filled + 1)
        assert K.eval(filled).min() == 2 * value + 1
    for make, value in [(K.zeros_like, 0), (K.ones_like, 1)]:
        np.testing.assert_array_equal(K.eval(make(variable)), [[value, value]])
        assert K.dtype(make(np.zeros(2, "int32"))) == "int32"
        assert K.dtype(make(np.zeros(2, "int32"), "float16", "x")) == "float16"
        assert K.int_shape(make(keras.Input((4,)))) == (None, 4)


@pytest.mark.parametrize("kind", [K.constant, K.variable, K.sum, np.float32])
def test_eval_returns_arrays(kind):
    value = K.eval(kind([1.0, 2.0]))
    assert isinstance(value, np.ndarray)
    np.testing.assert_array_equal(value, kind([1.0, 2.0]))


def test_eval_of_a_symbolic_tensor():
    with pytest.raises(ValueError, match=r"`x` must not be symbolic.*Received: x=<KerasTensor"):
        K.eval(keras.Input((4,)))


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_set_image_data_format(data_format):
    before = keras.config.image_data_format()
    try:
        K.set_image_data_format(data_format)
        assert keras.config.image_data_format() == data_format == K.image_data_format()
    finally:
        keras.config.set_image_data_format(before)


def test_loss_reads_the_current_value_of_its_variable(model):
    class Distance(Loss):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def build_loss(self):
            image = model.inputs[0]
            offset = K.zeros((6, 5, 2)) + K.constant([1.0, 2.0])
            distance = K.ones_like(image) * image - self.scale * offset
            return K.mean(K.square(distance)) * K.constant(3.0)

    image, scale = noise(6, 5, 2), K.variable(2.0)
    loss = Distance(scale)
    for value in (2.0, -5.0):
        scale.assign(value)
        expected = 3 * np.mean(np.square(image - value * np.array([1, 2])))
        assert value_of(loss, model, image) == pytest.approx(expected, rel=1e-5)


def test_output_score():
    model = sequential((5,), keras.layers.Dense(3))
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")

    def margin(output):
        return output[:, 1] - 2 * output[:, 2]

    score = Score(model.inputs[0], [(OutputScore(model.layers[-1], margin), -1)])
    kernel, bias = model.get_weights()
    direction = np.array([0, 1, -2])
    np.testing.assert_allclose(score.values(rows), (rows @ kernel + bias) @ direction, rtol=1e-4)
    grads = np.broadcast_to(kernel @ direction, rows.shape)
    np.testing.assert_allclose(score.gradients(rows), grads, rtol=1e-4)
    loss = OutputScore(model.layers[-1], margin)
    np.testing.assert_allclose(value_of(loss, model, rows[0]), -score.values(rows)[0], rtol=1e-4)


def test_output_score_with_a_bad_function():
    layer = sequential((5,), keras.layers.Dense(3)).layers[-1]
    with pytest.raises(TypeError, match=r"`function` must be a function.*Received: "):
        OutputScore(layer, "margin")
    model = sequential((5,), keras.layers.Dense(3))
    wrong = OutputScore(model.layers[-1], lambda output: output)
    with pytest.raises(ValueError, match=r"`function` must return one score.*Received: "):
        Optimizer(model.inputs[0], wrong).minimize(max_iter=1, verbose=False)


def test_function_that_holds_the_model_does_not_keep_it_alive():
    model = sequential((5,), keras.layers.Dense(3))
    loss = OutputScore(model.layers[-1], lambda output, model=model: output[:, 0])
    Optimizer(model.inputs[0], loss).minimize(max_iter=1, verbose=False)
    model_ref = weakref.ref(model)
    del model, loss
    gc.collect()
    assert model_ref() is None
