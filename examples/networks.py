"""Loads networks for the example scripts, by name or from a file."""

import difflib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from vis.applications import EfficientNetLite0

DEFAULT_MODEL = "EfficientNetLite0"


def load(name: str, safe_mode: bool = True) -> tuple[keras.Model, Callable]:
    """A network, and the preprocessing of its pixels from 0 to 255.

    Args:
        name: Its name in `keras.applications`, or the path of a file.
        safe_mode: Whether to refuse a file that contains code, such as a Lambda layer.
    """
    path = Path(name)
    if path.suffix in (".keras", ".h5"):
        if not path.is_file():
            raise ValueError(f"`--model` must be a file that exists. Received: {name}")
        try:
            return keras.models.load_model(path, compile=False, safe_mode=safe_mode), identity
        except Exception as error:
            raise ValueError(f"`--model` could not be loaded from {name}: {error}") from error
    if name == DEFAULT_MODEL:
        return EfficientNetLite0(), identity
    families = _families()
    if name not in families:
        known = [DEFAULT_MODEL, *families]
        by_folded_name = {known_name.lower(): known_name for known_name in known}
        close = difflib.get_close_matches(name.lower(), by_folded_name, n=3)
        hint = " or ".join(by_folded_name[match] for match in close)
        raise ValueError(
            f"`--model` must be {DEFAULT_MODEL}, the name of a network in keras.applications "
            "(case-sensitive), or the path of a .keras or .h5 file"
            f"{f'; did you mean {hint}?' if hint else '.'} Received: {name}"
        )
    try:
        return getattr(families[name], name)(), families[name].preprocess_input
    except Exception as error:  # a failed download raises a plain `Exception`
        raise ValueError(f"`--model` {name} could not be built: {error}") from error


def identity(pixels: Any) -> Any:
    """Preprocessing of networks that take pixels from 0 to 255."""
    return pixels


def _families() -> dict[str, types.ModuleType]:
    """The module of each network in `keras.applications`, by the network's name."""
    modules = [m for m in vars(keras.applications).values() if hasattr(m, "preprocess_input")]
    return {
        name: module
        for module in modules
        for name in vars(module)
        if name[0].isupper() and hasattr(keras.applications, name)
    }


def from_pixels(network: keras.Model, preprocess: Callable) -> keras.Model:
    """The network with its preprocessing in front, so that its input is pixels.

    Families of `keras.applications` differ in scaling and channel order; VGG16, for example, swaps
    red and blue.
    """
    if preprocess is identity:
        return network
    pixels = keras.Input(network.inputs[0].shape[1:])
    return keras.Model(pixels, network(preprocess(pixels)))
