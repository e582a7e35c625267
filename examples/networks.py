"""The networks that the example scripts know by name, and those of files."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from vis.applications import EfficientNetLite0

DEFAULT_MODEL = "EfficientNetLite0"


def load(name: str, allow_code: bool = False) -> tuple[keras.Model, Callable]:
    """A network, and the function that turns pixels from 0 to 255 into what it takes.

    Args:
        name: Its name in `keras.applications`, or the path of a file.
        allow_code: Whether code that the file brings along is run, such as a Lambda layer's.
    """
    path = Path(name)
    if path.suffix in (".keras", ".h5"):
        if not path.is_file():
            raise ValueError(f"`--model` must be a file that exists. Received: {name}")
        try:
            return keras.models.load_model(
                path, compile=False, safe_mode=not allow_code
            ), as_they_are
        except Exception as error:
            raise ValueError(f"`--model` could not be loaded from {name}: {error}") from error
    if name == DEFAULT_MODEL:
        return EfficientNetLite0(), as_they_are
    families = _families()
    if name not in families:
        known = [DEFAULT_MODEL, *families]
        by_folded_name = {known_name.lower(): known_name for known_name in known}
        close = difflib.get_close_matches(name.lower(), by_folded_name, n=3)
        hint = " or ".join(by_folded_name[match] for match in close)
        raise ValueError(
            f"`--model` must be {DEFAULT_MODEL}, the name of a network in keras.applications "
            "(upper and lower case count), or the path of a .keras or .h5 file"
            f"{f'; did you mean {hint}?' if hint else '.'} Received: {name}"
        )
    try:
        return getattr(families[name], name)(), families[name].preprocess_input
    except Exception as error:  # what a failed download raises is an `Exception`, no less
        raise ValueError(f"`--model` {name} could not be built: {error}") from error


def as_they_are(pixels: Any) -> Any:
    """What a network needs that takes pixels as they are."""
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
    """The network behind its own preprocessing, so that it is shown pixels and drawn in colours.

    Each family of `keras.applications` has been trained on another scaling and order of the
    channels; without this VGG16, say, would draw in blue what is red.
    """
    if preprocess is as_they_are:
        return network
    pixels = keras.Input(network.inputs[0].shape[1:])
    return keras.Model(pixels, network(preprocess(pixels)))
