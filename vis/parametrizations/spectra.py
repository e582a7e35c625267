"""Fourier coefficients, the colours of photographs, and bounded signals."""

from typing import Any

import keras
import numpy as np
from keras import ops

from vis.utils.layout import Layout
from vis.utils.validation import expect

# The principal axes of the colours of photographs: brightness, blue against red, and green
# against purple, scaled by their standard deviations (Buchsbaum & Gottschalk, "Trichromacy,
# opponent colours coding and optimum colour information transmission in the retina", 1983, for
# the axes; the standard deviations were measured on scikit-image's photographs).
COLORS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]).T * [1.0, 0.35, 0.15] / np.sqrt([3, 2, 6])


def coefficient_shape(layout: Layout) -> tuple[int, ...]:
    """Shape of the Fourier coefficients of an image, `(channels, *frequencies)`."""
    expected = "be `Pixels()` for images without one to three spatial axes"
    received = f"Fourier coefficients of images of shape {layout.shape}"
    expect(1 <= len(layout.axes) <= 3, "parametrization", expected, received)
    *others, last = layout.spatial_shape
    return (layout.channels, *others, last // 2 + 1)


def coefficients_of(signal: np.ndarray, scale: np.ndarray, deviation: float) -> list[np.ndarray]:
    """Real and imaginary parts of a signal `(channels, ...)`, divided by `scale`.

    Together they have the given standard deviation.
    """
    spectrum = np.fft.rfftn(signal, axes=tuple(range(1, signal.ndim)))
    spectrum = np.divide(spectrum, scale, out=np.zeros_like(spectrum), where=scale > 0)
    spectrum *= deviation / max(spectrum.std(), keras.config.epsilon())
    return [spectrum.real, spectrum.imag]


def amplitudes(layout: Layout, decay_power: float) -> np.ndarray:
    """The factor of each coefficient, by its frequency.

    Frequencies are in cycles per image, so that coefficients give the same picture at any size.
    """
    sizes = layout.spatial_shape
    return np.prod(sizes) * np.maximum(frequencies(sizes), 1) ** -decay_power


def frequencies(sizes: tuple[int, ...]) -> np.ndarray:
    """The frequency of each Fourier coefficient, in cycles per image."""
    steps = [np.fft.fftfreq(size, 1 / size) for size in sizes[:-1]]
    steps.append(np.fft.rfftfreq(sizes[-1], 1 / sizes[-1]))
    return np.sqrt(sum(f**2 for f in np.meshgrid(*steps, indexing="ij", sparse=True)))


def resize_coefficients(
    coefficients: list[np.ndarray], noise: list[list[np.ndarray]], old: Layout, new: Layout
) -> list[np.ndarray]:
    """Coefficients `(samples, channels, *frequencies)` of the same images at another size.

    Frequencies that the old images lack have the coefficients of `noise`, by sample.
    """
    dtype = coefficients[0].dtype
    resized = [np.stack(samples).astype(dtype) for samples in zip(*noise, strict=True)]
    *others, last = (
        (min(a, b) - 1) // 2 for a, b in zip(old.spatial_shape, new.spatial_shape, strict=True)
    )
    kept = [np.r_[0 : n + 1, -n:0] for n in others] + [np.arange(last + 1)]
    for target, source in zip(resized, coefficients, strict=True):
        indices = np.ix_(*(range(n) for n in target.shape[:2]), *kept)
        target[indices] = source[indices]
    return resized


def signal_to_image(
    signal: Any, layout: Layout, input_range: Any, decorrelated: bool, contrast: float
) -> Any:
    """Images in range and in the order of `layout`, from signals `(samples, channels, ...)`."""
    if decorrelated and layout.channels == 3:
        colors = ops.convert_to_tensor(COLORS, signal.dtype)
        signal = ops.moveaxis(ops.tensordot(colors, signal, axes=[[1], [1]]), 0, 1)
    axes = tuple(range(1, len(signal.shape)))
    signal = signal - ops.mean(signal, axis=axes, keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(signal), axis=axes, keepdims=True))
    signal = contrast * signal / (deviation + keras.config.epsilon())
    low, high = input_range[0], input_range[1]
    image = low + (high - low) * ops.sigmoid(signal)
    return layout.from_channels_first(image, ops)


def image_to_signal(
    image: np.ndarray, layout: Layout, input_range: tuple[float, float], decorrelated: bool
) -> np.ndarray:
    """The inverse of `signal_to_image` for one image, `(channels, ...)`, up to its contrast."""
    low, high = input_range
    image = layout.to_channels_first(image[None])[0]
    share = np.clip((np.asarray(image, "float64") - low) / (high - low), 0.01, 0.99)
    signal = np.log(share / (1 - share))
    if decorrelated and layout.channels == 3:
        signal = np.tensordot(np.linalg.inv(COLORS), signal, axes=1)
    return signal
