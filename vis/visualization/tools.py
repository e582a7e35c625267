"""`get_num_filters` and `overlay`."""

import keras
import numpy as np

from vis.backend.graph import check_layer, filters_of
from vis.utils.validation import check_array, check_number, require


def get_num_filters(layer: keras.Layer) -> int:
    """Number of filters of a layer: the channels or units of its output.

    Args:
        layer: A layer of a built model.

    Returns:
        The number.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(16, 3)])
        >>> get_num_filters(model.layers[-1])
        16
    """
    return filters_of(check_layer(layer))[2]


def overlay(array1: np.ndarray, array2: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Alpha blend of two images.

    Args:
        array1: The image on top.
        array2: The image below, of the same shape. A gray image may have a channel axis or not.
        alpha: Opacity of `array1`, in [0, 1].

    Returns:
        An array of the shape and type of `array1`.

    Raises:
        ValueError: If `alpha` is outside [0, 1], or the shapes differ.

    Example:
        >>> overlay(np.array([200], "uint8"), np.array([100], "uint8"), alpha=0.25)
        array([125], dtype=uint8)
    """
    require(0 <= check_number("alpha", alpha) <= 1, "alpha", "be in [0, 1]", alpha)
    array1, array2 = check_array("array1", array1), check_array("array2", array2)
    if array1.shape in ((*array2.shape, 1), array2.shape[:-1]) and array1.size == array2.size:
        array2 = array2.reshape(array1.shape)
    if array1.shape != array2.shape:
        raise ValueError(
            "`array1` and `array2` must have the same shape. "
            f"Received: shapes {array1.shape} and {array2.shape}"
        )
    return (array1 * float(alpha) + array2 * (1.0 - alpha)).astype(array1.dtype)
