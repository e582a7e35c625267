"""The tools under the import path that keras-vis gave them."""

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
from vis.utils.validation import require

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
    """A list with `value` in it, unless it is a list already.

    Example:
        >>> listify(3), listify([3, 4])
        ([3], [3, 4])
    """
    return value if isinstance(value, list) else [value]


def reverse_enumerate(iterable: Sequence) -> Iterator[tuple[int, Any]]:
    """Index and item, last first.

    Example:
        >>> list(reverse_enumerate("ab"))
        [(1, 'b'), (0, 'a')]
    """
    return zip(reversed(range(len(iterable))), reversed(iterable), strict=True)


def add_defaults_to_kwargs(defaults: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Keyword arguments completed by defaults.

    Example:
        >>> add_defaults_to_kwargs({"max_iter": 200, "verbose": False}, max_iter=5)
        {'max_iter': 5, 'verbose': False}
    """
    return {**defaults, **kwargs}


def get_identifier(identifier: Any, module_globals: dict[str, Any], module_name: str) -> Any:
    """The function that a name or a callable stands for.

    Args:
        identifier: A name in `module_globals`, or a callable, which is returned as it is.
        module_globals: Names and what they stand for.
        module_name: What the names are names of, for the error message.

    Raises:
        ValueError: If the name is not known, or `identifier` is neither.

    Example:
        >>> get_identifier("square", {"square": abs}, "demo")
        <built-in function abs>
    """
    is_name = isinstance(identifier, str)
    function = module_globals.get(identifier) if is_name else identifier
    if callable(function):
        return function
    public = [name for name, value in module_globals.items() if callable(value) and name[:1] != "_"]
    wanted = f"one of {sorted(public)}" if is_name else "a name"
    raise ValueError(
        f"`{module_name}` must be {wanted} or a callable. Received: {module_name}={identifier!r}"
    )


def modifier_of(identifier: Any, known: dict[str, Any], name: str) -> Any:
    """The modifier that a name or a function stands for, or None; no class or layer is one."""
    if identifier is None:
        return None
    is_other = isinstance(identifier, (type, keras.Layer))
    expected = "be a name, a function or None, and no class or layer"
    require(not is_other, name, expected, identifier, TypeError)
    return get_identifier(identifier, known, name)


class _Slicer:
    def __getitem__(self, item: Any) -> tuple:
        item = item if isinstance(item, tuple) else (item,)
        if len(item) < 2 or keras.config.image_data_format() == "channels_first":
            return item
        # Not `in`, which compares, and NumPy's arrays have no answer to that.
        dots = [place for place, part in enumerate(item) if part is Ellipsis]
        if dots and dots[0] < 2:
            # What comes behind the dots are the last spatial axes.
            return item if item[-1] is Ellipsis else (*item, slice(None))
        samples, channels, *spatial = item
        return (samples, *spatial, *([] if dots else [Ellipsis]), channels)


# `slicer[:, i, ...]`, written channels first, is the same slice in either data format.
slicer = _Slicer()
