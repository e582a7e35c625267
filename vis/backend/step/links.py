"""What a channel owes to those of layers before it: gradient times activation, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, Place, Target
from vis.backend.layers import Folder, Prepared
from vis.backend.step import apart
from vis.backend.step.compiled import Compiled
from vis.backend.step.maps import Wanted, channels_of, looked_at, of_any_number, refused

_links = WeakCache()


class Links:
    """What channels of a layer owe to those of layers before it, one trace for all channels.

    An image goes through the network once, and the gradients of the channels come one after the
    other back through the part in between. Values are shown to `places`, the graph's inputs;
    `wanted` are the layer, and then those before it.
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
        channels: np.ndarray,
        before: Sequence[Sequence[int]],
    ) -> list[np.ndarray]:
        """For each layer before it `(samples, channels of the layer, channels before)`.

        Each input is shown `(samples, ...)`. Each sample has channels of the layer of its own,
        `(samples, channels)`; `before` has the channels of each layer before it.
        """
        tensors = [tf.convert_to_tensor(values) for values in shown]
        behind = tf.constant(channels, tf.int32)
        chosen = [tf.constant(list(indices), tf.int32) for indices in before]
        found = self._compiled(graph, prepared, tensors, behind, chosen)
        return [values.numpy() for values in found]

    def _of_all(
        self, graph: Graph, weights: Any, shown: list[Any], channels: Any, chosen: list[Any]
    ) -> list[Any]:
        def owed(channels: Any, *shown: Any) -> list[Any]:
            folder = Folder(weights)
            behind, *before = looked_at(graph, self._places, shown, self._wanted, folder)
            axis, *axes = (w.axis for w in self._wanted)
            count = behind.shape[axis]
            scores = _over_places(tf.reduce_mean, channels_of(behind, axis, tf.range(count)))

            def to(of_each: Any) -> list[Any]:
                # All samples at once, as none depends on another.
                grads = self._gradients(scores * tf.one_hot(of_each, count), before)
                parts = (
                    channels_of(value, axis, some) * channels_of(grad, axis, some)
                    for value, grad, axis, some in zip(before, grads, axes, chosen, strict=True)
                )
                return [_over_places(tf.reduce_sum, part) for part in parts]

            dtypes = [tf.float32 for _ in before]
            rows = tf.transpose(channels)
            found = tf.map_fn(to, rows, parallel_iterations=1, fn_output_signature=dtypes)
            return [tf.transpose(f, [1, 0, 2]) for f in found]

        return apart.image_by_image(owed, [channels, *shown])

    def _gradients(self, scores: Any, before: list[Any]) -> list[Any]:
        grads = tf.gradients(scores, before)
        for wanted, grad in zip(self._wanted[1:], grads, strict=True):
            if grad is None:
                layer, name = (w.place.operation().name for w in (self._wanted[0], wanted))
                raise ValueError(
                    f"No gradient flows from layer '{layer}' back to '{name}'. It must lie before "
                    "the other, with nothing in between that cannot be differentiated. "
                    f"Received: the layers '{layer}' and '{name}'"
                )
        return grads


def links_of(graph: Graph, layer: Target, before: Sequence[Target]) -> Links:
    """The `Links` of a layer of a graph to those before it, the same for all who ask."""
    places = tuple(map(Place.of, graph.inputs))
    # Those before it do all their work, of which a softmax is part.
    others = (Wanted.of(graph, one)._replace(before_softmax=False) for one in before)
    wanted = Wanted.of(graph, layer), *others
    key = places, wanted, graph.activations()
    return _links.get(graph.owner, key, lambda: Links(places, wanted))


def _over_places(reduce: Callable, value: Any) -> Any:
    """The mean or sum over all places of `(samples, channels, places...)`."""
    return reduce(value, axis=list(range(2, len(value.shape))))
