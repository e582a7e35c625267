"""Principal components of examples of the data that a model is used on."""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from vis.data.examples import check_examples
from vis.parametrizations.base import Parametrization
from vis.parametrizations.resampling import larger, smaller
from vis.parametrizations.spectra import resized
from vis.parametrizations.texture import Texture
from vis.utils.layout import Layout, spatial_axes_of
from vis.utils.validation import check_integer, check_number, check_positive, require
from vis.utils.value import FrozenArray

# A few hundred examples of more values than that span too little of what can be.
_MOST_VALUES = 2**14
_MOST_COMPONENTS = 100
# Components smaller than this, relative to the largest, are rounding.
_LEAST_COMPONENT = 1e-4
# So many examples tell a spectrum.
_ENOUGH = 100
# So many values of examples are worked on at a time.
_PART = 2**21
# By how much of a range examples may lie outside of it, as for their rounding.
_MARGIN = 1e-4
# How much of a range examples must take up at least, or it is that of other data.
_LEAST_SHARE = 0.02


class PrincipalComponents(Parametrization):
    """The mean of examples, and the directions in which they differ from it.

    What is optimised is a coordinate along each principal component, in standard deviations
    (Pearson, 1901; Turk & Pentland, "Eigenfaces for Recognition", 1991). So a picture has what
    the data have in common: where things are and how large, and of a table how the columns go
    together. It is not further from the mean than examples are. Each value stays within those of
    the examples, and one that never varies is as it is.

    Of images of more than 16,384 values a few hundred examples span too little. There the
    components are those of the examples made smaller, and what they do not hold is Fourier
    coefficients, with the spectrum and the colours of the examples. Which of the two has how much
    is measured on examples that the components are not made of.

    Args:
        examples: A few hundred examples of what a model is used on: an array `(samples, ...)`, a
            list of single ones, or a dataset of batches. Of more than 500, that many are taken.
        components: Most components, by default 100; never more than half as many as examples.
        noise: Standard deviation of the coordinates at the start, positive.
        decay_power: By how much faster than in the examples Fourier amplitudes fall with frequency.
        data_format: Where the examples have their channels, `"channels_last"` or
            `"channels_first"`; by default as Keras is set.

    Attributes:
        input_range: The lowest and the highest value of the examples; of bytes, 0 and 255.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there are fewer than two examples, or they are all alike or not finite.

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
        components: int | None = None,
        noise: float = 0.1,
        decay_power: float = 0.3,
        data_format: str | None = None,
    ) -> None:
        wished = _MOST_COMPONENTS if components is None else components
        most = check_integer("components", wished, least=1)
        self.noise = check_positive("noise", noise)
        decay_power = check_number("decay_power", decay_power)
        data_format = data_format or keras.config.image_data_format()
        is_known = data_format in ("channels_last", "channels_first")
        require(is_known, "data_format", "be 'channels_last' or 'channels_first'", data_format)
        examples = check_examples("examples", examples, None)
        self.layout = Layout(examples.shape[1:], spatial_axes_of(examples.shape, data_format))
        self.coarse = _coarse(self.layout)
        ends = float(examples.min()), float(examples.max())
        self.input_range = (0, 255) if examples.dtype == "uint8" else ends
        has_texture = self.coarse != self.layout
        axes = tuple(axis - 1 for axis in self.layout.axes)

        mean = examples.mean(axis=0, dtype="float64")
        squares = sum(
            (part**2).sum(axis=0, dtype="float64") for part in _deviations(examples, mean, 1)
        )
        variances = (squares / len(examples)).mean(axis=axes, keepdims=True)
        scales = np.sqrt(np.where(variances > 0, variances, 1.0))
        low, high = examples.min(axis=0), examples.max(axis=0)
        if has_texture:
            varies = low < high
            low = np.where(varies, low.min(axis=axes, keepdims=True), low)
            high = np.where(varies, high.max(axis=axes, keepdims=True), high)
            mean = _shrunk(mean, squares.sum() / len(examples), len(examples), axes)
        small = np.concatenate([*map(self._smaller, _deviations(examples, mean, scales))])
        # On images that components are not made of they do not seem to hold more than they do.
        made_of, seen_on = (small[::2], small[1::2]) if has_texture else (small, small)
        directions = _principal_axes(made_of, min(most, max(1, len(examples) // 2)))
        spreads = np.sqrt(np.mean((seen_on @ directions.T) ** 2, axis=0))
        self.texture = None
        if has_texture:
            parts = partial(self._unheld, examples[1::2][:_ENOUGH], mean, scales, directions)
            self.texture = Texture(parts, self.layout, decay_power)
        low, high = _in_single_precision(low, high)
        self.mean, self.scales, self.low, self.high, self.directions = (
            FrozenArray(values.astype("float32"))
            for values in (mean, scales, low, high, spreads[:, None] * directions)
        )

    def check(self, layout: Layout, input_range: tuple[float, float]) -> None:
        """Raises a `ValueError` unless images lie and range as the examples do."""
        own = self.layout if self.texture is None else self.layout.resized(layout.spatial_shape)
        if layout != own:
            raise ValueError(
                "`like`, or what `parametrization` is made of, must be examples of shape "
                f"{layout.shape}, that of the image that is made. "
                f"Received: examples of shape {self.layout.shape}"
            )
        low, high = input_range
        lowest, highest = float(self.low.array.min()), float(self.high.array.max())
        margin = _MARGIN * (high - low)
        inside = low - margin <= lowest and highest <= high + margin
        if not inside or highest - lowest < _LEAST_SHARE * (high - low):
            raise ValueError(
                "`like`, or what `parametrization` is made of, must be examples in the range of "
                f"the model's input, and `input_range` is ({low:g}, {high:g}). "
                f"Received: examples with values from {lowest:g} to {highest:g}"
            )

    def variables(self, seed_image, layout, input_range, rng):
        self.check(layout, input_range)
        directions = self.directions.array
        rest = None
        # Drawn in any case, as what is drawn after it depends on how much was.
        coordinates = self.noise * rng.standard_normal(len(directions))
        if seed_image is not None:
            rest = (seed_image - self._resized(self.mean, layout)) / self.scales.array
            squares = np.maximum((directions**2).sum(axis=1), keras.config.epsilon())
            coordinates = directions @ self._smaller(rest[None])[0] / squares
        if self.texture is None:
            return [coordinates]
        if rest is not None:
            rest = rest - ops.convert_to_numpy(self._larger(coordinates @ directions, layout))[0]
        return [coordinates, *self.texture.coefficients(rest, layout, self.noise, rng)]

    def image(self, variables, layout, input_range):
        coordinates, *coefficients = variables
        dtype = coordinates.dtype
        # Of so many independent coordinates those of examples have a root mean square of about 1.
        distance = ops.sqrt(ops.mean(ops.square(coordinates), axis=1, keepdims=True))
        coordinates = coordinates / ops.maximum(distance, 1.0)
        small = ops.matmul(coordinates, ops.convert_to_tensor(self.directions.array, dtype))
        offset = self._larger(small, layout)
        if self.texture is not None:
            offset = offset + self.texture.rest(coefficients, layout)
        mean, low, high = (
            ops.convert_to_tensor(self._resized(values, layout), dtype)
            for values in (self.mean, self.low, self.high)
        )
        image = mean + ops.convert_to_tensor(self.scales.array, dtype) * offset
        image = ops.maximum(ops.minimum(image, high), low)
        return ops.maximum(ops.minimum(image, input_range[1]), input_range[0])

    def with_decay(self, times):
        if self.texture is None:
            return None
        other = copy.copy(self)
        other.texture = self.texture.with_decay(times)
        return other

    def resized(self, variables, old, new, rngs):
        coordinates, *coefficients = variables
        drawn = [self.texture.coefficients(None, new, self.noise, rng) for rng in rngs]
        return [coordinates, *resized(coefficients, drawn, old, new)]

    def converted(self, variables, layout, source):
        coordinates, *coefficients = variables
        own = self.texture.amplitudes(layout)
        ratio = source.texture.amplitudes(layout) / np.where(own > 0, own, 1.0)
        return [coordinates, *((ratio * part).astype(part.dtype) for part in coefficients)]

    def _smaller(self, offsets: np.ndarray) -> np.ndarray:
        """Offsets from the mean, of any size, as `(samples, values)` of coarse images."""
        coarse = smaller(offsets, self.layout.axes, self.coarse.spatial_shape)
        return coarse.reshape(len(coarse), -1)

    def _larger(self, values: Any, layout: Layout) -> Any:
        """Offsets of the size of a layout, of the values of coarse images."""
        coarse = ops.reshape(values, (-1, *self.coarse.shape))
        return larger(coarse, layout.axes, layout.spatial_shape)

    def _resized(self, values: FrozenArray, layout: Layout) -> np.ndarray:
        """Values of an image of the examples' size for one of another size."""
        return smaller(values.array[None], layout.axes, layout.spatial_shape)[0]

    def _unheld(
        self, examples: np.ndarray, mean: np.ndarray, scales: np.ndarray, directions: np.ndarray
    ) -> Iterator[np.ndarray]:
        """What components do not hold of examples, some at a time."""
        for part in _deviations(examples, mean, scales):
            held = self._smaller(part) @ directions.T @ directions
            yield part - ops.convert_to_numpy(self._larger(held, self.layout))


def _coarse(layout: Layout) -> Layout:
    """A size at which a few hundred examples span what there is."""
    coarse, times = layout, 1
    while np.prod(coarse.shape) > _MOST_VALUES and max(coarse.spatial_shape, default=1) > 1:
        times += 1
        coarse = layout.resized(tuple(-(-size // times) for size in layout.spatial_shape))
    return coarse


def _deviations(examples: np.ndarray, mean: np.ndarray, scales: Any) -> Iterator[np.ndarray]:
    """How examples differ from a mean, some at a time, as all at once take much memory."""
    size = max(1, _PART // examples[0].size)
    mean, scales = np.float32(mean), np.float32(scales)
    return ((examples[i : i + size] - mean) / scales for i in range(0, len(examples), size))


def _shrunk(mean: np.ndarray, squares: float, count: int, axes: tuple[int, ...]) -> np.ndarray:
    """A mean image, drawn towards the mean of each channel by as much of it as is chance.

    That of a few photographs is a ghost of each of them; that of many X-rays is a chest (James &
    Stein, "Estimation with Quadratic Loss", 1961). `squares` is the mean of the squared distances
    of `count` examples from their mean, which has these spatial axes.
    """
    centre = mean.mean(axis=axes, keepdims=True)
    structure = ((mean - centre) ** 2).sum()
    by_chance = squares / max(count - 1, 1)
    return centre + max(0.0, 1 - by_chance / max(structure, by_chance)) * (mean - centre)


def _principal_axes(flat: np.ndarray, most: int) -> np.ndarray:
    """Unit vectors `(axes, values)` along which deviations from a mean are largest."""
    # The smaller of the two matrices of products has all that is needed.
    wide = flat.shape[1] > len(flat)
    squares, vectors = np.linalg.eigh(flat @ flat.T if wide else flat.T @ flat)
    order = np.argsort(squares)[::-1][:most]
    order = order[squares[order] > _LEAST_COMPONENT**2 * squares[order[0]]]
    if not wide:
        return vectors[:, order].T
    return vectors[:, order].T @ flat / np.sqrt(squares[order])[:, None]


def _in_single_precision(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of ranges, rounded inwards so that nothing between them is outside of the examples'."""
    nearest, highest = low.astype("float32"), high.astype("float32")
    lowest = np.where(nearest < low, np.nextafter(nearest, np.float32(np.inf)), nearest)
    highest = np.where(highest > high, np.nextafter(highest, np.float32(-np.inf)), highest)
    # Of a value that never varies both are the nearest.
    varies = lowest <= highest
    return np.where(varies, lowest, nearest), np.where(varies, highest, nearest)
