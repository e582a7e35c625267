"""Plots of results: top-activating images, class contrasts and mean attributions of classes."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vis.plotting.figures import axes_grid, check_columns, line_count, save, wrapped
from vis.plotting.maps import add_colorbar, color_scale
from vis.plotting.panels import common_limits, panels_of_images
from vis.utils.validation import (
    check_array,
    check_flag,
    check_indices,
    check_integer,
    check_kind,
    expect,
    require,
)
from vis.visualization import ClassAttributions, ClassContrast, TopImages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ClassNames = Sequence[str] | Mapping[int, str]
# More classes than this are not legible in one figure.
_MOST_CLASSES = 20
_MOST_CHANNELS = 8
_WRONG = "C3"
# Scale of top images.
_SMALL = 0.65
# Opacity of maps over images.
_ALPHA = 0.85


def class_contrast(
    contrast: ClassContrast,
    class_names: ClassNames | None = None,
    save_to: str | os.PathLike | None = None,
    *,
    input_range: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Plots a class contrast: each image, the maps of both classes, and their difference.

    Both maps have one scale. In the difference, red favours the first class and blue the
    second.

    Args:
        contrast: The result of `vis.visualization.class_contrast`.
        class_names: The names of all classes, or a dict from index to name with both.
        save_to: Path of a file to which the figure is saved.
        input_range: As in `picture`.
        names: As in `picture`.

    Returns:
        The figure.

    Example:
        >>> import keras
        >>> from vis.visualization import class_contrast as contrast
        >>> layers = [keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        >>> image = np.random.default_rng(0).uniform(size=(8, 8, 1))
        >>> figure = class_contrast(contrast(model, image, (0, 2)), ["cat", "dog", "emu"])
        >>> [ax.get_title() for ax in figure.axes[:4]]
        ['image', 'cat', 'emu', 'cat - emu']
    """
    check_kind("contrast", contrast, ClassContrast)
    first, second = (_class_name(class_names, index) for index in contrast.classes)
    panels = panels_of_images(contrast.images, contrast.spatial_axes, names)
    limits = common_limits(panels, input_range)
    scale = color_scale([contrast.first, contrast.second], alpha=_ALPHA)
    difference = color_scale([contrast.difference], signed=True, alpha=_ALPHA)
    titles = wrapped(["image", first, second, f"{first} - {second}"], panels[0].size[0])
    sizes = [panel.size for panel in panels for _ in titles]
    # Only the first row has titles.
    lines = max(1, round(line_count(titles) / len(panels)))
    axes = np.reshape(axes_grid(None, sizes, len(titles), lines, bars=2), (-1, len(titles)))
    for i, (row, panel) in enumerate(zip(axes, panels, strict=True)):
        maps = [None, contrast.first[i], contrast.second[i], contrast.difference[i]]
        for ax, heat, colours in zip(row, maps, [{}, scale, scale, difference], strict=True):
            panel.draw(ax, limits[i])
            if heat is not None:
                panel.draw_map(ax, heat, colours)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    add_colorbar([*axes[:, :3].flat], scale)
    add_colorbar([*axes[:, 3]], difference)
    return save(axes[0, 0].figure, save_to)


def class_attributions(
    found: ClassAttributions,
    class_names: ClassNames | None = None,
    classes: Sequence[int] | None = None,
    cols: int | None = None,
    save_to: str | os.PathLike | None = None,
    *,
    input_range: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
) -> "Figure":
    """Plots the mean attributions of classes over their mean images, all on one scale.

    A circle marks the highest attribution of a class. Below are its value, and the smallest area
    with half of the positive attribution.

    Args:
        found: The result of `vis.visualization.class_attributions`.
        class_names: The names of all classes, or a dict of names by index.
        classes: The indices of the classes to show; by default all; of more than 20, the 20 with
            the smallest areas.
        cols: As in `grid`.
        save_to: Path of a file to which the figure is saved.
        input_range: As in `picture`.
        names: As in `picture`.

    Returns:
        The figure.

    Example:
        >>> import keras
        >>> from vis.visualization import class_attributions as attributions
        >>> layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        >>> x, y = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)), [0, 0, 0, 1, 1, 1]
        >>> figure = class_attributions(attributions(model, (x, y), progress=False), ["cat", "dog"])
        >>> [ax.get_title() for ax in figure.axes[:2]]
        ['cat', 'dog']
    """
    check_kind("found", found, ClassAttributions)
    known = found.classes.tolist()
    if classes is None:
        classes = sorted(np.array(known)[np.argsort(found.areas)[:_MOST_CLASSES]].tolist())
    classes = check_indices("classes", classes, max(known) + 1, "the result")
    require(all(c in known for c in classes), "classes", f"be among {known}", classes)
    rows = [known.index(c) for c in classes]
    panels = panels_of_images(found.images[rows], found.spatial_axes, names)
    limits = common_limits(panels, input_range)
    colours = color_scale([*found.maps[rows]], alpha=_ALPHA)
    titles = wrapped([_class_name(class_names, c) for c in classes], panels[0].size[0])
    sizes = [panel.size for panel in panels]
    axes = axes_grid(None, sizes, check_columns(cols), line_count(titles) + 2, bars=1)
    for ax, row, panel, own, title in zip(axes, rows, panels, limits, titles, strict=True):
        peak = found.peaks[row]
        panel.draw(ax, own)
        panel.draw_map(ax, found.maps[row], colours)
        ax.set_title(title, fontsize=9)
        where = ", ".join(map(str, peak))
        text = f"peak {found.maps[row][tuple(peak)]:.2g} at ({where})\n"
        text += f"half in {found.areas[row]:.1%} of the {'image' if len(peak) > 1 else 'input'}"
        ax.set_xlabel(text, fontsize=7)
        if len(peak) == 2:
            circle(ax, *peak[::-1])
    add_colorbar(axes, colours, "mean attribution")
    return save(axes[0].figure, save_to)


def top_images(
    found: TopImages,
    layer: str | None = None,
    channels: int | Sequence[int] | None = None,
    save_to: str | os.PathLike | None = None,
    *,
    count: int | None = None,
    crop: bool = True,
    class_names: ClassNames | None = None,
    labels: Sequence[Any] | None = None,
    predictions: np.ndarray | None = None,
    input_range: tuple[float, float] | None = None,
) -> "Figure":
    """Plots the top-activating images of channels, one row for each channel.

    Below each image is its class, or in red "true, predicted other" if the prediction is wrong.
    Crops at the border of an image are padded, so that all show the same size.

    Args:
        found: The result of `vis.visualization.top_activating_images`.
        layer: The name of the layer; it may be omitted if there is one.
        channels: Index of a channel or several; by default the first eight.
        save_to: Path of a file to which the figure is saved.
        count: Number of images of each channel; by default all that were found.
        crop: Whether to show the part of an image that activates the channel, not all of it.
        class_names: The names of all classes, or a dict of names by index.
        labels: The class of each image of the dataset, an index or a name; by default the labels
            that the dataset has.
        predictions: The predicted class of each image of the dataset, or the scores of all classes,
            `(images, classes)`, as `model.predict` returns them.
        input_range: As in `picture`.

    Returns:
        The figure.

    Raises:
        ValueError: If the layer or a channel was not selected.

    Example:
        >>> import keras
        >>> from vis.visualization import top_activating_images
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="a")])
        >>> x, y = np.random.default_rng(0).uniform(size=(20, 8, 8, 1)), [0, 1] * 10
        >>> found = top_activating_images(model, (x, y), "a", count=3, progress=False)
        >>> figure = top_images(found, class_names=["cat", "dog"])
        >>> len(figure.axes), figure.axes[0].get_xlabel() in ("cat", "dog")
        (6, True)
    """
    check_kind("found", found, TopImages)
    names = list(found)
    layer = names[0] if layer is None and len(names) == 1 else layer
    require(layer in found, "layer", f"be one of {names}", layer)
    own = found[layer]  # type: ignore[index]  # None is not in `found`.
    known = own.filters.tolist()
    requested = known[:_MOST_CHANNELS] if channels is None else channels
    selected = check_indices("channels", requested, max(known) + 1, f"layer '{layer}'")
    require({*selected} <= {*known}, "channels", f"be among {known}", channels)
    available = own.indices.shape[1]
    shown = available if count is None else min(check_integer("count", count, least=1), available)
    rows = [known.index(c) for c in selected]
    cells = [(c, rank) for c in selected for rank in range(shown)]
    indices = own.indices[rows, :shown].ravel().tolist()
    images = [found.images[i] for i in indices]
    padded: list[Any] = [[]] * len(cells)
    if check_flag("crop", crop):
        images = [own.crop(*cell) for cell in cells]
        padded = _padded_ranges(own.boxes[rows, :shown].reshape(len(cells), -1))
    panels = panels_of_images(images, own.spatial_axes)
    true = _classes("labels", found.labels if labels is None else labels, max(indices))
    predicted = _classes("predictions", predictions, max(indices))
    captions = [_caption(i, true, predicted, class_names) for i in indices]
    limits = common_limits(panels, input_range)
    texts = wrapped([text for text, _ in captions], _SMALL * panels[0].size[0])
    sizes = [(_SMALL * panel.size[0], _SMALL * panel.size[1]) for panel in panels]
    axes = axes_grid(None, sizes, shown, line_count(texts))
    for i, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        panel.draw(ax, limits[i])
        if padded[i] and len(panel.shape) <= 2:
            *vertical, horizontal = padded[i]
            ax.set_xlim(horizontal)
            if vertical:
                ax.set_ylim(vertical[0][::-1])
        frame(ax)
        ax.set_xlabel(texts[i], fontsize=8)
        if captions[i][1]:
            ax.xaxis.label.set_color(_WRONG)
        if cells[i][1] == 0:
            ax.set_ylabel(f"channel {cells[i][0]}", fontsize=8)
    figure = axes[0].figure
    figure.suptitle(layer, fontsize=9)
    return save(figure, save_to)


def frame(ax: Any) -> None:
    """Draws a thin frame around an image, which may be as white as the page."""
    from matplotlib.patches import Rectangle

    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        corner, width, height = (left, top), right - left, bottom - top
        edge = Rectangle(corner, width, height, fill=False, edgecolor="0.6", linewidth=0.6)
        ax.add_patch(edge).set_clip_on(False)


def circle(ax: Any, x: float, y: float) -> None:
    """Marks a position by a circle that is visible on any colour."""
    for size, colour in ((3.0, "white"), (1.2, "black")):
        ax.plot(x, y, "o", markersize=9, markeredgewidth=size, markeredgecolor=colour, mfc="none")


def _padded_ranges(boxes: np.ndarray) -> list[list[tuple[float, float]]]:
    """Ranges of pixels around crops, of one size along each axis.

    A crop that touches the start of the image is padded at its start, any other at its end.
    """
    starts, stops = np.split(boxes, 2, axis=1)
    sizes = stops - starts
    missing = sizes.max(axis=0) - sizes
    before = np.where(starts == 0, missing, 0)
    return [
        [(-0.5 - b, -0.5 - b + size) for b, size in zip(row, sizes.max(axis=0), strict=True)]
        for row in before.tolist()
    ]


def _class_name(class_names: ClassNames | None, index: int) -> str:
    if class_names is None:
        return f"class {index}"
    expected = "have a name for each class"
    try:
        return str(class_names[index])
    except (LookupError, TypeError):
        expect(False, "class_names", expected, f"no name for class {index}")
        raise


def _classes(name: str, values: Any, highest: int) -> list[Any] | None:
    """The class of each image, an index or a name."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim == 2:
        scores = check_array(name, array)
        array = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0.5
    expected = "have a class for each image of the dataset"
    expect(array.ndim == 1 and len(array) > highest, name, expected, f"shape {array.shape}")
    return array.tolist()


def _caption(
    i: int, true: Sequence[Any] | None, predicted: Sequence[Any] | None, names: ClassNames | None
) -> tuple[str, bool]:
    """The class of an image, and whether the prediction is another."""

    def name(value: Any) -> str:
        return value if isinstance(value, str) else _class_name(names, int(value))

    if true is None:
        return ("" if predicted is None else f"predicted {name(predicted[i])}"), False
    if predicted is None or name(true[i]) == name(predicted[i]):
        return name(true[i]), False
    return f"{name(true[i])}, predicted {name(predicted[i])}", True
