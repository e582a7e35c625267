"""Attribution methods: saliency, Grad-CAM, integrated gradients, occlusion and others."""

from vis.visualization.attribution.attention import (
    AttentionMap,
    AttentionRelevance,
    AttentionRollout,
)
from vis.visualization.attribution.base import Attribution
from vis.visualization.attribution.cam import CAM
from vis.visualization.attribution.grad_cam import GradCAM, GradCAMPlusPlus, GuidedGradCAM, LayerCAM
from vis.visualization.attribution.integrated_gradients import IntegratedGradients
from vis.visualization.attribution.occlusion import Occlusion
from vis.visualization.attribution.saliency import GradientTimesInput, Saliency, SmoothGrad
from vis.visualization.attribution.score import Score
from vis.visualization.attribution.score_cam import FasterScoreCAM, ScoreCAM

__all__ = [
    "CAM",
    "AttentionMap",
    "AttentionRelevance",
    "AttentionRollout",
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
