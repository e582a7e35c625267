"""Figures and axes."""

import math
import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vis.utils.files import atomic_write
from vis.utils.validation import check_integer, check_path, is_iterable, require

# In inches: a line of text, the width of a character, and that of a colour bar with its labels.
_LINE = 0.17
_CHARACTER = 0.075
BAR = 0.65
_DPI = 150


def new_figure(width: float, height: float) -> Any:
    """A figure of a size in inches."""
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(width, height), layout="constrained")
    # A notebook would show an open figure a second time.
    plt.close(figure)
    return figure


def axes_grid(
    ax: Any,
    sizes: Sequence[tuple[float, float]],
    cols: int | None,
    lines: int = 0,
    bars: int = 0,
) -> list[Any]:
    """The given axes, or a new figure with axes for panels of some sizes, row by row.

    Args:
        ax: The argument of the same name: axes, several axes, or None.
        sizes: Width and height of each panel in inches.
        cols: Number of columns, or None.
        lines: Lines of text above and below each panel.
        bars: Number of colour bars.
    """
    if ax is not None:
        from matplotlib.axes import Axes

        given = list(np.ravel(np.asarray(ax, object)))
        are_axes = len(given) == len(sizes) and all(isinstance(one, Axes) for one in given)
        expected = f"be {len(sizes)} Matplotlib axes" if len(sizes) > 1 else "be Matplotlib axes"
        require(are_axes, "ax", expected, ax, TypeError)
        return given
    width, height = (max(lengths) for lengths in zip(*sizes, strict=True))
    cols = min(cols or even_columns(len(sizes), width / height), len(sizes))
    rows = math.ceil(len(sizes) / cols)
    height += _LINE * lines + 0.08 * bool(lines)
    figure = new_figure(width * cols + BAR * bars, height * rows)
    return [figure.add_subplot(rows, cols, i) for i in range(1, len(sizes) + 1)]


def even_columns(count: int, aspect: float = 1.0) -> int:
    """Columns of a grid that is about square, with few empty cells: ten panels in two rows."""
    fewest = max(1, math.ceil(math.sqrt(count / aspect)))
    most = max(fewest, math.floor(2 * math.sqrt(count / aspect)))
    return min(range(fewest, most + 1), key=lambda cols: -count % cols)


def check_labels(name: str, labels: Any, count: int, of: str) -> list[str]:
    """One label for each panel as strings; empty without labels."""
    if labels is None:
        return [""] * count
    labels = list(labels) if is_iterable(labels) else labels
    match = isinstance(labels, list) and len(labels) == count
    require(match, name, f"be {count} strings, one for each {of}", labels)
    return [str(label) for label in labels]


def check_columns(cols: Any) -> int | None:
    """Returns `cols`, or raises unless it is None or a positive integer."""
    return None if cols is None else check_integer("cols", cols, least=1)


def wrapped(labels: Iterable[str], width: float) -> list[str]:
    """Breaks labels into lines that fit a width in inches."""
    length = max(8, int(width / _CHARACTER))
    return [label if "\n" in label else textwrap.fill(label, length) for label in labels]


def line_count(labels: Iterable[str]) -> int:
    """The number of lines of the longest label."""
    return max((label.count("\n") + 1 if label else 0 for label in labels), default=0)


def hide_frame(ax: Any) -> None:
    """Hides ticks and frame, but neither title nor labels."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.patch.set_visible(False)


def save(figure: Any, save_to: str | os.PathLike | None) -> Any:
    """Saves a figure if there is a path, and returns it."""
    if save_to is not None:
        save_to = check_path("save_to", save_to)
        extensions = figure.canvas.get_supported_filetypes()
        is_known = save_to.suffix[1:].lower() in extensions
        require(is_known, "save_to", f"end in one of {sorted(extensions)}", str(save_to))
        with atomic_write(save_to) as path:
            figure.savefig(path, dpi=_DPI)
    return figure
