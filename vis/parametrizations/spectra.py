"""Frequencies, the colours of photographs, and values that stay in range."""

from typing import Any

import keras
import numpy as np
from keras import ops

from vis.utils.layout import Layout

# The principal axes of the colours of photographs: brightness, blue against red, and green
# against purple, each with the share of the standard deviation that it has there (Buchsbaum &
# Gottschalk, "Trichromacy, opponent colours coding and optimum colour information transmission
# in the retina", 1983, for the axes; the shares were measured on scikit-image's photographs).
COLORS = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]]).T * [1.0, 0.35, 0.15] / np.sqrt([3, 2, 6])


def coefficient_shape(layout: Layout) -> tuple[int, ...]:
    """Shape of the Fourier coefficients of an image, of each channel its own."""
    if not 1 <= len(layout.axes) <= 3:
        raise ValueError(
            "`parametrization` by frequencies needs images with one to three spatial axes. "
            f"Received: images of shape {layout.shape}"
        )
    *others, last = layout.spatial_shape
    return (layout.channels, *others, last // 2 + 1)


def coefficients_of(signal: np.ndarray, scale: np.ndarray, deviation: float) -> list[np.ndarray]:
    """Real and imaginary parts that a signal `(channels, ...)` has, each divided by its scale.

    All together have the given standard deviation.
    """
    spectrum = np.fft.rfftn(signal, axes=tuple(range(1, signal.ndim)))
    spectrum = np.divide(spectrum, scale, out=np.zeros_like(spectrum), where=scale > 0)
    spectrum *= deviation / max(spectrum.std(), keras.config.epsilon())
    return [spectrum.real, spectrum.imag]


def amplitudes(layout: Layout, decay_power: float) -> np.ndarray:
    """What coefficients of one size are multiplied by, for each frequency.

    Frequencies are in cycles an image: the same coefficients are the same picture at any size.
    """
    sizes = layout.spatial_shape
    return np.prod(sizes) * np.maximum(frequencies(sizes), 1) ** -decay_power


def frequencies(sizes: tuple[int, ...]) -> np.ndarray:
    """Of each Fourier coefficient the frequency, in cycles an image."""
    steps = [np.fft.fftfreq(size, 1 / size) for size in sizes[:-1]]
    steps.append(np.fft.rfftfreq(sizes[-1], 1 / sizes[-1]))
    return np.sqrt(sum(f**2 for f in np.meshgrid(*steps, indexing="ij", sparse=True)))


def resized(
    variables: list[np.ndarray], drawn: list[list[np.ndarray]], old: Layout, new: Layout
) -> list[np.ndarray]:
    """Coefficients `(samples, channels, ...)` of images of another size, which look the same.

    Those of frequencies that the old images did not have are drawn, for each sample.
    """
    resized = [np.stack(values).astype(variables[0].dtype) for values in zip(*drawn, strict=True)]
    *others, last = (
        (min(a, b) - 1) // 2 for a, b in zip(old.spatial_shape, new.spatial_shape, strict=True)
    )
    kept = [np.r_[0 : n + 1, -n:0] for n in others] + [np.arange(last + 1)]
    for target, source in zip(resized, variables, strict=True):
        places = np.ix_(*(range(n) for n in target.shape[:2]), *kept)
        target[places] = source[places]
    return resized


def bounded(
    signal: Any, layout: Layout, input_range: Any, decorrelated: bool, contrast: float
) -> Any:
    """Images in range and in the order of `layout`, of signals `(samples, channels, ...)`."""
    if decorrelated and layout.channels == 3:
        colors = ops.convert_to_tensor(COLORS, signal.dtype)
        signal = ops.moveaxis(ops.tensordot(colors, signal, axes=[[1], [1]]), 0, 1)
    axes = tuple(range(1, len(signal.shape)))
    signal = signal - ops.mean(signal, axis=axes, keepdims=True)
    deviation = ops.sqrt(ops.mean(ops.square(signal), axis=axes, keepdims=True))
    signal = contrast * signal / (deviation + keras.config.epsilon())
    low, high = input_range[0], input_range[1]
    image = low + (high - low) * ops.sigmoid(signal)
    return ops.moveaxis(image, 1, layout.channel_axis)


def unbounded(
    image: np.ndarray, layout: Layout, input_range: tuple[float, float], decorrelated: bool
) -> np.ndarray:
    """The signal `(channels, ...)` that `bounded` makes an image of, up to its contrast."""
    low, high = input_range
    image = np.moveaxis(image, layout.channel_axis - 1, 0)
    share = np.clip((np.asarray(image, "float64") - low) / (high - low), 0.01, 0.99)
    signal = np.log(share / (1 - share))
    if decorrelated and layout.channels == 3:
        signal = np.tensordot(np.linalg.inv(COLORS), signal, axes=1)
    return signal
