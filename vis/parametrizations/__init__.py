"""Parametrizations: what is optimised, and how it becomes an image."""

from vis.parametrizations.base import Parametrization
from vis.parametrizations.fourier import Fourier
from vis.parametrizations.magnitude_constrained import MagnitudeConstrained
from vis.parametrizations.pixels import Pixels
from vis.parametrizations.principal_components import PrincipalComponents
from vis.parametrizations.spectra import COLORS

__all__ = [
    "COLORS",
    "Fourier",
    "MagnitudeConstrained",
    "Parametrization",
    "Pixels",
    "PrincipalComponents",
]
