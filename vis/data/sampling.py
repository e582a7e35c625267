"""Evenly spaced samples."""

import numpy as np

# More examples add little to what is known of the data.
SAMPLE_SIZE = 500


def evenly_spaced(count: int, size: int) -> list[int]:
    """Positions of at most `size` of `count` items, evenly spaced."""
    return np.linspace(0, count - 1, min(count, size)).astype(int).tolist()


class EvenSample:
    """At most `size` examples of a stream of unknown length, evenly spaced.

    At most twice as many are held: the first ones, then every second, fourth and so on.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._stride = 1
        self._held: list[np.ndarray] = []
        self.seen = 0

    def add(self, batch: np.ndarray) -> None:
        """Adds the next examples of the stream."""
        for i in range(len(batch)):
            if self.seen % self._stride == 0:
                # A view would keep the whole batch in memory.
                self._held.append(batch if len(batch) == 1 else batch[i : i + 1].copy())
            self.seen += 1
            if len(self._held) > 2 * self._size:
                self._held = self._held[::2]
                self._stride *= 2

    def batches(self) -> list[np.ndarray]:
        """The sample, as batches of one example."""
        return [self._held[i] for i in evenly_spaced(len(self._held), self._size)]
