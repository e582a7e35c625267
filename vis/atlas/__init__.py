"""An atlas: web pages with the channels of a network and the links between them."""

from vis.atlas.atlas import Atlas, draw_atlas
from vis.atlas.plan import default_layers

__all__ = ["Atlas", "default_layers", "draw_atlas"]
