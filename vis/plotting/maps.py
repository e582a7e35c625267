"""Plots of attribution maps over images."""

import functools
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vis.plotting.figures import (
    BAR,
    axes_grid,
    check_columns,
    check_labels,
    line_count,
    save,
    wrapped,
)
from vis.plotting.panels import Panel, RowPanel, common_limits, panel_of
from vis.utils.validation import (
    check_array,
    check_finite,
    check_flag,
    check_number,
    expect,
    is_iterable,
    require,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ALPHA = 0.7
# Red for values above zero and blue below.
_POSITIVE, _NEGATIVE = (0.84, 0.1, 0.11), (0.13, 0.4, 0.87)
_LEVELS = 256


def heatmap(
    image: np.ndarray,
    heat: np.ndarray,
    alpha: float = _ALPHA,
    title: str | None = None,
    ax: "Axes | None" = None,
    save_to: str | os.PathLike | None = None,
    *,
    signed: bool | None = None,
    colorbar: bool = False,
    input_range: tuple[float, float] | None = None,
    kind: str | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Plots a heat map over an image.

    Args:
        image: An image, signal, volume or row of a table, as in `picture`.
        heat: Heat map of the image's size without channels, `(height, width)`, with values of any
            range. For a row of a table, each value is a bar.
        alpha: Opacity at the maximum of the heat map, in [0, 1]. The minimum is transparent.
        title: Title of the image.
        ax: Matplotlib axes; by default those of a new figure.
        save_to: Path of a file to which the figure is saved.
        signed: Whether to show positive values in red and negative ones in blue, with zero
            transparent; by default if there are negative values.
        colorbar: Whether to add a colour bar.
        input_range: As in `picture`.
        kind: As in `picture`.
        names: As in `picture`.

    Returns:
        The figure.

    Raises:
        ValueError: If the heat map has another size than the image.

    Example:
        >>> figure = heatmap(np.zeros((8, 8, 3)), np.eye(8))
        >>> [shown.get_array().shape for shown in figure.axes[0].images]
        [(8, 8, 3), (8, 8)]
    """
    heat = check_array("heat", heat)
    panel = _panel_under("image", image, heat, kind, names)
    heat = check_heat("heat", heat, panel)
    colours = color_scale([heat], signed, alpha)
    (limits,) = common_limits([panel], input_range)
    width, height = panel.size
    scale = 4 / max(width, height) if len(panel.shape) == 2 else 1
    bars = int(check_flag("colorbar", colorbar))
    (ax,) = axes_grid(ax, [(scale * width, scale * height)], 1, title is not None, bars)
    panel.draw(ax, limits)
    panel.draw_map(ax, heat, colours)
    if title is not None:
        ax.set_title(str(title), fontsize=9)
    if bars:
        add_colorbar([ax], colours)
    return save(ax.figure, save_to)


def heatmaps(
    images: np.ndarray | Iterable[np.ndarray] | None,
    heats: Iterable[np.ndarray],
    labels: Iterable[str] | None = None,
    cols: int | None = None,
    save_to: str | os.PathLike | None = None,
    *,
    common_scale: bool = True,
    signed: bool | None = None,
    colorbar: bool = True,
    alpha: float = _ALPHA,
    ax: Any = None,
    input_range: tuple[float, float] | None = None,
    kind: str | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Plots several heat maps in a grid, to compare images, classes or methods.

    Args:
        images: An image for each heat map, or one for all, as in `picture`. None shows the heat
            maps alone.
        heats: Heat maps, each as in `heatmap`.
        labels: Title of each heat map.
        cols: As in `grid`.
        save_to: Path of a file to which the figure is saved.
        common_scale: Whether all heat maps have one scale, so that their colours can be compared.
            If False, each has its own, from its minimum to its maximum.
        signed: As in `heatmap`, for all heat maps.
        colorbar: Whether to add a colour bar, or with separate scales one for each heat map.
        alpha: As in `heatmap`.
        ax: Matplotlib axes, one for each heat map; by default those of a new figure.
        input_range: As in `picture`, for all images.
        kind: As in `picture`.
        names: As in `picture`.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no heat maps, or another number of images or labels.

    Example:
        >>> figure = heatmaps(np.zeros((8, 8)), [np.eye(8), -np.eye(8)], ["a", "b"])
        >>> [ax.get_title() for ax in figure.axes[:2]]
        ['a', 'b']
    """
    require(is_iterable(heats), "heats", "be a list of heat maps", heats, TypeError)
    heats = [check_array("heats", heat) for heat in heats]
    expect(heats, "heats", "hold at least one heat map", "no heat maps")
    panels = _panels("images", images, heats, kind, names)
    heats = [check_heat("heats", heat, panel) for heat, panel in zip(heats, panels, strict=True)]
    titles = check_labels("labels", labels, len(panels), "heat map")
    alpha = alpha if images is not None else 1.0
    is_common = check_flag("common_scale", common_scale)
    groups = [heats] * len(heats) if is_common else [[heat] for heat in heats]
    signed = any((heat < 0).any() for heat in heats) if signed is None else signed
    colours = [color_scale(group, signed, alpha) for group in groups]
    limits, cols = common_limits(panels, input_range), check_columns(cols)
    titles = wrapped(titles, panels[0].size[0])
    # The bars of a row have a scale of their own.
    has_bars = check_flag("colorbar", colorbar) and not isinstance(panels[0], RowPanel)
    own_bar = BAR if has_bars and not is_common else 0
    sizes = [(panel.size[0] + own_bar, panel.size[1]) for panel in panels]
    axes = axes_grid(ax, sizes, cols, line_count(titles), has_bars and is_common)
    for i, (one, panel) in enumerate(zip(axes, panels, strict=True)):
        if images is not None:
            panel.draw(one, limits[i])
        panel.draw_map(one, heats[i], colours[i])
        one.patch.set_visible(images is None)
        one.set_title(titles[i], fontsize=9)
    if has_bars and is_common:
        add_colorbar(axes, colours[0])
    elif has_bars:
        for one, own in zip(axes, colours, strict=True):
            add_colorbar([one], own)
    return save(axes[0].figure, save_to)


def check_heat(name: str, heat: Any, panel: Panel) -> np.ndarray:
    """A heat map of the size of a panel, or an error."""
    heat = check_finite(name, heat).astype("float64")
    for axis in (0, -1):
        # Attributions may have a channel axis of size 1.
        if heat.ndim == len(panel.shape) + 1 and heat.shape[axis] == 1:
            heat = heat.squeeze(axis)
    expected = f"be of the image's size {panel.shape}; sum attributions over the channels"
    expect(heat.shape == panel.shape, name, expected, f"heat of shape {heat.shape}")
    return heat


def color_scale(
    heats: Sequence[np.ndarray], signed: bool | None = None, alpha: float = _ALPHA
) -> dict[str, Any]:
    """The colour map and norm of heat maps with a common scale, as arguments of `imshow`."""
    from matplotlib.colors import Normalize

    require(0 <= check_number("alpha", alpha) <= 1, "alpha", "be in [0, 1]", alpha)
    low, high = min(heat.min() for heat in heats), max(heat.max() for heat in heats)
    is_signed = check_flag("signed", low < 0 if signed is None else signed)
    if is_signed:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    elif low == high:
        # All is transparent, as at a minimum. A colour bar would move the limits of an empty range.
        high = low + 1
    return {"cmap": _color_map(is_signed, alpha), "norm": Normalize(low, high)}


def add_colorbar(axes: Sequence[Any], colours: dict[str, Any], label: str = "") -> None:
    """Adds a colour bar of a scale beside some axes."""
    from matplotlib.cm import ScalarMappable

    figure = axes[0].figure
    bar = figure.colorbar(
        ScalarMappable(**colours), ax=list(axes), fraction=0.05, pad=0.02, aspect=25
    )
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=8)


@functools.cache
def _color_map(signed: bool, alpha: float) -> Any:
    """Colours that become opaque towards the maximum, and towards both ends if signed."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    if not signed:
        share = np.linspace(0, 1, _LEVELS)
        colours = colormaps["jet"](share)
    else:
        share = np.linspace(-1, 1, _LEVELS + 1)
        colours = np.where(share[:, None] < 0, [*_NEGATIVE, 1.0], [*_POSITIVE, 1.0])
    # Small values of a signed map would hardly be visible otherwise.
    colours[:, 3] = alpha * np.abs(share) ** (0.6 if signed else 1)
    return ListedColormap(colours)


def _panels(
    name: str, images: Any, heats: Sequence[np.ndarray], kind: str | None, names: Any
) -> list[Panel]:
    """A panel for each heat map."""
    if images is None:
        return [panel_of("heats", heat, kind, names) for heat in heats]
    several = list(images) if is_iterable(images) else []
    if len(several) != len(heats) or not _fits(name, several[0], heats[0]):
        several = [images] * len(heats)
    return [_panel_under(name, *pair, kind, names) for pair in zip(several, heats, strict=True)]


def _panel_under(name: str, image: Any, heat: np.ndarray, kind: str | None, names: Any) -> Panel:
    """The panel under a heat map. A narrow image is no signal if the map has the same two axes."""
    shape = check_array(name, image).shape
    is_image = kind is None and len(shape) == 2 and heat.shape == shape
    return panel_of(name, image, "image" if is_image else kind, names)


def _fits(name: str, image: Any, heat: np.ndarray) -> bool:
    """Whether an image has the size of a heat map; either may have a channel axis."""
    size, own = check_array(name, image).shape, heat.shape
    sizes = {own, own[:-1] if own[-1:] == (1,) else own, own[1:] if own[:1] == (1,) else own}
    return bool(sizes & {size, size[:-1], size[1:]})
