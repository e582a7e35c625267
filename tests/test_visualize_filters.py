"""`visualize_filters`: pictures of many filters, and their independence of one another."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from vis.input_modifiers import Crop, InputModifier, Jitter, Pad, Rotate, Scale
from vis.parametrizations import Fourier, MagnitudeConstrained, Pixels
from vis.visualization import visualize_filters


@pytest.fixture(scope="module")
def digits():
    """A small convnet that is trained to classify bars and crosses at random positions."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images = rng.normal(0.1, 0.05, (600, 28, 28, 1))
    labels = rng.integers(3, size=600)
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(6, 22, 2)
        if label in (0, 2):
            image[row - 1 : row + 2, column - 6 : column + 6] = 1
        if label in (1, 2):
            image[row - 6 : row + 6, column - 1 : column + 2] = 1
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(8, 5, activation="relu", name="conv"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(3, "softmax", name="predictions"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=12, batch_size=32, verbose=0)
    assert model.evaluate(images, labels, verbose=0)[1] > 0.9
    return model


def test_a_trained_convnet_classifies_its_pictures(digits):
    pictures = visualize_filters(
        digits, "predictions", seed=0, progress=False, input_range=(0.0, 1.0)
    )
    assert pictures.shape == (3, 28, 28, 1)
    assert pictures.dtype == np.float32
    np.testing.assert_array_equal(digits.predict(pictures, verbose=0).argmax(1), [0, 1, 2])


def test_a_softmax_and_its_logits_give_the_same_pictures(digits):
    logits = keras.Sequential(
        [keras.Input((28, 28, 1)), *digits.layers[:-1], keras.layers.Dense(3, name="logits")]
    )
    logits.layers[-1].set_weights(digits.layers[-1].get_weights())
    one, other = (
        visualize_filters(model, -1, [2], seed=0, progress=False, max_iter=12)
        for model in (digits, logits)
    )
    np.testing.assert_array_equal(one, other)


def test_a_picture_activates_its_own_channel_most(digits):
    pictures = visualize_filters(digits, "conv", [1, 4, 6], seed=0, progress=False, max_iter=64)
    assert pictures.dtype == np.uint8
    means = keras.Model(digits.inputs, digits.layers[0].output)
    means = means.predict(pictures.astype("float32"), verbose=0).mean((1, 2))[:, [1, 4, 6]]
    alive = means.max(0) > 0
    assert (means.argmax(0) == np.arange(3))[alive].all()
    assert alive.any()


def test_a_picture_is_independent_of_the_batch(digits):
    both = visualize_filters(digits, "predictions", [0, 2], seed=3, progress=False, max_iter=40)
    alone = visualize_filters(digits, "predictions", 2, seed=3, progress=False, max_iter=40)
    np.testing.assert_array_equal(both[1], alone[0])
    split = visualize_filters(
        digits, "predictions", [0, 2], seed=3, progress=False, max_iter=40, batch_size=1
    )
    np.testing.assert_array_equal(both, split)


def test_seed_gives_the_same_pictures(digits):
    once, again, other = (
        visualize_filters(digits, "predictions", [1], seed=seed, progress=False, max_iter=10)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


def test_repeated_indices_give_different_pictures(digits):
    first, second = visualize_filters(
        digits, "predictions", [1, 1], seed=0, progress=False, max_iter=10
    )
    assert not np.array_equal(first, second)


def test_batches_of_uneven_length(digits):
    pictures = visualize_filters(digits, "conv", seed=0, progress=False, max_iter=2, batch_size=3)
    assert len(pictures) == 8


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_image_size(digits):
    for size, shape in ((40, (40, 40)), ((20, 32), (20, 32))):
        pictures = visualize_filters(
            digits, "conv", [0], image_size=size, input_modifiers=[], progress=False, max_iter=3
        )
        assert pictures.shape == (1, *shape, 1)


def test_coarse_stages():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((128, 128, 3)), keras.layers.Conv2D(4, 3, strides=2)])
    pictures = visualize_filters(model, -1, [0, 1], seed=0, progress=False, max_iter=6)
    assert pictures.shape == (2, 128, 128, 3)


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("shape", "layer"),
    [((32, 2), keras.layers.Conv1D(3, 3)), ((8, 9, 10, 1), keras.layers.Conv3D(3, 3))],
)
def test_one_and_three_dimensions(shape, layer):
    model = keras.Sequential([keras.Input(shape), layer])
    pictures = visualize_filters(model, -1, [1], seed=0, progress=False, max_iter=5)
    assert pictures.shape == (1, *shape)


def test_a_plain_vector():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    pictures = visualize_filters(
        model, -1, seed=0, progress=False, max_iter=5, input_range=(0.0, 1.0)
    )
    assert pictures.shape == (3, 6)


@pytest.mark.parametrize("parametrization", [Pixels(), MagnitudeConstrained()])
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_other_parametrizations(digits, parametrization):
    pictures = visualize_filters(
        digits, "conv", [0], parametrization=parametrization, seed=0, progress=False, max_iter=3
    )
    assert pictures.shape == (1, 28, 28, 1)


def test_open_input_size():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, strides=4)])
    pictures = visualize_filters(model, -1, [0], seed=0, progress=False, max_iter=2)
    assert pictures.shape == (1, 224, 224, 3)


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_several_layers(digits, capfd):
    """Each layer has the pictures of a call of its own; the progress bar is shared."""
    settings = {"seed": 0, "max_iter": 3}
    layer_idx = [digits.get_layer("conv"), -1]
    filters = {"conv": [1, 6], "predictions": [2]}
    pictures = visualize_filters(digits, layer_idx, [[1, 6], 2], **settings)
    assert "9/9" in capfd.readouterr().err
    assert list(pictures) == ["conv", "predictions"]
    by_dict = visualize_filters(digits, layer_idx, filters, progress=False, **settings)
    for name, indices in filters.items():
        alone = visualize_filters(digits, name, indices, progress=False, **settings)
        np.testing.assert_array_equal(pictures[name], alone)
        np.testing.assert_array_equal(by_dict[name], alone)
    everything = visualize_filters(digits, layer_idx, progress=False, **settings)
    assert {name: len(images) for name, images in everything.items()} == {
        "conv": 8,
        "predictions": 3,
    }
    (only,) = visualize_filters(digits, ["conv"], [4], progress=False, **settings).values()
    assert only.shape == (1, 28, 28, 1)


def test_layers_of_their_own_size():
    model = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            keras.layers.Conv2D(2, 3, name="early"),
            keras.layers.Conv2D(2, 16, name="late"),
        ]
    )
    pictures = visualize_filters(
        model,
        ["early", "late"],
        image_size="receptive_field",
        input_modifiers=[],
        max_iter=2,
        progress=False,
    )
    assert {name: images.shape[1:3] for name, images in pictures.items()} == {
        "early": (32, 32),
        "late": (54, 54),
    }


@pytest.mark.parametrize(
    ("layer_idx", "filter_indices", "message"),
    [
        ([], None, "`layer_idx` must hold at least one layer"),
        (["conv", 0], None, "`layer_idx` must not hold a layer twice"),
        (["conv", -1], [1], "`filter_indices` must be None, a dict by layer, or a list with an"),
        (["conv", -1], 1, "`filter_indices` must be None, a dict by layer, or a list with an"),
        (["conv", -1], [1, 3], "`filter_indices` is out of range: layer 'predictions' has 3"),
        (["conv", -1], {1: 0}, "`filter_indices` must be a dict whose keys are among"),
        (["conv", -1], {"cnov": 0}, "`filter_indices` must be the name of a layer"),
    ],
)
def test_bad_layers_and_filters(digits, layer_idx, filter_indices, message):
    with pytest.raises(ValueError, match=message):
        visualize_filters(digits, layer_idx, filter_indices, progress=False)


@pytest.mark.every(2)
@pytest.mark.parametrize("layer", ["conv", "predictions"])
def test_defaults_given_explicitly_change_nothing(digits, layer):
    settings = {"filter_indices": 1, "seed": 0, "progress": False}
    defaults = {
        "batch_size": 16,
        "max_iter": 120,
        "input_range": (0, 255),
        "skip_erosion": 0.5 if layer == "predictions" else 0.2,
        "image_size": (28, 28),
        "parametrization": Fourier(decay_power=1.5, contrast=1.2),
        "input_modifiers": [Jitter(0.1), Rotate(10), Scale(0.8, 1.2)],
    }
    np.testing.assert_array_equal(
        visualize_filters(digits, layer, **settings),
        visualize_filters(digits, layer, **settings, **defaults),
    )


@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_progress_is_shown_only_on_request(digits, capfd):
    visualize_filters(digits, "conv", [0], seed=0, progress=False, max_iter=3)
    assert capfd.readouterr() == ("", "")
    visualize_filters(digits, "conv", [0], seed=0, progress=True, max_iter=3)
    assert "3/3" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"filter_indices": 8}, "filter_indices"),
        ({"filter_indices": []}, "filter_indices"),
        ({"filter_indices": "all"}, "filter_indices"),
        ({"batch_size": -1}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"image_size": 0}, "image_size"),
        ({"image_size": (28, 28, 28)}, "image_size"),
        ({"image_size": 3}, "image_size"),
        ({"image_size": "large"}, "image_size"),
        ({"max_iter": 0}, "max_iter"),
        ({"seed": -1}, "seed"),
        ({"parametrization": "fourier"}, "parametrization"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"input_modifiers": [InputModifier()]}, "input_modifiers"),
        ({"input_modifiers": ["jitter"]}, "input_modifiers"),
        ({"input_modifiers": [Crop(4)]}, "input_modifiers"),
        ({"input_modifiers": [Crop(29)]}, "size"),
        ({"parametrization": MagnitudeConstrained(np.ones((1, 20, 28, 1)))}, "spectrum"),
        ({"input_range": (1, 0)}, "input_range"),
    ],
)
def test_bad_arguments(digits, arguments, name):
    with pytest.raises((TypeError, ValueError), match=rf"`{name}`(.|\n)*Received: "):
        visualize_filters(digits, "conv", progress=False, **arguments)


def test_transforms_that_need_the_full_size():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((128, 128, 1)), keras.layers.Conv2D(2, 3, strides=4)])
    pictures = visualize_filters(
        model, -1, 0, input_modifiers=[Pad(8), Crop(128)], seed=0, progress=False, max_iter=3
    )
    assert pictures.shape == (1, 128, 128, 1)


def test_a_single_transform_and_sizes_as_an_array(digits):
    arguments = {"max_iter": 2, "seed": 0, "progress": False, "filter_indices": 1}
    alone = visualize_filters(
        digits, "conv", input_modifiers=Jitter(2), image_size=np.array([20, 24]), **arguments
    )
    listed = visualize_filters(
        digits, "conv", input_modifiers=[Jitter(2)], image_size=(20, 24), **arguments
    )
    assert alone.shape == (1, 20, 24, 1)
    np.testing.assert_array_equal(alone, listed)


@pytest.mark.parametrize("size", [[20], (20, 24, 28), np.array([20])])
def test_image_size_of_the_wrong_length(digits, size):
    message = r"`image_size` must be one number, or one for each of the 2 spatial axes. Received: "
    with pytest.raises(ValueError, match=message):
        visualize_filters(digits, "conv", image_size=size, progress=False)


def test_image_size_of_plain_vectors():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`image_size`(.|\n)*Received: "):
        visualize_filters(model, -1, image_size=6, progress=False)


def test_image_size_that_a_dense_layer_does_not_take():
    model = keras.Sequential(
        [keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    with pytest.raises(ValueError, match=r"`image_size`(.|\n)*Received: "):
        visualize_filters(model, -1, image_size=20, progress=False)


def test_image_size_of_the_receptive_field():
    """The receptive fields are 3, 4 after the pooling, 4 + 2 * 2, and 8 + 4 * 2."""
    model = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Conv2D(4, 3, dilation_rate=2),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    for layer_idx, size in ((0, 32), (2, 32), (3, 48), (-1, 64)):
        arguments = {"image_size": "receptive_field", "max_iter": 2, "input_modifiers": []}
        pictures = visualize_filters(model, layer_idx, 0, progress=False, **arguments)
        assert pictures.shape == (1, size, size, 1)
