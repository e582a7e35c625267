"""What the channels of several layers are at each place, in one run of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, LayerOutput, Place, Target, fed, filters_of
from vis.backend.layers import Folder, Prepared, has_softmax
from vis.backend.step import apart
from vis.backend.step.compiled import Compiled

_maps = WeakCache()


class Wanted(NamedTuple):
    """A layer that is looked at, before its softmax where it ends in one."""

    place: Place
    axis: int  # That of its channels.
    before_softmax: bool

    @classmethod
    def of(cls, graph: Graph, layer: Target) -> Wanted:
        """What is looked at of a layer of a graph."""
        _, axis, _ = filters_of(layer)
        return cls(graph.place_of(layer), axis, has_softmax(LayerOutput.of(layer).layer))


class Maps:
    """Looks at several layers at once, compiled for each shape of images.

    Values are shown to `places`, the graph's inputs.
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
        """For each layer the chosen channels, `(samples, channels, places...)`, in float32.

        Each input is shown `(samples, ...)`. Channels are chosen by their indices.
        """
        tensors = [tf.convert_to_tensor(values) for values in shown]
        chosen = [tf.constant(list(indices), tf.int32) for indices in channels]
        return [found.numpy() for found in self._compiled(graph, prepared, tensors, chosen)]

    def _of_all(self, graph: Graph, weights: Any, shown: list[Any], chosen: list[Any]) -> list[Any]:
        def look(*shown: Any) -> list[Any]:
            values = looked_at(graph, self._places, shown, self._wanted, Folder(weights))
            each = zip(values, self._wanted, chosen, strict=True)
            return [channels_of(value, w.axis, some) for value, w, some in each]

        return apart.image_by_image(look, shown)


def refused(reason: str, shown: Sequence[Any], *_: Any) -> str:
    """What to say where a network does not take some images."""
    return (
        f"`images` must have a size and values that the model takes: {reason}. "
        f"Received: images of shape {tuple(shown[0].shape[1:])}"
    )


def maps_of(graph: Graph, wanted: Sequence[Wanted]) -> Maps:
    """The `Maps` of some layers of a graph, the same for all who ask."""
    places = tuple(map(Place.of, graph.inputs))
    key = places, tuple(wanted), graph.activations()
    return _maps.get(graph.owner, key, lambda: Maps(places, tuple(wanted)))


def of_any_number(shown: Sequence[Any], *channels: Any) -> tuple:
    """What is traced for any number of samples, and of their channels."""
    specs = [tf.TensorSpec([None, *values.shape[1:]], values.dtype) for values in shown]
    of_channels = tf.nest.map_structure(
        lambda indices: tf.TensorSpec([None] * len(indices.shape), indices.dtype), channels
    )
    return specs, *of_channels


def looked_at(
    graph: Graph,
    places: Sequence[Place],
    shown: Sequence[Any],
    wanted: Sequence[Wanted],
    folder: Folder,
) -> list[Any]:
    """What some layers are, where some places are shown values."""
    pairs = zip(places, shown, strict=True)
    feeds = [(place.tensor, fed(value, place.dtype)) for place, value in pairs]
    alone = [w for w in wanted if _is_needed(graph, w, wanted)]
    found: dict[Wanted, Any] = {}
    for together in ([w for w in wanted if w not in alone], *([w] for w in alone)):
        linear = [w.place.operation() for w in together if w.before_softmax]
        values = graph.run(feeds, [w.place for w in together], folder, linear)
        found.update(zip(together, values, strict=True))
    return [found[w] for w in wanted]


def _is_needed(graph: Graph, one: Wanted, wanted: Sequence[Wanted]) -> bool:
    """Whether others are computed with a softmax, so that it needs a run of its own."""
    own = one.place.operation()
    return one.before_softmax and any(
        id(own) in graph.before(other.place.operation())
        for other in wanted
        if other.place.operation() is not own
    )


def channels_of(value: Any, axis: int, channels: Any) -> Any:
    """Some channels of what a layer is, `(samples, channels, places...)`, in float32."""
    chosen = tf.cast(tf.gather(value, channels, axis=axis), tf.float32)
    places = [i for i in range(1, len(value.shape)) if i != axis]
    return tf.transpose(chosen, [0, axis, *places])
