"""A whole network as web pages to walk through, drawn on one machine or on many."""

from vis.atlas.atlas import Atlas, draw_atlas
from vis.atlas.plan import layers_that_matter

__all__ = ["Atlas", "draw_atlas", "layers_that_matter"]
