"""How gradients flow back through a model's rectifiers."""

from collections.abc import Callable

import keras

from vis.backend import modify_model_backprop
from vis.utils.validation import check_modifier


def guided(model: keras.Model) -> keras.Model:
    """A copy of a model whose rectifiers pass back positive gradients where they were active.

    Guided backpropagation (Springenberg et al., "Striving for Simplicity", arXiv:1412.6806).

    Args:
        model: A Functional or Sequential model. It is left as it is.

    Returns:
        A model with the same outputs, which shares the weights of `model`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "relu")])
        >>> guided(model).count_params()
        10
    """
    return modify_model_backprop(model, "guided")


def rectified(model: keras.Model) -> keras.Model:
    """A copy of a model whose rectifiers pass back all positive gradients, and no others.

    The deconvolutional network (Zeiler & Fergus, "Visualizing and Understanding Convolutional
    Networks", arXiv:1311.2901). Takes and returns what `guided` does.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "relu")])
        >>> rectified(model).count_params()
        10
    """
    return modify_model_backprop(model, "rectified")


relu = rectified
deconv = rectified

_MODIFIERS = {"guided": guided, "rectified": rectified, "relu": relu, "deconv": deconv}


def get(identifier: str | Callable | None) -> Callable | None:
    """The backprop modifier of a name: `"guided"`, `"rectified"`, `"relu"` or `"deconv"`.

    Args:
        identifier: One of these names, a function of a model that returns a model, or None.

    Returns:
        The function of that name, and a function or None as it is.

    Raises:
        ValueError: If the name is not known.

    Example:
        >>> get("deconv") is rectified
        True
    """
    return check_modifier("backprop_modifier", identifier, _MODIFIERS)
