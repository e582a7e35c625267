"""What is optimised, and the image that it stands for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from vis import backend
from vis.utils.image import deprocess_input, random_array
from vis.utils.layout import Layout
from vis.utils.validation import check_flag, check_number, check_positive
from vis.utils.value import FrozenArray, Value


class Parametrization(Value):
    """Base class of all parametrizations: variables, and a function from them to images.

    Everything a parametrization does must be a function of its attributes, which are hashable.
    """

    def variables(
        self,
        seed_image: np.ndarray | None,
        layout: Layout,
        input_range: tuple[float, float],
        rng: np.random.Generator,
    ) -> list[np.ndarray]:
        """Initial values of the variables of one image.

        Args:
            seed_image: Image to start from, of `layout.shape`, or None for noise.
            layout: How the image lies in an array.
            input_range: Lowest and highest value of the image.
            rng: Where noise comes from.

        Returns:
            Arrays.
        """
        raise NotImplementedError

    def image(self, variables: list[Any], layout: Layout, input_range: Any) -> Any:
        """The images that the variables of several samples stand for.

        Args:
            variables: Backend tensors `(samples, ...)`.
            layout: How an image lies in an array.
            input_range: Backend tensor `(low, high)`.

        Returns:
            A backend tensor `(samples, *layout.shape)`, written in `keras.ops`.
        """
        raise NotImplementedError

    def picture(self, image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
        """One finished image, brought into `input_range`."""
        return np.clip(image, *input_range)


class Pixels(Parametrization):
    """The image's values themselves, as in keras-vis.

    The start is uniform noise in the middle of the range, with a standard deviation of 5 % of
    its width.

    Example:
        >>> from vis.utils.layout import Layout
        >>> layout = Layout((4, 4, 3), axes=(1, 2))
        >>> Pixels().variables(None, layout, (0, 255), np.random.default_rng(0))[0].shape
        (4, 4, 3)
    """

    def variables(self, seed_image, layout, input_range, rng):
        if seed_image is not None:
            return [seed_image]
        low, high = input_range
        return [random_array(layout.shape, (low + high) / 2, 0.05 * (high - low), rng)]

    def image(self, variables, layout, input_range):
        return variables[0]

    def picture(self, image, input_range):
        return deprocess_input(image, input_range)


class Fourier(Parametrization):
    """Fourier coefficients of the image, in colours that do not depend on one another.

    Descent in pixels finds fine patterns first, as each pixel may move by itself. Coefficients
    that are scaled by their frequency, and colours along the principal axes of those of
    photographs, give coarse structure the same chance (Olah et al., "Feature Visualization",
    Distill 2017; Mordvintsev et al., "Differentiable Image Parameterizations", Distill 2018). The
    image's contrast is fixed, and its values are bounded by a sigmoid, so that it can neither
    fade nor saturate.

    Args:
        decay_power: How fast amplitudes fall with frequency: as `frequency ** -decay_power`.
            Larger values give smoother images. Photographs have about 1 to 1.5.
        decorrelate: Whether to decorrelate the colours. Without effect unless there are three
            channels.
        contrast: Standard deviation of the image before the sigmoid, positive. 1 gives images
            with a standard deviation of 0.2 of their range.
        noise: Standard deviation of the coefficients at the start, positive. The smaller, the
            faster they turn.

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
        check_spatial(layout)
        shape = (layout.channels, *frequency_shape(layout))
        if seed_image is None:
            return [self.noise * rng.standard_normal(shape) for _ in range(2)]
        signal = unbounded(np.moveaxis(seed_image, layout.channel_axis - 1, 0), input_range)
        if self.decorrelate and layout.channels == 3:
            signal = np.tensordot(np.linalg.inv(COLORS), signal, axes=1)
        axes = tuple(range(1, signal.ndim))
        spectrum = np.fft.rfftn(signal, axes=axes)
        scale = amplitudes(layout, self.decay_power)
        spectrum = np.divide(spectrum, scale, out=np.zeros_like(spectrum), where=scale > 0)
        spectrum *= self.noise / max(spectrum.std(), keras.config.epsilon())
        return [spectrum.real, spectrum.imag]

    def image(self, variables, layout, input_range):
        scale = ops.convert_to_tensor(amplitudes(layout, self.decay_power), variables[0].dtype)
        signal = backend.irfftn(*(scale * v for v in variables), layout.spatial_shape)
        return bounded(signal, layout, input_range, self.decorrelate, self.contrast)

    def resized(
        self, variables: list[np.ndarray], old: Layout, new: Layout, rngs: list[np.random.Generator]
    ) -> list[np.ndarray]:
        """The variables of several samples for images of another size, which look the same.

        Frequencies that the old images did not have are drawn anew.

        Args:
            variables: Arrays `(samples, ...)`.
            old: How an image lay in an array.
            new: How an image is to lie in an array.
            rngs: For each sample where noise comes from.
        """
        drawn = [self.variables(None, new, (0, 1), rng) for rng in rngs]
        resized = [
            np.stack(values).astype(variables[0].dtype) for values in zip(*drawn, strict=True)
        ]
        *others, last = (
            (min(a, b) - 1) // 2 for a, b in zip(old.spatial_shape, new.spatial_shape, strict=True)
        )
        kept = [np.r_[0 : n + 1, -n:0] for n in others] + [np.arange(last + 1)]
        for target, source in zip(resized, variables, strict=True):
            places = np.ix_(*(range(n) for n in target.shape[:2]), *kept)
            target[places] = source[places]
        return resized

    def converted(
        self, variables: list[np.ndarray], layout: Layout, source: Fourier
    ) -> list[np.ndarray]:
        """The variables that make the pictures which those of another `Fourier` make.

        Args:
            variables: Arrays `(samples, ...)`.
            layout: How an image lies in an array.
            source: The parametrization that they are of, which differs in its `decay_power`.
        """
        ratio = amplitudes(layout, source.decay_power) / amplitudes(layout, self.decay_power)
        return [(ratio * values).astype(values.dtype) for values in variables]

    def picture(self, image, input_range):
        return image


class MagnitudeConstrained(Parametrization):
    """Phases of the image's Fourier coefficients, whose magnitudes are fixed.

    The image cannot but have the spectrum of a photograph; what is optimised is where things are
    (Fel et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
    Optimization", NeurIPS 2023, arXiv:2306.06805).

    Args:
        spectrum: The power by which magnitudes fall with frequency, or images `(samples, ...)`
            whose mean magnitudes are taken. They must be of the size of the image that is made.
        decorrelate: Whether a power law has the colours of photographs. Without effect unless
            there are three channels.
        contrast: Standard deviation of the image before it is bounded by a sigmoid, positive.

    Example:
        >>> from vis.utils.layout import Layout
        >>> phases, layout = MagnitudeConstrained(), Layout((8, 8, 1), axes=(1, 2))
        >>> phases.variables(None, layout, (0, 255), np.random.default_rng(0))[0].shape
        (1, 8, 5)
    """

    def __init__(
        self,
        spectrum: float | np.ndarray = 1.25,
        decorrelate: bool = True,
        contrast: float = 1.0,
    ) -> None:
        if isinstance(spectrum, np.ndarray) and spectrum.ndim:
            numbers = np.issubdtype(spectrum.dtype, np.number)
            if spectrum.ndim < 3 or not (len(spectrum) and numbers and np.isfinite(spectrum).all()):
                raise ValueError(
                    "`spectrum` must be a number, or finite images of shape (samples, ...) with "
                    f"channels. Received: an array of shape {spectrum.shape} and type "
                    f"{spectrum.dtype}"
                )
            self.spectrum: Any = FrozenArray(spectrum)
        else:
            self.spectrum = check_number("spectrum", spectrum)
        self.decorrelate = check_flag("decorrelate", decorrelate)
        self.contrast = check_positive("contrast", contrast)

    def variables(self, seed_image, layout, input_range, rng):
        check_spatial(layout)
        self._magnitudes(layout)
        shape = (layout.channels, *frequency_shape(layout))
        if seed_image is None:
            return [rng.uniform(-np.pi, np.pi, shape)]
        signal = unbounded(np.moveaxis(seed_image, layout.channel_axis - 1, 0), input_range)
        if self._in_decorrelated_colors(layout):
            signal = np.tensordot(np.linalg.inv(COLORS), signal, axes=1)
        return [np.angle(np.fft.rfftn(signal, axes=tuple(range(1, signal.ndim))))]

    def image(self, variables, layout, input_range):
        (phases,) = variables
        magnitudes = ops.convert_to_tensor(self._magnitudes(layout), phases.dtype)
        real, imaginary = magnitudes * ops.cos(phases), magnitudes * ops.sin(phases)
        signal = backend.irfftn(real, imaginary, layout.spatial_shape)
        decorrelated = self._in_decorrelated_colors(layout)
        return bounded(signal, layout, input_range, decorrelated, self.contrast)

    def picture(self, image, input_range):
        return image

    def _in_decorrelated_colors(self, layout: Layout) -> bool:
        return self.decorrelate and not isinstance(self.spectrum, FrozenArray)

    def _magnitudes(self, layout: Layout) -> np.ndarray:
        if not isinstance(self.spectrum, FrozenArray):
            return amplitudes(layout, self.spectrum)
        images = self.spectrum.array
        if images.shape[1:] != layout.shape:
            raise ValueError(
                f"`spectrum` must be of images of shape {layout.shape}, the shape of the image "
                f"that is made. Received: images of shape {images.shape[1:]}"
            )
        images = np.moveaxis(images, layout.channel_axis, 1).astype("float64")
        images = images - images.mean(axis=tuple(range(2, images.ndim)), keepdims=True)
        return np.abs(np.fft.rfftn(images, axes=tuple(range(2, images.ndim)))).mean(axis=0)


# The principal axes of the colours of photographs: brightness, blue against red, and green
# against purple, each with the share of the standard deviation that it has there (Buchsbaum &
# Gottschalk, "Trichromacy, opponent colours coding and optimum colour information transmission
# in the retina", 1983, for the axes; the shares were measured on scikit-image's photographs).
COLORS = np.stack(
    [
        1.00 * np.array([1, 1, 1]) / np.sqrt(3),
        0.35 * np.array([1, 0, -1]) / np.sqrt(2),
        0.15 * np.array([-1, 2, -1]) / np.sqrt(6),
    ],
    axis=1,
)


def frequency_shape(layout: Layout) -> tuple[int, ...]:
    """Shape of the Fourier coefficients of one channel."""
    *others, last = layout.spatial_shape
    return (*others, last // 2 + 1)


def amplitudes(layout: Layout, decay_power: float) -> np.ndarray:
    """What coefficients of one size are multiplied by, for each frequency.

    Frequencies are counted in cycles an image, so that the same coefficients are the same picture
    at any size.
    """
    sizes = layout.spatial_shape
    steps = [np.fft.fftfreq(size, 1 / size) for size in sizes[:-1]]
    steps.append(np.fft.rfftfreq(sizes[-1], 1 / sizes[-1]))
    frequencies = np.sqrt(sum(f**2 for f in np.meshgrid(*steps, indexing="ij", sparse=True)))
    return np.prod(sizes) * np.maximum(frequencies, 1) ** -decay_power


def bounded(signal: Any, layout: Layout, input_range: Any, decorrelated: bool, contrast: float):
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


def unbounded(image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    """The signal that `bounded` makes an image of, up to its contrast."""
    low, high = input_range
    share = np.clip((np.asarray(image, "float64") - low) / (high - low), 0.01, 0.99)
    return np.log(share / (1 - share))


def check_spatial(layout: Layout) -> None:
    """Raises a `ValueError` unless images have one to three spatial axes."""
    if not 1 <= len(layout.axes) <= 3:
        raise ValueError(
            "`parametrization` by frequencies needs images with one to three spatial axes. "
            f"Received: images of shape {layout.shape}"
        )
