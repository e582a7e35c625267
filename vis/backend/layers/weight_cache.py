"""Weights derived from a model's weights, such as kernels with folded batch normalisation.

Weights do not change during an optimisation. Derived weights are computed once and passed to the
compiled functions, however often these are called.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf
from keras import ops

from vis.backend.private import empty_list, item_of_list, list_with

# A TensorFlow list holds tensors of one type.
_DTYPES = ("float16", "bfloat16", "float32", "float64")


class DerivedWeights(NamedTuple):
    """Describes how tensors of one type are computed from the weights of layers.

    The references to layers are weak: compiled functions must not keep a model alive.
    """

    formula: Callable[..., dict[str, Any]]
    layers: tuple[weakref.ref, ...]
    dtype: str

    def compute(self) -> dict[str, Any]:
        tensors = self.formula(*(layer() for layer in self.layers))
        return {name: tf.convert_to_tensor(ops.cast(t, self.dtype)) for name, t in tensors.items()}


class TracedWeights:
    """Computes derived weights in each call of the function being traced, outside of its loops."""

    is_precomputed = False
    used = ()  # The derived weights that a call has to pass.

    def __init__(self) -> None:
        self._graph = tf.compat.v1.get_default_graph()
        self._tensors: dict[DerivedWeights, dict[str, Any]] = {}

    def __call__(self, derived: DerivedWeights) -> dict[str, Any]:
        if derived not in self._tensors:
            with self._graph.as_default():
                self._tensors[derived] = derived.compute()
        return self._tensors[derived]


class WeightCache:
    """Derived weights, computed once for one or several optimisations. It is thread-safe."""

    signature: ClassVar = {dtype: tf.TensorSpec((), tf.variant) for dtype in _DTYPES}

    def __init__(self) -> None:
        self._tensors: dict[DerivedWeights, dict[str, Any]] = {}
        self._lists: dict[tuple[DerivedWeights, ...], dict[str, Any]] = {}
        self._lock = threading.RLock()

    def __call__(self, derived: DerivedWeights) -> dict[str, Any]:
        with self._lock:
            if derived not in self._tensors:
                with tf.init_scope():
                    self._tensors[derived] = derived.compute()
            return self._tensors[derived]

    def lists(self, derived: tuple[DerivedWeights, ...]) -> dict[str, Any]:
        """Derived weights as a TensorFlow list for each type."""
        with self._lock:
            if derived not in self._lists:
                lists = {
                    dtype: empty_list(element_shape=-1, max_num_elements=-1, element_dtype=dtype)
                    for dtype in _DTYPES
                }
                for dtype, tensor in ((d.dtype, t) for d in derived for t in self(d).values()):
                    lists[dtype] = list_with(input_handle=lists[dtype], tensor=tensor)
                self._lists[derived] = lists
            return self._lists[derived]


class CachedWeights:
    """Reads derived weights from the lists that the function being traced is called with.

    The number of tensors is known only after tracing. A list has the same type for any number.
    """

    is_precomputed = True

    def __init__(self, lists: dict[str, Any], weight_cache: WeightCache) -> None:
        self._lists = lists
        self._cache = weight_cache
        # The derived weights that the lists must hold, in order, each with its first index.
        self.used: dict[DerivedWeights, int] = {}
        self._lengths = dict.fromkeys(_DTYPES, 0)

    def __call__(self, derived: DerivedWeights) -> dict[str, Any]:
        tensors = self._cache(derived)
        if derived not in self.used:
            self.used[derived] = self._lengths[derived.dtype]
            self._lengths[derived.dtype] += len(tensors)
        items = {}
        for index, (name, tensor) in enumerate(tensors.items(), self.used[derived]):
            items[name] = item_of_list(
                input_handle=self._lists[derived.dtype],
                index=index,
                element_shape=tensor.shape,
                element_dtype=derived.dtype,
            )
            items[name].set_shape(tensor.shape)
        return items
