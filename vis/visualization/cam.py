"""Class activation maps, which `vis.visualization.saliency` has, under a name of their own."""

from vis.visualization.saliency import visualize_cam, visualize_cam_with_losses

__all__ = ["visualize_cam", "visualize_cam_with_losses"]
