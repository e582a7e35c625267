"""Layers of subclassed models and custom layers by attribute path."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers

from vis.atlas import draw_atlas
from vis.utils.utils import LayerOutput, find_layer_idx
from vis.visualization import (
    GradCAM,
    find_layer,
    top_activating_images,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)

pytestmark = pytest.mark.versions

QUICK = {"max_iter": 3, "seed": 0}
FILTERS = {"input_modifiers": [], "progress": False, **QUICK}
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 12, 12, 3)).astype("float32")
IMAGE = IMAGES[0]


class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(3, 3, padding="same", activation="relu")
        self.parts = {"norm": layers.BatchNormalization(), "act": [layers.ReLU()]}

    def call(self, x):
        return self.parts["act"][0](self.parts["norm"](self.conv(x)))


class Network(keras.Model):
    def __init__(self):
        super().__init__(name="network")
        self.blocks = [Block(), Block()]
        self.stem = keras.Sequential([layers.Conv2D(3, 3, padding="same")])
        self.fuse = layers.Conv2D(2, 1)

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fuse(x)


def network():
    model = Network()
    model(IMAGES)
    return model


def test_paths_of_attributes():
    model = network()
    for path, layer in {
        "fuse": model.fuse,
        "blocks/1": model.blocks[1],
        "blocks/0/conv": model.blocks[0].conv,
        "blocks/1/parts/norm": model.blocks[1].parts["norm"],
        "blocks/1/parts/act/0": model.blocks[1].parts["act"][0],
        f"{model.blocks[0].name}/conv": model.blocks[0].conv,
        f"stem/{model.stem.layers[0].name}": model.stem.layers[0],
    }.items():
        assert find_layer(model, path) is layer
    nested = sequential((12, 12, 3), layers.Rescaling(1.0), model, layers.GlobalMaxPooling2D())
    assert find_layer(nested, "network/blocks/1/conv") is model.blocks[1].conv
    assert find_layer(sequential((12, 12, 3), model.blocks[0]), f"{model.blocks[0].name}/conv")


def test_every_call_takes_paths_of_attributes(tmp_path):
    model = network()
    path, layer = "blocks/1/conv", model.blocks[1].conv
    for draw in (
        lambda x: visualize_saliency(model, x, 1, IMAGE),
        lambda x: visualize_saliency(model, LayerOutput(x), 1, IMAGE),
        lambda x: visualize_cam(model, "fuse", 1, IMAGE, x),
        lambda x: GradCAM([x, "stem"])(model, IMAGE, "fuse", 1),
        lambda x: visualize_activation(model, x, 1, **QUICK),
        lambda x: visualize_filters(model, x, [1], **FILTERS),
    ):
        np.testing.assert_array_equal(draw(path), draw(layer))
    pictures = visualize_filters(model, [path, "fuse"], {path: [1], model.fuse: [0, 1]}, **FILTERS)
    assert {name: len(of_layer) for name, of_layer in pictures.items()} == {path: 1, "fuse": 2}
    found = top_activating_images(model, IMAGES, [path, "fuse"], progress=False)
    assert [*found] == [path, "fuse"]
    settings = {"max_filters": 1, "max_iter": 3, "progress": False}
    assert not draw_atlas(model, tmp_path, layers=[path], **settings).failed


def test_names_come_before_attributes():
    class Misleading(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = layers.Dense(2, name="b"), layers.Dense(2, name="a")

        def call(self, x):
            return self.b(self.a(x))

    model = Misleading()
    model(np.ones((1, 2)))
    assert find_layer(model, "a") is model.b
    assert find_layer_idx(model, "b") == 0


def test_layers_with_the_same_path():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(name="block"), Block(name="block")]

        def call(self, x):
            return self.blocks[1](self.blocks[0](x))

    model = Twins()
    model(IMAGES)
    model.blocks[1].conv.name = model.blocks[0].conv.name
    path = f"block/{model.blocks[0].conv.name}"
    message = r"`layer_idx` must be the path of one layer.*'blocks/0/conv' and 'blocks/1/conv'.*"
    with pytest.raises(ValueError, match=message + "Received: "):
        visualize_saliency(model, path, 0, IMAGE)
    found = top_activating_images(model, IMAGES, model.blocks[1].conv, progress=False)
    assert [*found] == ["blocks/1/conv"]


def test_suggestions_of_attributes():
    model = network()
    with pytest.raises(ValueError, match=r"did you mean 'fuse'\?"):
        find_layer(model, "fuze")
    with pytest.raises(ValueError, match=r"did you mean 'blocks/0/conv'"):
        find_layer(model, "blocks/0/conf")
    with pytest.raises(ValueError, match="must be the name of a layer"):
        find_layer_idx(model, "fuse")
