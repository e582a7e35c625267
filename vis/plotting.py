"""Plots of images, heat maps and losses. Each function returns the Matplotlib figure."""

import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from vis.callbacks import History
from vis.utils.files import atomic_write
from vis.utils.image import deprocess_input, overlay_heatmap, to_rgb
from vis.utils.validation import (
    check_array,
    check_finite,
    check_input_range,
    check_integer,
    check_kind,
    check_number,
    check_path,
    expect,
    is_iterable,
    require,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Width of an image in a grid, in inches.
_SIZE = 2.2


def picture(
    image: np.ndarray,
    title: str | None = None,
    ax: "Axes | None" = None,
    save_to: str | os.PathLike | None = None,
) -> "Figure":
    """Plots an image.

    Args:
        image: `(height, width)`, or `(height, width, channels)` with one or three channels.
            Integers are from 0 to 255, floats from 0 to 1.
        title: Title of the image.
        ax: Matplotlib axes; by default those of a new figure.
        save_to: Path of a file to which the figure is saved.

    Returns:
        The figure.

    Raises:
        ValueError: If `image` has another shape.

    Example:
        >>> figure = picture(np.zeros((8, 8, 3)), title="night")
        >>> figure.axes[0].get_title()
        'night'
    """
    image = _check_image("image", image)
    ax = _axes(ax)
    _show(ax, image, title)
    return _save(ax.figure, save_to)


def grid(
    images: Iterable[np.ndarray],
    labels: Iterable[str] | None = None,
    cols: int | None = None,
    save_to: str | os.PathLike | None = None,
) -> "Figure":
    """Plots images in a grid, row by row.

    Args:
        images: Images, each as in `picture`.
        labels: Title of each image.
        cols: Number of columns; by default about the number of rows.
        save_to: Path of a file to which the figure is saved.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no images, or another number of labels.

    Example:
        >>> figure = grid(np.zeros((3, 8, 8, 3)), labels=["a", "b", "c"])
        >>> [ax.get_title() for ax in figure.axes]
        ['a', 'b', 'c']
    """
    require(is_iterable(images), "images", "be a list of images", images, TypeError)
    images = [_check_image("images", image) for image in images]
    expect(images, "images", "hold at least one image", "no images")
    labels = list(labels) if is_iterable(labels) else labels
    match = labels is None or (isinstance(labels, list) and len(labels) == len(images))
    require(match, "labels", f"be {len(images)} strings, one for each image", labels)
    cols = None if cols is None else check_integer("cols", cols, least=1)
    cols = min(cols or math.ceil(math.sqrt(len(images))), len(images))
    rows = math.ceil(len(images) / cols)
    height, width = images[0].shape[:2]
    figure = _figure(_SIZE * cols, (_SIZE * height / width + 0.25 * (labels is not None)) * rows)
    titles: Any = [None] * len(images) if labels is None else labels
    for number, (image, title) in enumerate(zip(images, titles, strict=True), 1):
        _show(figure.add_subplot(rows, cols, number), image, title)
    return _save(figure, save_to)


def heatmap(
    image: np.ndarray,
    heat: np.ndarray,
    alpha: float = 0.7,
    title: str | None = None,
    ax: "Axes | None" = None,
    save_to: str | os.PathLike | None = None,
) -> "Figure":
    """Plots a heat map over an image.

    Args:
        image: An image, as in `picture`.
        heat: Heat map `(height, width)` with values of any range.
        alpha: Opacity at the maximum of the heat map, in [0, 1]. The minimum is transparent.
        title: Title of the image.
        ax: Matplotlib axes; by default those of a new figure.
        save_to: Path of a file to which the figure is saved.

    Returns:
        The figure.

    Raises:
        ValueError: If the heat map has another size than the image.

    Example:
        >>> figure = heatmap(np.zeros((8, 8, 3)), np.eye(8))
        >>> len(figure.axes[0].images)
        1
    """
    image = _check_image("image", image)
    heat = check_finite("heat", heat).astype("float64")
    require(0 <= check_number("alpha", alpha) <= 1, "alpha", "be in [0, 1]", alpha)
    expected = f"be of the image's size {image.shape[:2]}"
    expect(heat.shape == image.shape[:2], "heat", expected, f"heat of shape {heat.shape}")
    rgb = to_rgb(image.reshape(*heat.shape, -1))
    rgb = rgb if np.issubdtype(rgb.dtype, np.integer) else 255 * rgb
    overlay = overlay_heatmap(np.clip(rgb, 0, 255), heat, alpha)
    return picture(overlay, title, ax, save_to)


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
    ax = _axes(ax, width=6, height=3.5)
    for name, values in history.losses.items():
        ax.plot(values, label=name, linewidth=1)
    ax.plot(history.overall_loss, label="overall loss", linewidth=2, color="black")
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return _save(ax.figure, save_to)


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


def _figure(width: float, height: float) -> Any:
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(width, height), layout="constrained")
    # A notebook would show an open figure a second time.
    plt.close(figure)
    return figure


def _axes(ax: "Axes | None", width: float = 4, height: float = 4) -> "Axes":
    if ax is None:
        return _figure(width, height).add_subplot()
    from matplotlib.axes import Axes

    return check_kind("ax", ax, Axes)


def _show(ax: Any, image: np.ndarray, title: str | None) -> None:
    highest = 255 if np.issubdtype(image.dtype, np.integer) else 1
    ax.imshow(image, cmap="gray", vmin=0, vmax=highest)
    ax.set_axis_off()
    if title is not None:
        ax.set_title(str(title), fontsize=9)


def _save(figure: Any, save_to: str | os.PathLike | None) -> Any:
    if save_to is not None:
        save_to = check_path("save_to", save_to)
        extensions = figure.canvas.get_supported_filetypes()
        is_known = save_to.suffix[1:].lower() in extensions
        require(is_known, "save_to", f"end in one of {sorted(extensions)}", str(save_to))
        with atomic_write(save_to) as path:
            figure.savefig(path, dpi=150)
    return figure


def _check_image(name: str, image: Any) -> np.ndarray:
    image = check_array(name, image)
    image = image[..., 0] if image.shape[2:] == (1,) else image
    is_image = image.size and image.ndim >= 2 and image.shape[2:] in ((), (3,))
    expected = (
        "be of shape (height, width), or (height, width, channels) with one or three channels"
    )
    expect(is_image, name, expected, f"an array of shape {image.shape}")
    return image
