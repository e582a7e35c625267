"""A whole network as web pages to walk through, drawn on one machine or on many."""

from vis.atlas.atlas import Atlas, draw_atlas
from vis.atlas.plan import default_layers

__all__ = ["Atlas", "default_layers", "draw_atlas"]
