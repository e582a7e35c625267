"""`Texture`: residuals of images, in the spectrum and colours of examples."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import backend
from vis.parametrizations.spectra import coefficient_shape, coefficients_of, frequencies
from vis.utils.layout import Layout
from vis.utils.value import FrozenArray, Value

# Increase of the decay power per unit of `with_decay`'s factor.
_DECAY_POWER = 1.5


class Texture(Value):
    """Fourier coefficients with the spectrum and the channel covariance of examples.

    Args:
        batches: Returns an iterator over batches of residuals of the examples, `(examples,
            *layout.shape)`.
        layout: Layout of the examples.
        decay_power: Power by which amplitudes fall faster with frequency than in the examples.

    Attributes:
        colors: The principal axes of the channels, as columns.
        spectrum: The amplitude along each of these axes by frequency, `(axes, frequencies)`, in
            cycles per image from 0 up.
        deviation: The root mean square of the residuals.
    """

    def __init__(
        self, batches: Callable[[], Iterator[np.ndarray]], layout: Layout, decay_power: float
    ) -> None:
        self.decay_power = decay_power
        channels, sizes = layout.channels, layout.spatial_shape
        covariance, count = np.zeros((channels, channels)), 0
        for batch in batches():
            flat = np.moveaxis(layout.to_channels_first(batch), 1, 0).reshape(channels, -1)
            covariance += flat @ flat.T
            count += len(batch)
        colors = np.linalg.eigh(covariance)[1][:, ::-1]
        bins = np.rint(frequencies(sizes)).astype(int).ravel()
        power = np.zeros((channels, bins.max() + 1))
        for batch in batches():
            signal = np.tensordot(colors.T, layout.to_channels_first(batch), axes=(1, 1))
            squares = np.abs(np.fft.rfftn(signal, axes=tuple(range(2, signal.ndim)))) ** 2
            for own, total in zip(power, squares.sum(axis=1).reshape(channels, -1), strict=True):
                own += np.bincount(bins, total)
        power /= count * np.maximum(np.bincount(bins), 1)
        self.spectrum = FrozenArray((np.sqrt(power) / np.prod(sizes)).astype("float32"))
        self.colors = FrozenArray(colors.astype("float32"))
        self.deviation = float(np.sqrt(np.trace(covariance) / (count * np.prod(layout.shape))))

    def with_decay(self, factor: float) -> "Texture":
        """The texture with amplitudes that fall faster with frequency; see `Parametrization`."""
        other = copy.copy(self)
        other.decay_power = self.decay_power + (factor - 1) * _DECAY_POWER
        return other

    def amplitudes(self, layout: Layout) -> np.ndarray:
        """The factor of each coefficient, `(axes, *frequencies)`."""
        requested = frequencies(layout.spatial_shape)
        known = np.arange(self.spectrum.array.shape[1])
        power = np.stack([np.interp(requested, known, own) for own in self.spectrum.array])
        power *= np.maximum(requested, 1) ** -self.decay_power
        return np.prod(layout.spatial_shape) * power

    def coefficients(
        self, residual: np.ndarray | None, layout: Layout, noise: float, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Real and imaginary parts of the coefficients of a residual, or of noise for None."""
        shape = coefficient_shape(layout)
        if residual is None:
            return [noise * rng.standard_normal(shape) for _ in range(2)]
        signal = np.tensordot(
            self.colors.array.T, layout.to_channels_first(residual[None])[0], axes=(1, 0)
        )
        return coefficients_of(signal, self.amplitudes(layout), noise)

    def residual(self, coefficients: list[Any], layout: Layout) -> Any:
        """Residuals, `(samples, *layout.shape)`, with the contrast of the examples'."""
        dtype = coefficients[0].dtype
        scale = ops.convert_to_tensor(self.amplitudes(layout), dtype)
        real, imaginary = (scale * part for part in coefficients)
        signal = backend.irfftn(real, imaginary, layout.spatial_shape)
        colors = ops.convert_to_tensor(self.colors.array, dtype)
        residual = ops.tensordot(colors, signal, axes=[[1], [1]])
        residual = layout.from_channels_first(ops.moveaxis(residual, 0, 1), ops)
        axes = tuple(range(1, len(residual.shape)))
        squares = ops.mean(ops.square(residual), axis=axes, keepdims=True)
        return residual * (self.deviation / (ops.sqrt(squares) + keras.config.epsilon()))
