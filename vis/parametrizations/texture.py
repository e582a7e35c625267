"""What images have beyond their principal components, in the spectrum and colours of examples."""

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

# By how much faster amplitudes fall with frequency where they are to fall twice as fast.
_DECAY = 1.5


class Texture(Value):
    """Fourier coefficients with the spectrum and the covariance of channels that examples have.

    `parts` goes through the examples, some at a time, as `(examples, *layout.shape)`, without what
    is not texture, and with channels that vary alike. Amplitudes fall with frequency by
    `decay_power` faster than in the examples.
    """

    def __init__(
        self, parts: Callable[[], Iterator[np.ndarray]], layout: Layout, decay_power: float
    ) -> None:
        self.decay_power = decay_power
        channels, sizes = layout.channels, layout.spatial_shape
        covariance, count = np.zeros((channels, channels)), 0
        for part in parts():
            flat = np.moveaxis(part, layout.channel_axis, 0).reshape(channels, -1)
            covariance += flat @ flat.T
            count += len(part)
        colors = np.linalg.eigh(covariance)[1][:, ::-1]
        bins = np.rint(frequencies(sizes)).astype(int).ravel()
        power = np.zeros((channels, bins.max() + 1))
        for part in parts():
            signal = np.tensordot(colors.T, part, axes=(1, layout.channel_axis))
            squares = np.abs(np.fft.rfftn(signal, axes=tuple(range(2, signal.ndim)))) ** 2
            for own, total in zip(power, squares.sum(axis=1).reshape(channels, -1), strict=True):
                own += np.bincount(bins, total)
        power /= count * np.maximum(np.bincount(bins), 1)
        # The amplitude along each principal axis of the channels, `(axes, frequencies)`, in cycles
        # an image from 0 up; these axes as columns; the root of the mean square of the examples.
        self.spectrum = FrozenArray((np.sqrt(power) / np.prod(sizes)).astype("float32"))
        self.colors = FrozenArray(colors.astype("float32"))
        self.deviation = float(np.sqrt(np.trace(covariance) / (count * np.prod(layout.shape))))

    def with_decay(self, times: float) -> "Texture":
        """The same with amplitudes that fall so many times as fast with frequency."""
        other = copy.copy(self)
        other.decay_power = self.decay_power + (times - 1) * _DECAY
        return other

    def amplitudes(self, layout: Layout) -> np.ndarray:
        """What coefficients of one size are multiplied by, `(axes, *frequencies)`."""
        found = frequencies(layout.spatial_shape)
        known = np.arange(self.spectrum.array.shape[1])
        power = np.stack([np.interp(found, known, own) for own in self.spectrum.array])
        power *= np.maximum(found, 1) ** -self.decay_power
        return np.prod(layout.spatial_shape) * power

    def coefficients(
        self, rest: np.ndarray | None, layout: Layout, noise: float, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Real and imaginary parts, of a given rest of an image or of noise."""
        shape = coefficient_shape(layout)
        if rest is None:
            return [noise * rng.standard_normal(shape) for _ in range(2)]
        signal = np.tensordot(self.colors.array.T, rest, axes=(1, layout.channel_axis - 1))
        return coefficients_of(signal, self.amplitudes(layout), noise)

    def rest(self, coefficients: list[Any], layout: Layout) -> Any:
        """The rests of images `(samples, *layout.shape)`, with the contrast of the examples'."""
        dtype = coefficients[0].dtype
        scale = ops.convert_to_tensor(self.amplitudes(layout), dtype)
        real, imaginary = (scale * part for part in coefficients)
        signal = backend.irfftn(real, imaginary, layout.spatial_shape)
        colors = ops.convert_to_tensor(self.colors.array, dtype)
        rest = ops.moveaxis(ops.tensordot(colors, signal, axes=[[1], [1]]), 0, layout.channel_axis)
        axes = tuple(range(1, len(rest.shape)))
        squares = ops.mean(ops.square(rest), axis=axes, keepdims=True)
        return rest * (self.deviation / (ops.sqrt(squares) + keras.config.epsilon()))
