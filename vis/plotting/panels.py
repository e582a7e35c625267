"""Panels: one example of a model's input, drawn in Matplotlib axes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from vis.plotting.figures import check_labels, hide_frame
from vis.utils.validation import (
    check_finite,
    check_input_range,
    expect,
    is_iterable,
    require,
)

# Width of an image in a grid, in inches, and the most for long ones.
_SIZE = 2.2
_MOST_SIZE = 4.4
_CHANNELS = (1, 3)
# A shorter axis holds the channels of a signal.
_MOST_SIGNAL_CHANNELS = 4
_SLICES = 6
_MOST_NAMES = 60


class Panel:
    """One example in axes.

    Attributes:
        array: The values, with the channels last.
        shape: The spatial shape, which a heat map has as well.
        size: Width and height in inches.
    """

    array: np.ndarray
    shape: tuple[int, ...]
    size: tuple[float, float]

    def draw(self, ax: Any, limits: tuple[float, float]) -> None:
        """Draws the example, with values from the lowest to the highest limit."""
        raise NotImplementedError

    def draw_map(self, ax: Any, heat: np.ndarray, colours: dict[str, Any]) -> None:
        """Draws a heat map in a colour map, over the example if that has been drawn."""
        raise NotImplementedError

    @staticmethod
    def limits(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
        """The range in which arrays are shown by default."""
        return min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)


class ImagePanel(Panel):
    """An image, `(height, width)` or `(height, width, 3)`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array[..., 0] if array.shape[2:] == (1,) else array
        self.shape = array.shape[:2]
        self.size = _image_size(*self.shape)

    def draw(self, ax: Any, limits: tuple[float, float]) -> None:
        show_image(ax, self.array, limits)
        hide_frame(ax)

    def draw_map(self, ax: Any, heat: np.ndarray, colours: dict[str, Any]) -> None:
        ax.imshow(heat, **colours)
        hide_frame(ax)

    @staticmethod
    def limits(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
        """0 to 255 for bytes; else the range that images usually have, or that of the values."""
        low, high = Panel.limits(arrays)
        if all(np.issubdtype(a.dtype, np.integer) for a in arrays) and low >= 0 and high <= 255:
            return 0, 255
        if low >= 0 and high <= 1:
            return 0, 1
        # Values that do not reach the outer half are probably of no such range.
        if -1 <= low <= -0.5 and high <= 1:
            return -1, 1
        if low >= 0 and 127.5 <= high <= 255:
            return 0, 255
        return (low, high) if low < high else (low - 1, high + 1)


class VolumePanel(ImagePanel):
    """Slices of a volume, `(depth, height, width)` or `(depth, height, width, 3)`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array[..., 0] if array.shape[3:] == (1,) else array
        self.shape = array.shape[:3]
        depth = array.shape[0]
        self._slices = np.unique(np.linspace(0, depth - 1, _SLICES + 2).round().astype(int)[1:-1])
        width, height = _image_size(*array.shape[1:3])
        self.size = (0.6 * width * len(self._slices), 0.6 * height + 0.15)

    def draw(self, ax: Any, limits: tuple[float, float]) -> None:
        for extent, i in self._places():
            show_image(ax, self.array[i], limits, extent=extent)
        self._mark(ax)

    def draw_map(self, ax: Any, heat: np.ndarray, colours: dict[str, Any]) -> None:
        for extent, i in self._places():
            ax.imshow(heat[i], extent=extent, **colours)
        self._mark(ax)

    def _places(self) -> list[tuple[tuple[float, float, float, float], int]]:
        height, width = self.shape[1:]
        starts = 1.08 * width * np.arange(len(self._slices))
        return [
            ((start - 0.5, start + width - 0.5, height - 0.5, -0.5), i)
            for start, i in zip(starts, self._slices, strict=True)
        ]

    def _mark(self, ax: Any) -> None:
        extents, slices = zip(*self._places(), strict=True)
        hide_frame(ax)
        ax.set_xlim(extents[0][0], extents[-1][1])
        centres = [(left + right) / 2 for left, right, *_ in extents]
        ax.set_xticks(centres, [f"slice {i}" for i in slices], fontsize=7)
        ax.tick_params(length=0)


class SignalPanel(Panel):
    """Lines of a signal, `(length, channels)`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array if array.ndim == 2 else array[:, None]
        self.shape = self.array.shape[:1]
        self.size = (3.4, 1.6)

    def draw(self, ax: Any, limits: tuple[float, float]) -> None:
        from matplotlib import rcParams

        colour = {"color": rcParams["text.color"]} if self.array.shape[1] == 1 else {}
        for values in self.array.T:
            ax.plot(values, linewidth=1, **colour)
        self._set_limits(ax, limits)

    def draw_map(self, ax: Any, heat: np.ndarray, colours: dict[str, Any]) -> None:
        low, high = ax.get_ylim()
        extent = (-0.5, len(heat) - 0.5, low, high)
        ax.imshow(heat[None], extent=extent, aspect="auto", zorder=0, **colours)
        ax.set_ylim(low, high)

    def _set_limits(self, ax: Any, limits: tuple[float, float]) -> None:
        low, high = limits
        margin = 0.06 * (high - low) or 1
        ax.set(xlim=(-0.5, len(self.array) - 0.5), ylim=(low - margin, high + margin))
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)


class RowPanel(Panel):
    """Bars of a row of a table, `(features,)`."""

    def __init__(self, array: np.ndarray, names: Sequence[str] | None = None) -> None:
        self.array, self.shape, self._names = array, array.shape, names
        self.size = (3.4, 0.35 + 0.19 * min(len(array), _MOST_NAMES))

    def draw(self, ax: Any, limits: tuple[float, float]) -> None:
        self._bars(ax, self.array, limits, self._names, color="C0")

    def draw_map(self, ax: Any, heat: np.ndarray, colours: dict[str, Any]) -> None:
        from matplotlib.colors import to_rgba_array

        ax.clear()
        names = self._names or [str(i) for i in range(len(heat))]
        labels = [f"{n} = {value:.4g}" for n, value in zip(names, self.array, strict=True)]
        colour = to_rgba_array(colours["cmap"](colours["norm"](heat)), alpha=1)
        limits = (colours["norm"].vmin, colours["norm"].vmax)
        self._bars(ax, heat, limits, labels, color=colour)

    def _bars(
        self,
        ax: Any,
        values: np.ndarray,
        limits: tuple[float, float],
        names: Sequence[str] | None,
        **settings: Any,
    ) -> None:
        ax.barh(np.arange(len(values)), values, **settings)
        ax.set_ylim(len(values) - 0.4, -0.6)
        low, high = min(limits[0], 0), max(limits[1], 0)
        margin = 0.04 * (high - low or 1)
        ax.set_xlim(low - margin * (low < 0), high + margin)
        if names is not None and len(values) <= _MOST_NAMES:
            ax.set_yticks(np.arange(len(values)), names)
        ax.axvline(0, color="0.5", linewidth=0.8)
        ax.tick_params(labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)


_KINDS: dict[str, Callable[[np.ndarray], Panel]] = {
    "row": RowPanel,
    "signal": SignalPanel,
    "image": ImagePanel,
    "volume": VolumePanel,
}
_BY_AXES = [*_KINDS]


def panel_of(name: str, value: Any, kind: str | None = None, names: Any = None) -> Panel:
    """The panel of an example, of the kind that its shape suggests, or an error."""
    array = check_finite(name, value)
    require(kind is None or kind in _BY_AXES, "kind", f"be one of {_BY_AXES} or None", kind)
    known = _kind_of(array.shape) if kind is None else kind
    last: Any = _channels_last(array, known)
    expected = (
        "be an image of shape (height, width), or with 1 or 3 channels, a signal (length, "
        "channels), a volume (depth, height, width, channels) or a row (features,)"
    )
    expect(array.size and last is not None, name, expected, f"an array of shape {array.shape}")
    if known != "row":
        return _KINDS[known](last)
    labels = None if names is None else check_labels("names", names, len(array), "feature")
    return RowPanel(array, labels)


def panels_of(name: str, values: Any, kind: str | None = None, names: Any = None) -> list[Panel]:
    """The panels of several examples, or an error."""
    require(is_iterable(values), name, f"be a list of {name}", values, TypeError)
    panels = [panel_of(name, value, kind, names) for value in values]
    expect(panels, name, "hold at least one image", "no images")
    return panels


def panels_of_images(
    images: Iterable[np.ndarray], spatial_axes: Sequence[int], names: Any = None
) -> list[Panel]:
    """The panels of images with known spatial axes; many channels are averaged."""
    panels = []
    for image in images:
        channels = [axis for axis in range(image.ndim) if axis not in spatial_axes]
        if channels and spatial_axes:
            image = np.moveaxis(image, channels[0], -1)
            if len(spatial_axes) > 1 and image.shape[-1] not in _CHANNELS:
                image = image.mean(axis=-1)
        kind = _BY_AXES[len(spatial_axes)] if len(spatial_axes) < len(_BY_AXES) else None
        panels.append(panel_of("images", image, kind, names))
    return panels


def common_limits(panels: Sequence[Panel], input_range: Any) -> list[tuple[float, float]]:
    """The range in which each panel is shown: one for all of a kind, bytes apart from floats."""
    if input_range is not None:
        return [check_input_range(input_range)] * len(panels)
    groups = [(type(panel), np.issubdtype(panel.array.dtype, np.integer)) for panel in panels]
    arrays = defaultdict(list)
    for group, panel in zip(groups, panels, strict=True):
        arrays[group].append(panel.array)
    limits = {group: group[0].limits(own) for group, own in arrays.items()}
    return [limits[group] for group in groups]


def show_image(ax: Any, image: np.ndarray, limits: tuple[float, float], **settings: Any) -> None:
    """Shows a gray or colour image in a range."""
    low, high = limits
    if image.ndim == 2:
        ax.imshow(image, cmap="gray", vmin=low, vmax=high, **settings)
    elif np.issubdtype(image.dtype, np.integer) and (low, high) == (0, 255):
        ax.imshow(np.clip(image, 0, 255).astype("uint8"), **settings)
    else:
        ax.imshow(np.clip((image.astype("float64") - low) / (high - low), 0, 1), **settings)


def _image_size(height: int, width: int) -> tuple[float, float]:
    """Inches of an image, which is wider than others if it is long."""
    aspect = width / height
    wide = _SIZE * min(max(aspect / 2, 1), _MOST_SIZE / _SIZE)
    return (
        (wide, wide / aspect) if wide / aspect <= _MOST_SIZE else (_MOST_SIZE * aspect, _MOST_SIZE)
    )


def _kind_of(shape: tuple[int, ...]) -> str:
    if len(shape) == 2 and min(shape) <= _MOST_SIGNAL_CHANNELS < max(shape):
        return "signal"
    return {1: "row", 2: "image", 3: "image"}.get(len(shape), "volume")


def _channels_last(array: np.ndarray, kind: str) -> np.ndarray | None:
    """An example with the channels last, or None if it cannot be of a kind."""
    axes = _BY_AXES.index(kind)
    if array.ndim == axes or kind == "row":
        return array if array.ndim == max(axes, 1) else None
    if array.ndim != axes + 1:
        return None
    first, last = array.shape[0], array.shape[-1]
    if kind == "signal":
        return array.T if first <= _MOST_SIGNAL_CHANNELS < last else array
    if last in _CHANNELS:
        return array
    return np.moveaxis(array, 0, -1) if first in _CHANNELS else None
