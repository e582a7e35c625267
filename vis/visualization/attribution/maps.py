"""Attribution maps: normalised to [0, 1] and resized to the image."""

from collections.abc import Mapping, Sequence

import numpy as np

from vis.backend.graph import Axis, Span, unfold_positions
from vis.utils.validation import warn

# Images per evaluation of a model.
MAX_BATCH_SIZE = 32


def warn_of_empty(is_empty: np.ndarray, reason: str, advice: str) -> None:
    """Warns of the maps that show nothing, if there are any."""
    if count := np.count_nonzero(is_empty):
        warn(f"{count} of {len(is_empty)} maps show nothing: {reason}. {advice}")


def normalise_maps(maps: np.ndarray, attributions: np.ndarray) -> np.ndarray:
    """Scales the maps made of attributions to [0, 1]. A single map loses the batch axis."""
    if not np.isfinite(maps).all():
        raise ValueError(
            "`model` must have finite outputs and gradients for `seed_input`. Check its weights "
            f"for NaN. Received: a map of which {np.isfinite(maps).mean():.0%} is finite"
        )
    flat = maps.reshape(len(maps), -1)
    is_lost = (np.ptp(flat, axis=1) == 0) & (flat.shape[1] > 1) & ~is_zero(attributions)
    advice = "`attributions` and `grad_modifier=None` keep negative values."
    warn_of_empty(is_lost & is_zero(maps), "no attribution is positive", advice)
    advice = "Another method, or an earlier layer, may tell the positions apart."
    warn_of_empty(is_lost & ~is_zero(maps), "all values of a map are equal", advice)
    scaled = scale_maps(maps)
    return scaled[0] if len(scaled) == 1 else scaled


def is_zero(maps: np.ndarray) -> np.ndarray:
    """Whether each of some maps, `(samples, ...)`, is 0 everywhere."""
    return np.logical_not(maps.reshape(len(maps), -1).any(axis=1))


def scale_maps(maps: np.ndarray) -> np.ndarray:
    """Scales each map, `(samples, ...)`, to [0, 1]. Constant maps become 0."""
    axes = tuple(range(1, maps.ndim))
    low = maps.min(axis=axes, keepdims=True)
    width = maps.max(axis=axes, keepdims=True) - low
    return np.divide(maps - low, width, out=np.zeros_like(maps), where=width > 0)


def resize_maps(maps: np.ndarray, spatial_shape: Sequence[int]) -> np.ndarray:
    """Resizes maps, `(samples, ...)`, by linear interpolation between cell centres."""
    from scipy import ndimage

    factors = [new / old for new, old in zip(spatial_shape, maps.shape[1:], strict=True)]
    return ndimage.zoom(maps, (1, *factors), order=1, mode="nearest", grid_mode=True)


def place_maps(maps: np.ndarray, axes: Sequence[Axis], sizes: Mapping[int, int]) -> np.ndarray:
    """Lays maps over images, by linear interpolation between the centres of positions.

    Pixels that no position depends on are 0. A layer that covers the image is stretched over it.

    Args:
        maps: `(samples, positions...)`.
        axes: The axes of the positions.
        sizes: The size of each spatial axis of a batch of images.

    Returns:
        `(samples, ...)`, with the spatial axes of the images.
    """
    maps, by_axis = unfold_positions(maps, axes, sizes)
    for number, axis in enumerate(sorted(sizes), 1):
        if axis not in by_axis:
            maps = np.repeat(maps, sizes[axis], axis=number)
    spatial = [by_axis.get(axis) for axis in sorted(sizes)]
    covering = [
        size if span and _covers(span, size) else maps.shape[number]
        for number, (span, size) in enumerate(
            zip(spatial, [sizes[axis] for axis in sorted(sizes)], strict=True), 1
        )
    ]
    maps = resize_maps(maps, covering)
    for number, (axis, span) in enumerate(zip(sorted(sizes), spatial, strict=True), 1):
        if span and not _covers(span, sizes[axis]):
            maps = _place(maps, number, span, sizes[axis])
    return maps


def _covers(span: Span, size: int) -> bool:
    """Whether positions are spread over the whole image, to within one of them."""
    half = span.stride / 2
    first, last = span.offset - half, span.offset + span.stride * (span.length - 1) + half
    return span.stride > 0 and max(abs(first + 0.5), abs(last + 0.5 - size)) <= 1.05 * span.stride


def _place(maps: np.ndarray, number: int, span: Span, size: int) -> np.ndarray:
    """Lays one axis of maps along an axis of the image."""
    pixels = np.arange(size)
    positions = np.clip((pixels - span.offset) / span.stride, 0, span.length - 1)
    low = np.floor(positions).astype(int)
    high = np.minimum(low + 1, span.length - 1)
    shape = [-1 if i == number else 1 for i in range(maps.ndim)]
    share = (positions - low).astype(maps.dtype).reshape(shape)
    placed = np.take(maps, low, axis=number) * (1 - share)
    placed += np.take(maps, high, axis=number) * share
    first, last = span.visible
    is_visible = (pixels > first - 1) & (pixels < last + 1)
    return placed * is_visible.reshape(shape)


def batches(count: int, batch_size: int) -> list[slice]:
    """Splits `range(count)` into slices of at most `batch_size`."""
    return [slice(i, min(i + batch_size, count)) for i in range(0, count, batch_size)]
