"""Which parts of an image a model's score rests on."""

from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.cam import CAM
from vis.visualization.attribution.grad_cam import GradCAM
from vis.visualization.attribution.grad_cam_plus_plus import GradCAMPlusPlus
from vis.visualization.attribution.gradient_times_input import GradientTimesInput
from vis.visualization.attribution.guided_grad_cam import GuidedGradCAM
from vis.visualization.attribution.integrated_gradients import IntegratedGradients
from vis.visualization.attribution.layer_cam import LayerCAM
from vis.visualization.attribution.occlusion import Occlusion
from vis.visualization.attribution.saliency import Saliency
from vis.visualization.attribution.score import Score
from vis.visualization.attribution.score_cam import FasterScoreCAM, ScoreCAM
from vis.visualization.attribution.smooth_grad import SmoothGrad

__all__ = [
    "CAM",
    "Attribution",
    "FasterScoreCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientTimesInput",
    "GuidedGradCAM",
    "IntegratedGradients",
    "LayerCAM",
    "Occlusion",
    "Saliency",
    "Score",
    "ScoreCAM",
    "SmoothGrad",
]
