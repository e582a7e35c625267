"""Coefficients of frequencies."""

import copy

import numpy as np
from keras import ops

from vis import backend
from vis.parametrizations import spectra
from vis.parametrizations.base import Parametrization
from vis.utils.layout import Layout
from vis.utils.validation import check_flag, check_number, check_positive


class Fourier(Parametrization):
    """Fourier coefficients of the image, in colours that do not depend on one another.

    Descent in pixels finds fine patterns first, as each pixel may move by itself. Coefficients
    that are scaled by their frequency, and colours along the principal axes of those of
    photographs, give coarse structure the same chance (Olah et al., "Feature Visualization",
    Distill 2017; Mordvintsev et al., "Differentiable Image Parameterizations", Distill 2018). The
    image's contrast is fixed, and a sigmoid bounds its values: it can neither fade nor saturate.

    Args:
        decay_power: How fast amplitudes fall with frequency: as `frequency ** -decay_power`.
            Larger values give smoother images. Photographs have about 1 to 1.5.
        decorrelate: Whether to decorrelate the colours of images with three channels.
        contrast: Standard deviation of the image before the sigmoid, positive. 1 gives images
            with a standard deviation of 0.2 of their range.
        noise: Standard deviation of coefficients at the start, positive. Smaller ones turn faster.

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
        signal = spectra.unbounded(seed_image, layout, input_range, self.decorrelate)
        return spectra.coefficients_of(signal, self._amplitudes(layout), self.noise)

    def image(self, variables, layout, input_range):
        scale = ops.convert_to_tensor(self._amplitudes(layout), variables[0].dtype)
        signal = backend.irfftn(*(scale * v for v in variables), layout.spatial_shape)
        return spectra.bounded(signal, layout, input_range, self.decorrelate, self.contrast)

    def with_decay(self, times):
        other = copy.copy(self)
        other.decay_power = times * self.decay_power
        return other

    def resized(
        self, variables: list[np.ndarray], old: Layout, new: Layout, rngs: list[np.random.Generator]
    ) -> list[np.ndarray]:
        """The variables `(samples, ...)` for images of another size, which look the same.

        Frequencies that the old images did not have are drawn, with a generator for each sample.
        """
        drawn = [self.variables(None, new, (0, 1), rng) for rng in rngs]
        return spectra.resized(variables, drawn, old, new)

    def converted(
        self, variables: list[np.ndarray], layout: Layout, source: "Fourier"
    ) -> list[np.ndarray]:
        """The variables `(samples, ...)` that make the pictures which those of `source` make.

        That one differs in its `decay_power`.
        """
        ratio = source._amplitudes(layout) / self._amplitudes(layout)
        return [(ratio * values).astype(values.dtype) for values in variables]

    def _amplitudes(self, layout: Layout) -> np.ndarray:
        return spectra.amplitudes(layout, self.decay_power)
