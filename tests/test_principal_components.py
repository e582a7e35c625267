from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers, ops

from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.parametrizations import PrincipalComponents
from vis.utils.description import describe
from vis.utils.layout import Layout

# The last four have a texture, with the limit of `small_images_with_texture`.
LAYOUTS = [
    Layout((13,), axes=()),
    Layout((30, 2), axes=(1,)),
    Layout((12, 9, 3), axes=(1, 2)),
    Layout((3, 12, 9), axes=(2, 3)),
    Layout((6, 5, 4, 2), axes=(1, 2, 3)),
    Layout((600, 2), axes=(1,)),
    Layout((24, 22, 3), axes=(1, 2)),
    Layout((3, 24, 22), axes=(2, 3)),
    Layout((11, 10, 12, 1), axes=(1, 2, 3)),
]


@pytest.fixture
def small_images_with_texture(monkeypatch):
    monkeypatch.setattr("vis.parametrizations.principal_components._MAX_VALUES", 1000)


def rng(seed=0):
    return np.random.default_rng(seed)


def examples_of(layout, count=40, seed=0):
    """Random walks along the first axis, with another scale for each channel."""
    values = rng(seed).normal(size=(count, *layout.shape)).cumsum(axis=1)
    units = np.ones(len(layout.shape) + 1, int)
    units[layout.channel_axis] = layout.channels
    return (values * np.arange(1, layout.channels + 1).reshape(units)).astype("float32")


def fitted(examples, layout, **settings):
    data_format = "channels_first" if layout.axes[:1] == (2,) else "channels_last"
    return PrincipalComponents(examples, data_format=data_format, **settings)


def image_of(parametrization, layout, variables, input_range):
    batch = [ops.convert_to_tensor(np.asarray(v, "float32")[None]) for v in variables]
    image = parametrization.image(batch, layout, ops.convert_to_tensor(input_range, "float32"))
    return ops.convert_to_numpy(image)[0]


@pytest.mark.usefixtures("small_images_with_texture")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_have_the_layouts_shape_and_range(layout):
    examples = examples_of(layout)
    parametrization = fitted(examples, layout)
    assert parametrization.input_range == (examples.min(), examples.max())
    variables = parametrization.variables(None, layout, parametrization.input_range, rng())
    variables = [30 * v for v in variables]
    image = image_of(parametrization, layout, variables, parametrization.input_range)
    assert image.shape == layout.shape
    assert image.std() > 0.1 * examples.std()
    axes = tuple(axis - 1 for axis in layout.axes) if parametrization.texture else ()
    low, high = examples.min(0), examples.max(0)
    if axes:
        low, high = low.min(axes, keepdims=True), high.max(axes, keepdims=True)
    assert (image >= low).all()
    assert (image <= high).all()


def test_rounding_stays_in_the_range():
    examples = rng().normal(size=(300, 40)) * 1e3 + 1 / 3
    examples[:, 5] = 1 / 3
    parametrization = PrincipalComponents(examples)
    layout = Layout((40,), axes=())
    for seed in range(5):
        image = image_of(parametrization, layout, [rng(seed).normal(size=40)], (-9e9, 9e9))
        far = parametrization.mean.array + 9 * (image - parametrization.mean.array)
        variables = parametrization.variables(far, layout, (-5e3, 5e3), rng())
        image = np.delete(image_of(parametrization, layout, variables, (-9e9, 9e9)), 5)
        assert (image >= np.delete(examples, 5, 1).min(0)).all()
        assert (image <= np.delete(examples, 5, 1).max(0)).all()
    low, high = parametrization.low.array, parametrization.high.array
    assert low[5] == high[5] == np.float32(1 / 3)
    assert (np.delete(low, 5) >= np.delete(examples.min(0), 5)).all()
    assert (np.delete(high, 5) <= np.delete(examples.max(0), 5)).all()


@pytest.mark.usefixtures("small_images_with_texture")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_starts_from_a_seed_image(layout):
    examples = examples_of(layout, count=200 if layout.shape == (13,) else 40)
    parametrization = fitted(examples, layout)
    variables = parametrization.variables(examples[1], layout, parametrization.input_range, rng())
    image = image_of(parametrization, layout, variables, parametrization.input_range)
    assert np.corrcoef(image.ravel(), examples[1].ravel())[0, 1] > 0.8


def test_components_agree_with_a_singular_value_decomposition():
    layout = Layout((6,), axes=())
    examples = examples_of(layout, count=300)
    parametrization = PrincipalComponents(examples, components=2)
    mean, deviation = examples.mean(0, "float64"), examples.std(0, dtype="float64")
    _, singular, axes = np.linalg.svd((examples - mean) / deviation, full_matrices=False)
    coordinates = np.array([0.9, -0.4])
    signs = np.sign((axes[:2] * parametrization.directions.array).sum(1))
    offset = (coordinates * signs * singular[:2] / np.sqrt(300)) @ axes[:2]
    expected = np.clip(mean + deviation * offset, examples.min(0), examples.max(0))
    image = image_of(parametrization, layout, [coordinates], (-100.0, 100.0))
    np.testing.assert_allclose(image, expected, rtol=1e-4, atol=1e-4)


def test_distance_from_the_mean_is_bounded():
    layout = Layout((40,), axes=())
    examples = rng().normal(size=(400, 40)).astype("float32")
    parametrization = PrincipalComponents(examples)
    coordinates = rng(1).normal(size=40)
    near, far = (
        image_of(parametrization, layout, [factor * coordinates], (-9.0, 9.0))
        for factor in (5, 500)
    )
    np.testing.assert_allclose(near, far, atol=1e-5)
    assert np.linalg.norm(near) < 1.3 * np.linalg.norm(examples, axis=1).mean()


def test_components_do_not_depend_on_units():
    layout = Layout((6,), axes=())
    examples = examples_of(layout, count=300)
    units = np.array([1e-3, 1, 1e4, 1, 1, 50], "float32")
    plain, scaled = PrincipalComponents(examples), PrincipalComponents(examples * units)
    np.testing.assert_allclose(
        abs(scaled.directions.array), abs(plain.directions.array), rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("layout", [Layout((7, 8, 1), (1, 2)), Layout((200, 90, 1), (1, 2))])
def test_constant_values_stay_constant(layout):
    examples = examples_of(layout)
    examples[:, 2:4] = 1 / 3
    parametrization = fitted(examples, layout)
    variables = parametrization.variables(None, layout, parametrization.input_range, rng())
    variables = [20 * v for v in variables]
    image = image_of(parametrization, layout, variables, parametrization.input_range)
    assert (image[2:4] == np.float32(1 / 3)).all()
    assert image[4:].std() > 0


def test_texture_has_the_spectrum_and_colours_of_the_examples():
    layout = Layout((96, 96, 3), axes=(1, 2))
    frequencies = np.hypot(np.fft.fftfreq(96, 1 / 96)[:, None], np.fft.rfftfreq(96, 1 / 96))
    noise = np.fft.rfft2(rng().normal(size=(60, 3, 96, 96)))
    gray = np.fft.irfft2(noise / np.maximum(frequencies, 1) ** 1.2, (96, 96))
    mixed = np.tensordot(gray, [[1, 1, 1], [0.3, 0, -0.3], [0.02, -0.04, 0.02]], axes=(1, 0))
    parametrization = PrincipalComponents(mixed.astype("float32"), decay_power=0.0)
    images = [
        image_of(parametrization, layout, v, parametrization.input_range)
        for v in (
            [np.zeros(30), *parametrization.variables(None, layout, (-3, 3), rng(i))[1:]]
            for i in range(30)
        )
    ]
    actual, expected = (
        np.abs(np.fft.rfft2(np.moveaxis(np.array(x), -1, 1))).mean((0, 1)) for x in (images, mixed)
    )
    inner = (frequencies > 6) & (frequencies < 40)
    ratio = actual[inner] / expected[inner]
    assert ratio.std() / ratio.mean() < 0.15
    colors = [np.corrcoef(np.reshape(x, (-1, 3)).T) for x in (images, mixed)]
    np.testing.assert_allclose(*colors, atol=0.1)


def test_mean_is_shrunk_unless_the_examples_share_structure():
    layout = Layout((96, 96, 3), axes=(1, 2))
    noise = examples_of(layout, count=12)
    shrunk = PrincipalComponents(noise).mean.array
    assert shrunk.std(axis=(0, 1)).max() < 0.3 * noise.mean(0).std(axis=(0, 1)).max()
    structure = np.zeros((96, 96, 1), "float32")
    structure[30:60, 30:60] = 500
    kept = PrincipalComponents(noise + structure).mean.array
    assert np.corrcoef(kept[..., 0].ravel(), structure.ravel())[0, 1] > 0.95


def test_image_is_kept_at_another_size_and_decay():
    small, large = Layout((60, 60, 3), axes=(1, 2)), Layout((120, 120, 3), axes=(1, 2))
    fine = PrincipalComponents(examples_of(large), decay_power=1.0)
    steep, (low, high) = fine.with_decay(2), fine.input_range
    variables = steep.variables(None, small, (low, high), rng())
    before = image_of(steep, small, variables, (low, high))
    batch = steep.resize_variables([v[None] for v in variables], small, large, [rng(1)])
    batch = fine.convert_variables(batch, large, steep)
    after = image_of(fine, large, [v[0] for v in batch], (low, high))
    downsampled = after.reshape(60, 2, 60, 2, 3).mean((1, 3))
    assert np.corrcoef(before.ravel(), downsampled.ravel())[0, 1] > 0.95
    converted = fine.convert_variables([v[None] for v in variables], small, steep)
    again = image_of(fine, small, [v[0] for v in converted], (low, high))
    np.testing.assert_allclose(again, before, atol=1e-3 * (high - low))


def test_equal_examples_give_equal_parametrizations():
    examples = examples_of(Layout((100, 90, 3), (1, 2)))
    one, other = PrincipalComponents(examples), PrincipalComponents(examples.copy())
    assert one == other
    assert hash(one) == hash(other)
    assert describe(one) == describe(other)
    changed = PrincipalComponents(examples + rng().normal(size=examples.shape))
    assert one != changed
    assert describe(one) != describe(changed)
    assert one != PrincipalComponents(examples, noise=0.2)


def test_memory_for_large_images():
    import tracemalloc

    # 30 MB, or 120 MB as `float32`.
    examples = rng().integers(0, 255, (200, 224, 224, 3), dtype="uint8")
    tracemalloc.start()
    PrincipalComponents(examples)
    assert tracemalloc.get_traced_memory()[1] < 110e6
    tracemalloc.stop()


def test_lists_and_datasets():
    examples = examples_of(Layout((8, 8, 1), (1, 2)))
    whole = PrincipalComponents(examples)
    assert PrincipalComponents(list(examples)) == whole
    batches = (examples[i : i + 16] for i in range(0, 40, 16))
    assert PrincipalComponents(batches) == whole


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"examples": "photographs"}, "examples"),
        ({"examples": np.zeros((1, 4))}, "examples"),
        ({"examples": np.zeros((5, 4))}, "examples"),
        ({"examples": np.array([[1.0, np.nan], [2.0, 3.0]])}, "examples"),
        ({"components": 0}, "components"),
        ({"components": 1.5}, "components"),
        ({"noise": 0}, "noise"),
        ({"decay_power": "steep"}, "decay_power"),
        ({"data_format": "first"}, "data_format"),
    ],
)
def test_bad_arguments(arguments, match):
    arguments = {"examples": np.eye(4), **arguments}
    with pytest.raises((TypeError, ValueError), match=rf"`{match}`(.|\n)*Received: "):
        PrincipalComponents(**arguments)


def test_examples_of_another_shape_or_range():
    model = sequential((8, 8, 1), layers.Conv2D(2, 3))
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    examples = rng().uniform(size=(20, 8, 8, 1))
    for bad, message in [
        (examples[:, :7], r"shape .*\(8, 8, 1\).*Received: examples of shape \(7, 8, 1\)"),
        (300 * examples, r"is \(0, 1\). Received: examples with values from .* to 299"),
        (examples / 255, r"is \(0, 1\). Received: examples with values from .* to 0.0039"),
    ]:
        optimizer = Optimizer(
            model.inputs[0], losses, (0.0, 1.0), parametrization=PrincipalComponents(bad)
        )
        with pytest.raises(ValueError, match=rf"`parametrization`.*{message}"):
            optimizer.minimize(max_iter=1, verbose=False)


def test_use_with_several_models_does_not_change_it():
    parametrization = PrincipalComponents(rng().uniform(size=(20, 8, 8, 1)))
    before = describe(copy.copy(parametrization))
    for width in (2, 3):
        model = sequential((8, 8, 1), layers.Conv2D(width, 3))
        losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
        optimizer = Optimizer(
            model.inputs[0],
            losses,
            (0.0, 1.0),
            parametrization=parametrization,
            optimizer=keras.optimizers.Adam(0.1),
        )
        assert optimizer.minimize(max_iter=2, verbose=False)[0].shape == (8, 8, 1)
    assert describe(parametrization) == before
