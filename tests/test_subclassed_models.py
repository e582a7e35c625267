"""Models without a graph: shapes that Keras does not know, and images of other sizes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from vis.atlas import draw_atlas
from vis.losses import ActivationMaximization
from vis.regularizers import TotalVariation
from vis.visualization import (
    IntegratedGradients,
    Occlusion,
    find_layer,
    inputs_of,
    top_activating_images,
    visualize_activation,
    visualize_activation_with_losses,
    visualize_cam,
    visualize_cam_with_losses,
    visualize_filters,
    visualize_saliency,
    visualize_saliency_with_losses,
)

pytestmark = pytest.mark.versions

QUICK = {"max_iter": 3, "seed": 0}
FILTERS = {"input_modifiers": [], "progress": False, **QUICK}
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 20, 28, 3)).astype("float32")
IMAGE = IMAGES[0]


class Network(keras.Model):
    """A convolutional network of any image size."""

    def __init__(self):
        super().__init__(name="network")
        self.conv = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")
        self.head = layers.Conv2D(2, 1, name="head")

    def call(self, images):
        return self.head(self.conv(images))


class Detector(Network):
    """Is built without a shape, as some detectors are, so that Keras records none."""

    def __init__(self):
        super().__init__()
        self.built = True


def called(kind, shape):
    model = kind()
    model(np.zeros((1, *shape), "float32"))
    return model


def functional(model, shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, model.head(model.conv(inputs)))


@pytest.mark.parametrize("kind", [Network, Detector])
def test_explanations_of_images_of_another_size(kind):
    model = called(kind, (16, 16, 3))
    plain = functional(model, IMAGE.shape)
    for draw in (
        lambda m: visualize_saliency(m, -1, 1, IMAGE),
        lambda m: visualize_saliency(m, -1, None, IMAGES),
        lambda m: visualize_cam(m, -1, 1, IMAGE, "conv"),
        lambda m: IntegratedGradients(4)(m, IMAGE, "head", 1),
        lambda m: Occlusion()(m, IMAGE.transpose(2, 0, 1), "head", 1),
    ):
        np.testing.assert_allclose(draw(model), draw(plain), atol=1e-4)
    found = top_activating_images(model, IMAGES, "conv", count=1, progress=False)["conv"]
    expected = plain.get_layer("conv").output
    values = keras.Model(plain.input, expected)(IMAGES).numpy().max(axis=(1, 2))
    np.testing.assert_array_equal(found.indices[:, 0], values.argmax(axis=0))


@pytest.mark.every(2)
@pytest.mark.parametrize("kind", [Network, Detector])
def test_pictures_of_another_size(kind):
    shape = (20, 28, 3)
    for draw in (
        lambda m: visualize_activation(m, "head", 1, seed_input=IMAGE, **QUICK),
        lambda m: visualize_activation(m, "head", 1, image_size=(20, 28), **QUICK),
        lambda m: visualize_activation(m, "head", 1, like=IMAGES, **QUICK),
        lambda m: visualize_filters(m, "head", [1], image_size=(20, 28), **FILTERS)[0],
        lambda m: visualize_filters(
            m, "head", [1], like=tf.data.Dataset.from_tensors(IMAGES), **FILTERS
        )[0],
    ):
        model = called(kind, (16, 16, 3))
        picture = draw(model)
        assert picture.shape == shape
        np.testing.assert_allclose(picture, draw(functional(model, shape)), atol=1)


def test_the_size_of_the_first_call_is_the_default():
    model = called(Network, (16, 12, 3))
    visualize_saliency(model, -1, 1, IMAGE)
    assert visualize_activation(model, -1, 1, **QUICK).shape == (16, 12, 3)


def test_losses_on_images_of_another_size():
    model = called(Network, (16, 16, 3))
    inputs, plain = inputs_of(model), functional(model, IMAGE.shape)
    losses = [(ActivationMaximization(find_layer(model, "head"), 1), -1)]
    expected = visualize_saliency(plain, -1, 1, IMAGE)
    for wrt in (None, inputs[0]):
        heat = visualize_saliency_with_losses(inputs, losses, IMAGE, wrt)
        np.testing.assert_allclose(heat, expected, atol=1e-5)
    heat = visualize_cam_with_losses(inputs, losses, IMAGE, find_layer(model, "conv"))
    np.testing.assert_allclose(heat, visualize_cam(plain, -1, 1, IMAGE, "conv"), atol=1e-5)
    losses = [(TotalVariation(inputs[0]), 1.0)]
    picture = visualize_activation_with_losses(inputs, losses, seed_input=IMAGE, **QUICK)
    assert picture.shape == IMAGE.shape


def test_atlas_of_a_model_whose_shape_is_not_known(tmp_path):
    model = called(Detector, (16, 16, 3))
    settings = {"layers": ["conv", "head"], "max_filters": 1, "max_iter": 3, "progress": False}
    assert not draw_atlas(model, tmp_path, images=IMAGES, **settings).failed


def test_shapes_that_are_not_known():
    with pytest.raises(ValueError, match=r"`model` must have been built.*Received: "):
        visualize_saliency(Detector(), -1, 0, IMAGE)
    model = called(Detector, (16, 16, 3))
    with pytest.raises(ValueError, match=r"an input of known shape.*`image_size`.*Received: "):
        visualize_activation(model, -1, 0)
    with pytest.raises(ValueError, match=r"a shape that the model accepts.*Received: "):
        visualize_saliency(model, -1, 0, np.zeros((20, 28, 5)))


class Flat(Network):
    """Takes images of one size, although TensorFlow can reshape others as well."""

    def call(self, images):
        return tf.reshape(self.head(self.conv(images)), (-1, 8 * 8 * 2))


@pytest.mark.parametrize("shape", [(9, 8, 3), (16, 8, 3)])
def test_models_of_one_size(shape):
    model = called(Flat, (8, 8, 3))
    with pytest.raises(ValueError, match=r"`seed_input` must be of shape \(8, 8, 3\)"):
        visualize_saliency(model, "conv", 1, np.zeros(shape))
    with pytest.raises(ValueError, match="a size that the model takes"):
        visualize_activation(model, -1, 1, image_size=shape[:2])
    assert visualize_saliency(model, -1, 1, np.ones((8, 8, 3))).shape == (8, 8)
    with pytest.raises(ValueError, match="`seed_input` must be of shape"):
        visualize_saliency(functional(called(Network, (8, 8, 3)), (8, 8, 3)), -1, 1, IMAGE)


def test_inputs_by_name_whose_shapes_are_not_known():
    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(3), layers.Dense(3)
            self.built = True

        def call(self, inputs):
            return self.a(inputs["a"]) * self.b(inputs["b"])

    model = Pair()
    values = {"a": np.ones((1, 2), "float32"), "b": np.ones((1, 4), "float32")}
    model(values)
    product = model.a.kernel.numpy()[:, 1] * model.b(values["b"]).numpy()[0, 1]
    expected = np.abs(product) - np.abs(product).min()
    heat = visualize_saliency(model, model, 1, values)
    np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-5)
