"""`visualize_cam`, compared with the formula of Grad-CAM."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import nodes, sequential
from keras import layers

from vis.backend.graph import Graph, ModelInputs
from vis.losses import ActivationMaximization
from vis.visualization import visualize_cam, visualize_cam_with_losses
from vis.visualization.attribution.maps import resize_maps, scale_maps
from vis.visualization.attribution.penultimate_layer import default_penultimate_layer


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def scaled(array):
    return (array - array.min()) / (array.max() - array.min())


def pooled():
    return sequential(
        (9, 7, 3),
        layers.Conv2D(5, 3, name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, name="dense"),
    )


def default_layer(model, layer_idx=-1):
    graph = Graph.of(model)
    layer = model.layers[layer_idx] if isinstance(layer_idx, int) else layer_idx
    losses = [(ActivationMaximization(layer), -1)]
    inputs = ModelInputs.with_zeros(graph, graph.inputs[0])
    return default_penultimate_layer(inputs, losses).name


def grad_cam_formula(model, image, filters, modify=lambda grads: grads):
    """The mean gradients are the weights of the last layer over the number of positions."""
    maps = keras.ops.convert_to_numpy(model.get_layer("conv")(image[None]))
    kernel = model.get_layer("dense").get_weights()[0]
    weights = modify(kernel[:, filters].sum(axis=1) / np.prod(maps.shape[1:3]))
    return scaled(resize_maps(np.maximum(maps @ weights, 0), image.shape[:2])[0])


def test_formula():
    model, image = pooled(), noise(9, 7, 3)
    for filters in (0, 3, [1, 2]):
        expected = grad_cam_formula(model, image, np.atleast_1d(filters))
        np.testing.assert_allclose(visualize_cam(model, -1, filters, image), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("modifier", "formula"), [("negate", np.negative), (np.abs, np.abs)], ids=repr
)
def test_grad_modifier(modifier, formula):
    model, image = pooled(), noise(9, 7, 3)
    expected = grad_cam_formula(model, image, [1], formula)
    heat = visualize_cam(model, -1, 1, image, grad_modifier=modifier)
    np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_losses():
    model, image = pooled(), noise(9, 7, 3)
    before = nodes(model)
    losses = [
        (ActivationMaximization(model.layers[-1], i), weight) for i, weight in [(0, -2), (1, 1)]
    ]
    heat = visualize_cam_with_losses(model.inputs[0], losses, image, model.get_layer("conv"))
    maps = keras.ops.convert_to_numpy(model.get_layer("conv")(image[None]))
    kernel = model.get_layer("dense").get_weights()[0]
    weights = 2 * kernel[:, 0] - kernel[:, 1]
    expected = scaled(resize_maps(np.maximum(maps @ weights, 0), (9, 7))[0])
    np.testing.assert_allclose(heat, expected, atol=1e-5)
    assert nodes(model) == before


def test_map_without_positive_values_is_empty():
    model = sequential(
        (4, 4, 1), layers.Conv2D(2, 1, name="conv"), layers.Flatten(), layers.Dense(1)
    )
    model.set_weights(
        [-np.ones(w.shape) if w.ndim == 4 else np.abs(w) for w in model.get_weights()]
    )
    with pytest.warns(UserWarning, match="weighted activations of layer 'conv' are negative"):
        assert not visualize_cam(model, -1, 0, np.ones((4, 4, 1))).any()


def test_penultimate_layer_by_index_name_and_object():
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(3, 3, name="a"),
        layers.ReLU(name="relu"),
        layers.Conv2D(3, 3, name="b"),
        layers.Flatten(),
        layers.Dense(2),
    )
    image = noise(8, 8, 1)
    expected = visualize_cam(model, -1, 0, image, penultimate_layer_idx="relu")
    for index in (1, -4, model.layers[1], [1]):
        np.testing.assert_array_equal(visualize_cam(model, -1, 0, image, index), expected)
    assert np.abs(visualize_cam(model, -1, 0, image) - expected).max() > 0.01


def test_default_penultimate_layer_has_several_positions():
    """MobileNet's last convolution has a single position, and a constant map."""
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(3, 3, name="several"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Conv2D(2, 1, name="single"),
        layers.Flatten(),
    )
    assert default_layer(model) == "several"
    assert np.ptp(visualize_cam(model, -1, 0, noise(8, 8, 1))) == 1
    only_single = sequential((8, 8, 1), layers.Conv2D(3, 8, name="conv"), layers.Flatten())
    assert default_layer(only_single) == "conv"


def test_backprop_modifier():
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(3, 3, activation="relu", name="a"),
        layers.Conv2D(3, 3, activation="relu", name="b"),
        layers.Flatten(),
        layers.Dense(5, "relu"),
        layers.Dense(2),
    )
    image = noise(8, 8, 1)
    maps = [
        visualize_cam(model, -1, 0, image, layer, backprop_modifier)
        for layer in ("a", model.layers[0])
        for backprop_modifier in (None, "guided")
    ]
    np.testing.assert_array_equal(maps[1], maps[3])
    assert np.abs(maps[0] - maps[1]).max() > 0.01


# The default penultimate layer.


def test_nearest_convolution_or_pooling_layer():
    model = sequential(
        (16, 16, 1),
        layers.Conv2D(3, 3, name="conv"),
        layers.MaxPooling2D(name="pool"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    )
    assert default_layer(model) == "depthwise"
    assert default_layer(model, 3) == "depthwise"
    assert default_layer(model, 2) == "pool"
    assert default_layer(model, 1) == "conv"


def test_inside_wrappers():
    model = sequential(
        (5, 8, 8, 1),
        layers.TimeDistributed(layers.Conv2D(3, 3), name="wrapped"),
        layers.TimeDistributed(layers.Flatten(), name="flat"),
        layers.LSTM(4),
        layers.Dense(2),
    )
    assert default_layer(model) == "wrapped"
    assert visualize_cam(model, -1, 0, noise(5, 8, 8, 1)).shape == (5, 8, 8)


def test_maps_over_time():
    model = sequential((20, 3), layers.Conv1D(4, 5, name="conv"), layers.GRU(4), layers.Dense(2))
    assert default_layer(model) == "conv"
    assert visualize_cam(model, -1, 0, noise(20, 3)).shape == (20,)


def test_inside_nested_models():
    inner = sequential((8, 8, 1), layers.Conv2D(3, 3, name="inner"), layers.ReLU())
    middle = sequential((8, 8, 1), inner, layers.BatchNormalization())
    model = sequential((8, 8, 1), middle, layers.GlobalMaxPooling2D(), layers.Dense(2))
    assert default_layer(model) == "inner"
    assert default_layer(model, middle.layers[-1]) == "inner"
    assert default_layer(model, inner.layers[-1]) == "inner"
    np.testing.assert_array_equal(
        visualize_cam(model, -1, 0, noise(8, 8, 1)),
        visualize_cam(model, -1, 0, noise(8, 8, 1), inner.get_layer("inner")),
    )


def test_only_upstream_layers():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, name="shared")(inputs)
    a = layers.Dense(2, name="a")(layers.Flatten()(layers.Conv2D(3, 3, name="of_a")(x)))
    b = layers.Dense(2, name="b")(layers.Flatten()(layers.Conv2D(3, 3, name="of_b")(x)))
    model = keras.Model(inputs, [a, b])
    assert default_layer(model, model.get_layer("a")) == "of_a"
    assert default_layer(model, model.get_layer("b")) == "of_b"
    image = noise(8, 8, 1)
    assert visualize_cam(model, "a", 0, image).shape == (8, 8)
    with pytest.raises(ValueError, match="'of_b'"):
        visualize_cam(model, "a", 0, image, "of_b")


def test_no_convolution_before_the_layer():
    model = sequential((8,), layers.Dense(4), layers.Dense(2))
    with pytest.raises(ValueError, match="no convolution or pooling layer") as caught:
        visualize_cam(model, -1, 0, np.ones(8))
    assert "Received: penultimate_layer_idx=None" in str(caught.value)
    model = pooled()
    with pytest.raises(ValueError, match="no convolution or pooling layer"):
        visualize_cam(model, 0, 0, noise(9, 7, 3))


def test_penultimate_layer_after_the_layer():
    model = sequential((8, 8, 1), *(layers.Conv2D(2, 3, name=name) for name in "abc"))
    with pytest.raises(ValueError, match="must be a layer before 'b'") as caught:
        visualize_cam(model, 1, 0, noise(8, 8, 1), penultimate_layer_idx=2)
    assert "Received: layer 'c'" in str(caught.value)
    losses = [(ActivationMaximization(model.layers[1], 0), -1)]
    with pytest.raises(ValueError, match="Choose a layer before those of the losses"):
        visualize_cam_with_losses(model.inputs[0], losses, noise(8, 8, 1), model.layers[2])


def test_invalid_penultimate_layer():
    model = pooled()
    image = noise(9, 7, 3)
    with pytest.raises(ValueError, match="the spatial axes of the input"):
        visualize_cam(model, -1, 0, image, penultimate_layer_idx=1)
    with pytest.raises(ValueError, match="`penultimate_layer_idx` is out of range"):
        visualize_cam(model, -1, 0, image, penultimate_layer_idx=9)
    with pytest.raises(ValueError, match="`penultimate_layer_idx` must be a layer of the model"):
        visualize_cam(model, -1, 0, image, penultimate_layer_idx=layers.Conv2D(2, 3))
    losses = [(ActivationMaximization(model.layers[-1], 0), -1)]
    with pytest.raises(TypeError, match="`penultimate_layer` must be a layer"):
        visualize_cam_with_losses(model.inputs[0], losses, image, "conv")
    with pytest.raises(ValueError, match="must be connected to the input"):
        visualize_cam_with_losses(model.inputs[0], losses, image, pooled().layers[0])


@pytest.mark.parametrize("path", [None, "td/frames/conv"])
def test_time_distributed_network_gives_a_map_per_frame(path):
    """Compared with Grad-CAM of the same layers, called frame by frame without a wrapper."""
    keras.utils.set_random_seed(0)
    conv, flatten, lstm = layers.Conv2D(2, 3, name="conv"), layers.Flatten(), layers.LSTM(2)
    frames = keras.Sequential([keras.Input((8, 8, 1)), conv, flatten], name="frames")
    model = sequential((3, 8, 8, 1), layers.TimeDistributed(frames, name="td"), lstm)
    video = noise(3, 8, 8, 1)

    values = tf.Variable(conv(video))
    with tf.GradientTape() as tape:
        score = lstm(flatten(values)[None])[0, 1]
    grads = tape.gradient(score, values)[None].numpy()
    weights = grads.mean(axis=(1, 2, 3), keepdims=True)
    expected = np.maximum((weights * values.numpy()[None]).sum(axis=-1), 0)
    expected = scale_maps(resize_maps(expected, (3, 8, 8)))[0]

    heat = visualize_cam(model, -1, 1, video, penultimate_layer_idx=path)
    assert heat.shape == (3, 8, 8)
    np.testing.assert_allclose(heat, expected, atol=1e-5)
