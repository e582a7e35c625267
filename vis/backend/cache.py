"""A cache whose entries die with the objects that they were made for."""

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class WeakCache:
    """Maps an owner and a key to a value that is made once.

    Neither the owner nor any `weakref.ref` inside the key is kept alive. A value must not refer
    to its owner strongly.
    """

    # How many entries one owner may have; the one not used for longest goes first.
    _most = 16

    def __init__(self) -> None:
        self._entries: weakref.WeakKeyDictionary[Any, dict] = weakref.WeakKeyDictionary()
        self._lock = threading.RLock()

    def get(self, owner: Any, key: Hashable, make: Callable[[], T]) -> T:
        """The value for `owner` and `key`, from `make()` when it is not there yet."""
        with self._lock:
            entries = self._entries.setdefault(owner, {})
            if key in entries:
                entries[key] = entries.pop(key)
            else:
                for stale in [k for k in entries if _has_dead_reference(k)]:
                    del entries[stale]
                while len(entries) >= self._most:
                    del entries[next(iter(entries))]
                entries[key] = make()
            return entries[key]

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._entries.values())


def _has_dead_reference(key: Any) -> bool:
    if isinstance(key, tuple):
        return any(map(_has_dead_reference, key))
    return isinstance(key, weakref.ref) and key() is None
