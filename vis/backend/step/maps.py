"""What the channels of several layers are at each place, in one run of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vis.backend import device
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

    On a processor each image is looked at by itself and by one thread, several at the same time:
    how kernels split up their sums depends on the size of a batch and on the number of threads,
    and so would the last digits.

    Args:
        places: What is given values: the graph's inputs.
        wanted: What is looked at.
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

        Args:
            graph: The graph.
            prepared: What has been made of its weights.
            shown: What each input is shown, `(samples, ...)`.
            channels: For each layer the indices of the channels.
        """
        tensors = [tf.convert_to_tensor(values) for values in shown]
        chosen = [tf.constant(list(indices), tf.int32) for indices in channels]
        return [found.numpy() for found in self._compiled(graph, prepared, tensors, chosen)]

    def _of_all(self, graph: Graph, weights: Any, shown: list[Any], chosen: list[Any]) -> list[Any]:
        def look(shown: Sequence[Any]) -> list[Any]:
            pairs = list(zip(self._places, shown, strict=True))
            values = looked_at(graph, pairs, self._wanted, Folder(weights))
            each = zip(values, self._wanted, chosen, strict=True)
            return [channels_of(value, w.axis, some) for value, w, some in each]

        if device.has_gpu():
            return look(shown)

        def alone(*sample: Any) -> list[Any]:
            return [found[0] for found in look([values[None] for values in sample])]

        return apart.one_by_one(alone, shown, threads=1)


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


def of_any_number(*tensors: Any) -> tuple:
    """What is traced for tensors with any number of samples, of channels, or whatever is first."""
    return tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), tensors)


def looked_at(
    graph: Graph,
    shown: Sequence[tuple[Place, Any]],
    wanted: Sequence[Wanted],
    folder: Folder,
) -> list[Any]:
    """What some layers are."""
    feeds = [(place.tensor, fed(value, place.dtype)) for place, value in shown]
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
