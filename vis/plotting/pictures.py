"""Plots of one picture, and of several in a grid."""

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vis.plotting.figures import (
    axes_grid,
    check_columns,
    check_labels,
    line_count,
    save,
    wrapped,
)
from vis.plotting.panels import common_limits, panel_of, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def picture(
    image: np.ndarray,
    title: str | None = None,
    ax: "Axes | None" = None,
    save_to: str | os.PathLike | None = None,
    *,
    input_range: tuple[float, float] | None = None,
    kind: str | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Plots an image, a signal, a volume or a row of a table.

    Args:
        image: An image `(height, width)`, `(height, width, channels)` or `(channels, height,
            width)` with one or three channels; a signal `(length, channels)` with up to four
            channels, drawn as lines; a volume `(depth, height, width, channels)`, drawn as six
            slices; or a row of a table `(features,)`, drawn as bars.
        title: Title of the image.
        ax: Matplotlib axes; by default those of a new figure.
        save_to: Path of a file to which the figure is saved.
        input_range: Lowest and highest value, black and white. By default (0, 255) for integers;
            (0, 1), (-1, 1) or (0, 255) for floats that fit; else the range of the values.
        kind: What the array is if its shape leaves it open: `"image"`, `"signal"`, `"volume"` or
            `"row"`.
        names: Names of the features of a row.

    Returns:
        The figure.

    Raises:
        ValueError: If `image` has another shape.

    Example:
        >>> figure = picture(np.zeros((8, 8, 3)), title="night")
        >>> figure.axes[0].get_title()
        'night'
    """
    panel = panel_of("image", image, kind, names)
    (limits,) = common_limits([panel], input_range)
    width, height = panel.size
    scale = 4 / max(width, height) if ax is None and len(panel.shape) == 2 else 1
    (ax,) = axes_grid(ax, [(scale * width, scale * height)], cols=1)
    panel.draw(ax, limits)
    if title is not None:
        ax.set_title(str(title), fontsize=9)
    return save(ax.figure, save_to)


def grid(
    images: Iterable[np.ndarray],
    labels: Iterable[str] | None = None,
    cols: int | None = None,
    save_to: str | os.PathLike | None = None,
    *,
    ax: Any = None,
    input_range: tuple[float, float] | None = None,
    kind: str | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Plots images in a grid, row by row, all on one scale.

    Args:
        images: Images, signals, volumes or rows of a table, each as in `picture`.
        labels: Title of each image.
        cols: Number of columns; by default about the number of rows, with full rows if possible.
        save_to: Path of a file to which the figure is saved.
        ax: Matplotlib axes, one for each image; by default those of a new figure.
        input_range: As in `picture`, for all images.
        kind: As in `picture`.
        names: As in `picture`.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no images, or another number of labels.

    Example:
        >>> figure = grid(np.zeros((3, 8, 8, 3)), labels=["a", "b", "c"])
        >>> [ax.get_title() for ax in figure.axes]
        ['a', 'b', 'c']
    """
    panels = panels_of("images", images, kind, names)
    titles = check_labels("labels", labels, len(panels), "image")
    limits, cols = common_limits(panels, input_range), check_columns(cols)
    titles = wrapped(titles, panels[0].size[0])
    axes = axes_grid(ax, [panel.size for panel in panels], cols, line_count(titles))
    for one, panel, title, own in zip(axes, panels, titles, limits, strict=True):
        panel.draw(one, own)
        one.set_title(title, fontsize=9)
    return save(axes[0].figure, save_to)
