from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.parametrizations import COLORS, Fourier, MagnitudeConstrained, Parametrization
from vis.utils.layout import Layout

LAYOUTS = [
    Layout((12, 3), axes=(1,)),
    Layout((12, 9, 3), axes=(1, 2)),
    Layout((3, 12, 9), axes=(2, 3)),
    Layout((12, 9, 1), axes=(1, 2)),
    Layout((6, 5, 4, 2), axes=(1, 2, 3)),
]


def rng(seed=0):
    return np.random.default_rng(seed)


def image_of(parametrization, layout, variables, input_range=(0.0, 255.0)):
    batch = [ops.convert_to_tensor(np.asarray(v, "float32")[None]) for v in variables]
    image = parametrization.image(batch, layout, ops.convert_to_tensor(input_range, "float32"))
    return ops.convert_to_numpy(image)[0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [Fourier, MagnitudeConstrained])
def test_images_have_the_layouts_shape_and_range(make, layout):
    parametrization = make()
    variables = parametrization.variables(None, layout, (0, 255), rng())
    image = image_of(parametrization, layout, variables)
    assert image.shape == layout.shape
    assert image.min() >= 0
    assert image.max() <= 255
    assert image.std() > 10


def test_fourier_agrees_with_numpy():
    layout = Layout((8, 6, 3), axes=(1, 2))
    fourier = Fourier(decay_power=1.3, contrast=0.7)
    real, imaginary = fourier.variables(None, layout, (0, 255), rng())
    frequencies = np.hypot(np.fft.fftfreq(8, 1 / 8)[:, None], np.fft.rfftfreq(6, 1 / 6)[None])
    spectrum = (real + 1j * imaginary) * 48 / np.maximum(frequencies, 1) ** 1.3
    signal = np.einsum("ck,khw->chw", COLORS, np.fft.irfft2(spectrum, (8, 6)))
    signal = 0.7 * (signal - signal.mean()) / signal.std()
    expected = -1 + 3 / (1 + np.exp(-signal))
    image = image_of(fourier, layout, (real, imaginary), input_range=(-1.0, 2.0))
    np.testing.assert_allclose(image, np.moveaxis(expected, 0, -1), rtol=1e-4, atol=1e-5)


def test_fourier_without_decorrelation_has_independent_channels():
    layout = Layout((8, 8, 3), axes=(1, 2))
    fourier = Fourier(decorrelate=False)
    variables = fourier.variables(None, layout, (0, 255), rng())
    before = image_of(fourier, layout, variables)
    variables = [v.copy() for v in variables]
    for v in variables:
        v[0] *= -1
        v[0, 0, 0] *= -1
    after = image_of(fourier, layout, variables)
    corr = np.corrcoef(before[..., 1].ravel(), after[..., 1].ravel())[0, 1]
    assert corr > 0.99
    assert np.corrcoef(before[..., 0].ravel(), after[..., 0].ravel())[0, 1] < 0


def test_fourier_starts_from_a_seed_image():
    layout = Layout((16, 16, 3), axes=(1, 2))
    positions = np.linspace(0, np.pi, 16)
    seed = np.stack(
        [np.outer(np.sin(positions), np.cos(k * positions)) for k in (1, 2, 3)], axis=-1
    )
    seed = 127 + 80 * seed
    for parametrization in (Fourier(), Fourier(decorrelate=False)):
        variables = parametrization.variables(seed, layout, (0, 255), rng())
        image = image_of(parametrization, layout, variables)
        assert np.corrcoef(image.ravel(), seed.ravel())[0, 1] > 0.97


def test_fourier_keeps_the_image_at_another_size():
    fourier = Fourier(decay_power=2.0)
    small, large = Layout((16, 12, 3), axes=(1, 2)), Layout((32, 24, 3), axes=(1, 2))
    variables = [v[None] for v in fourier.variables(None, small, (0, 255), rng())]
    enlarged = fourier.resize_variables(variables, small, large, [rng(1)])
    before = image_of(fourier, small, [v[0] for v in variables])
    after = image_of(fourier, large, [v[0] for v in enlarged])
    # Pixel i of the small image is pixel 2 * i of the large one.
    assert np.corrcoef(before.ravel(), after[::2, ::2].ravel())[0, 1] > 0.95


def test_fourier_keeps_the_image_with_another_decay():
    layout = Layout((16, 12, 3), axes=(1, 2))
    steep, flat = Fourier(decay_power=2.5), Fourier(decay_power=1.5)
    variables = steep.variables(None, layout, (0, 255), rng())
    converted = flat.convert_variables([v[None] for v in variables], layout, steep)
    before = image_of(steep, layout, variables)
    after = image_of(flat, layout, [v[0] for v in converted])
    np.testing.assert_allclose(before, after, atol=0.05)


def test_magnitudes_are_those_of_the_images():
    layout = Layout((10, 8, 1), axes=(1, 2))
    photographs = rng().normal(size=(5, 10, 8, 1)).cumsum(axis=1)
    phases = MagnitudeConstrained(photographs, contrast=1e-3)
    variables = phases.variables(None, layout, (0, 1), rng())
    image = image_of(phases, layout, variables, (0.0, 1.0)).astype("float64")
    mean = np.abs(
        np.fft.rfft2(photographs[..., 0] - photographs[..., 0].mean((1, 2))[:, None, None])
    )
    expected = mean.mean(axis=0)
    actual = np.abs(np.fft.rfft2(image[..., 0] - image[..., 0].mean()))
    # The first and last columns are real, whatever the phase.
    inner = np.s_[:, 1:-1]
    ratio = actual[inner] / expected[inner]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.02)


def test_only_phases_change():
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Conv2D(4, 3)])
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    optimizer = Optimizer(
        model.inputs[0],
        losses,
        parametrization=MagnitudeConstrained(1.25),
        optimizer=keras.optimizers.Adam(0.1),
    )
    short, _, _ = optimizer.minimize(max_iter=1, seed=0, verbose=False)
    long, _, _ = optimizer.minimize(max_iter=40, seed=0, verbose=False)
    assert not np.allclose(short, long)

    def magnitudes(image):
        share = np.clip(image[..., 0] / 255, 1e-6, 1 - 1e-6)
        return np.abs(np.fft.rfft2(np.log(share / (1 - share))))[:, 1:-1]

    # The magnitudes of real coefficients change with the phase, and with the fixed contrast those
    # of all others by a common factor.
    ratio = magnitudes(long) / magnitudes(short)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.02)


def test_custom_parametrization():
    class Constant(Parametrization):
        def variables(self, seed_image, layout, input_range, rng):
            return [np.zeros((layout.channels,))]

        def image(self, variables, layout, input_range):
            one = ops.reshape(variables[0], (-1, 1, 1, layout.channels))
            return ops.broadcast_to(one, (one.shape[0], *layout.shape))

    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(1, 3, use_bias=False)])
    model.set_weights([np.stack([np.ones((3, 3)), -np.ones((3, 3))], axis=-1)[..., None]])
    optimizer = Optimizer(
        model.inputs[0],
        [(ActivationMaximization(model.layers[-1], 0), 1)],
        input_range=(-10.0, 10.0),
        parametrization=Constant(),
        optimizer=keras.optimizers.SGD(1.0),
    )
    image, _, _ = optimizer.minimize(max_iter=5, seed=0, verbose=False)
    assert (image[..., 0] > 0).all()
    assert (image[..., 1] < 0).all()
    assert np.ptp(image[..., 0]) == 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Fourier(decay_power="steep"), "decay_power"),
        (lambda: Fourier(contrast=0), "contrast"),
        (lambda: Fourier(noise=-1), "noise"),
        (lambda: MagnitudeConstrained(spectrum=np.zeros(4)), "spectrum"),
        (lambda: MagnitudeConstrained(spectrum="pink"), "spectrum"),
        (lambda: MagnitudeConstrained(spectrum=np.array([[["pink"]]])), "spectrum"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises((TypeError, ValueError), match=rf"`{match}`(.|\n)*Received: "):
        make()


def test_spectrum_of_another_shape():
    model = keras.Sequential([keras.Input((12, 12, 1)), keras.layers.Conv2D(4, 3)])
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    spectrum = MagnitudeConstrained(np.ones((2, 8, 8, 1)))
    optimizer = Optimizer(model.inputs[0], losses, parametrization=spectrum)
    with pytest.raises(ValueError, match=r"`spectrum`.*\(12, 12, 1\)(.|\n)*Received: "):
        optimizer.minimize(max_iter=1, verbose=False)


def test_fourier_needs_a_spatial_axis():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    optimizer = Optimizer(model.inputs[0], losses, parametrization=Fourier())
    with pytest.raises(ValueError, match=r"`parametrization`(.|\n)*Received: "):
        optimizer.minimize(max_iter=1, verbose=False)


def test_arguments_of_the_wrong_type():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    with pytest.raises(TypeError, match=r"`parametrization`.*Received: "):
        Optimizer(model.inputs[0], losses, parametrization="fourier")
    with pytest.raises(TypeError, match=r"`optimizer`.*Received: "):
        Optimizer(model.inputs[0], losses, optimizer="adam")
