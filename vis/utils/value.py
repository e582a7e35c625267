"""Objects that are compared by their attributes."""

from typing import Any

import numpy as np


class Value:
    """Base class of objects that are equal if their types and public attributes are."""

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._attributes() == other._attributes()

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(self._attributes().items()))))

    def __repr__(self) -> str:
        attributes = ", ".join(f"{name}={value!r}" for name, value in self._attributes().items())
        return f"{type(self).__name__}({attributes})"


class FrozenArray:
    """A copy of an array that is compared and hashed by its values."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.array(array)
        self.array.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenArray) and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return hash((self.array.shape, self.array.dtype.str, self.array.tobytes()))

    def __repr__(self) -> str:
        return f"array of shape {self.array.shape}"
