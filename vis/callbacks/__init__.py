"""Callbacks: for `Optimizer.minimize`, and one for `model.fit`."""

from vis.callbacks.optimizer_callbacks import (
    GifGenerator,
    History,
    OptimizerCallback,
    Print,
    Progress,
)
from vis.callbacks.visualization_callback import VisualizationCallback

__all__ = [
    "GifGenerator",
    "History",
    "OptimizerCallback",
    "Print",
    "Progress",
    "VisualizationCallback",
]
