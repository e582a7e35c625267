"""Grad-CAM, as `vis.visualization.cam`; the functions are in `vis.visualization.saliency`."""

from vis.visualization.saliency import visualize_cam, visualize_cam_with_losses

__all__ = ["visualize_cam", "visualize_cam_with_losses"]
