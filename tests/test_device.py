"""The code for a GPU, run on a CPU: whole batches in one loop, by TensorFlow's own kernels."""

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


@pytest.fixture(params=["cpu", "gpu"])
def hardware(request, monkeypatch):
    """The machine as it is, or as if it had a GPU."""
    if request.param == "gpu":
        monkeypatch.setattr(device, "has_gpu", lambda: True)
    return request.param


def make_model():
    """A model with strided, depthwise and pointwise convolutions, which have special kernels."""
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


def optimise():
    """The images, gradients and values of a filter, after a few steps from three images."""
    model = make_model()
    images = np.random.default_rng(1).uniform(0, 255, (3, 24, 24, 3))
    losses = [(ActivationMaximization(model.layers[-1], 1), 1)]
    return Optimizer(model.inputs[0], losses).minimize(images, max_iter=3, verbose=False, seed=0)


def test_gpu_code_gives_the_same_pictures(monkeypatch):
    on_cpu = optimise()
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    for result, expected in zip(optimise(), on_cpu, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_gpu_code_gives_the_same_maps(monkeypatch):
    image = np.random.default_rng(2).uniform(0, 255, (24, 24, 3))

    def maps():
        model = make_model()
        return visualize_saliency(model, -1, 2, image), visualize_cam(model, -1, 2, image)

    on_cpu = maps()
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    for result, expected in zip(maps(), on_cpu, strict=True):
        np.testing.assert_allclose(result, expected, atol=1e-3)


def test_samples_of_a_batch_on_a_gpu(monkeypatch):
    """They agree up to rounding. For a CPU, see `test_visualize_filters.py`."""
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    model = make_model()
    batch = visualize_filters(model, -1, [0, 1, 2], max_iter=6, seed=1, progress=False)
    single = visualize_filters(model, -1, 1, max_iter=6, seed=1, progress=False)
    np.testing.assert_allclose(batch[1].astype(float), single[0], atol=3)


def test_batches_stay_whole_on_a_gpu_only(hardware):
    batch_sizes = []

    class RecordBatchSize(layers.Layer):
        def call(self, inputs):
            batch_sizes.append(inputs.shape[0])
            return inputs

    model = sequential((6, 6, 1), RecordBatchSize(), layers.Conv2D(3, 3))
    losses = [(FilterActivations(model.layers[-1], [0, 1]), 1)]
    batch_sizes.clear()
    Optimizer(model.inputs[0], losses).minimize(samples=2, max_iter=1, verbose=False)
    # None is from shape inference.
    assert set(batch_sizes) - {None} == ({2} if hardware == "gpu" else {1})
