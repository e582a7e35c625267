from __future__ import annotations

import gc
import os

os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest

import vis  # noqa: F401  (imports TensorFlow quietly)

# Without this, each full collection checks a million objects of TensorFlow that are never freed.
gc.freeze()


@pytest.fixture(autouse=True)
def same_weights_each_time():
    keras.utils.set_random_seed(1234)


def pytest_addoption(parser):
    parser.addoption("--write-docs", action="store_true", help="write docs/models.md")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked `long`
def pytest_collection_modifyitems(items):
    """Of tests marked `every(n)`, all cases but each nth are long.

    With an `n` that has no divisor in common with the numbers of values, each value is tested.
    """
    counts = {}
    for item in items:
        if mark := item.get_closest_marker("every"):
            number = counts[item.function] = counts.get(item.function, -1) + 1
            if number % mark.args[0]:
                item.add_marker(pytest.mark.long)
