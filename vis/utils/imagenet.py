"""Classes of ImageNet (ILSVRC 2012): index, WordNet id and name."""

import difflib
import functools
import json
import operator
from collections.abc import Iterable
from importlib import resources
from typing import Any, SupportsIndex

__all__ = ["imagenet_class_index", "imagenet_classes", "lookup_imagenet_labels"]


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """Returns the classes of ImageNet by index.

    The names are those of `keras.applications`. Two of them, `crane` and `maillot`, belong to two
    classes each, which differ in their WordNet ids.

    Returns:
        `(WordNet id, name)` of each of the 1000 classes.

    Example:
        >>> imagenet_classes()[20]
        ('n01601694', 'water_ouzel')
    """
    text = resources.files("vis.utils").joinpath("imagenet_class_index.json").read_text("utf-8")
    index = json.loads(text)
    return tuple(tuple(index[str(i)]) for i in range(len(index)))


def lookup_imagenet_labels(indices: SupportsIndex | Iterable[SupportsIndex]) -> list[str]:
    """Returns the names of ImageNet classes.

    Args:
        indices: One index or several, each from 0 to 999.

    Returns:
        A list of names in the order of `indices`.

    Raises:
        TypeError: If an index is not an integer.
        ValueError: If an index is out of range.

    Example:
        >>> lookup_imagenet_labels([20, 967])
        ['water_ouzel', 'espresso']
        >>> lookup_imagenet_labels(285)
        ['Egyptian_cat']
    """
    classes = imagenet_classes()
    numbers = _as_ints(indices)
    if not all(0 <= number < len(classes) for number in numbers):
        raise ValueError(
            f"`indices` must lie between 0 and {len(classes) - 1}. Received: indices={indices!r}"
        )
    return [classes[number][1] for number in numbers]


def imagenet_class_index(name: str) -> int:
    """Returns the index of an ImageNet class.

    If no name is spelt exactly like this (`cardigan` is a jacket, `Cardigan` a dog), case is
    ignored, and spaces and hyphens count as underscores.

    Args:
        name: Name of the class, such as `"water_ouzel"` or `"Water ouzel"`, or its WordNet id.

    Returns:
        The index, from 0 to 999.

    Raises:
        TypeError: If `name` is not a string.
        ValueError: If no class or more than one has that name.

    Example:
        >>> imagenet_class_index("Water ouzel")
        20
        >>> imagenet_class_index("n03126707")
        517
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be a string. Received: name={name!r}")
    normalized = _normalized(name)
    known = [_normalized(own) for _, own in imagenet_classes()]
    exact = [i for i, names in enumerate(imagenet_classes()) if name in names]
    matches = exact or [i for i, own in enumerate(known) if own == normalized]
    if len(matches) == 1:
        return matches[0]
    if matches:
        choices = " or ".join(f"{imagenet_classes()[i][0]!r} (index {i})" for i in matches)
        raise ValueError(
            f"`name` must be unique among the classes. Pass a WordNet id, {choices}. "
            f"Received: name={name!r}"
        )
    close = difflib.get_close_matches(normalized, set(known))
    hint = f" (close matches: {', '.join(close)})" if close else ""
    raise ValueError(f"`name` must be the name of an ImageNet class{hint}. Received: name={name!r}")


def _as_ints(indices: Any) -> list[int]:
    try:
        # 0-dimensional arrays have `__iter__`, but are not iterable.
        try:
            return [_as_int(indices)]
        except TypeError:
            return [_as_int(index) for index in indices]
    except (TypeError, NotImplementedError):
        raise TypeError(
            f"`indices` must be an integer or a list of integers. Received: indices={indices!r}"
        ) from None


def _as_int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _normalized(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
