"""What is made of a model's weights before they are used, and when.

Weights do not change while an image is optimised. What is made of them, such as kernels with batch
normalisation in them, is made once for a descent and handed to its compiled functions, however
often these are called.
"""

import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf
from keras import ops

from vis.backend.private import empty_list, item_of_list, list_with

# A list in a graph holds tensors of one type.
_DTYPES = ("float16", "bfloat16", "float32", "float64")


class DerivedWeights(NamedTuple):
    """How some tensors of one type, by name, are made of the weights of layers.

    The layers are weak references, as compiled functions remember recipes and must not keep a
    model alive.
    """

    formula: Callable[..., dict[str, Any]]
    layers: tuple[weakref.ref, ...]
    dtype: str

    def make(self) -> dict[str, Any]:
        made = self.formula(*(layer() for layer in self.layers))
        return {name: tf.convert_to_tensor(ops.cast(t, self.dtype)) for name, t in made.items()}


class TracedWeights:
    """Makes tensors in each call of a function that is being traced, outside of any loop in it."""

    ahead = False  # Whether they are made ahead of the calls, so that they may cost something.
    recipes = ()  # Those of them that a call has to bring along.

    def __init__(self) -> None:
        self._graph = tf.compat.v1.get_default_graph()
        self._made: dict[DerivedWeights, dict[str, Any]] = {}

    def __call__(self, recipe: DerivedWeights) -> dict[str, Any]:
        if recipe not in self._made:
            with self._graph.as_default():
                self._made[recipe] = recipe.make()
        return self._made[recipe]


class WeightCache:
    """What has been made for one descent, or several in a row. Threads may share it."""

    signature: ClassVar = {dtype: tf.TensorSpec((), tf.variant) for dtype in _DTYPES}

    def __init__(self) -> None:
        self._made: dict[DerivedWeights, dict[str, Any]] = {}
        self._packed: dict[tuple[DerivedWeights, ...], dict[str, Any]] = {}
        self._lock = threading.RLock()

    def __call__(self, recipe: DerivedWeights) -> dict[str, Any]:
        with self._lock:
            if recipe not in self._made:
                with tf.init_scope():
                    self._made[recipe] = recipe.make()
            return self._made[recipe]

    def packed(self, recipes: tuple[DerivedWeights, ...]) -> dict[str, Any]:
        """All that some recipes make: a list of TensorFlow's for each type."""
        with self._lock:
            if recipes not in self._packed:
                packed = {
                    dtype: empty_list(element_shape=-1, max_num_elements=-1, element_dtype=dtype)
                    for dtype in _DTYPES
                }
                for dtype, tensor in ((r.dtype, t) for r in recipes for t in self(r).values()):
                    packed[dtype] = list_with(input_handle=packed[dtype], tensor=tensor)
                self._packed[recipes] = packed
            return self._packed[recipes]


class CachedWeights:
    """Takes tensors from the lists that a function which is being traced is called with.

    How many tensors it will need is not known before it has been traced, so that they come in
    lists, whose type does not say; shapes are those of what has been prepared.
    """

    ahead = True

    def __init__(self, packed: dict[str, Any], weight_cache: WeightCache) -> None:
        self._packed = packed
        self._prepared = weight_cache
        # What the lists must hold, in order, and from which place on each is found.
        self.recipes: dict[DerivedWeights, int] = {}
        self._taken = dict.fromkeys(_DTYPES, 0)

    def __call__(self, recipe: DerivedWeights) -> dict[str, Any]:
        made = self._prepared(recipe)
        if recipe not in self.recipes:
            self.recipes[recipe] = self._taken[recipe.dtype]
            self._taken[recipe.dtype] += len(made)
        items = {}
        for index, (name, tensor) in enumerate(made.items(), self.recipes[recipe]):
            items[name] = item_of_list(
                input_handle=self._packed[recipe.dtype],
                index=index,
                element_shape=tensor.shape,
                element_dtype=recipe.dtype,
            )
            items[name].set_shape(tensor.shape)
        return items
