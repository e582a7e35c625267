"""Datasets of images and other examples, for `like=` and `images=`."""

from vis.data.dataset import Dataset, examples_of, sample_inputs
from vis.data.examples import ExampleFormat, check_distinct
from vis.data.sampling import SAMPLE_SIZE, EvenSample

__all__ = [
    "SAMPLE_SIZE",
    "Dataset",
    "EvenSample",
    "ExampleFormat",
    "check_distinct",
    "examples_of",
    "sample_inputs",
]
