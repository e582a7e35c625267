from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest

import vis  # noqa: F401  (imports TensorFlow quietly)


@pytest.fixture(autouse=True)
def same_weights_each_time():
    keras.utils.set_random_seed(1234)


def pytest_addoption(parser):
    parser.addoption("--write-docs", action="store_true", help="write docs/models.md")
