"""Threads, global random state, memory, and changes to the model."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import nodes, sequential
from keras import layers, ops
from keras.src.backend.common import global_state
from tensorflow.python.framework.func_graph import FuncGraph

from vis.backend.step import engine
from vis.input_modifiers import Jitter, Noise, Rotate
from vis.losses import Loss
from vis.optimizer import Optimizer
from vis.parametrizations import Fourier
from vis.utils.files import written_whole
from vis.visualization import (
    GradCAMPlusPlus,
    GuidedGradCAM,
    IntegratedGradients,
    Occlusion,
    ScoreCAM,
    SmoothGrad,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)


def network(seed=0, data_format="channels_last"):
    keras.utils.set_random_seed(seed)
    shape = (8, 8, 3) if data_format == "channels_last" else (3, 8, 8)
    axis = -1 if data_format == "channels_last" else 1
    return sequential(
        shape,
        layers.Conv2D(6, 3, activation="relu", data_format=data_format, name="first"),
        layers.BatchNormalization(axis=axis),
        layers.Conv2D(4, 3, activation="relu", data_format=data_format),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(5),
    )


class Brightness(Loss):
    def __init__(self, layer, index):
        super().__init__()
        self.layer, self.index = layer, index

    def build_loss(self):
        return -ops.mean(self.layer.output[:, self.index])


def custom_loss(model, i):
    optimizer = Optimizer(model.inputs[0], Brightness(model.layers[-1], i % 5))
    return optimizer.minimize(seed=i, max_iter=3, verbose=False)[0]


def activation(model, i, **settings):
    settings = {"seed": i, "max_iter": 5, "input_modifiers": [Jitter(1)], **settings}
    return visualize_activation(model, -1, i % 5, **settings)


IMAGE = np.random.default_rng(0).uniform(0, 255, (8, 8, 3))
CALLS = {
    "activation": activation,
    "fourier": lambda model, i: activation(
        model, i, parametrization=Fourier(), input_modifiers=[Jitter(1), Rotate(5), Noise(1)]
    ),
    "guided": lambda model, i: activation(model, i, backprop_modifier="guided"),
    "keras optimizer": lambda model, i: activation(model, i, optimizer=keras.optimizers.Adam(2.0)),
    "custom loss": custom_loss,
    "filters": lambda model, i: visualize_filters(
        model, 0, [i % 6, 0], seed=i, max_iter=3, progress=False
    ),
    "saliency": lambda model, i: visualize_saliency(model, -1, i % 5, IMAGE),
    "cam": lambda model, i: visualize_cam(model, -1, i % 5, IMAGE),
}
ATTRIBUTIONS = {
    "SmoothGrad": SmoothGrad(samples=5, seed=1),
    "GradCAM++": GradCAMPlusPlus(),
    "GuidedGradCAM": GuidedGradCAM(),
    "IntegratedGradients": IntegratedGradients(),
    "Occlusion": Occlusion(),
    "ScoreCAM": ScoreCAM(),
}
# Calls that share least of their code.
FEW = ["fourier", "custom loss", "cam"]
some_and_all = pytest.mark.parametrize(
    "calls",
    [
        pytest.param([CALLS[name] for name in FEW], id="some"),
        pytest.param(list(CALLS.values()), id="all", marks=pytest.mark.long),
    ],
)
SEEDED = {
    **CALLS,
    **{
        name: (lambda model, i, method=method: method(model, IMAGE, -1, i % 5))
        for name, method in ATTRIBUTIONS.items()
    },
}


def run_concurrently(*tasks):
    """The results of functions that are called at the same time, each in a thread."""
    barrier = threading.Barrier(len(tasks))

    def wait_and(task):
        barrier.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(wait_and, task) for task in tasks]]


@pytest.fixture
def frequent_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(interval)


# Threads.


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("formats", [("channels_last",) * 2, ("channels_first", "channels_last")])
@some_and_all
def test_two_threads_visualize_two_models(formats, calls):
    settings = list(enumerate(formats))
    expected = [
        [call(model, i) for i, call in enumerate(calls)]
        for model in [network(*setting) for setting in settings]
    ]
    # New models, so that both threads have to compile.
    tasks = [
        lambda model=model: [call(model, i) for i, call in enumerate(calls)]
        for model in [network(*setting) for setting in settings]
    ]
    for results in zip(run_concurrently(*tasks), expected, strict=True):
        for result, expected_result in zip(*results, strict=True):
            np.testing.assert_array_equal(result, expected_result)


@pytest.mark.usefixtures("frequent_switches")
@some_and_all
def test_two_threads_visualize_one_model(calls):
    model = network()
    expected = [[call(model, i) for call in calls] for i in range(2)]
    model = network()
    before = nodes(model)
    tasks = [lambda i=i: [call(model, i) for call in calls] for i in range(2)]
    for results in zip(run_concurrently(*tasks), expected, strict=True):
        for result, expected_result in zip(*results, strict=True):
            np.testing.assert_array_equal(result, expected_result)
    assert nodes(model) == before


@pytest.mark.usefixtures("frequent_switches")
def test_threads_do_not_share_the_state_of_a_keras_optimizer():
    model = network()

    def draw(i):
        optimizer = keras.optimizers.SGD(20.0, momentum=0.9)
        return activation(model, i, max_iter=20, optimizer=optimizer, grad_modifier=lambda g: g)

    expected = [draw(i) for i in range(3)]
    pictures = run_concurrently(*[lambda i=i: draw(i) for i in range(3)])
    np.testing.assert_array_equal(pictures, expected)


# Global random state.


def set_seeds(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    tf.random.set_seed(seed)
    keras.utils.set_random_seed(seed)
    # Later versions of Keras do this in the line before.
    global_state.set_global_attribute("global_seed_generator", None)
    tf.random.get_global_generator().reset_from_seed(seed)


def next_random_numbers():
    """The next number of each global generator."""
    return [
        random.random(),
        np.random.normal(),  # noqa: NPY002
        float(tf.random.normal([])),
        float(keras.random.normal([])),
        float(tf.random.get_global_generator().normal([])),
    ]


@pytest.mark.parametrize("call", SEEDED)
def test_calls_with_a_seed_neither_read_nor_change_global_random_state(call):
    model = network()
    pictures = []
    for seed in (1, 2):
        set_seeds(seed)
        expected = next_random_numbers()
        set_seeds(seed)
        pictures.append(SEEDED[call](model, 3))
        assert next_random_numbers() == expected
    np.testing.assert_array_equal(*pictures)


def test_checkpoints_neither_read_nor_change_global_random_state(tmp_path):
    model = network()
    for max_iter in (3, 6):
        set_seeds(1)
        expected = next_random_numbers()
        set_seeds(1)
        activation(model, 0, max_iter=max_iter, checkpoint=tmp_path / "run.npz", checkpoint_every=2)
        assert next_random_numbers() == expected


# Memory, and the model.


def resident_memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count_graphs():
    gc.collect()
    return sum(isinstance(item, FuncGraph) for item in gc.get_objects())


def contents(model):
    return [
        *(weight.numpy().tobytes() for weight in model.weights),
        json.dumps(model.get_config()),
        [sorted(vars(layer)) for layer in model._flatten_layers()],
        *nodes(model),
    ]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux only")
@pytest.mark.parametrize("rounds", [6, pytest.param(32, marks=pytest.mark.long)])
def test_many_visualizations_leave_nothing_behind(rounds):
    model = network()
    before = contents(model)

    def run(count):
        for i in range(count):
            list(CALLS.values())[i % len(CALLS)](model, i // len(CALLS))

    run(6 * len(CALLS))
    compiled, memory = count_graphs(), resident_memory()
    run(rounds * len(CALLS))
    assert resident_memory() - memory < 12e6
    assert count_graphs() <= compiled
    assert contents(model) == before


def test_checkpoints_leave_nothing_behind(tmp_path):
    model = network()
    before = contents(model)
    for i in range(3):
        activation(model, 0, checkpoint=tmp_path / f"{i}.npz", checkpoint_every=2)
        if i == 0:
            compiled = count_graphs()
    assert count_graphs() <= compiled
    assert contents(model) == before


def test_keras_optimizers_leave_no_graphs_behind(monkeypatch):
    """TensorFlow never frees a graph with gradients that are summed over replicas."""
    monkeypatch.setattr(engine.engines, "_max_entries", 2)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])

    counts = []
    for i in range(6):
        optimizer = keras.optimizers.Adam(0.1 + 0.1 * i)
        visualize_activation(model, -1, 1, max_iter=2, seed=0, optimizer=optimizer)
        counts.append(count_graphs())
    assert counts[-1] <= counts[2]


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    code = (
        "import os, signal, sys; from vis.utils.files import written_whole\n"
        "with written_whole(sys.argv[1]) as path:\n"
        "    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / ("long" * 62 + ".npz")
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, capture_output=True)
    assert len(list(tmp_path.iterdir())) == 1
    with written_whole(path) as unfinished:
        unfinished.write_bytes(b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
