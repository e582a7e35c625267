"""See what Keras networks have learnt."""

from vis._quiet import import_tensorflow
from vis._version import __version__

import_tensorflow()

__all__ = ["__version__"]
