from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import Recorder, sequential
from keras import layers

from vis.input_modifiers import InputModifier, Jitter
from vis.optimizer import Optimizer
from vis.regularizers import LPNorm


def measured_shifts(jitter, shape, data_format="channels_last", samples=1, steps=40, seed=0):
    """Shifts in pixels, `(steps, samples, axes)`, from the position of a single bright pixel.

    The gradients are too small to change the image.
    """
    first = data_format == "channels_first"
    model = sequential(
        (1, *shape) if first else (*shape, 1), layers.Flatten(data_format=data_format)
    )
    start = np.zeros((samples, *shape), "float32")
    start[(slice(None), *[0] * len(shape))] = 1000
    start = np.expand_dims(start, 1 if first else -1)
    recorder = Recorder()
    Optimizer(model.inputs[0], [(LPNorm(model.inputs[0]), 1e-30)], norm_grads=False).minimize(
        start, steps, input_modifiers=[jitter], callbacks=[recorder], verbose=False, seed=seed
    )
    positions = np.array(
        [
            [np.unravel_index(np.argmax(image), shape) for image in images.reshape(samples, *shape)]
            for images in recorder.wrt_values
        ]
    )
    shifts = np.diff(positions, axis=0, prepend=np.zeros_like(positions[:1]))
    sizes = np.array(shape)
    return (shifts + sizes // 2) % sizes - sizes // 2, recorder


@pytest.mark.every(5)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("jitter", "shape", "limits"),
    [
        (2, (11,), [2]),
        (2, (11, 9), [2, 2]),
        ((3, 0), (11, 9), [3, 0]),
        ([1, 2, 0], (5, 7, 3), [1, 2, 0]),
        (0.2, (11, 31), [2, 6]),
        ((0.1, 2), (31, 11), [3, 2]),
        (np.array([1, 3]), (11, 9), [1, 3]),
    ],
)
def test_jitter_shifts_each_spatial_axis_within_its_limit(jitter, shape, limits, data_format):
    shifts, recorder = measured_shifts(Jitter(jitter), shape, data_format)
    for axis, limit in enumerate(limits):
        along = shifts[:, 0, axis]
        assert along.max() == limit
        assert along.min() == -limit
    # Pixels wrap around, so that each is kept.
    for image in recorder.wrt_values:
        assert np.count_nonzero(image > 500) == 1


def test_all_shifts_are_equally_likely():
    shifts, _ = measured_shifts(Jitter(1), (7,), steps=600)
    counts = [np.sum(shifts == shift) for shift in (-1, 0, 1)]
    # Expected 200 each, with a standard deviation of 12.
    assert all(150 < count < 250 for count in counts)


def test_default_is_five_percent():
    shifts, _ = measured_shifts(Jitter(), (61, 21))
    assert np.abs(shifts[..., 0]).max() == 3
    assert np.abs(shifts[..., 1]).max() == 1


def test_jitter_differs_by_sample_and_seed():
    shifts, _ = measured_shifts(Jitter(3), (15, 15), samples=2)
    assert (shifts[:, 0] != shifts[:, 1]).any()
    others, _ = measured_shifts(Jitter(3), (15, 15), samples=2, seed=1)
    assert (shifts != others).any()
    again, _ = measured_shifts(Jitter(3), (15, 15), samples=2)
    np.testing.assert_array_equal(shifts, again)


@pytest.mark.parametrize("jitter", [0, 0.0, (0, 0), 0.01])
def test_jitter_of_less_than_a_pixel(jitter):
    shifts, _ = measured_shifts(Jitter(jitter), (11, 9), steps=5)
    assert not shifts.any()


def test_pre_accepts_and_returns_numpy():
    image = np.arange(2 * 7 * 5 * 3, dtype="float32").reshape(2, 7, 5, 3)
    before = image.copy()
    np.random.seed(1)  # noqa: NPY002
    jittered = [Jitter((2, 1)).pre(image) for _ in range(20)]
    np.testing.assert_array_equal(image, before)
    possible = [np.roll(image[0], (i, j), (0, 1)) for i in range(-2, 3) for j in range(-1, 2)]
    for result in jittered:
        assert isinstance(result, np.ndarray)
        assert result.shape == image.shape
        assert any(np.array_equal(result[0], p) for p in possible)
    assert len({result.tobytes() for result in jittered}) > 5
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(Jitter((2, 1)).pre(image), jittered[0])


def test_pre_uses_the_data_format_of_keras():
    image = np.arange(3 * 7.0).reshape(1, 3, 7)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        jittered = [Jitter(3).pre(image) for _ in range(10)]
    finally:
        keras.config.set_image_data_format(before)
    assert any((result != image).any() for result in jittered)
    for result in jittered:
        np.testing.assert_array_equal(np.sort(result[0], axis=-1), image[0])


def test_post_of_jitter_does_nothing():
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
    np.testing.assert_array_equal(Jitter(2).post(image), image)


def test_base_class_does_nothing():
    image = np.arange(4.0)
    assert InputModifier().pre(image) is image
    assert InputModifier().post(image) is image


def test_subclass_of_jitter_with_another_pre():
    class Upwards(Jitter):
        def pre(self, image):
            return np.roll(image, 1, axis=1)

    shifts, _ = measured_shifts(Upwards(0), (7,), steps=5)
    assert (shifts == 1).all()


@pytest.mark.parametrize("jitter", [-1, -0.1, (1, -1), np.nan, np.inf])
def test_jitter_that_is_negative_or_not_finite(jitter):
    with pytest.raises(ValueError, match=r"`jitter` .*Received: "):
        Jitter(jitter)


@pytest.mark.parametrize("jitter", ["1", None, [], (), ("a",), True])
def test_jitter_that_is_not_a_number(jitter):
    with pytest.raises(TypeError, match=r"`jitter` .*Received: "):
        Jitter(jitter)


def test_jitter_for_another_number_of_axes():
    model = sequential((5, 4, 1), layers.Flatten())
    optimizer = Optimizer(model.inputs[0], [(LPNorm(model.inputs[0]), 1)])
    with pytest.raises(ValueError, match=r"`jitter` .*2 spatial axes.*Received: .*\(1, 2, 3\)"):
        optimizer.minimize(max_iter=1, input_modifiers=[Jitter((1, 2, 3))], verbose=False)


def test_jitter_does_not_change_vectors():
    model = sequential((5,), layers.Dense(2))
    optimizer = Optimizer(model.inputs[0], [(LPNorm(model.inputs[0]), 1)])
    recorder = Recorder()
    optimizer.minimize(
        np.arange(5.0), 1, input_modifiers=[Jitter(2)], callbacks=[recorder], verbose=False
    )
    np.testing.assert_array_equal(recorder.wrt_values[0][0], np.arange(5.0))


class Dim(InputModifier):
    """As in keras-vis code, with any name of the argument."""

    def pre(self, inp):
        return inp - 1

    def post(self, img):
        return 0.5 * img


class DimJitter(Jitter):
    def pre(self, inp):
        return inp - 1

    def post(self, img):
        return 0.5 * img


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("modifier", [Dim(), DimJitter(0)])
def test_name_of_the_image_argument_is_free(modifier, checkpointed, tmp_path):
    model = sequential((4, 3, 1), layers.Flatten())
    recorder = Recorder()
    checkpoint = {"checkpoint": tmp_path / "run.npz"} if checkpointed else {}
    optimizer = Optimizer(model.inputs[0], [(LPNorm(model.inputs[0]), 1e-30)], norm_grads=False)
    optimizer.minimize(
        np.full((4, 3, 1), 8.0), 3, input_modifiers=[modifier, Dim()], callbacks=[recorder],
        verbose=False, **checkpoint,
    )  # fmt: skip
    # Each step subtracts 1 twice and then halves twice.
    means = [value.mean() for value in recorder.wrt_values]
    np.testing.assert_allclose(means, [6, 6 / 4 - 2, (6 / 4 - 2) / 4 - 2], rtol=1e-4)
