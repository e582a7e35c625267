"""What the channels of several layers are at each place, and what those of one owe to the others.

A network is run once for each image. What is owed is gradient times activation.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, LayerOutput, Target, TensorRef, as_input_dtype, filters_of
from vis.backend.layers import WeightCache, has_softmax
from vis.backend.step import per_sample
from vis.backend.step.compiled import CompiledFunction


class LayerTap(NamedTuple):
    """A layer that is looked at, before its softmax where it ends in one."""

    place: TensorRef
    axis: int  # That of its channels.
    before_softmax: bool

    @classmethod
    def of(cls, graph: Graph, layer: Target) -> "LayerTap":
        """What is looked at of a layer of a graph."""
        _, axis, _ = filters_of(layer)
        return cls(graph.ref_of(layer), axis, has_softmax(LayerOutput.of(layer).layer))


class ChannelFunction:
    """Looks at channels of several layers at once, compiled for each shape of images."""

    made: ClassVar[WeakCache]

    def __init__(self, graph: Graph, wanted: Sequence[LayerTap]) -> None:
        self._places = list(map(TensorRef.of, graph.inputs))
        self._wanted = wanted
        # What is computed in one run: what needs none of its own, and all else.
        alone = [w for w in wanted if _is_needed(graph, w, wanted)]
        self._runs = [[w for w in wanted if w not in alone], *([w] for w in alone)]
        self._compiled = CompiledFunction(self._of_all, _refused, _of_any_number)

    @classmethod
    def of(cls, graph: Graph, *wanted: LayerTap) -> Any:
        """Those at some layers of a graph, the same for all who ask."""
        key = tuple(map(TensorRef.of, graph.inputs)), wanted, graph.activations()
        return cls.made.get(graph.owner, key, lambda: cls(graph, wanted))

    def __call__(
        self,
        graph: Graph,
        weight_cache: WeightCache,
        shown: Sequence[np.ndarray],
        channels: Sequence[Any],
    ) -> list[np.ndarray]:
        """What is found where each input is shown `(samples, ...)`, of channels of each layer."""
        tensors = [tf.convert_to_tensor(values) for values in shown]
        indices = [tf.convert_to_tensor(np.asarray(some, "int32")) for some in channels]
        return [found.numpy() for found in self._compiled(graph, weight_cache, tensors, indices)]

    def _of_all(self, run: Callable, shown: list[Any], channels: list[Any]) -> list[Any]:
        """What is compiled."""
        raise NotImplementedError

    def _seen(self, run: Callable, shown: Sequence[Any]) -> list[Any]:
        """What the layers are, where values are shown to the graph's inputs."""
        pairs = zip(self._places, shown, strict=True)
        feeds = [(place.tensor, as_input_dtype(value, place.dtype)) for place, value in pairs]
        found: dict[LayerTap, Any] = {}
        for together in self._runs:
            without_softmax = [w.place.operation() for w in together if w.before_softmax]
            values = run(feeds, [w.place for w in together], without_softmax=without_softmax)
            found.update(zip(together, values, strict=True))
        return [found[w] for w in self._wanted]


class ActivationMaps(ChannelFunction):
    """What channels of several layers are, `(samples, channels, places...)` of each in float32."""

    made = WeakCache()

    def _of_all(self, run: Callable, shown: list[Any], channels: list[Any]) -> list[Any]:
        def look(*shown: Any) -> list[Any]:
            each = zip(self._seen(run, shown), self._wanted, channels, strict=True)
            return [_channels_of(value, w.axis, some) for value, w, some in each]

        return per_sample.image_by_image(look, shown)


class Contributions(ChannelFunction):
    """What channels of the first layer owe to those of the others, one trace for all channels.

    An image goes through the network once, and the gradients of the channels come one after the
    other back through the part in between. Each sample has channels of the first layer of its own,
    `(samples, channels)`. Of each other layer `(samples, channels of the first, its channels)` is
    found.
    """

    made = WeakCache()

    def _of_all(self, run: Callable, shown: list[Any], channels: list[Any]) -> list[Any]:
        of_first, *chosen = channels

        def contributions(of_first: Any, *shown: Any) -> list[Any]:
            behind, *before = self._seen(run, shown)
            axis, *axes = (w.axis for w in self._wanted)
            count = behind.shape[axis]
            scores = _over_places(tf.reduce_mean, _channels_of(behind, axis, tf.range(count)))

            def to(of_each: Any) -> list[Any]:
                # All samples at once, as none depends on another.
                grads = self._gradients(scores * tf.one_hot(of_each, count), before)
                parts = (
                    _channels_of(value, axis, some) * _channels_of(grad, axis, some)
                    for value, grad, axis, some in zip(before, grads, axes, chosen, strict=True)
                )
                return [_over_places(tf.reduce_sum, part) for part in parts]

            dtypes = [tf.float32 for _ in before]
            rows = tf.transpose(of_first)
            found = tf.map_fn(to, rows, parallel_iterations=1, fn_output_signature=dtypes)
            return [tf.transpose(f, [1, 0, 2]) for f in found]

        return per_sample.image_by_image(contributions, [of_first, *shown])

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


def maps_of(graph: Graph, layers: Sequence[Target]) -> ActivationMaps:
    """The `ActivationMaps` of some layers of a graph."""
    return ActivationMaps.of(graph, *(LayerTap.of(graph, layer) for layer in layers))


def links_of(graph: Graph, layer: Target, before: Sequence[Target]) -> Contributions:
    """The `Contributions` of a layer of a graph to those before it."""
    # These do all their work, of which a softmax is part.
    others = (LayerTap.of(graph, one)._replace(before_softmax=False) for one in before)
    return Contributions.of(graph, LayerTap.of(graph, layer), *others)


def _refused(reason: str, shown: Sequence[Any], *_: Any) -> str:
    """What to say where a network does not take some images."""
    return (
        f"`images` must have a size and values that the model takes: {reason}. "
        f"Received: images of shape {tuple(shown[0].shape[1:])}"
    )


def _of_any_number(shown: Sequence[Any], channels: Sequence[Any]) -> tuple:
    """What is traced for any number of samples, and of their channels."""
    specs = [tf.TensorSpec([None, *values.shape[1:]], values.dtype) for values in shown]
    return specs, [tf.TensorSpec([None] * len(some.shape), some.dtype) for some in channels]


def _is_needed(graph: Graph, one: LayerTap, wanted: Sequence[LayerTap]) -> bool:
    """Whether others are computed with a softmax, so that it needs a run of its own."""
    own = one.place.operation()
    return one.before_softmax and any(
        id(own) in graph.upstream(other.place.operation())
        for other in wanted
        if other.place.operation() is not own
    )


def _channels_of(value: Any, axis: int, channels: Any) -> Any:
    """Some channels of what a layer is, `(samples, channels, places...)`, in float32."""
    chosen = tf.cast(tf.gather(value, channels, axis=axis), tf.float32)
    places = [i for i in range(1, len(value.shape)) if i != axis]
    return tf.transpose(chosen, [0, axis, *places])


def _over_places(reduce: Callable, value: Any) -> Any:
    """The mean or sum over all places of `(samples, channels, places...)`."""
    return reduce(value, axis=list(range(2, len(value.shape))))
