"""Utilities at keras-vis's import path."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from vis.backend.graph import LayerOutput, apply_modifications, find_layer_idx
from vis.utils.image import (
    bgr2rgb,
    deprocess_input,
    draw_text,
    get_img_shape,
    load_img,
    normalize,
    random_array,
    stitch_images,
)
from vis.utils.imagenet import lookup_imagenet_labels
from vis.utils.validation import get_identifier

__all__ = [
    "LayerOutput",
    "add_defaults_to_kwargs",
    "apply_modifications",
    "bgr2rgb",
    "deprocess_input",
    "draw_text",
    "find_layer_idx",
    "get_identifier",
    "get_img_shape",
    "listify",
    "load_img",
    "lookup_imagenet_labels",
    "normalize",
    "random_array",
    "reverse_enumerate",
    "slicer",
    "stitch_images",
]


def listify(value: Any) -> list:
    """Returns a list as it is, and any other value in a list.

    Example:
        >>> listify(3), listify([3, 4])
        ([3], [3, 4])
    """
    return value if isinstance(value, list) else [value]


def reverse_enumerate(iterable: Sequence) -> Iterator[tuple[int, Any]]:
    """Enumerates a sequence from its end.

    Example:
        >>> list(reverse_enumerate("ab"))
        [(1, 'b'), (0, 'a')]
    """
    return zip(reversed(range(len(iterable))), reversed(iterable), strict=True)


def add_defaults_to_kwargs(defaults: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Adds defaults to keyword arguments.

    Example:
        >>> add_defaults_to_kwargs({"max_iter": 200, "verbose": False}, max_iter=5)
        {'max_iter': 5, 'verbose': False}
    """
    return {**defaults, **kwargs}


class _Slicer:
    def __getitem__(self, item: Any) -> tuple:
        item = item if isinstance(item, tuple) else (item,)
        if len(item) < 2 or keras.config.image_data_format() == "channels_first":
            return item
        # Not `in`, which compares arrays elementwise.
        dots = [i for i, part in enumerate(item) if part is Ellipsis]
        if dots and dots[0] < 2:
            # The items after the dots are for the last spatial axes.
            return item if item[-1] is Ellipsis else (*item, slice(None))
        samples, channels, *spatial = item
        return (samples, *spatial, *([] if dots else [Ellipsis]), channels)


# `slicer[:, i, ...]` is written channels first, and is the same slice in either data format.
slicer = _Slicer()
