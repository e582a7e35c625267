"""`PrincipalComponents`: principal components of examples of the user's data."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from vis.data import SAMPLE_SIZE, Dataset, check_distinct
from vis.parametrizations.base import Parametrization
from vis.parametrizations.resampling import downsample, upsample
from vis.parametrizations.spectra import resize_coefficients
from vis.parametrizations.texture import Texture
from vis.utils.layout import Layout, spatial_axes_of
from vis.utils.validation import check_integer, check_number, check_positive, require
from vis.utils.value import FrozenArray

# A few hundred examples with more values span too little of what is possible.
_MAX_VALUES = 2**14
# Smaller components, relative to the largest, are rounding errors.
_MIN_COMPONENT = 1e-4
# Number of examples that a texture is fitted to.
_TEXTURE_EXAMPLES = 100
# Number of values that are processed at a time.
_BATCH_VALUES = 2**21
# Tolerance of the range of examples, for rounding, as a share of `input_range`.
_RANGE_TOLERANCE = 1e-4
# Examples that take up a smaller share of `input_range` are scaled differently.
_MIN_RANGE_SHARE = 0.02


class PrincipalComponents(Parametrization):
    """Principal components: coordinates around the mean of examples of your data.

    What is optimised is a coordinate along each principal component, in standard deviations
    (Pearson, 1901; Turk & Pentland, "Eigenfaces for Recognition", 1991). Pictures share the
    structure of the data: where things are and how large, or how the columns of a table correlate.
    They are no further from the mean than examples are, and each value stays within the range
    that it has in the examples.

    A few hundred images of more than 16,384 values span too little. For these, the components are
    those of downsampled examples, and the residual is Fourier coefficients with the spectrum and
    the colours of the examples. The shares of both are measured on held-out examples.

    Args:
        examples: A few hundred examples of the model's input: an array `(samples, ...)`, a list of
            single examples, or a dataset of batches. At most 500 are used, evenly spaced.
        components: Maximum number of components, at least 1; at most half the number of examples
            is used.
        noise: Initial standard deviation of the coordinates, positive.
        decay_power: Power by which Fourier amplitudes fall faster with frequency than in the
            examples.
        data_format: `"channels_last"` or `"channels_first"`. The default is
            `keras.config.image_data_format()`.

    Attributes:
        input_range: Lowest and highest value of the examples; (0, 255) for `uint8`.

    Raises:
        ValueError: If there are fewer than two examples, or they are all equal or not finite.

    Example:
        >>> from vis.utils.layout import Layout
        >>> examples = np.random.default_rng(0).normal(size=(200, 8, 8, 1))
        >>> components, layout = PrincipalComponents(examples), Layout((8, 8, 1), axes=(1, 2))
        >>> components.variables(None, layout, (-5, 5), np.random.default_rng(0))[0].shape
        (64,)
    """

    def __init__(
        self,
        examples: Any,
        *,
        components: int = 100,
        noise: float = 0.1,
        decay_power: float = 0.3,
        data_format: str | None = None,
    ) -> None:
        components = check_integer("components", components, least=1)
        self.noise = check_positive("noise", noise)
        decay_power = check_number("decay_power", decay_power)
        examples = Dataset("examples", examples).sample(SAMPLE_SIZE)
        check_distinct("examples", examples)
        ends = float(examples.min()), float(examples.max())
        self.input_range = (0, 255) if examples.dtype == "uint8" else ends
        self.layout = _layout_of(examples, data_format)
        self.coarse_layout = _coarse_layout(self.layout)
        has_texture = self.coarse_layout != self.layout
        axes = tuple(axis - 1 for axis in self.layout.axes)

        count = len(examples)
        mean, squares = _mean_and_squared_deviations(examples)
        scales = _channel_scales(squares / count, axes)
        low, high = _value_ranges(examples, axes if has_texture else None)
        if has_texture:
            mean = _shrink(mean, squares.sum() / count, count, axes)
        coarse = np.concatenate([*map(self._to_coarse, _deviations(examples, mean, scales))])
        # Held-out examples: components seem to explain more of the images that they are fitted to.
        fitted, held_out = (coarse[::2], coarse[1::2]) if has_texture else (coarse, coarse)
        directions = _principal_axes(fitted, min(components, max(1, count // 2)))
        spreads = np.sqrt(np.mean((held_out @ directions.T) ** 2, axis=0))
        self.texture = None
        if has_texture:
            held_out = examples[1::2][:_TEXTURE_EXAMPLES]
            residuals = partial(self._residuals, held_out, mean, scales, directions)
            self.texture = Texture(residuals, self.layout, decay_power)

        self.mean, self.scales = _frozen(mean), _frozen(scales)
        self.low, self.high = map(_frozen, _round_inwards(low, high))
        self.directions = _frozen(spreads[:, None] * directions)

    def check(self, layout: Layout, input_range: tuple[float, float]) -> None:
        """Raises a `ValueError` unless images have the examples' layout and range."""
        own = self.layout if self.texture is None else self.layout.resized(layout.spatial_shape)
        if layout != own:
            raise ValueError(
                "`like`, or the `examples` of `parametrization`, must have the shape of the "
                f"generated image, {layout.shape}. Received: examples of shape {self.layout.shape}"
            )
        low, high = input_range
        lowest, highest = float(self.low.array.min()), float(self.high.array.max())
        tolerance = _RANGE_TOLERANCE * (high - low)
        is_inside = low - tolerance <= lowest and highest <= high + tolerance
        if not is_inside or highest - lowest < _MIN_RANGE_SHARE * (high - low):
            raise ValueError(
                "`like`, or the `examples` of `parametrization`, must be in the range of the "
                f"model's input, and `input_range` is ({low:g}, {high:g}). "
                f"Received: examples with values from {lowest:g} to {highest:g}"
            )

    def variables(self, seed_image, layout, input_range, rng):
        self.check(layout, input_range)
        directions = self.directions.array
        deviation = None
        # Drawn in any case, so that later draws do not depend on `seed_image`.
        coordinates = self.noise * rng.standard_normal(len(directions))
        if seed_image is not None:
            deviation = (seed_image - self._downsample(self.mean, layout)) / self.scales.array
            squares = np.maximum((directions**2).sum(axis=1), keras.config.epsilon())
            coordinates = directions @ self._to_coarse(deviation[None])[0] / squares
        if self.texture is None:
            return [coordinates]
        if deviation is not None:
            explained = self._from_coarse(coordinates @ directions, layout)
            deviation = deviation - ops.convert_to_numpy(explained)[0]
        return [coordinates, *self.texture.coefficients(deviation, layout, self.noise, rng)]

    def image(self, variables, layout, input_range):
        coordinates, *coefficients = variables
        dtype = coordinates.dtype
        # The coordinates of an example have a root mean square of about 1.
        distance = ops.sqrt(ops.mean(ops.square(coordinates), axis=1, keepdims=True))
        coordinates = coordinates / ops.maximum(distance, 1.0)
        coarse = ops.matmul(coordinates, ops.convert_to_tensor(self.directions.array, dtype))
        deviation = self._from_coarse(coarse, layout)
        if self.texture is not None:
            deviation = deviation + self.texture.residual(coefficients, layout)
        mean, low, high = (
            ops.convert_to_tensor(self._downsample(values, layout), dtype)
            for values in (self.mean, self.low, self.high)
        )
        image = mean + ops.convert_to_tensor(self.scales.array, dtype) * deviation
        image = ops.maximum(ops.minimum(image, high), low)
        return ops.maximum(ops.minimum(image, input_range[1]), input_range[0])

    def with_decay(self, factor):
        if self.texture is None:
            return None
        other = copy.copy(self)
        other.texture = self.texture.with_decay(factor)
        return other

    def resize_variables(self, variables, old, new, rngs):
        coordinates, *coefficients = variables
        noise = [self.texture.coefficients(None, new, self.noise, rng) for rng in rngs]
        return [coordinates, *resize_coefficients(coefficients, noise, old, new)]

    def convert_variables(self, variables, layout, source):
        coordinates, *coefficients = variables
        own = self.texture.amplitudes(layout)
        ratio = source.texture.amplitudes(layout) / np.where(own > 0, own, 1.0)
        return [coordinates, *((ratio * part).astype(part.dtype) for part in coefficients)]

    def _to_coarse(self, deviations: np.ndarray) -> np.ndarray:
        """Downsamples deviations from the mean to coarse ones, `(samples, values)`."""
        coarse = downsample(deviations, self.layout.axes, self.coarse_layout.spatial_shape)
        return coarse.reshape(len(coarse), -1)

    def _from_coarse(self, values: Any, layout: Layout) -> Any:
        """Upsamples coarse deviations, `(samples, values)`, to the size of a layout."""
        coarse = ops.reshape(values, (-1, *self.coarse_layout.shape))
        return upsample(coarse, layout.axes, layout.spatial_shape)

    def _downsample(self, values: FrozenArray, layout: Layout) -> np.ndarray:
        """Values of one image, downsampled from the examples' size to that of a layout."""
        return downsample(values.array[None], layout.axes, layout.spatial_shape)[0]

    def _residuals(
        self, examples: np.ndarray, mean: np.ndarray, scales: np.ndarray, directions: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Batches of the deviations of examples that components do not explain."""
        for batch in _deviations(examples, mean, scales):
            explained = self._to_coarse(batch) @ directions.T @ directions
            yield batch - ops.convert_to_numpy(self._from_coarse(explained, self.layout))


def _frozen(values: np.ndarray) -> FrozenArray:
    return FrozenArray(values.astype("float32"))


def _layout_of(examples: np.ndarray, data_format: str | None) -> Layout:
    data_format = data_format or keras.config.image_data_format()
    is_known = data_format in ("channels_last", "channels_first")
    require(is_known, "data_format", "be 'channels_last' or 'channels_first'", data_format)
    return Layout(examples.shape[1:], spatial_axes_of(examples.shape, data_format))


def _coarse_layout(layout: Layout) -> Layout:
    """The layout downsampled by a whole factor, to at most `_MAX_VALUES` values."""
    coarse, factor = layout, 1
    while np.prod(coarse.shape) > _MAX_VALUES and max(coarse.spatial_shape, default=1) > 1:
        factor += 1
        coarse = layout.resized(tuple(-(-size // factor) for size in layout.spatial_shape))
    return coarse


def _deviations(examples: np.ndarray, mean: np.ndarray, scales: Any) -> Iterator[np.ndarray]:
    """Batches of `(examples - mean) / scales`; all at once would take much memory."""
    size = max(1, _BATCH_VALUES // examples[0].size)
    mean, scales = np.float32(mean), np.float32(scales)
    return ((examples[i : i + size] - mean) / scales for i in range(0, len(examples), size))


def _mean_and_squared_deviations(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each value, and the sum of its squared deviations, in double precision."""
    mean = examples.mean(axis=0, dtype="float64")
    batches = _deviations(examples, mean, 1)
    return mean, sum((batch**2).sum(axis=0, dtype="float64") for batch in batches)


def _channel_scales(variances: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The standard deviation of each channel, or 1 for constant channels."""
    variances = variances.mean(axis=axes, keepdims=True)
    return np.sqrt(np.where(variances > 0, variances, 1.0))


def _value_ranges(
    examples: np.ndarray, axes: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The range of each value; with spatial axes, values that vary have that of their channel."""
    low, high = examples.min(axis=0), examples.max(axis=0)
    if axes is None:
        return low, high
    varies = low < high
    return (
        np.where(varies, low.min(axis=axes, keepdims=True), low),
        np.where(varies, high.max(axis=axes, keepdims=True), high),
    )


def _shrink(mean: np.ndarray, variance: float, count: int, axes: tuple[int, ...]) -> np.ndarray:
    """A mean image without the share of its structure that is due to chance.

    The mean of a few photographs is a ghost of each of them; that of many X-rays is a chest (James
    & Stein, "Estimation with Quadratic Loss", 1961). `variance` is the sum over all values.
    """
    channel_means = mean.mean(axis=axes, keepdims=True)
    structure = ((mean - channel_means) ** 2).sum()
    by_chance = variance / max(count - 1, 1)
    share = max(0.0, 1 - by_chance / max(structure, by_chance))
    return channel_means + share * (mean - channel_means)


def _principal_axes(deviations: np.ndarray, count: int) -> np.ndarray:
    """The first principal axes of deviations, as unit vectors, `(axes, values)`."""
    # Of the two matrices of products, the smaller one suffices.
    is_wide = deviations.shape[1] > len(deviations)
    products = deviations @ deviations.T if is_wide else deviations.T @ deviations
    squares, vectors = np.linalg.eigh(products)
    order = np.argsort(squares)[::-1][:count]
    order = order[squares[order] > _MIN_COMPONENT**2 * squares[order[0]]]
    if not is_wide:
        return vectors[:, order].T
    return vectors[:, order].T @ deviations / np.sqrt(squares[order])[:, None]


def _round_inwards(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of ranges in single precision, within the ranges of the examples."""
    nearest, highest = low.astype("float32"), high.astype("float32")
    lowest = np.where(nearest < low, np.nextafter(nearest, np.float32(np.inf)), nearest)
    highest = np.where(highest > high, np.nextafter(highest, np.float32(-np.inf)), highest)
    # Both ends of a constant value are the nearest number.
    varies = lowest <= highest
    return np.where(varies, lowest, nearest), np.where(varies, highest, nearest)
