"""What a channel owes to those of layers before it: gradient times activation, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from vis.backend import device
from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Place
from vis.backend.layers import Folder, Prepared
from vis.backend.step import apart
from vis.backend.step.compiled import Compiled
from vis.backend.step.maps import Wanted, looked_at, of_any_number, refused

_links = WeakCache()


class Links:
    """What channels of a layer owe to those of layers before it, one trace for all channels.

    An image goes through the network once, and the gradients of the channels come one after the
    other back through the part in between. On a processor each image is looked at by itself and by
    one thread, as in `Maps`.

    Args:
        places: What is given values: the graph's inputs.
        wanted: The layer, and then those before it.
    """

    def __init__(self, places: Sequence[Place], wanted: Sequence[Wanted]) -> None:
        self._places = places
        self._wanted = wanted
        self._compiled = Compiled(self._of_all, refused, of_any_number)

    def __call__(
        self,
        graph: Graph,
        prepared: Prepared,
        shown: Sequence[np.ndarray],
        channels: Sequence[Sequence[int]],
    ) -> list[np.ndarray]:
        """For each layer before it `(samples, channels of the layer, channels before)`.

        Args:
            graph: The graph.
            prepared: What has been made of its weights.
            shown: What each input is shown, `(samples, ...)`.
            channels: The channels of the layer, and of those before it.
        """
        tensors = [tf.convert_to_tensor(values) for values in shown]
        chosen = [tf.constant(list(indices), tf.int32) for indices in channels]
        return [found.numpy() for found in self._compiled(graph, prepared, tensors, chosen)]

    def _of_all(self, graph: Graph, weights: Any, shown: list[Any], chosen: list[Any]) -> list[Any]:
        def owed(shown: Sequence[Any]) -> list[Any]:
            pairs = list(zip(self._places, shown, strict=True))
            score, *before = looked_at(graph, pairs, self._wanted, Folder(weights))
            score = tf.reduce_mean(score, axis=list(range(2, len(score.shape))))

            def to(channel: Any) -> list[Any]:
                one = tf.one_hot(tf.fill(tf.shape(score)[:1], channel), score.shape[1])
                grads = self._gradients(score, before, one)
                return [
                    tf.gather(_summed(value * grad), some, axis=1)
                    for value, grad, some in zip(before, grads, chosen[1:], strict=True)
                ]

            dtypes = [tf.float32 for _ in before]
            found = tf.map_fn(to, chosen[0], parallel_iterations=1, fn_output_signature=dtypes)
            return [tf.transpose(f, [1, 0, 2]) for f in found]

        if device.has_gpu():
            return owed(shown)

        def alone(*sample: Any) -> list[Any]:
            return [found[0] for found in owed([values[None] for values in sample])]

        return apart.one_by_one(alone, shown, threads=1)

    def _gradients(self, score: Any, before: list[Any], one: Any) -> list[Any]:
        grads = tf.gradients(score, before, grad_ys=one)
        for wanted, grad in zip(self._wanted[1:], grads, strict=True):
            if grad is None:
                layer, name = (w.place.operation().name for w in (self._wanted[0], wanted))
                raise ValueError(
                    f"No gradient flows from layer '{layer}' back to '{name}'. It must lie before "
                    "the other, with nothing in between that cannot be differentiated. "
                    f"Received: the layers '{layer}' and '{name}'"
                )
        return grads


def links_of(graph: Graph, wanted: Sequence[Wanted]) -> Links:
    """The `Links` of a layer of a graph to those before it, the same for all who ask."""
    places = tuple(map(Place.of, graph.inputs))
    key = places, tuple(wanted), graph.activations()
    return _links.get(graph.owner, key, lambda: Links(places, tuple(wanted)))


def _summed(value: Any) -> Any:
    """The sum over all places of `(samples, channels, places...)`."""
    return tf.reduce_sum(value, axis=list(range(2, len(value.shape))))
