"""Types of command-line arguments that the example scripts share."""

import argparse
from collections.abc import Callable


def index_or_name(layer: str) -> int | str:
    """A layer's index in `model.layers`, or its name or path."""
    return int(layer) if layer.lstrip("-").isdecimal() else layer


def at_least(least: int) -> Callable[[str], int]:
    """An `argparse` type for integers of at least `least`."""

    def integer(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be an integer of at least {least}. Received: {text}"
            )
        return int(text)

    return integer
