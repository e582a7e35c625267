"""`visualize_saliency`, compared with gradients of a NumPy network."""

import keras
import numpy as np
import pytest
from helpers import channels_last, nodes, sequential
from keras import layers
from numpy_reference import conv, dense, flatten, gradient, network

from vis.losses import ActivationMaximization
from vis.regularizers import LPNorm
from vis.visualization import visualize_saliency, visualize_saliency_with_losses

CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
SIZES = (5, 4, 6)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def scaled(array):
    return (array - array.min()) / (array.max() - array.min())


def convnet(rank, data_format="channels_last"):
    """A smooth network with `rank` spatial axes, and the same network in NumPy."""
    shape = (*SIZES[:rank], 2)
    if data_format == "channels_first":
        shape = (2, *SIZES[:rank])
    model = sequential(
        shape,
        CONVOLUTIONS[rank](3, 2, activation="tanh", data_format=data_format),
        layers.Flatten(data_format=data_format),
        layers.Dense(4, "softplus"),
    )
    first, _, last = model.layers
    in_numpy = network(
        conv(*first.get_weights(), "tanh"), flatten, dense(*last.get_weights(), "softplus")
    )
    return model, in_numpy


@pytest.mark.every(4)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_maximum_absolute_gradient_over_channels(rank, data_format):
    model, in_numpy = convnet(rank, data_format)
    image = noise(*model.inputs[0].shape[1:])
    last = channels_last(image[None], data_format)[0]
    grads = gradient(lambda x: in_numpy(x)[2], last)
    heat = visualize_saliency(model, -1, 2, image)
    np.testing.assert_allclose(heat, scaled(np.abs(grads).max(axis=-1)), atol=1e-4)


def test_several_filters_are_explained_jointly():
    model, in_numpy = convnet(2)
    image = noise(*SIZES[:2], 2)
    grads = gradient(lambda x: in_numpy(x)[1] + in_numpy(x)[3], image)
    heat = visualize_saliency(model, -1, [1, 3], image)
    np.testing.assert_allclose(heat, scaled(np.abs(grads).max(axis=-1)), atol=1e-4)


@pytest.mark.parametrize(
    ("modifier", "formula"),
    [
        (None, lambda g: g),
        ("negate", np.negative),
        ("relu", lambda g: np.maximum(g, 0)),
        (lambda g: g**2, np.square),
    ],
)
def test_grad_modifier_is_applied_before_the_channel_maximum(modifier, formula):
    model, in_numpy = convnet(2)
    image = noise(*SIZES[:2], 2)
    grads = gradient(lambda x: in_numpy(x)[0], image)
    heat = visualize_saliency(model, -1, 0, image, grad_modifier=modifier)
    np.testing.assert_allclose(heat, scaled(formula(grads).max(axis=-1)), atol=1e-4)
    every = visualize_saliency(model, -1, 0, image, grad_modifier=modifier, keepdims=True)
    np.testing.assert_allclose(every, scaled(formula(grads)), atol=1e-4)


def test_vector_has_one_value_per_feature():
    model = sequential((4,), layers.Dense(2, use_bias=False))
    model.set_weights([np.array([[1.0, 0], [-3.0, 0], [2.0, 0], [0.0, 0]])])
    for keepdims in (False, True):
        heat = visualize_saliency(model, -1, 0, np.ones(4), keepdims=keepdims)
        np.testing.assert_allclose(heat, [1 / 3, 1, 2 / 3, 0], rtol=1e-6)


def test_tiny_gradients_are_scaled_to_0_to_1():
    model = sequential((3,), layers.Dense(1, "sigmoid", use_bias=False))
    model.set_weights([np.array([[10.0], [20.0], [5.0]])])
    # The slope of the sigmoid is about 1e-30 here.
    heat = visualize_saliency(model, -1, 0, np.array([-1.0, -1.0, -8.0]))
    np.testing.assert_allclose(heat, [1 / 3, 1, 0], rtol=1e-5)


def test_zero_gradient_gives_an_empty_map():
    model = sequential((3,), layers.Dense(1, "relu", use_bias=False))
    model.set_weights([np.ones((3, 1))])
    with pytest.warns(UserWarning, match="maps show nothing: the gradient of the score is 0"):
        assert visualize_saliency(model, -1, 0, -np.ones(3)).tolist() == [0, 0, 0]


def test_layer_by_index_name_and_object():
    model, _ = convnet(2)
    image = noise(*SIZES[:2], 2)
    expected = visualize_saliency(model, 0, 1, image)
    np.testing.assert_array_equal(visualize_saliency(model, -3, 1, image), expected)
    for layer in (model.layers[0].name, model.layers[0]):
        np.testing.assert_array_equal(visualize_saliency(model, layer, 1, image), expected)


def test_batch_of_integers():
    model, _ = convnet(2)
    images = np.random.default_rng(0).integers(0, 4, (3, *SIZES[:2], 2), "uint8")
    maps = visualize_saliency(model, -1, None, images)
    assert maps.shape == (3, *SIZES[:2])
    assert maps.min(axis=(1, 2)).tolist() == [0] * 3
    assert maps.max(axis=(1, 2)).tolist() == [1] * 3
    np.testing.assert_allclose(
        maps[1], visualize_saliency(model, -1, None, images[1].astype("float64")), atol=1e-6
    )


@pytest.mark.parametrize("modifier", [None, "guided"])
def test_wrt_tensor(modifier):
    model = sequential(
        (6, 6, 1),
        layers.Conv2D(2, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(3, use_bias=False),
    )
    image = noise(6, 6, 1)
    weights = model.layers[-1].get_weights()[0][:, 1].reshape(4, 4, 2)
    tensor = model.layers[0].output
    heat = visualize_saliency(model, -1, 1, image, tensor, backprop_modifier=modifier)
    np.testing.assert_allclose(heat, scaled(np.abs(weights).max(axis=-1)), atol=1e-6)
    np.testing.assert_array_equal(
        visualize_saliency(model, -1, 1, image, model.inputs[0], backprop_modifier=modifier),
        visualize_saliency(model, -1, 1, image, backprop_modifier=modifier),
    )


def test_backprop_modifier_by_name_and_as_a_function():
    from vis.backprop_modifiers import guided

    model = sequential(
        (6, 6, 1), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)
    )
    image = noise(6, 6, 1)
    maps = [
        visualize_saliency(model, -1, 1, image, backprop_modifier=modifier)
        for modifier in (None, "guided", guided, "rectified")
    ]
    np.testing.assert_array_equal(maps[1], maps[2])
    assert np.abs(maps[0] - maps[1]).max() > 1e-3
    assert np.abs(maps[1] - maps[3]).max() > 1e-3


def test_weighted_losses():
    model, in_numpy = convnet(2)
    image = noise(*SIZES[:2], 2)
    losses = [
        (ActivationMaximization(model.layers[-1], 2), -1),
        (LPNorm(model.inputs[0], p=2), 3),
    ]

    def overall(x):
        return in_numpy(x)[2] + 3 * np.sqrt(np.sum(x**2)) / x.size

    grads = gradient(overall, image)
    before = nodes(model)
    heat = visualize_saliency_with_losses(model.inputs[0], losses, image)
    np.testing.assert_allclose(heat, scaled(np.abs(grads).max(axis=-1)), atol=1e-4)
    heat = visualize_saliency_with_losses(
        model.inputs[0], losses, image, grad_modifier=None, keepdims=True
    )
    np.testing.assert_allclose(heat, scaled(grads), atol=1e-4)
    assert nodes(model) == before


def test_losses_with_respect_to_a_tensor():
    model, _ = convnet(2)
    image = noise(*SIZES[:2], 2)
    losses = [(ActivationMaximization(model.layers[-1], 2), -1)]
    tensor = model.layers[0].output
    np.testing.assert_array_equal(
        visualize_saliency_with_losses(model.inputs[0], losses, image, tensor),
        visualize_saliency(model, -1, 2, image, tensor),
    )


def test_wrong_tensors():
    model, other = convnet(2)[0], convnet(2)[0]
    image = noise(*SIZES[:2], 2)
    with pytest.raises(ValueError, match="must depend on no other inputs than"):
        visualize_saliency(model, -1, 2, image, other.layers[0].output)
    with pytest.raises(TypeError, match="`wrt_tensor` must be a symbolic tensor"):
        visualize_saliency(model, -1, 2, image, "conv")
    with pytest.raises(ValueError, match="No gradient flows"):
        visualize_saliency(model, 0, 2, image, model.layers[-1].output)
    with pytest.raises(TypeError, match="`losses` must be a list"):
        visualize_saliency_with_losses(model.inputs[0], None, image)
    losses = [(ActivationMaximization(other.layers[-1], 2), -1)]
    with pytest.raises(ValueError, match="`losses` must be on layers"):
        visualize_saliency_with_losses(model.inputs[0], losses, image)


def test_recurrent_model_of_images():
    model = sequential(
        (5, 6, 6, 2),
        layers.TimeDistributed(layers.Conv2D(3, 3, activation="tanh")),
        layers.TimeDistributed(layers.GlobalAveragePooling2D()),
        layers.LSTM(4),
        layers.Dense(3),
    )
    assert visualize_saliency(model, -1, 0, noise(5, 6, 6, 2)).shape == (5, 6, 6)


def test_layers_of_another_model():
    # keras-vis users cut networks like this. The layers have nodes of both models.
    model = sequential((6,), *(layers.Dense(5, "tanh") for _ in range(3)))
    image = noise(6)
    cut = keras.Sequential()
    for layer in model.layers[:2]:
        cut.add(layer)
    cut.build((None, 6))
    np.testing.assert_allclose(
        visualize_saliency(cut, -1, 3, image), visualize_saliency(model, 1, 3, image), atol=1e-6
    )
