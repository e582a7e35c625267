"""What the example scripts take on their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def index_or_name(layer: str) -> int | str:
    """A layer by its index in `model.layers`, or else by its name or path."""
    return int(layer) if layer.lstrip("-").isdecimal() else layer


def at_least(least: int) -> Callable[[str], int]:
    """A type of arguments for `argparse`: whole numbers from the least on."""

    def integer(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}. Received: {text}"
            )
        return int(text)

    return integer
