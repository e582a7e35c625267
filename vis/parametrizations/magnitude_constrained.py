"""`MagnitudeConstrained`: MaCo, phases of Fourier coefficients with fixed magnitudes."""

from typing import Any

import numpy as np
from keras import ops

from vis import backend
from vis.parametrizations.base import Parametrization
from vis.parametrizations.spectra import (
    amplitudes,
    coefficient_shape,
    image_to_signal,
    signal_to_image,
)
from vis.utils.layout import Layout
from vis.utils.validation import (
    check_finite,
    check_flag,
    check_number,
    check_positive,
    expect,
)
from vis.utils.value import FrozenArray


class MagnitudeConstrained(Parametrization):
    """MaCo: phases of the image's Fourier coefficients, with fixed magnitudes.

    The image always has the spectrum of a photograph; the positions of its structures are optimised
    (Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
    Optimization", NeurIPS 2023, arXiv:2306.06805).

    Args:
        spectrum: Power by which magnitudes fall with frequency, or images, `(samples, ...)`, of
            the size of the generated image, whose mean magnitudes are used.
        decorrelate: Whether images with three channels have the colours of photographs, if
            `spectrum` is a power.
        contrast: Standard deviation of the image before the sigmoid, positive.

    Example:
        >>> from vis.utils.layout import Layout
        >>> phases, layout = MagnitudeConstrained(), Layout((8, 8, 1), axes=(1, 2))
        >>> phases.variables(None, layout, (0, 255), np.random.default_rng(0))[0].shape
        (1, 8, 5)
    """

    def __init__(
        self,
        spectrum: float | np.ndarray = 1.25,
        *,
        decorrelate: bool = True,
        contrast: float = 1.0,
    ) -> None:
        if isinstance(spectrum, np.ndarray) and spectrum.ndim:
            are_images = spectrum.ndim >= 3 and len(spectrum)
            expected = "be a number, or images of shape (samples, ...) with channels"
            expect(are_images, "spectrum", expected, f"an array of shape {spectrum.shape}")
            self.spectrum: Any = FrozenArray(check_finite("spectrum", spectrum))
        else:
            self.spectrum = check_number("spectrum", spectrum)
        self.decorrelate = check_flag("decorrelate", decorrelate)
        self.contrast = check_positive("contrast", contrast)

    def variables(self, seed_image, layout, input_range, rng):
        shape = coefficient_shape(layout)
        self._magnitudes(layout)  # Checks the layout.
        if seed_image is None:
            return [rng.uniform(-np.pi, np.pi, shape)]
        signal = image_to_signal(seed_image, layout, input_range, self._decorrelated)
        return [np.angle(np.fft.rfftn(signal, axes=tuple(range(1, signal.ndim))))]

    def image(self, variables, layout, input_range):
        (phases,) = variables
        magnitudes = ops.convert_to_tensor(self._magnitudes(layout), phases.dtype)
        real, imaginary = magnitudes * ops.cos(phases), magnitudes * ops.sin(phases)
        signal = backend.irfftn(real, imaginary, layout.spatial_shape)
        return signal_to_image(signal, layout, input_range, self._decorrelated, self.contrast)

    @property
    def _decorrelated(self) -> bool:
        return self.decorrelate and not isinstance(self.spectrum, FrozenArray)

    def _magnitudes(self, layout: Layout) -> np.ndarray:
        if not isinstance(self.spectrum, FrozenArray):
            return amplitudes(layout, self.spectrum)
        images = self.spectrum.array
        expected = f"hold images of shape {layout.shape}, the shape of the generated image"
        received = f"images of shape {images.shape[1:]}"
        expect(images.shape[1:] == layout.shape, "spectrum", expected, received)
        images = layout.to_channels_first(images).astype("float64")
        axes = tuple(range(2, images.ndim))
        images = images - images.mean(axis=axes, keepdims=True)
        return np.abs(np.fft.rfftn(images, axes=axes)).mean(axis=0)
