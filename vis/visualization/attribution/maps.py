"""Maps over images: their scale, their size, and where channels go."""

from collections.abc import Sequence

import numpy as np


def normalise_maps(maps: np.ndarray) -> np.ndarray:
    """Maps as they are returned: in [0, 1], a single one without the samples' axis."""
    if not np.isfinite(maps).all():
        raise ValueError(
            "`model` must give finite values and gradients for `seed_input`; do its weights hold "
            f"NaN? Received: a map of which {np.isfinite(maps).mean():.0%} is finite"
        )
    scaled = scale_maps(maps)
    return scaled[0] if len(scaled) == 1 else scaled


def scale_maps(maps: np.ndarray) -> np.ndarray:
    """Each map stretched to [0, 1] on its own; one without any contrast becomes 0."""
    axes = tuple(range(1, maps.ndim))
    low = maps.min(axis=axes, keepdims=True)
    width = maps.max(axis=axes, keepdims=True) - low
    return np.divide(maps - low, width, out=np.zeros_like(maps), where=width > 0)


def resize_maps(maps: np.ndarray, spatial_shape: Sequence[int]) -> np.ndarray:
    """Maps, `(samples, ...)`, resized by linear interpolation between their cells' centres."""
    from scipy import ndimage

    factors = [new / old for new, old in zip(spatial_shape, maps.shape[1:], strict=True)]
    return ndimage.zoom(maps, (1, *factors), order=1, mode="nearest", grid_mode=True)


def batches(count: int, batch_size: int) -> list[slice]:
    """Slices of at most `batch_size` that together cover `range(count)`."""
    return [slice(i, min(i + batch_size, count)) for i in range(0, count, batch_size)]
