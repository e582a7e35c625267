"""Plots of an optimization: losses and frames."""

import os
from typing import TYPE_CHECKING

import numpy as np

from vis.callbacks import History
from vis.plotting.figures import axes_grid, save
from vis.plotting.pictures import grid
from vis.utils.image import deprocess_input
from vis.utils.validation import check_input_range, check_integer, check_kind, expect

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def loss_curves(
    history: History, ax: "Axes | None" = None, save_to: str | os.PathLike | None = None
) -> "Figure":
    """Plots the losses of an optimization.

    Args:
        history: The `vis.callbacks.History` of the optimization.
        ax: Matplotlib axes; by default those of a new figure.
        save_to: Path of a file to which the figure is saved.

    Returns:
        The figure.

    Example:
        >>> history = History()
        >>> history.callback(0, [("Some Loss", 1.0)], 1.0, None, None)
        >>> [line.get_label() for line in loss_curves(history).axes[0].lines]
        ['Some Loss', 'overall loss']
    """
    check_kind("history", history, History)
    from matplotlib import rcParams

    (ax,) = axes_grid(ax, [(6, 3.5)], cols=1)
    for name, values in history.losses.items():
        ax.plot(values, label=name, linewidth=1)
    colour = rcParams["text.color"]
    ax.plot(history.overall_loss, label="overall loss", linewidth=2, color=colour)
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return save(ax.figure, save_to)


def film_strip(
    history: History,
    count: int = 6,
    input_range: tuple[float, float] = (0, 255),
    save_to: str | os.PathLike | None = None,
) -> "Figure":
    """Plots images of an optimization in a row, from the first one to the last.

    Args:
        history: The `vis.callbacks.History` of the optimization, with `frames_every`.
        count: Maximum number of images. They are evenly spaced.
        input_range: Without effect, because images are standardised.
        save_to: Path of a file to which the figure is saved.

    Returns:
        The figure.

    Raises:
        ValueError: If the history has no frames.

    Example:
        >>> history = History(frames_every=1)
        >>> for i in range(4):
        ...     history.callback(i, [], 0.0, None, np.random.rand(1, 8, 8, 3))
        >>> len(film_strip(history, count=3).axes)
        3
    """
    check_kind("history", history, History)
    count = check_integer("count", count, least=1)
    check_input_range(input_range)
    expected = "have frames. Create it with `History(frames_every=...)`"
    expect(history.frames, "history", expected, "a history without frames")
    indices = np.unique(np.linspace(0, len(history.frames) - 1, count).round().astype(int))
    frames = [deprocess_input(history.frames[i], (0, 1)) for i in indices]
    return grid(frames, cols=len(frames), save_to=save_to)
