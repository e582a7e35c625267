"""Plots of text: words in the colours of their attributions."""

import html
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vis.plotting.figures import axes_grid, hide_frame, save
from vis.plotting.maps import color_scale
from vis.utils.validation import check_finite, check_flag, expect, is_iterable, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In inches.
_WIDTH = 7.0
_SPACE = 0.06
_LINE = 0.3
# The size of the font in points, and the margin around a word as a share of it.
_POINTS = 10
_PAD = 0.25


def tokens(
    words: Sequence[str],
    heat: np.ndarray,
    title: str | None = None,
    ax: "Axes | None" = None,
    save_to: str | os.PathLike | None = None,
    *,
    signed: bool | None = None,
) -> "Figure":
    """Plots text with each word, or token, in the colour of its attribution.

    Args:
        words: The words.
        heat: The attribution of each word, `(words,)`.
        title: Title of the text.
        ax: Matplotlib axes; by default those of a new figure.
        save_to: Path of a file to which the figure is saved.
        signed: Whether to show positive values in red and negative ones in blue; by default if
            there are negative values.

    Returns:
        The figure.

    Raises:
        ValueError: If `heat` does not have one value for each word.

    Example:
        >>> figure = tokens(["a", "lovely", "film"], [0.0, 1.0, 0.2])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['a', 'lovely', 'film']
    """
    words, colours = _colours(words, heat, signed)
    lines, used = 1, 0.0
    for word in words:
        used += 0.085 * len(word) + 0.13
        if used > _WIDTH:
            lines, used = lines + 1, 0.085 * len(word) + 0.13
    (ax,) = axes_grid(ax, [(_WIDTH, _LINE * lines + 0.1 + 0.2 * (title is not None))], cols=1)
    hide_frame(ax)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    if title is not None:
        ax.set_title(str(title), fontsize=9, loc="left")
    figure: Any = ax.figure
    figure.draw_without_rendering()
    area, dpi = ax.get_window_extent(), figure.dpi
    x, y, right = 0.0, area.height - _LINE * dpi / 2, area.width
    margin = _PAD * _POINTS * dpi / 72
    for word, colour in zip(words, colours, strict=True):
        box = {"facecolor": colour, "edgecolor": "none", "boxstyle": f"round,pad={_PAD}"}
        text = ax.text(0, 0, word, va="center_baseline", bbox=box, fontsize=_POINTS)
        width = text.get_window_extent().width + 2 * margin
        if x and x + width > right:
            x, y = 0.0, y - _LINE * dpi
        text.set_position(((x + margin) / right, y / area.height))
        x += width + _SPACE * dpi
    return save(figure, save_to)


class Html(str):
    """HTML that notebooks display."""

    def _repr_html_(self) -> str:
        return str(self)


def tokens_html(words: Sequence[str], heat: np.ndarray, *, signed: bool | None = None) -> Html:
    """Text with each word, or token, in the colour of its attribution, as HTML.

    Args:
        words: As in `tokens`.
        heat: As in `tokens`.
        signed: As in `tokens`.

    Returns:
        The HTML, a string that notebooks display. The attribution of a word is its tool tip.

    Raises:
        ValueError: As in `tokens`.

    Example:
        >>> print(tokens_html(["good"], [2.0], signed=True))
        <p><span title="2" style="background-color: rgba(214, 26, 28, 0.60)">good</span></p>
    """
    words, colours = _colours(words, heat, signed)
    spans = [
        f'<span title="{value:.3g}" style="background-color: rgba({red:.0f}, {green:.0f}, '
        f'{blue:.0f}, {alpha:.2f})">{html.escape(word)}</span>'
        for word, value, (red, green, blue, alpha) in zip(
            words, np.ravel(heat), colours * [255, 255, 255, 1], strict=True
        )
    ]
    return Html(f"<p>{' '.join(spans)}</p>")


def _colours(words: Any, heat: Any, signed: bool | None) -> tuple[list[str], np.ndarray]:
    """The words, and the colour of each with its opacity."""
    require(is_iterable(words), "words", "be a list of words", words, TypeError)
    words = [str(word) for word in words]
    expect(words, "words", "hold at least one word", "no words")
    heat = check_finite("heat", heat).astype("float64")
    received = f"heat of shape {heat.shape}"
    expect(heat.shape == (len(words),), "heat", f"have {len(words)} values, one per word", received)
    low, high = heat.min(), heat.max()
    signed = check_flag("signed", low < 0 if signed is None else signed)
    # Zero is transparent in text, and all else red or blue, which is legible on any background.
    scale = color_scale([heat] if signed else [np.array([-high, high])], True, alpha=0.6)
    return words, scale["cmap"](scale["norm"](heat))
