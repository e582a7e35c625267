"""The TensorFlow backend, and a replacement for `keras.backend`, `K`, in old losses.

Example:
    Replace `from keras import backend as K` by:

    >>> from vis import backend as K
    >>> float(K.mean(K.square([1.0, 3.0])))
    5.0
"""

from vis.backend.functions import *  # noqa: F403
from vis.backend.functions import __all__ as _functions
from vis.backend.graph.backprop import modify_model_backprop
from vis.backend.tensors import *  # noqa: F403
from vis.backend.tensors import __all__ as _tensors

__all__ = [*_functions, *_tensors, "modify_model_backprop"]
