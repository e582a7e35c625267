"""`Fourier`: Fourier coefficients of the image."""

import copy

import numpy as np
from keras import ops

from vis import backend
from vis.parametrizations import spectra
from vis.parametrizations.base import Parametrization
from vis.utils.layout import Layout
from vis.utils.validation import check_flag, check_number, check_positive


class Fourier(Parametrization):
    """Fourier coefficients of the image, in decorrelated colours.

    Gradient descent on pixels finds fine patterns first. Coefficients scaled by their frequency,
    and colours along the principal axes of those of photographs, give coarse structure the same
    chance (Olah et al., "Feature Visualization", Distill 2017; Mordvintsev et al., "Differentiable
    Image Parameterizations", Distill 2018). The image's contrast is fixed and a sigmoid bounds its
    values, so that it neither fades nor saturates.

    Args:
        decay_power: Amplitudes fall as `frequency ** -decay_power`. Larger values give smoother
            images. Photographs have about 1 to 1.5.
        decorrelate: Whether to decorrelate the colours of images with three channels.
        contrast: Standard deviation of the image before the sigmoid, positive. 1 gives images
            with a standard deviation of 0.2 of their range.
        noise: Initial standard deviation of the coefficients, positive. Smaller coefficients
            change their phase faster.

    Example:
        >>> from vis.utils.layout import Layout
        >>> fourier, layout = Fourier(), Layout((8, 6, 3), axes=(1, 2))
        >>> values = fourier.variables(None, layout, (0, 255), np.random.default_rng(0))
        >>> batch = [ops.convert_to_tensor(v[None], "float32") for v in values]
        >>> fourier.image(batch, layout, ops.convert_to_tensor((0.0, 255.0))).shape
        TensorShape([1, 8, 6, 3])
    """

    def __init__(
        self,
        *,
        decay_power: float = 1.0,
        decorrelate: bool = True,
        contrast: float = 1.0,
        noise: float = 0.1,
    ) -> None:
        self.decay_power = check_number("decay_power", decay_power)
        self.decorrelate = check_flag("decorrelate", decorrelate)
        self.contrast = check_positive("contrast", contrast)
        self.noise = check_positive("noise", noise)

    def variables(self, seed_image, layout, input_range, rng):
        shape = spectra.coefficient_shape(layout)
        if seed_image is None:
            return [self.noise * rng.standard_normal(shape) for _ in range(2)]
        signal = spectra.image_to_signal(seed_image, layout, input_range, self.decorrelate)
        return spectra.coefficients_of(signal, self._amplitudes(layout), self.noise)

    def image(self, variables, layout, input_range):
        scale = ops.convert_to_tensor(self._amplitudes(layout), variables[0].dtype)
        signal = backend.irfftn(*(scale * v for v in variables), layout.spatial_shape)
        return spectra.signal_to_image(signal, layout, input_range, self.decorrelate, self.contrast)

    def with_decay(self, factor):
        other = copy.copy(self)
        other.decay_power = factor * self.decay_power
        return other

    def resize_variables(
        self, variables: list[np.ndarray], old: Layout, new: Layout, rngs: list[np.random.Generator]
    ) -> list[np.ndarray]:
        """Variables `(samples, ...)` of the same images at another size.

        Frequencies that the old images lack are noise, with a random generator for each sample.
        """
        noise = [self.variables(None, new, (0, 1), rng) for rng in rngs]
        return spectra.resize_coefficients(variables, noise, old, new)

    def convert_variables(
        self, variables: list[np.ndarray], layout: Layout, source: "Fourier"
    ) -> list[np.ndarray]:
        """Variables `(samples, ...)` of the same images as those of a source with another decay."""
        ratio = source._amplitudes(layout) / self._amplitudes(layout)
        return [(ratio * values).astype(values.dtype) for values in variables]

    def _amplitudes(self, layout: Layout) -> np.ndarray:
        return spectra.amplitudes(layout, self.decay_power)
