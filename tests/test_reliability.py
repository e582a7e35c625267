"""Threads, global random state, and killed processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import nodes
from keras.src.backend.common import global_state
from visualization_calls import CALLS, IMAGE, activation, make_model

from vis.utils import files
from vis.visualization import (
    GradCAMPlusPlus,
    GuidedGradCAM,
    IntegratedGradients,
    Occlusion,
    ScoreCAM,
    SmoothGrad,
)

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
@pytest.mark.parametrize(
    "formats",
    [
        ("channels_first", "channels_last"),
        pytest.param(("channels_last", "channels_last"), marks=pytest.mark.long),
    ],
)
@some_and_all
@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_two_threads_visualize_two_models(formats, calls):
    settings = list(enumerate(formats))
    expected = [
        [call(model, i) for i, call in enumerate(calls)]
        for model in [make_model(*setting) for setting in settings]
    ]
    # New models, so that both threads have to compile.
    tasks = [
        lambda model=model: [call(model, i) for i, call in enumerate(calls)]
        for model in [make_model(*setting) for setting in settings]
    ]
    for results in zip(run_concurrently(*tasks), expected, strict=True):
        for result, expected_result in zip(*results, strict=True):
            np.testing.assert_array_equal(result, expected_result)


@pytest.mark.usefixtures("frequent_switches")
@some_and_all
@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_two_threads_visualize_one_model(calls):
    model = make_model()
    expected = [[call(model, i) for call in calls] for i in range(2)]
    model = make_model()
    before = nodes(model)
    tasks = [lambda i=i: [call(model, i) for call in calls] for i in range(2)]
    for results in zip(run_concurrently(*tasks), expected, strict=True):
        for result, expected_result in zip(*results, strict=True):
            np.testing.assert_array_equal(result, expected_result)
    assert nodes(model) == before


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_threads_do_not_share_the_state_of_a_keras_optimizer():
    model = make_model()

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


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
@pytest.mark.every(3)
@pytest.mark.parametrize("call", SEEDED)
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_calls_with_a_seed_neither_read_nor_change_global_random_state(call):
    model = make_model()
    pictures = []
    for seed in (1, 2):
        set_seeds(seed)
        expected = next_random_numbers()
        set_seeds(seed)
        pictures.append(SEEDED[call](model, 3))
        assert next_random_numbers() == expected
    np.testing.assert_array_equal(*pictures)


def test_checkpoints_neither_read_nor_change_global_random_state(tmp_path):
    model = make_model()
    for max_iter in (3, 6):
        set_seeds(1)
        expected = next_random_numbers()
        set_seeds(1)
        activation(model, 0, max_iter=max_iter, checkpoint=tmp_path / "run.npz", checkpoint_every=2)
        assert next_random_numbers() == expected


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    code = (
        "import os, runpy, signal, sys\n"
        "atomic_write = runpy.run_path(sys.argv[1])['atomic_write']\n"
        "with atomic_write(sys.argv[2]) as path:\n"
        "    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / ("long" * 62 + ".npz")
    command = [sys.executable, "-c", code, files.__file__, str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with files.atomic_write(path) as unfinished:
        unfinished.write_bytes(b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
