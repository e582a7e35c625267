"""See what Keras networks have learnt."""

import os

# TensorFlow reads this once, when it is first imported; a value set by the user wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from vis._version import __version__  # noqa: E402

__all__ = ["__version__"]
