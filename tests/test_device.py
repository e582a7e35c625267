"""The way of a GPU, run on a processor: whole batches descend together, by TensorFlow's kernels."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers

from vis.backend import device
from vis.losses import ActivationMaximization, FilterActivations
from vis.optimizer import Optimizer
from vis.visualization import visualize_cam, visualize_filters, visualize_saliency


@pytest.fixture(params=["processor", "gpu"])
def on(request, monkeypatch):
    """Calls a function on the machine as it is, or as if it had a GPU."""
    if request.param == "gpu":
        monkeypatch.setattr(device, "has_gpu", lambda: True)
    return request.param


def network():
    """Depthwise, pointwise and strided convolutions, for all of which there are other kernels."""
    keras.utils.set_random_seed(0)
    model = sequential(
        (24, 24, 3),
        layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.BatchNormalization(),
        layers.Conv2D(6, 1, activation="relu", name="pointwise"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4),
    )
    model(np.random.default_rng(0).normal(size=(8, 24, 24, 3)), training=True)
    return model


def drawn(seeds=(3, 4, 5)):
    """Pictures of one filter from several starts, few steps on."""
    model = network()
    images = np.random.default_rng(1).uniform(0, 255, (len(seeds), 24, 24, 3))
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    return Optimizer(model.inputs[0], losses).minimize(images, max_iter=3, verbose=False, seed=0)


def test_both_ways_draw_the_same(monkeypatch):
    here = drawn()
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    there = drawn()
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_both_ways_explain_the_same(monkeypatch):
    image = np.random.default_rng(2).uniform(0, 255, (24, 24, 3))

    def maps():
        model = network()
        return visualize_saliency(model, -1, 2, image), visualize_cam(model, -1, 2, image)

    here = maps()
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    for ours, theirs in zip(here, maps(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_samples_are_independent(on):
    """Alone and among others, to rounding; on a processor bit for bit."""
    model = network()
    together = visualize_filters(model, -1, [0, 1, 2], max_iter=6, seed=1, progress=False)
    alone = visualize_filters(model, -1, 1, max_iter=6, seed=1, progress=False)
    if on == "processor":
        np.testing.assert_array_equal(together[1], alone[0])
    else:
        np.testing.assert_allclose(together[1].astype(float), alone[0], atol=3)


def test_batches_descend_together_on_a_gpu(on, monkeypatch):
    """The model is run on the whole batch in one go there, and on one image at a time here."""
    batches = []

    class Watching(layers.Layer):
        def call(self, inputs):
            batches.append(inputs.shape[0])
            return inputs

    model = sequential((6, 6, 1), Watching(), layers.Conv2D(3, 3))
    losses = [(FilterActivations(model.layers[-1], [0, 1]), 1)]
    batches.clear()
    Optimizer(model.inputs[0], losses).minimize(samples=2, max_iter=1, verbose=False)
    # Without those in which only shapes are found out.
    assert set(batches) - {None} == ({2} if on == "gpu" else {1})
