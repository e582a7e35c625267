"""What users call."""

from vis.visualization.activation_maximization import (
    visualize_activation,
    visualize_activation_with_losses,
)
from vis.visualization.tools import get_num_filters, overlay

__all__ = [
    "get_num_filters",
    "overlay",
    "visualize_activation",
    "visualize_activation_with_losses",
]
