"""Layers with several outputs or calls, by index and by name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers, ops

from vis.atlas import draw_atlas
from vis.losses import ActivationMaximization
from vis.utils.utils import LayerOutput
from vis.visualization import (
    IntegratedGradients,
    LayerCAM,
    Occlusion,
    find_layer,
    inputs_of,
    top_activating_images,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
    visualize_saliency_with_losses,
)

pytestmark = pytest.mark.versions

QUICK = {"max_iter": 3, "seed": 0}
FILTERS = {"input_modifiers": [], "progress": False, **QUICK}
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 9, 9, 3)).astype("float32")
IMAGE = IMAGES[0]


class Heads(layers.Layer):
    """Returns a dict whose order is not that of its layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.boxes = layers.Conv2D(4, 3, name="conv_of_boxes")
        self.logits = layers.Conv2D(2, 3, name="conv_of_logits")

    def call(self, features):
        return {"logits": self.logits(features) * 1.0, "boxes": self.boxes(features) * 1.0}


def parts():
    return layers.Conv2D(3, 3, activation="relu", name="stem"), Heads(name="heads")


def functional():
    stem, heads = parts()
    inputs = keras.Input(IMAGE.shape)
    return keras.Model(inputs, heads(stem(inputs)))


def nested():
    inputs = keras.Input(IMAGE.shape)
    return keras.Model(inputs, functional()(inputs))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.stem, self.heads = parts()

    def call(self, images):
        outputs = self.heads(self.stem(images))
        return {name: ops.maximum(value, -1e9) for name, value in outputs.items()}


def subclassed():
    model = Subclassed()
    model(IMAGES)
    return model


def single(stem, head):
    inputs = keras.Input(IMAGE.shape)
    return keras.Model(inputs, head(stem(inputs)))


def layer_named(model, name):
    return next(layer for layer in model._flatten_layers() if layer.name == name)


@pytest.mark.every(2)
@pytest.mark.parametrize("make", [functional, nested, subclassed])
def test_outputs_by_name(make):
    model = make()
    stem, heads = layer_named(model, "stem"), layer_named(model, "heads")
    find_layer(model, heads)
    for name, part in (("logits", heads.logits), ("boxes", heads.boxes)):
        plain = single(stem, part)
        targets = [LayerOutput(heads, output=name), LayerOutput(model, output=name)]
        targets.append(LayerOutput(-1, output=name))
        for target in targets:
            for draw in (
                lambda m, x: visualize_saliency(m, x, 1, IMAGE),
                lambda m, x: LayerCAM(stem)(m, IMAGE, x, 1),
                lambda m, x: IntegratedGradients(3)(m, IMAGE, x, 1),
            ):
                np.testing.assert_allclose(draw(model, target), draw(plain, part), atol=1e-4)
        loss = [(ActivationMaximization(LayerOutput(model, output=name), 1), -1)]
        inputs = inputs_of(model) if make is subclassed else model.inputs
        heat = visualize_saliency_with_losses(inputs, loss, IMAGE)
        np.testing.assert_allclose(heat, visualize_saliency(plain, part, 1, IMAGE), atol=1e-4)
        picture = visualize_activation(model, targets[1], 1, **QUICK)
        expected = visualize_activation(plain, part, 1, **QUICK)
        np.testing.assert_allclose(picture, expected, atol=1)


def test_filters_and_images_of_outputs_by_name():
    model = functional()
    stem, heads = layer_named(model, "stem"), layer_named(model, "heads")
    plain, target = single(stem, heads.logits), LayerOutput(model, output="logits")
    pictures = visualize_filters(model, target, [1], **FILTERS)
    expected = visualize_filters(plain, heads.logits, [1], **FILTERS)
    np.testing.assert_allclose(pictures, expected, atol=1)
    (found,) = top_activating_images(model, IMAGES, target, progress=False).layers
    values = plain(IMAGES).numpy().max(axis=(1, 2))
    np.testing.assert_allclose(found.activations, values, rtol=1e-4)


def test_outputs_by_the_name_of_their_layer():
    inputs = keras.Input((4,))
    a, b = layers.Dense(2, name="a")(inputs), layers.Dense(3, name="b")(inputs)
    model = keras.Model(inputs, [b, a])
    assert find_layer(model, LayerOutput(model, output="a")).name == "a"
    assert find_layer(model, LayerOutput(model, output=0)).name == "b"


@pytest.mark.parametrize("make", [functional, subclassed])
def test_names_that_no_output_has(make):
    model = make()
    for target in (LayerOutput(model, output="logit"), LayerOutput("heads", output="logit")):
        message = r"`output` must be.*'boxes', 'logits'.*did you mean 'logits'\?.*Received: "
        with pytest.raises(ValueError, match=message):
            visualize_saliency(model, target, 0, IMAGE)
    with pytest.raises(ValueError, match=r"have one output.*output='boxes'.*Received: "):
        visualize_saliency(model, model, 0, IMAGE)


class Head(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(2, 3, padding="same")
        self.dense = layers.Dense(3, name="dense")

    def call(self, features):
        return self.dense(ops.mean(self.conv(features), (1, 2)))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("nest", [False, True])
def test_calls_are_numbered_in_the_order_of_execution(order, nest):
    """Whatever the order in which their outputs are used."""
    inputs = keras.Input((9, 9, 3))
    fine = layers.Conv2D(2, 3, activation="relu")(inputs)
    levels = [fine, layers.MaxPooling2D(3)(fine)]
    own = head = Head(name="head")
    if nest:
        features = keras.Input((None, None, 2))
        own = keras.Model(features, head(features))
    outputs = [own(level) for level in levels]
    model = keras.Model(inputs, layers.Concatenate()([outputs[i] for i in order]))
    for call, level in enumerate(levels):
        plain = keras.Model(inputs, head.dense(ops.mean(head.conv(level), (1, 2))))
        expected = visualize_saliency(plain, -1, 1, IMAGE)
        for layer in (head, head.dense):
            heat = visualize_saliency(model, LayerOutput(layer, call=call), 1, IMAGE)
            np.testing.assert_allclose(heat, expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"`call` must be one of the 2 calls.*Received: call=2"):
        visualize_saliency(model, LayerOutput(head.dense, call=2), 1, IMAGE)


class Windows(layers.Layer):
    """Cuts an image into three samples, one for each band of rows."""

    def call(self, x):
        return ops.reshape(x, (-1, 3, 9, x.shape[-1]))

    def compute_output_shape(self, shape):
        return None, 3, 9, shape[-1]


class Joined(layers.Layer):
    def call(self, x):
        return ops.reshape(x, (-1, 9, 9, x.shape[-1]))

    def compute_output_shape(self, shape):
        return None, 9, 9, shape[-1]


class WindowBlock(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.windows, self.joined = Windows(), Joined()
        self.mixed = layers.Dense(4, activation="relu", name="mixed")

    def call(self, x):
        return self.joined(self.mixed(self.windows(x)))


def with_windows(hidden):
    block = WindowBlock(name="block")
    inner = [block] if hidden else [block.windows, block.mixed, block.joined]
    stem = layers.Conv2D(3, 3, padding="same", name="stem")
    return sequential((9, 9, 3), stem, *inner, layers.GlobalMaxPooling2D(), layers.Dense(2))


@pytest.mark.parametrize("hidden", [False, True])
def test_layers_with_more_samples_than_images(hidden, tmp_path):
    model = with_windows(hidden)
    path = "block/mixed" if hidden else "mixed"
    settings = {"layers": [path], "max_filters": 1, "max_iter": 3, "progress": False}
    message = r"`layer` must have one sample for each image.*Choose another.*layer 'mixed' with"
    for call in (
        lambda: visualize_saliency(model, path, 0, IMAGE),
        lambda: visualize_saliency(model, path, 0, IMAGES),
        lambda: visualize_cam(model, -1, 0, IMAGES, path),
        lambda: Occlusion()(model, IMAGE, path, 0),
        lambda: visualize_activation(model, path, 0, **QUICK),
        lambda: visualize_filters(model, path, [0], **FILTERS),
        lambda: top_activating_images(model, IMAGES, path, progress=False),
        lambda: draw_atlas(model, tmp_path / "a", images=IMAGES, **settings),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert visualize_cam(model, -1, 0, IMAGE).shape == (9, 9)
    around = "block" if hidden else "stem"
    with pytest.raises(ValueError, match=f"such as '{around}'"):
        visualize_saliency(model, path, 0, IMAGE)
