"""Other ways to run a layer: faster, on weights made ready, without a softmax."""

from vis.backend.layers.folding import Folder
from vis.backend.layers.missing_kernels import computed_channels_last
from vis.backend.layers.stand_ins import (
    check_precision,
    has_softmax,
    in_inference,
    in_precision,
    losses_kept,
    without_softmax,
)
from vis.backend.layers.weights import Handed, Inline, Prepared
