"""Running single layers: faster, on derived weights, or without their softmax."""

from vis.backend.layers.attention_scores import record_attention
from vis.backend.layers.inference import inference_mode, plain_call
from vis.backend.layers.layer_runner import LayerRunner
from vis.backend.layers.layer_variants import (
    call_in_inference,
    check_precision,
    has_softmax,
    restore_layer_losses,
    returns_integers,
    rounded,
    safe_precision,
    with_precision,
    without_softmax,
)
from vis.backend.layers.missing_kernels import channels_last_convolutions
from vis.backend.layers.weight_cache import CachedWeights, TracedWeights, WeightCache
