"""Attribution maps: normalised to [0, 1] and resized to the image."""

from collections.abc import Sequence

import numpy as np


def normalise_maps(maps: np.ndarray) -> np.ndarray:
    """Scales each map to [0, 1]. A single map loses the batch axis."""
    if not np.isfinite(maps).all():
        raise ValueError(
            "`model` must have finite outputs and gradients for `seed_input`. Check its weights "
            f"for NaN. Received: a map of which {np.isfinite(maps).mean():.0%} is finite"
        )
    scaled = scale_maps(maps)
    return scaled[0] if len(scaled) == 1 else scaled


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


def batches(count: int, batch_size: int) -> list[slice]:
    """Splits `range(count)` into slices of at most `batch_size`."""
    return [slice(i, min(i + batch_size, count)) for i in range(0, count, batch_size)]
