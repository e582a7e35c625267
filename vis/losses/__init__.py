"""Losses: activations of neurons, channels, classes and layers."""

from vis.losses.activations import (
    ActivationMaximization,
    ClassScores,
    CosineDirection,
    DeepDream,
    Direction,
    Diversity,
    FeatureInversion,
    FilterActivations,
    LogSumExp,
    Neuron,
    OutputScore,
)
from vis.losses.base import Loss, LossSum, TensorLoss

__all__ = [
    "ActivationMaximization",
    "ClassScores",
    "CosineDirection",
    "DeepDream",
    "Direction",
    "Diversity",
    "FeatureInversion",
    "FilterActivations",
    "LogSumExp",
    "Loss",
    "LossSum",
    "Neuron",
    "OutputScore",
    "TensorLoss",
]
