"""Tokens: where they lie in the image, if patches were flattened to one axis."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from vis.backend.graph.geometry import UNBOUNDED, Axis, Geometry, Span

# The least number of bands that an axis of the image is divided into.
_BANDS = 48
# Values that change by less than this share of the largest did not change.
_ROUNDING = 1e-5
# The most patches along an axis that are merged into one.
_MOST_MERGED = 8


def measured_tokens(
    run: Callable[[np.ndarray], np.ndarray], samples: int, image: Geometry
) -> Geometry | None:
    """Finds where the tokens of an output lie, if each depends on a part of the image.

    Bands of the image are replaced by noise. Tokens that no band changes, such as class tokens,
    have no place. None is returned if tokens have no regular places.

    Args:
        run: A function of images, `(samples, ...)`, that returns outputs, `(samples, ...)`.
        samples: The number of images that it takes.
        image: The geometry of its input; only axes with a span are examined.
    """
    rng = np.random.default_rng(0)
    base, noise = rng.uniform(-1, 1, (2, *image.shape)).astype("float32")
    expected = run(np.repeat(base[None], samples, axis=0))
    shape = expected.shape[1:]
    least = _ROUNDING * np.abs(expected).max(initial=0)
    for number, size in enumerate(shape[:-1], 1):
        finest = 3 * math.isqrt(size)
        placed = [
            (index, axis.spans[0].axis, max(1, axis.size // max(_BANDS, finest)))
            for index, axis in enumerate(image.axes)
            if axis.span
        ]
        others = tuple(i for i in range(1, len(shape) + 1) if i != number)
        extents: dict[int, np.ndarray] = {}
        for index, axis, width in placed:
            starts = range(0, image.axes[index].size, width)
            changed = []
            for first in range(0, len(starts), samples):
                images = np.repeat(base[None], samples, axis=0)
                for banded, start in zip(images, starts[first : first + samples], strict=False):
                    band = (slice(None),) * index + (slice(start, start + width),)
                    banded[band] = noise[band]
                difference = np.abs(run(images) - expected)
                changed.append(difference.max(axis=others) > least)
            extents[axis] = _extents(np.concatenate(changed)[: len(starts)], width)
        found = _token_axis(extents, {axis: image.axes[i].size for i, axis, _ in placed})
        if found:
            axes = [*map(Axis, shape)]
            axes[number - 1], axes[-1] = found, Axis(shape[-1], is_channels=True)
            return Geometry(tuple(axes))
    return None


def _extents(changed: np.ndarray, width: int) -> np.ndarray:
    """The first and the last pixel that each token depends on, `(tokens, 2)`; -1 for none.

    `changed[band, token]` is True if the token depends on the band.
    """
    bands = len(changed)
    first = np.argmax(changed, axis=0)
    last = bands - 1 - np.argmax(changed[::-1], axis=0)
    ends = np.stack([first * width, (last + 1) * width - 1], axis=1)
    ends[~changed.any(axis=0)] = -1
    return ends


def _token_axis(extents: dict[int, np.ndarray], sizes: dict[int, int]) -> Axis | None:
    """The axis of tokens, from the pixels along each axis of the image that they depend on."""
    depends = np.flatnonzero(np.all([each[:, 0] >= 0 for each in extents.values()], axis=0))
    if not len(depends) or len(depends) != depends[-1] + 1 - depends[0]:
        return None
    total = len(next(iter(extents.values())))
    centres = {axis: each[depends].mean(axis=1) for axis, each in extents.items()}
    moving = [axis for axis, line in centres.items() if np.ptp(line)]
    # The slowest axis comes first.
    moving.sort(key=lambda axis: np.count_nonzero(np.diff(centres[axis])))
    lengths = [len(np.unique(centres[axis])) for axis in moving]
    if not moving or math.prod(lengths) != len(depends):
        return None
    spans = []
    for i, axis in enumerate(moving):
        lines = np.moveaxis(centres[axis].reshape(lengths), i, -1).reshape(-1, lengths[i])
        span = _span(axis, lines[0], extents[axis][depends], sizes[axis])
        if span is None or np.ptp(lines, axis=0).any():
            return None
        spans.append(span)
    return Axis(total, tuple(spans), start=int(depends[0]))


def _span(axis: int, centres: np.ndarray, extents: np.ndarray, size: int) -> Span | None:
    """The span of tokens with some centres, or None if these are not evenly spaced."""
    length = len(centres)
    stride, offset = np.polyfit(np.arange(length), centres, 1).tolist()
    even = size / length
    if abs(abs(stride) - even) * length < max(even, 2):
        # Patches that tile the image. The measured extents are too short at bands and borders.
        stride = math.copysign(even, stride)
        offset = (even - 1) / 2 if stride > 0 else size - 1 - (even - 1) / 2
    error = np.abs(offset + stride * np.arange(length) - centres).max()
    reach = float(np.ptp(extents, axis=1).max()) / 2
    return Span(axis, length, offset, stride, reach) if error <= abs(stride) else None


def geometry_of_tokens(tokens: Axis, shape: Sequence[int]) -> Geometry:
    """The geometry after an unknown operation on tokens, which is assumed to keep their order.

    Class tokens may be removed, patches merged, and the grid of the patches restored.

    Args:
        tokens: The axis of the tokens before the operation.
        shape: The shape of its output, without the samples.
    """
    axes = [*map(Axis, shape)]
    placed = math.prod(span.length for span in tokens.spans)
    for number, size in enumerate(shape[:-1]):
        if size in (tokens.size, placed):
            start = tokens.start if size == tokens.size else 0
            axes[number] = Axis(size, _merged(tokens.spans, placed), start)
            break
    else:
        _place_merged(axes, tokens)
    is_placed = any(axis.spans for axis in axes)
    if shape:
        axes[-1] = axes[-1]._replace(is_channels=True)
    return Geometry(tuple(axes), depends_on_all=not is_placed)


def _place_merged(axes: list[Axis], tokens: Axis) -> None:
    """Adds the spans of patches, on a grid again or merged, to the axes that they run along."""
    grid = len(tokens.spans)
    sizes = [axis.size for axis in axes]
    for number in range(len(axes) - grid):
        lengths = sizes[number : number + grid]
        spans = _merged(tokens.spans, math.prod(lengths))
        if [span.length for span in spans] == lengths:
            axes[number : number + grid] = [Axis(span.length, (span,)) for span in spans]
            return
    others = tokens.size - math.prod(span.length for span in tokens.spans)
    for number, size in enumerate(sizes[:-1]):
        for start, count in ((tokens.start, size - others), (0, size)):
            if spans := _merged(tokens.spans, count):
                axes[number] = Axis(size, spans, start)
                return


def _merged(spans: Sequence[Span], count: int) -> tuple[Span, ...]:
    """The spans of patches merged to `count` larger ones; empty if no ratio gives `count`."""
    for ratio in range(1, _MOST_MERGED + 1):
        lengths = [-(-span.length // ratio) for span in spans]
        if math.prod(lengths) == count > 1:
            return tuple(
                span._replace(
                    length=length,
                    offset=span.offset + span.stride * (ratio - 1) / 2,
                    stride=span.stride * ratio,
                    reach=UNBOUNDED,
                )
                for span, length in zip(spans, lengths, strict=True)
            )
    return ()
