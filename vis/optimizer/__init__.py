"""Optimizer: gradient descent on the input of a model."""

from vis._core.descent import NonFiniteError
from vis.optimizer.optimizer import Optimizer

__all__ = ["NonFiniteError", "Optimizer"]
