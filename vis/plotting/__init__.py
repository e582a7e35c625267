"""Plots of pictures, attribution maps, results and losses. Each returns the Matplotlib figure.

The shape decides what is drawn: an image, a signal, a volume or the row of a table. `tokens` draws
text.
"""

from vis.plotting.files import save_pictures
from vis.plotting.history import film_strip, loss_curves
from vis.plotting.maps import heatmap, heatmaps
from vis.plotting.pictures import grid, picture
from vis.plotting.results import class_attributions, class_contrast, top_images
from vis.plotting.text import tokens, tokens_html

__all__ = [
    "class_attributions",
    "class_contrast",
    "film_strip",
    "grid",
    "heatmap",
    "heatmaps",
    "loss_curves",
    "picture",
    "save_pictures",
    "tokens",
    "tokens_html",
    "top_images",
]
