"""`WeakCache`: a cache whose entries live as long as the objects that they belong to."""

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class WeakCache:
    """Maps an owner and a key to a value.

    Owners and `weakref.ref` objects in keys are not kept alive. A value must not have a strong
    reference to its owner.
    """

    def __init__(self, max_entries: int = 16) -> None:
        # Per owner; the least recently used entry is removed first.
        self._max_entries = max_entries
        self._entries: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()
        self._lock = threading.RLock()

    def get(self, owner: Any, key: Hashable, make: Callable[[], T]) -> T:
        """The value for `owner` and `key`, from `make()` if there is none yet."""
        with self._lock:
            entries = self._entries.setdefault(owner, {})
            if key in entries:
                entries[key] = entries.pop(key)
            else:
                for stale in [k for k in entries if _has_dead_reference(k)]:
                    del entries[stale]
                while len(entries) >= self._max_entries:
                    del entries[next(iter(entries))]
                entries[key] = make()
            return entries[key]

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._entries.values())


def _has_dead_reference(key: Any) -> bool:
    if isinstance(key, tuple):
        return any(map(_has_dead_reference, key))
    return isinstance(key, weakref.ref) and key() is None
