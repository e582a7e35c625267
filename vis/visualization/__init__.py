"""Activation maximization, feature visualization, saliency maps and CAM."""

from vis.backend.graph import find_layer, inputs_of
from vis.visualization.activation_maximization import (
    visualize_activation,
    visualize_activation_with_losses,
)
from vis.visualization.attribution import (
    CAM,
    AttentionMap,
    AttentionRelevance,
    AttentionRollout,
    Attribution,
    FasterScoreCAM,
    GradCAM,
    GradCAMPlusPlus,
    GradientTimesInput,
    GuidedGradCAM,
    IntegratedGradients,
    LayerCAM,
    Occlusion,
    Saliency,
    ScoreCAM,
    SmoothGrad,
)
from vis.visualization.class_attributions import (
    ClassAttributions,
    ClassContrast,
    class_attributions,
    class_contrast,
)
from vis.visualization.filters import visualize_filters
from vis.visualization.saliency import (
    visualize_cam,
    visualize_cam_with_losses,
    visualize_saliency,
    visualize_saliency_with_losses,
)
from vis.visualization.tools import get_num_filters, overlay
from vis.visualization.top_images import TopImages, TopImagesOfLayer, top_activating_images

__all__ = [
    "CAM",
    "AttentionMap",
    "AttentionRelevance",
    "AttentionRollout",
    "Attribution",
    "ClassAttributions",
    "ClassContrast",
    "FasterScoreCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientTimesInput",
    "GuidedGradCAM",
    "IntegratedGradients",
    "LayerCAM",
    "Occlusion",
    "Saliency",
    "ScoreCAM",
    "SmoothGrad",
    "TopImages",
    "TopImagesOfLayer",
    "class_attributions",
    "class_contrast",
    "find_layer",
    "get_num_filters",
    "inputs_of",
    "overlay",
    "top_activating_images",
    "visualize_activation",
    "visualize_activation_with_losses",
    "visualize_cam",
    "visualize_cam_with_losses",
    "visualize_filters",
    "visualize_saliency",
    "visualize_saliency_with_losses",
]
