"""Other ways to run a layer: faster, on weights made ready, without a softmax."""

from vis.backend.layers.layer_runner import LayerRunner
from vis.backend.layers.layer_variants import (
    check_precision,
    has_softmax,
    in_inference,
    in_precision,
    layer_losses_restored,
    without_softmax,
)
from vis.backend.layers.missing_kernels import computed_channels_last
from vis.backend.layers.weight_cache import CachedWeights, TracedWeights, WeightCache
