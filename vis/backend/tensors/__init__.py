"""Tensor functions that `keras.ops` lacks: image operations and stateless random numbers."""

from vis.backend.tensors.images import blur, irfftn, roll, warp, zoom
from vis.backend.tensors.random import draw_seed, fold_in, normal, set_random_seed, uniform

__all__ = [
    "blur",
    "fold_in",
    "irfftn",
    "normal",
    "roll",
    "set_random_seed",
    "uniform",
    "warp",
    "zoom",
]
