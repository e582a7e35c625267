from __future__ import annotations

import _thread
import signal
import threading

import keras
import numpy as np
import numpy_reference as reference
import pytest
from helpers import Recorder, channels_last, sequential, weights
from keras import layers, ops

from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, Jitter
from vis.losses import ActivationMaximization, Loss
from vis.optimizer import NonFiniteError, Optimizer
from vis.regularizers import LPNorm, TotalVariation

FORMATS = ["channels_last", "channels_first"]


def dense_model():
    model = sequential(
        (7,),
        layers.Dense(5, "softplus", bias_initializer="random_normal"),
        layers.Dense(4, "tanh", bias_initializer="random_normal"),
    )
    return model, reference.network(*[reference.dense(*weights(x)) for x in model.layers])


def conv_model(rank, data_format="channels_last", last="tanh"):
    """Two convolutions of 1 to 3 dimensions, the second with strides.

    No axis is as long as the number of filters: with channels first, Keras would then add the bias
    along the wrong axis.
    """
    size, kernel = {1: (9, 3), 2: (7, 3), 3: (5, 2)}[rank]
    image = (*range(size, size - rank, -1), 2)
    shape = (image[-1], *image[:-1]) if data_format == "channels_first" else image
    conv = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[rank]
    settings = {"data_format": data_format, "bias_initializer": "random_normal"}
    model = sequential(
        shape,
        conv(3, kernel, activation="softplus", **settings),
        conv(4, 2, strides=2, activation=last, **settings),
    )
    first, second = model.layers
    return model, reference.network(
        reference.conv(*weights(first)), reference.conv(*weights(second), stride=2)
    )


def conv_dense_model(data_format):
    shape = (2, 5, 4) if data_format == "channels_first" else (5, 4, 2)
    model = sequential(
        shape,
        layers.Conv2D(5, 2, activation="sigmoid", data_format=data_format),
        layers.Flatten(data_format=data_format),
        layers.Dense(4),
    )
    conv, _, dense = model.layers
    return model, reference.network(
        reference.conv(*weights(conv)), reference.flatten, reference.dense(*weights(dense))
    )


CASES = {
    "dense": dense_model,
    **{f"conv{r}d-{f}": (lambda r=r, f=f: conv_model(r, f)) for r in (1, 2, 3) for f in FORMATS},
    **{f"conv-dense-{f}": (lambda f=f: conv_dense_model(f)) for f in FORMATS},
}


def all_losses(model, filters, act_max=1, lp_norm=10, tv=10):
    image = model.inputs[0]
    return [
        (ActivationMaximization(model.layers[-1], filters), act_max),
        (LPNorm(image), lp_norm),
        (TotalVariation(image), tv),
    ]


def reference_losses(net, filters, act_max=1, lp_norm=10, tv=10):
    return [
        (reference.activation_maximization(net, filters), act_max),
        (reference.lp_norm, lp_norm),
        (reference.total_variation, tv),
    ]


def seed_for(model, samples=1, seed=0):
    shape = (samples, *model.inputs[0].shape[1:])
    return np.random.default_rng(seed).uniform(-2, 3, shape).astype("float32")


@pytest.fixture
def model():
    return dense_model()[0]


@pytest.fixture
def losses(model):
    return all_losses(model, 1)


# Algorithm.


@pytest.mark.every(4)
@pytest.mark.parametrize("case", CASES)
def test_every_step_agrees_with_the_reference(case):
    model, net = CASES[case]()
    data_format = "channels_first" if "first" in case else "channels_last"
    seed = seed_for(model)
    picture, history = reference.minimize(
        channels_last(seed, data_format)[0], reference_losses(net, [0, 2]), 8, (-1.0, 3.0)
    )
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], all_losses(model, [0, 2]), input_range=(-1.0, 3.0))
    image, grads, wrt_value = optimizer.minimize(
        seed, max_iter=8, callbacks=[recorder], verbose=False
    )

    assert len(history) == len(recorder.overall) == 8
    for step, (values, overall, expected_grads, expected_image) in enumerate(history):
        named = recorder.named_losses[step]
        assert [name for name, _ in named] == [
            "ActivationMax Loss",
            "L-6.0 Norm Loss",
            "TV(2.0) Loss",
        ]
        np.testing.assert_allclose([value for _, value in named], values, rtol=1e-4, atol=1e-6)
        # Losses of opposite signs cancel.
        size = np.sum(np.abs(values))
        assert recorder.overall[step] == pytest.approx(overall, abs=1e-4 * size)
        total = sum(value for _, value in named)
        assert recorder.overall[step] == pytest.approx(total, abs=1e-6 * size)
        actual = channels_last(recorder.grads[step], data_format)[0]
        np.testing.assert_allclose(actual, expected_grads, rtol=1e-4, atol=1e-4)
        assert np.sum(recorder.grads[step] ** 2) == pytest.approx(1, rel=1e-4)
        actual = channels_last(recorder.wrt_values[step], data_format)[0]
        np.testing.assert_allclose(
            actual, expected_image, rtol=1e-4, atol=1e-4 * np.abs(expected_image).max()
        )
    image = channels_last(image[None], data_format)[0]
    np.testing.assert_allclose(image, picture, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(grads, recorder.grads[-1])
    np.testing.assert_array_equal(wrt_value, recorder.wrt_values[-1])


def test_best_image_has_the_lowest_loss():
    model, _ = conv_model(2)
    seed = seed_for(model)
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], all_losses(model, 0), (0.0, 1.0))
    # The loss oscillates, so that the last of 12 images is not the best.
    image, *_ = optimizer.minimize(seed, 12, callbacks=[recorder], verbose=False)
    best = int(np.argmin(recorder.overall))
    assert best < 11
    expected = reference.deprocess(np.float64(recorder.wrt_values[best][0]), (0.0, 1.0))
    np.testing.assert_allclose(image, expected, rtol=1e-4)


def test_image_is_deprocessed(model, losses):
    recorder = Recorder()
    image, *_ = Optimizer(model.inputs[0], losses, (-20.0, 40.0)).minimize(
        max_iter=1, callbacks=[recorder], verbose=False, seed=0
    )
    expected = reference.deprocess(np.float64(recorder.wrt_values[0][0]), (-20.0, 40.0))
    np.testing.assert_allclose(image, expected, rtol=1e-4)
    assert image.mean() == pytest.approx(10, abs=1e-3)


def test_gradients_without_norm_grads():
    model, net = dense_model()
    seed = seed_for(model)
    picture, history = reference.minimize(
        seed[0], reference_losses(net, [3]), 8, (0.0, 1.0), norm_grads=False
    )
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], all_losses(model, 3), (0.0, 1.0), norm_grads=False)
    image, *_ = optimizer.minimize(seed, 8, callbacks=[recorder], verbose=False)
    for actual, (_, _, expected, _) in zip(recorder.grads, history, strict=True):
        np.testing.assert_allclose(actual[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(image, picture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("act_max", [-2.5, 0.125])
def test_weights_scale_losses(act_max):
    model, net = dense_model()
    seed = seed_for(model)
    _, history = reference.minimize(seed[0], reference_losses(net, [1], act_max, 3, 0), 4)
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1, act_max, 3, 0))
    optimizer.minimize(seed, 4, callbacks=[recorder], verbose=False)
    for named, (values, *_) in zip(recorder.named_losses, history, strict=True):
        assert [name for name, _ in named] == ["ActivationMax Loss", "L-6.0 Norm Loss"]
        np.testing.assert_allclose([value for _, value in named], values[:2], rtol=1e-4)


def test_loss_with_weight_zero_is_not_built(model):
    class Unbuildable(Loss):
        def build_loss(self):
            raise AssertionError("built")

    losses = [(Unbuildable(), 0), *all_losses(model, 1)]
    Optimizer(model.inputs[0], losses).minimize(max_iter=1, verbose=False)


def test_image_is_not_updated_with_an_inner_wrt_tensor():
    model, _ = dense_model()
    first, last = model.layers
    kernel, bias = map(np.float64, last.get_weights())
    recorder = Recorder()
    optimizer = Optimizer(
        model.inputs[0],
        all_losses(model, 2, act_max=3),
        (0.0, 1.0),
        wrt_tensor=first.output,
        norm_grads=False,
    )
    seed = seed_for(model)
    image, grads, wrt_value = optimizer.minimize(seed, 3, callbacks=[recorder], verbose=False)

    inner = reference.dense(*weights(first))(np.float64(seed))
    slope = 1 - np.tanh(inner @ kernel + bias)[:, 2] ** 2
    expected = -3 * slope[:, None] * kernel[:, 2]
    np.testing.assert_allclose(grads, expected, rtol=1e-4)
    np.testing.assert_allclose(wrt_value, inner, rtol=1e-4)
    assert len(set(recorder.overall)) == 1
    np.testing.assert_allclose(image, reference.deprocess(np.float64(seed[0]), (0.0, 1.0)), 1e-4)


def test_gradient_of_an_inner_tensor_is_normalised():
    model, _ = conv_model(2)
    optimizer = Optimizer(model.inputs[0], all_losses(model, 2), wrt_tensor=model.layers[0].output)
    _, grads, wrt_value = optimizer.minimize(seed_for(model), 1, verbose=False)
    assert grads.shape == wrt_value.shape == (1, 5, 4, 3)
    assert np.sum(grads**2) == pytest.approx(1, rel=1e-4)


def test_wrt_tensor_whose_first_axis_is_not_the_batch():
    image = keras.Input((4, 4, 2))
    pixels = layers.Lambda(lambda x: ops.reshape(x, (-1, 2)), output_shape=lambda s: (None, 2))(
        image
    )
    flat = layers.Lambda(lambda x: ops.reshape(x, (-1, 32)), output_shape=lambda s: (None, 32))(
        pixels
    )
    model = keras.Model(image, layers.Dense(5)(flat))
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    optimizer = Optimizer(model.input, losses, wrt_tensor=pixels)
    _, grads, values = optimizer.minimize(max_iter=2, seed=0, verbose=False)
    assert grads.shape == values.shape == (16, 2)
    # Its rows cannot be assigned to several images.
    with pytest.raises(ValueError, match=r"expected a dimension of 1, got 16(.|\n)*Received: "):
        optimizer.minimize(max_iter=2, seed=0, verbose=False, samples=2)


def test_input_as_wrt_tensor(model, losses):
    seed = seed_for(model)
    expected, *_ = Optimizer(model.inputs[0], losses).minimize(seed, 5, verbose=False)
    optimizer = Optimizer(model.inputs[0], losses, wrt_tensor=model.inputs[0])
    actual, *_ = optimizer.minimize(seed, 5, verbose=False)
    np.testing.assert_array_equal(actual, expected)


def test_wrt_tensor_without_gradient(model):
    optimizer = Optimizer(
        model.inputs[0], [(LPNorm(model.inputs[0]), 1)], wrt_tensor=model.layers[0].output
    )
    with pytest.raises(
        ValueError, match=r"`losses` must have a gradient with respect to .*Received:"
    ):
        optimizer.minimize(max_iter=1, verbose=False)


def test_list_with_one_input(model, losses):
    """A Sequential model has no `input`, but `inputs`."""
    seed = seed_for(model)
    expected, *_ = Optimizer(model.inputs[0], losses).minimize(seed, 3, verbose=False)
    actual, *_ = Optimizer(model.inputs, losses).minimize(seed, 3, verbose=False)
    np.testing.assert_array_equal(actual, expected)


# Batches.


@pytest.mark.parametrize("norm_grads", [True, False])
def test_batch_agrees_with_single_samples(norm_grads):
    model, _ = conv_model(2)
    seeds = seed_for(model, samples=3)
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1), (0.0, 1.0), norm_grads=norm_grads)
    batch = optimizer.minimize(seeds, 6, verbose=False)
    assert [array.shape for array in batch] == [seeds.shape] * 3
    for i, seed in enumerate(seeds):
        image, grads, wrt_value = optimizer.minimize(seed, 6, verbose=False)
        np.testing.assert_allclose(batch[0][i], image, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(batch[1][i], grads[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(batch[2][i], wrt_value[0], rtol=1e-4, atol=1e-4)


def test_batch_with_a_custom_loss_agrees_with_single_samples():
    model, _ = dense_model()

    class Largest(Loss):
        def build_loss(self):
            # Not a mean over the batch.
            return -ops.max(model.outputs[0]) + ops.sum(ops.square(model.inputs[0]))

    optimizer = Optimizer(model.inputs[0], [(Largest(), 1)], (0.0, 1.0))
    seeds = seed_for(model, samples=3)
    batch, *_ = optimizer.minimize(seeds, 6, verbose=False)
    for image, seed in zip(batch, seeds, strict=True):
        expected, *_ = optimizer.minimize(seed, 6, verbose=False)
        np.testing.assert_allclose(image, expected, rtol=1e-4, atol=1e-5)


def test_single_image_has_no_batch_axis(model, losses):
    optimizer = Optimizer(model.inputs[0], losses)
    for seed in (seed_for(model), seed_for(model)[0]):
        image, grads, wrt_value = optimizer.minimize(seed, 1, verbose=False)
        assert image.shape == (7,)
        assert grads.shape == wrt_value.shape == (1, 7)


# Seed images.


def test_noise_has_keras_vis_mean_and_deviation():
    model = sequential((40, 40, 1), layers.Conv2D(1, 3))
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], [(LPNorm(model.inputs[0]), 1)], (-20, 180))
    optimizer.minimize(max_iter=1, callbacks=[recorder], verbose=False)
    (noise,) = recorder.wrt_values
    assert noise.mean() == pytest.approx(80, abs=1e-2)
    assert noise.std() == pytest.approx(10, abs=1e-2)
    # Uniform noise has a maximum of sqrt(3) standard deviations.
    assert np.abs(noise - 80).max() == pytest.approx(10 * np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("data_format", FORMATS)
def test_seed_in_the_other_data_format(data_format):
    model, _ = conv_model(2, data_format)
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1))
    seed = seed_for(model)
    other = np.moveaxis(seed, *((1, -1) if data_format == "channels_first" else (-1, 1)))
    for seed_input in (seed, seed[0], other, other[0], seed.tolist(), np.float64(seed)):
        optimizer.minimize(seed_input, 1, callbacks=[recorder], verbose=False)
    for start in recorder.wrt_values:
        np.testing.assert_array_equal(start, seed)


def test_integer_seed_is_not_changed(model, losses):
    seed = np.arange(7, dtype="uint8")
    Optimizer(model.inputs[0], losses).minimize(seed, 5, verbose=False)
    np.testing.assert_array_equal(seed, np.arange(7))


def test_float_seed_is_not_changed(model, losses):
    seed = seed_for(model)
    before = seed.copy()
    Optimizer(model.inputs[0], losses).minimize(seed, 5, verbose=False)
    np.testing.assert_array_equal(seed, before)


# Randomness.


def test_same_seed_gives_the_same_image():
    model, _ = conv_model(2)
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1))
    settings = {"max_iter": 9, "input_modifiers": [Jitter(2)], "verbose": False}
    first = optimizer.minimize(seed=7, **settings)
    again = optimizer.minimize(seed=7, **settings)
    other = optimizer.minimize(seed=8, **settings)
    rebuilt = Optimizer(model.inputs[0], all_losses(model, 1)).minimize(seed=7, **settings)
    for a, b, c, d in zip(first, again, other, rebuilt, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, d)
        assert (a != c).any()


def test_default_seed_is_from_numpys_random_state():
    model, _ = conv_model(1)
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1))
    settings = {"max_iter": 5, "input_modifiers": [Jitter(2)], "verbose": False}
    pictures = []
    for seed in (500, 500, 501):
        np.random.seed(seed)  # noqa: NPY002
        pictures += [optimizer.minimize(**settings)[0] for _ in range(2)]
    np.testing.assert_array_equal(pictures[:2], pictures[2:4])
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_seed_leaves_numpys_random_state_unchanged(model, losses):
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(4)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    Optimizer(model.inputs[0], losses).minimize(
        seed=1, max_iter=3, input_modifiers=[Jitter()], verbose=False
    )
    np.testing.assert_array_equal(np.random.random(4), expected)  # noqa: NPY002


def test_image_does_not_depend_on_callbacks():
    model, _ = conv_model(2)
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1), (0.0, 1.0))
    settings = {"max_iter": 15, "input_modifiers": [Jitter(1)], "verbose": False, "seed": 4}
    expected, *_ = optimizer.minimize(**settings)
    with_callback, *_ = optimizer.minimize(callbacks=[Recorder()], **settings)
    settings["input_modifiers"] = [Jitter(1), InputModifier()]
    in_numpy, *_ = optimizer.minimize(**settings)
    np.testing.assert_array_equal(with_callback, expected)
    np.testing.assert_allclose(in_numpy, expected, rtol=1e-4, atol=1e-5)


# Modifiers.


class Logged(InputModifier):
    def __init__(self, name, log):
        self.name, self.log = name, log

    def pre(self, image):
        self.log.append(f"pre {self.name}")
        return image

    def post(self, image):
        self.log.append(f"post {self.name}")
        return image


def test_order_of_an_iteration(model, losses):
    log = []

    class LogCallback(OptimizerCallback):
        def callback(self, *_):
            log.append("callback")

    def grad_modifier(grads):
        log.append("grads")
        return grads

    Optimizer(model.inputs[0], losses).minimize(
        max_iter=2,
        input_modifiers=[Logged("a", log), Logged("b", log)],
        grad_modifier=grad_modifier,
        callbacks=[LogCallback()],
        verbose=False,
    )
    iteration = ["pre a", "pre b", "grads", "callback", "post b", "post a"]
    assert log == iteration * 2


class Affine(InputModifier):
    """A modifier that does not commute with others."""

    def __init__(self, factor, shift):
        self.factor, self.shift = factor, shift

    def pre(self, image):
        assert image.dtype == np.float32
        return np.float64(image) * self.factor + self.shift

    def post(self, image):
        return image / (self.factor + 0.25)


def test_modifiers_in_numpy():
    model, net = conv_model(1)
    seed = seed_for(model)
    one, two = Affine(1.5, 0.5), Affine(0.5, -1)
    picture, history = reference.minimize(
        seed[0],
        reference_losses(net, [1]),
        6,
        (0.0, 1.0),
        pre=lambda x: (x * 1.5 + 0.5) * 0.5 - 1,
        post=lambda x: x / 0.75 / 1.75,
    )
    recorder = Recorder()
    image, *_ = Optimizer(model.inputs[0], all_losses(model, 1), (0.0, 1.0)).minimize(
        seed, 6, input_modifiers=[one, two], callbacks=[recorder], verbose=False
    )
    for actual, (_, _, _, expected) in zip(recorder.wrt_values, history, strict=True):
        np.testing.assert_allclose(actual[0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(image, picture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_jitter_keeps_its_order_among_modifiers_in_numpy(first):
    model, _ = conv_model(2)
    images = []

    class Record(InputModifier):
        def pre(self, image):
            images.append(image.copy())
            return image

    seed = seed_for(model)
    recorder = Recorder()
    modifiers = [Jitter((3, 2)), Record()] if first else [Record(), Jitter((3, 2))]
    Optimizer(model.inputs[0], all_losses(model, 1)).minimize(
        seed, 1, input_modifiers=modifiers, callbacks=[recorder], verbose=False, seed=1
    )
    jittered = recorder.wrt_values[0]
    assert (jittered != seed).any()
    np.testing.assert_array_equal(images[0], jittered if first else seed)


def test_modifier_that_changes_the_shape(model, losses):
    class Crop(InputModifier):
        def pre(self, image):
            return image[:, 1:]

    with pytest.raises(ValueError, match=r"`input_modifiers` .*\(1, 7\)\. Received: .*\(1, 6\)"):
        Optimizer(model.inputs[0], losses).minimize(
            max_iter=1, input_modifiers=[Crop()], verbose=False
        )


GRAD_MODIFIERS = {
    "negate": lambda g: -g,
    "absolute": np.abs,
    "invert": lambda g: 1 / (g + 1e-7),
    "relu": lambda g: np.maximum(g, 0),
    "small_values": lambda g: np.abs(1 / (g + 1e-7)),
}


@pytest.mark.every(4)
@pytest.mark.parametrize("name", GRAD_MODIFIERS)
def test_gradient_modifier_by_name(name):
    model, net = dense_model()
    seed = seed_for(model)
    _, history = reference.minimize(
        seed[0], reference_losses(net, [1]), 3, grad_modifier=GRAD_MODIFIERS[name]
    )
    recorder = Recorder()
    Optimizer(model.inputs[0], all_losses(model, 1)).minimize(
        seed, 3, grad_modifier=name, callbacks=[recorder], verbose=False
    )
    for actual, at, (_, _, expected, expected_at) in zip(
        recorder.grads, recorder.wrt_values, history, strict=True
    ):
        np.testing.assert_allclose(actual[0], expected, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(at[0], expected_at, rtol=1e-3, atol=1e-3)


def test_custom_gradient_modifier():
    model, net = dense_model()
    seed = seed_for(model)

    def clipped(grads):
        assert isinstance(grads, np.ndarray)
        return np.clip(grads, -0.1, 0.2)

    picture, history = reference.minimize(
        seed[0], reference_losses(net, [1]), 6, (0.0, 1.0), grad_modifier=clipped
    )
    recorder = Recorder()
    image, grads, _ = Optimizer(model.inputs[0], all_losses(model, 1), (0.0, 1.0)).minimize(
        seed, 6, grad_modifier=clipped, callbacks=[recorder], verbose=False
    )
    for actual, (_, _, expected, _) in zip(recorder.grads, history, strict=True):
        np.testing.assert_allclose(actual[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(grads, recorder.grads[-1])
    np.testing.assert_allclose(image, picture, rtol=1e-4, atol=1e-5)


def test_gradient_modifier_that_changes_the_shape(model, losses):
    with pytest.raises(ValueError, match=r"`grad_modifier` .*\(1, 7\)\. Received: .*\(7,\)"):
        Optimizer(model.inputs[0], losses).minimize(
            max_iter=1, grad_modifier=lambda grads: grads[0], verbose=False
        )


# Callbacks.


def test_callbacks_are_called_in_each_iteration(model, losses):
    recorders = [Recorder(), Recorder()]
    callbacks = list(recorders)
    Optimizer(model.inputs[0], losses).minimize(max_iter=4, callbacks=callbacks, verbose=True)
    assert callbacks == recorders
    for recorder in recorders:
        assert recorder.iterations == [0, 1, 2, 3]
        assert recorder.ended == 1
        assert all(type(loss) is float for loss in recorder.overall)
        assert all(type(value) is float for _, value in recorder.named_losses[0])


def test_verbose_prints_each_iteration(model, losses, capsys):
    Optimizer(model.inputs[0], losses).minimize(max_iter=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "Iteration: 1," in lines[0]
    assert "ActivationMax Loss" in lines[0]


def test_silent_when_not_verbose(model, losses, capfd):
    Optimizer(model.inputs[0], losses).minimize(max_iter=3, verbose=False)
    assert capfd.readouterr() == ("", "")


class Failing(Recorder):
    def __init__(self, error, at=3):
        super().__init__()
        self.error, self.at = error, at

    def callback(self, i, *args):
        super().callback(i, *args)
        if i == self.at:
            raise self.error


def test_error_in_a_callback_ends_all_callbacks(model, losses):
    before, failing, after = Recorder(), Failing(OSError("disk full")), Recorder()
    with pytest.raises(OSError, match="disk full"):
        Optimizer(model.inputs[0], losses).minimize(
            max_iter=9, callbacks=[before, failing, after], verbose=False
        )
    assert before.iterations == [0, 1, 2, 3]
    assert [r.ended for r in (before, failing, after)] == [1, 1, 1]


def test_error_in_on_end_does_not_skip_other_callbacks(model, losses):
    class FailsAtEnd(Recorder):
        def on_end(self):
            raise OSError("disk full")

    others = [Recorder(), Recorder()]
    with pytest.raises(OSError, match="disk full"):
        Optimizer(model.inputs[0], losses).minimize(
            max_iter=1, callbacks=[others[0], FailsAtEnd(), others[1]], verbose=False
        )
    assert [other.ended for other in others] == [1, 1]


def test_interrupt_returns_the_best_image_so_far():
    model, _ = conv_model(2)
    optimizer = Optimizer(model.inputs[0], all_losses(model, 1), (0.0, 1.0))
    seed = seed_for(model)
    expected = optimizer.minimize(seed, 4, verbose=False)
    failing = Failing(KeyboardInterrupt())
    with pytest.warns(UserWarning, match="after 4 of 100 iterations") as warned:
        actual = optimizer.minimize(seed, 100, callbacks=[failing], verbose=False)
    assert warned[0].filename == __file__
    assert failing.ended == 1
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.fixture
def interruptible():
    """Installs Python's signal handler, which background processes lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_of_the_compiled_loop(model, losses):
    optimizer = Optimizer(model.inputs[0], losses, (0.0, 1.0))
    optimizer.minimize(max_iter=3, verbose=False)
    finished = threading.Event()

    def press():
        # Python loses interrupts that arrive in a finalizer, so press again.
        seconds = 1.0
        while not finished.wait(seconds):
            _thread.interrupt_main()
            seconds = 10.0

    threading.Thread(target=press, daemon=True).start()
    try:
        with pytest.warns(UserWarning, match="Interrupted after"):
            image, grads, wrt_value = optimizer.minimize(max_iter=10**9, verbose=False)
    finally:
        finished.set()
    assert image.shape == (7,)
    assert np.isfinite(image).all()
    assert grads.shape == wrt_value.shape == (1, 7)


def test_interrupt_before_the_first_step(model, losses):
    class Interrupt(InputModifier):
        def pre(self, image):
            raise KeyboardInterrupt

    seed = seed_for(model)
    with pytest.warns(UserWarning, match="after 0 of 5 iterations"):
        image, *_ = Optimizer(model.inputs[0], losses, (0.0, 1.0)).minimize(
            seed, 5, input_modifiers=[Interrupt()], verbose=False
        )
    np.testing.assert_allclose(image, reference.deprocess(np.float64(seed[0]), (0.0, 1.0)), 1e-4)


# NaN and infinity.


class LogOfMean(Loss):
    """Decreases until the mean is negative, and is then NaN."""

    def __init__(self, image):
        super().__init__()
        self.name = "log of mean"
        self.image = image

    def build_loss(self):
        return ops.log(ops.mean(self.image))


@pytest.mark.parametrize("with_callback", [True, False])
def test_loss_that_turns_nan(model, with_callback):
    optimizer = Optimizer(model.inputs[0], [(LogOfMean(model.inputs[0]), 1)], (0.0, 1.0))
    seed = np.linspace(6, 8, 7, dtype="float32")
    recorder = Recorder()
    with pytest.raises(NonFiniteError, match="'log of mean'") as caught:
        optimizer.minimize(seed, 100, callbacks=[recorder] if with_callback else [], verbose=False)
    error = caught.value
    assert isinstance(error, ValueError)
    assert 2 < error.iteration < 100
    assert f"iteration {error.iteration}" in str(error)
    assert "best_image" in str(error)
    assert "Received: " in str(error)
    # One iteration fewer gives the same image.
    image, *_ = optimizer.minimize(seed, error.iteration - 1, verbose=False)
    np.testing.assert_array_equal(error.best_image, image)
    if with_callback:
        assert recorder.iterations == list(range(error.iteration - 1))
        assert recorder.ended == 1


def test_weights_that_are_nan(model, losses):
    kernel, bias = model.layers[0].get_weights()
    kernel[2, 2] = np.nan
    model.layers[0].set_weights([kernel, bias])
    with pytest.raises(NonFiniteError, match=r"'ActivationMax Loss'.*iteration 1\.") as caught:
        Optimizer(model.inputs[0], losses).minimize(max_iter=5, verbose=False)
    assert caught.value.iteration == 1
    assert caught.value.best_image is None


def test_gradient_that_is_infinite(model):
    class Root(Loss):
        def build_loss(self):
            return ops.sum(ops.sqrt(model.inputs[0]))

    with pytest.raises(NonFiniteError, match=r"gradient turned NaN or infinite at iteration 1"):
        Optimizer(model.inputs[0], [(Root(), 1)]).minimize(np.zeros(7), 5, verbose=False)


def test_gradient_modifier_that_returns_nan(model, losses):
    with pytest.raises(NonFiniteError, match=r"gradient turned NaN or infinite at iteration 1"):
        Optimizer(model.inputs[0], losses).minimize(
            max_iter=5, grad_modifier=lambda grads: grads * np.nan, verbose=False
        )


def test_gradient_of_zero_does_not_change_the_image(model):
    class Zero(Loss):
        def build_loss(self):
            return 0 * ops.sum(model.inputs[0])

    seed = seed_for(model)
    _, grads, wrt_value = Optimizer(model.inputs[0], [(Zero(), 1)], (0.0, 1.0)).minimize(
        seed, 3, verbose=False
    )
    np.testing.assert_array_equal(grads, np.zeros((1, 7)))
    np.testing.assert_array_equal(wrt_value, seed)


# Bad arguments.


def optimizer_error(kind, match, *args, **kwargs):
    with pytest.raises(kind, match=match) as caught:
        Optimizer(*args, **kwargs)
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize("input_tensor", [None, "input", np.zeros((1, 7)), []])
def test_input_tensor_of_the_wrong_type(input_tensor, losses):
    optimizer_error(TypeError, "`input_tensor`", input_tensor, losses)


@pytest.mark.parametrize(
    ("input_range", "kind"),
    [
        ((255, 0), ValueError),
        ((1, 1), ValueError),
        ((0, np.nan), ValueError),
        ((-np.inf, 0), ValueError),
        (255, TypeError),
        ((0, 1, 2), TypeError),
        ((0, "1"), TypeError),
        (None, TypeError),
    ],
)
def test_bad_input_range(input_range, kind, model, losses):
    optimizer_error(kind, "`input_range`", model.inputs[0], losses, input_range)


@pytest.mark.parametrize(
    ("weight", "kind"),
    [(np.nan, ValueError), (np.inf, ValueError), ("1", TypeError), (None, TypeError)],
)
def test_weight_that_is_not_a_number(weight, kind, model, losses):
    optimizer_error(kind, "`weight`", model.inputs[0], [(losses[0][0], weight)])


@pytest.mark.parametrize("weight", [np.float32(2), np.int64(2)])
def test_weight_of_a_numpy_type(weight, model, losses):
    Optimizer(model.inputs[0], [(losses[0][0], weight)]).minimize(max_iter=1, verbose=False)


def test_bad_losses(model, losses):
    for bad in (None, 3, losses[0], [losses[0][0]], [(1, 1)], [("ActivationMax Loss", 1)]):
        optimizer_error(TypeError, "`losses`", model.inputs[0], bad)
    optimizer_error(ValueError, "`losses`", model.inputs[0], [])
    optimizer_error(ValueError, "`losses`", model.inputs[0], [(losses[0][0], 0)])


def test_loss_on_another_model(model):
    other, _ = dense_model()
    optimizer_error(ValueError, "`losses`", model.inputs[0], all_losses(other, 1)[:1])
    optimizer_error(ValueError, other.inputs[0].name, model.inputs[0], all_losses(other, 1)[1:])


@pytest.mark.parametrize("value", [np.zeros(3), "dense", 3])
def test_wrt_tensor_of_the_wrong_type(value, model, losses):
    optimizer_error(TypeError, "`wrt_tensor`", model.inputs[0], losses, wrt_tensor=value)


def test_wrt_tensor_of_another_model(model, losses):
    other, _ = dense_model()
    optimizer_error(
        ValueError, other.layers[0].output.name, model.inputs[0], losses,
        wrt_tensor=other.layers[0].output,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(6,), (2, 6), (1, 1, 7), (), (0, 7)])
def test_seed_input_of_the_wrong_shape(shape, model, losses):
    if shape != (0, 7):
        with pytest.raises(ValueError, match=r"of shape \(7,\)"):
            Optimizer(model.inputs[0], losses).minimize(np.zeros(shape), verbose=False)
    with pytest.raises(ValueError, match=r"`seed_input` must .*Received: .*shape"):
        Optimizer(model.inputs[0], losses).minimize(np.zeros(shape), verbose=False)


@pytest.mark.parametrize(
    ("seed", "kind"),
    [("noise", TypeError), (np.array(["a"] * 7), TypeError), (np.full(7, np.nan), ValueError)],
)
def test_seed_input_of_the_wrong_type(seed, kind, model, losses):
    with pytest.raises(kind, match=r"`seed_input` .*Received: "):
        Optimizer(model.inputs[0], losses).minimize(seed, verbose=False)


@pytest.mark.parametrize(
    ("argument", "value", "kind"),
    [
        ("max_iter", 0, ValueError),
        ("max_iter", -1, ValueError),
        ("max_iter", 2.5, TypeError),
        ("max_iter", "10", TypeError),
        ("max_iter", None, TypeError),
        ("seed", -1, ValueError),
        ("seed", 0.5, TypeError),
        ("seed", "a", TypeError),
        ("grad_modifier", "absolut", ValueError),
        ("grad_modifier", 3, ValueError),
        ("callbacks", [print], TypeError),
        ("callbacks", 3, TypeError),
        ("callbacks", [Recorder], TypeError),
        ("input_modifiers", [lambda x: x], TypeError),
        ("input_modifiers", "jitter", TypeError),
        ("input_modifiers", [Jitter], TypeError),
    ],
)
def test_bad_argument_of_minimize(argument, value, kind, model, losses):
    with pytest.raises(kind, match=rf"`{argument}` .*Received: "):
        Optimizer(model.inputs[0], losses).minimize(**{"verbose": False, argument: value})


def test_arguments_of_numpy_types(model, losses):
    Optimizer(model.inputs[0], losses, np.array([0, 255])).minimize(
        max_iter=np.int64(2), seed=np.uint32(2), verbose=False
    )


def test_keras_on_another_backend(model, losses, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    optimizer_error(ValueError, r"KERAS_BACKEND=tensorflow.*'jax'", model.inputs[0], losses)
