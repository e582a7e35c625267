from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops
from scipy import ndimage

from vis import backend
from vis.input_modifiers import (
    Blur,
    ComposedTransform,
    Crop,
    Jitter,
    Noise,
    Pad,
    Rotate,
    Scale,
    compose_linear,
)
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.parametrizations import Fourier

SEEDS = np.array([[1, 2], [3, 4]], "int32")


def photograph(shape=(24, 20), channels=3):
    noise = np.random.default_rng(0).normal(size=(*shape, channels))
    smooth = ndimage.gaussian_filter(noise, [2.0] * len(shape) + [0])
    return (smooth / smooth.std()).astype("float32")


def apply(transform, images, axes=(1, 2), seeds=SEEDS):
    seeds = ops.convert_to_tensor(seeds[: len(images)])
    return ops.convert_to_numpy(transform(ops.convert_to_tensor(images), seeds, axes))


@pytest.mark.parametrize(
    "transform", [Jitter(3), Rotate(20), Scale(0.7, 1.4), Noise(0.5), Blur(high=2.0), Crop(10)]
)
def test_transforms_are_functions_of_the_seed_of_each_sample(transform):
    images = np.stack([photograph()] * 2)
    once, again = apply(transform, images), apply(transform, images)
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once[0], once[1])
    alone = apply(transform, images[1:], seeds=SEEDS[1:])
    np.testing.assert_allclose(alone[0], once[1], atol=1e-6)
    assert not np.allclose(apply(transform, images, seeds=SEEDS + 1), once)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_scale_is_about_the_centre(factor):
    image = photograph((25, 21))
    scaled = apply(Scale(factor, factor), image[None])[0]
    centre = np.array([12, 10])
    expected = ndimage.affine_transform(
        image, np.diag([1 / factor, 1 / factor, 1]),
        offset=[*(centre - centre / factor), 0], order=1, mode="nearest",
    )  # fmt: skip
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(scaled[inner], expected[inner], atol=1e-3)


def test_rotate_is_about_the_centre(monkeypatch):
    monkeypatch.setattr(backend, "uniform", lambda seeds, shape, low, high: ops.full((1,), high))
    image = photograph((25, 25))
    rotated = apply(Rotate(20), image[None])[0]
    expected = [
        np.abs(rotated - ndimage.rotate(image, angle, reshape=False, order=1))[6:-6, 6:-6].max()
        for angle in (-20, 20)
    ]
    assert min(expected) < 1e-3


def test_scale_in_one_and_three_dimensions():
    line = photograph((31,), 2)
    scaled = apply(Scale(1.5, 1.5), line[None], axes=(1,))[0]
    positions = 15 + (np.arange(31) - 15) / 1.5
    expected = np.stack(
        [np.interp(positions, np.arange(31), line[:, c]) for c in range(2)], axis=-1
    )
    np.testing.assert_allclose(scaled, expected, atol=1e-4)
    volume = photograph((7, 6, 5), 1)
    assert apply(Scale(0.8, 1.2), volume[None], axes=(1, 2, 3)).shape == (1, 7, 6, 5, 1)


def test_channels_first_is_the_same_transform():
    image = photograph()[None]
    for transform in (Jitter(3), Rotate(10), Scale(0.8, 1.2), Blur(high=2.0), Pad(2), Crop(9)):
        last = apply(transform, image)
        first = apply(transform, np.moveaxis(image, -1, 1), axes=(2, 3))
        np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, atol=1e-5)


def test_consecutive_linear_transforms_are_composed():
    composed = compose_linear([Jitter(2), Rotate(10), Scale(0.9, 1.1), Noise(1.0), Rotate(5)])
    assert [type(t) for t in composed] == [Jitter, ComposedTransform, Noise, Rotate]
    image = photograph((41, 41))[None]
    identity = ComposedTransform([Scale(1.25, 1.25), Scale(0.8, 0.8)])
    np.testing.assert_allclose(apply(identity, image), image, atol=1e-4)


def test_blur_agrees_with_scipy(monkeypatch):
    image = photograph((30, 26))
    blurred = apply(Blur(1.5, 1.5), image[None])[0]
    expected = ndimage.gaussian_filter(image, [1.5, 1.5, 0], truncate=8)
    inner = np.s_[8:-8, 8:-8]
    np.testing.assert_allclose(blurred[inner], expected[inner], atol=1e-3)


def test_pad_and_crop():
    image = photograph((6, 5))
    padded = apply(Pad(2, value=7.0), image[None])[0]
    np.testing.assert_array_equal(padded[2:-2, 2:-2], image)
    assert (padded[:2] == 7).all()
    padded = apply(Pad(1), image[None])[0]
    np.testing.assert_allclose(padded[0, 0], image.mean(axis=(0, 1)), atol=1e-5)
    crop = apply(Crop((4, 3)), image[None])[0]
    corners = [(i, j) for i in range(3) for j in range(3)]
    assert any(np.array_equal(crop, image[i : i + 4, j : j + 3]) for i, j in corners)


def test_noise_has_its_standard_deviation():
    noisy = apply(Noise(3.0), np.zeros((1, 200, 200, 1), "float32"))
    assert abs(noisy.std() - 3) < 0.05
    assert abs(noisy.mean()) < 0.05


@pytest.mark.every(5)
@pytest.mark.parametrize(
    "modifiers",
    [
        [Rotate(8)],
        [Scale(0.9, 1.1)],
        [Pad(3), Crop(16)],
        [Noise(2.0)],
        [Blur(high=1.0)],
        [Jitter(2)],
    ],
)
@pytest.mark.parametrize("parametrization", [None, Fourier()])
def test_gradients_flow_through_transforms(modifiers, parametrization):
    model = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D()]
    )
    optimizer = Optimizer(
        model.inputs[0],
        [(ActivationMaximization(model.layers[-1], 1), 1)],
        parametrization=parametrization,
        optimizer=None if parametrization is None else keras.optimizers.Adam(0.1),
    )
    start = optimizer.minimize(max_iter=1, seed=0, verbose=False, input_modifiers=modifiers)[0]
    end = optimizer.minimize(max_iter=30, seed=0, verbose=False, input_modifiers=modifiers)[0]

    def activation(image):
        return float(model(image[None].astype("float32"))[0, 1])

    assert activation(end) > activation(start)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Rotate(-1), "degrees"),
        (lambda: Scale(0, 1), "low"),
        (lambda: Scale(2, 1), "high"),
        (lambda: Pad(-1), "pixels"),
        (lambda: Pad(1.5), "pixels"),
        (lambda: Crop(0), "size"),
        (lambda: Noise(-1), "std"),
        (lambda: Noise("loud"), "std"),
        (lambda: Blur(high=0), "high"),
        (lambda: Blur(low=2), "low"),
    ],
)
def test_bad_arguments(make, name):
    with pytest.raises((TypeError, ValueError), match=rf"`{name}`(.|\n)*Received: "):
        make()


def test_transform_that_does_not_fit_the_image():
    line = keras.Sequential([keras.Input((16, 2)), keras.layers.Conv1D(4, 3)])
    losses = [(ActivationMaximization(line.layers[-1], 0), 1)]
    for transform, match in ((Rotate(5), "Rotate"), (Crop(17), "size"), (Crop((3, 3)), "size")):
        with pytest.raises(ValueError, match=rf"`{match}`(.|\n)*Received: "):
            Optimizer(line.inputs[0], losses).minimize(
                max_iter=1, verbose=False, input_modifiers=[transform]
            )


def test_transform_to_a_size_that_the_model_does_not_take():
    model = keras.Sequential(
        [keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    losses = [(ActivationMaximization(model.layers[-1], 0), 1)]
    for transform in (Crop(10), Pad(2)):
        with pytest.raises(ValueError, match=r"`input_modifiers`(.|\n)*Received: "):
            Optimizer(model.inputs[0], losses).minimize(
                max_iter=1, verbose=False, input_modifiers=[transform]
            )


@pytest.mark.parametrize(
    "transform", [Rotate(5), Scale(), Pad(2), Crop(5), Noise(1.0), Blur(high=1.0)], ids=str
)
def test_pre_of_integer_images(transform):
    image = np.random.default_rng(0).integers(256, size=(2, 8, 8, 3)).astype("uint8")
    np.random.seed(0)  # noqa: NPY002
    transformed = transform.pre(image)
    np.random.seed(0)  # noqa: NPY002
    np.testing.assert_allclose(transformed, transform.pre(image.astype("float32")))


@pytest.mark.parametrize("transform", [Jitter(2), Rotate(5), Pad(2), Blur(high=1.0)], ids=str)
def test_pre_of_long_double_images(transform):
    image = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    np.random.seed(0)  # noqa: NPY002
    transformed = transform.pre(image.astype(np.longdouble))
    np.random.seed(0)  # noqa: NPY002
    np.testing.assert_array_equal(transformed, transform.pre(image))


def test_size_of_a_crop_as_an_array():
    assert Crop(np.array([3, 4])) == Crop((3, 4))
