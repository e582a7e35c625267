"""Backprop modifiers: guided backpropagation and deconvolution."""

from collections.abc import Callable

import keras

from vis.backend import modify_model_backprop
from vis.utils.validation import check_modifier


def guided(model: keras.Model) -> keras.Model:
    """Guided backpropagation: a copy of a model with other gradients of its rectifiers.

    They pass back only positive gradients, where their activation is positive (Springenberg et al.,
    "Striving for Simplicity", arXiv:1412.6806).

    Args:
        model: A Functional or Sequential model. It is not changed.

    Returns:
        A model with the same outputs, which shares the weights of `model`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "relu")])
        >>> guided(model).count_params()
        10
    """
    return modify_model_backprop(model, "guided")


def rectified(model: keras.Model) -> keras.Model:
    """Deconvolutional network: a copy of a model with other gradients of its rectifiers.

    They pass back all positive gradients, and no others (Zeiler & Fergus, "Visualizing and
    Understanding Convolutional Networks", arXiv:1311.2901). The arguments are those of `guided`.

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
    """Looks up a backprop modifier.

    Args:
        identifier: `"guided"`, `"rectified"`, `"relu"` or `"deconv"`, a function of a model that
            returns a model, or None.

    Returns:
        The function of that name; a function or None as it is.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> get("deconv") is rectified
        True
    """
    return check_modifier("backprop_modifier", identifier, _MODIFIERS)
