from __future__ import annotations

import itertools
import math

import keras
import numpy as np
import numpy_reference as reference
import pytest
from helpers import Recorder, sequential
from keras import layers, ops

from vis.optimizer import Optimizer
from vis.regularizers import LPNorm, TotalVariation, normalize

# Shapes of images with their channels last.
FORMATS = ["channels_last", "channels_first"]
SHAPES = [(7,), (6, 2), (5, 4, 3), (4, 3, 5, 2)]


def value_and_gradient(make, shape, image, data_format):
    """Value and gradient of a loss for an image with channels last."""
    if data_format == "channels_first":
        shape, image = (shape[-1], *shape[:-1]), np.moveaxis(image, -1, 0)
    layer = (
        layers.Flatten(data_format=data_format) if len(shape) > 1 else layers.Activation("linear")
    )
    model = sequential(shape, layer)
    recorder = Recorder()
    optimizer = Optimizer(model.inputs[0], [(make(model.inputs[0]), 1)], norm_grads=False)
    _, grads, _ = optimizer.minimize(image, 1, callbacks=[recorder], verbose=False)
    grads = np.moveaxis(grads[0], 0, -1) if data_format == "channels_first" else grads[0]
    return recorder.overall[0], grads


def check(make, expected_loss, shape, data_format="channels_last"):
    image = np.random.default_rng(0).normal(size=shape).astype("float32")
    value, grads = value_and_gradient(make, shape, image, data_format)
    image = np.float64(image)
    assert value == pytest.approx(expected_loss(image), rel=1e-4)
    expected = reference.gradient(expected_loss, image)
    np.testing.assert_allclose(grads, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("beta", "shape", "data_format"),
    [
        (beta, shape, FORMATS[i % 2])
        for i, (beta, shape) in enumerate(itertools.product([2.0, 1.5, 3], SHAPES[1:]))
    ],
)
def test_total_variation(beta, shape, data_format):
    check(
        lambda image: TotalVariation(image, beta=beta),
        lambda image: reference.total_variation(image, beta),
        shape,
        data_format,
    )


def test_total_variation_of_a_vector_is_zero():
    model = sequential((7,), layers.Dense(1))
    image = model.inputs[0]
    recorder = Recorder()
    losses = [(LPNorm(image), 1), (TotalVariation(image), 1)]
    Optimizer(image, losses).minimize(np.arange(7), 1, callbacks=[recorder], verbose=False)
    (_, (name, value)) = recorder.named_losses[0]
    assert (name, value) == ("TV(2.0) Loss", 0)


def test_total_variation_of_a_small_image():
    image = np.array([[[1.0], [4.0]], [[3.0], [0.0]]])
    value, _ = value_and_gradient(TotalVariation, (2, 2, 1), image, "channels_last")
    # Only one pixel has neighbours along both axes: (3 - 1)^2 + (4 - 1)^2, over four values.
    assert value == pytest.approx((4 + 9) / 4)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 3.0])
def test_total_variation_of_a_constant_image_has_a_finite_gradient(beta):
    value, grads = value_and_gradient(
        lambda image: TotalVariation(image, beta), (4, 4, 1), np.ones((4, 4, 1)), "channels_last"
    )
    assert value == pytest.approx(0, abs=1e-3)
    assert np.isfinite(grads).all()


@pytest.mark.parametrize(
    ("p", "shape"), zip([6.0, 1, 2, 2.5, 40.0, math.inf], itertools.cycle(SHAPES), strict=False)
)
def test_lp_norm(p, shape):
    check(lambda image: LPNorm(image, p=p), lambda image: reference.lp_norm(image, p), shape)


def test_lp_norm_with_channels_first():
    check(LPNorm, reference.lp_norm, (5, 4, 3), "channels_first")


def test_lp_norm_of_infinity_is_the_maximum():
    value, _ = value_and_gradient(
        lambda image: LPNorm(image, np.inf), (3,), np.array([-9.0, 2, 1]), ""
    )
    assert value == pytest.approx(2 / 3)


@pytest.mark.parametrize("scale", [1e-12, 1e6, 1e9])
def test_lp_norm_neither_overflows_nor_underflows(scale):
    image = np.float32(scale) * np.array([1.0, -2.0, 3.0], "float32")
    value, grads = value_and_gradient(LPNorm, (3,), image, "")
    assert value == pytest.approx(reference.lp_norm(np.float64(image)), rel=1e-4)
    assert np.isfinite(grads).all()


def test_lp_norm_of_zeros_has_a_finite_gradient():
    value, grads = value_and_gradient(LPNorm, (3,), np.zeros(3), "")
    assert value == pytest.approx(0, abs=1e-6)
    assert np.isfinite(grads).all()


def test_regularizers_of_several_samples():
    model = sequential((4, 3, 2), layers.Flatten())
    image = model.inputs[0]
    optimizer = Optimizer(image, [(LPNorm(image), 1), (TotalVariation(image), 1)])
    images = np.random.default_rng(0).normal(size=(3, 4, 3, 2))
    recorder = Recorder()
    optimizer.minimize(images, 1, callbacks=[recorder], verbose=False)
    expected = np.mean([reference.lp_norm(x) + reference.total_variation(x) for x in images])
    assert recorder.overall[0] == pytest.approx(expected, rel=1e-4)


def test_names():
    image = keras.Input((4, 4, 1))
    assert str(TotalVariation(image)) == "TV(2.0) Loss"
    assert str(TotalVariation(image, beta=1.5)) == "TV(1.5) Loss"
    assert str(LPNorm(image)) == "L-6.0 Norm Loss"
    assert str(LPNorm(image, p=np.inf)) == "L-inf Norm Loss"


def test_build_loss_returns_an_expression():
    """Custom losses may use it."""
    image = keras.Input((4, 4, 1))
    for loss in (LPNorm(image), TotalVariation(image)):
        assert isinstance(loss.build_loss(), keras.KerasTensor)


def test_normalize_divides_by_the_number_of_values_in_an_image():
    np.testing.assert_allclose(normalize(np.zeros((5, 4, 3)), np.array([24.0, 12.0])), [2, 1])
    assert float(normalize(ops.zeros((1, 3, 7, 8)), ops.convert_to_tensor(168.0))) == 1
    assert normalize(keras.Input((4, 4)), 32.0) == 2


@pytest.mark.parametrize(
    ("p", "kind"),
    [(0.9, ValueError), (0, ValueError), (-1, ValueError), (math.nan, ValueError),
     (-math.inf, ValueError), ("2", TypeError), (None, TypeError)],
)  # fmt: skip
def test_bad_order_of_a_norm(p, kind):
    with pytest.raises(kind, match=r"`p` .*Received: "):
        LPNorm(keras.Input((4,)), p=p)


@pytest.mark.parametrize(
    ("beta", "kind"),
    [(0, ValueError), (-1.0, ValueError), (math.nan, ValueError), (math.inf, ValueError),
     ("2", TypeError)],
)  # fmt: skip
def test_bad_exponent_of_total_variation(beta, kind):
    with pytest.raises(kind, match=r"`beta` .*Received: "):
        TotalVariation(keras.Input((4, 4, 1)), beta=beta)


@pytest.mark.parametrize("loss", [LPNorm, TotalVariation])
@pytest.mark.parametrize("image", [None, np.zeros((1, 4, 4, 1)), "input"])
def test_image_that_is_not_symbolic(loss, image):
    with pytest.raises(TypeError, match=r"`img_input` .*Received: "):
        loss(image)
