"""Plain tools for images held as NumPy arrays."""

import numbers
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vis.utils.validation import (
    check_array,
    check_flag,
    check_floats,
    check_input_range,
    check_integer,
    check_number,
    check_path,
    check_sizes,
    expect,
    is_iterable,
    require,
)

# In points: above it a font takes memory without end.
_LARGEST_FONT = 1000


def deprocess_input(
    input_array: np.ndarray, input_range: tuple[float, float] = (0, 255)
) -> np.ndarray:
    """Brings an optimised image into the range of a picture.

    It is given mean 0.5 and standard deviation 0.1, clipped to [0, 1], and scaled to the range.

    Args:
        input_array: One image, of any shape.
        input_range: Lowest and highest value of the result.

    Returns:
        A new float array of the same shape.

    Example:
        >>> deprocess_input(np.array([0.0, 10.0]), (0, 1)).round(3)
        array([0.4, 0.6])
    """
    low, high = check_input_range(input_range)
    image = check_floats("input_array", input_array)
    image = (image - image.mean()) / (image.std() + keras.config.epsilon())
    return low + (high - low) * np.clip(0.5 + 0.1 * image, 0, 1)


def match_range_dtype(image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    """The image as `uint8` if the range is (0, 255) in integers, and as it is otherwise."""
    are_integers = all(isinstance(end, numbers.Integral) for end in input_range)
    if are_integers and tuple(input_range) == (0, 255):
        return np.clip(image, 0, 255).astype("uint8")
    return image


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Images of either data format as `(..., height, width, 3)`.

    If there are not three channels, the first one is shown in grey.
    """
    if images.shape[-1] not in (1, 3) and images.shape[-3] in (1, 3):
        images = np.moveaxis(images, -3, -1)
    return images if images.shape[-1] == 3 else np.repeat(images[..., :1], 3, axis=-1)


def overlay_heatmap(images: np.ndarray, heatmaps: np.ndarray, alpha: float = 0.7) -> np.ndarray:
    """Blends heat maps in Matplotlib's colour map `jet` over images.

    Args:
        images: RGB images `(..., height, width, 3)` with values from 0 to 255.
        heatmaps: `(..., height, width)`; each is scaled to [0, 1].
        alpha: Opacity at the maximum of a heat map, in [0, 1]. The minimum is transparent.

    Returns:
        A `uint8` array of the shape of `images`.

    Example:
        >>> overlay_heatmap(np.full((1, 2, 3), 100), np.array([[0.0, 1.0]]), alpha=0.5).tolist()
        [[[100, 100, 100], [114, 50, 50]]]
    """
    from matplotlib import colormaps

    low = heatmaps.min(axis=(-2, -1), keepdims=True)
    contrast = heatmaps.max(axis=(-2, -1), keepdims=True) - low
    heat = (heatmaps - low) / np.where(contrast > 0, contrast, 1)
    opacity = alpha * heat[..., None]
    blend = opacity * (255 * colormaps["jet"](heat)[..., :3]) + (1 - opacity) * images
    return np.round(blend).astype("uint8")


def random_array(
    shape: Sequence[int],
    mean: float = 128.0,
    std: float = 20.0,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Uniform noise standardised to a mean and a standard deviation.

    Args:
        shape: Shape of the array.
        mean: Mean of the result.
        std: Standard deviation of the result.
        rng: Where the noise comes from; NumPy's global generator by default.

    Returns:
        A float array.

    Example:
        >>> noise = random_array((8, 8), mean=128.0, std=20.0)
        >>> round(float(noise.mean()), 3), round(float(noise.std()), 3)
        (128.0, 20.0)
    """
    sizes = check_sizes("shape", shape)
    mean, std = check_number("mean", mean), check_number("std", std)
    # Python's own generators have `random` too, but only for single numbers.
    is_generator = rng is None or hasattr(rng, "standard_normal")
    require(is_generator, "rng", "be a NumPy generator", rng, TypeError)
    noise = np.random.random(sizes) if rng is None else rng.random(sizes)  # noqa: NPY002
    return mean + std * (noise - noise.mean()) / (noise.std() + keras.config.epsilon())


def normalize(array: np.ndarray, min_value: float = 0.0, max_value: float = 1.0) -> np.ndarray:
    """Stretches an array so that its values run from `min_value` to `max_value`.

    Args:
        array: Any array.
        min_value: What its least value becomes.
        max_value: What its greatest value becomes.

    Returns:
        A new float array. An array whose values are all equal becomes `min_value`.

    Example:
        >>> normalize(np.array([1.0, 2.0, 3.0])).round(3)
        array([0. , 0.5, 1. ])
    """
    array = check_floats("array", array)
    min_value = check_number("min_value", min_value)
    max_value = check_number("max_value", max_value)
    low, high = np.min(array), np.max(array)
    scaled = (array - low) / (high - low + keras.config.epsilon())
    return min_value + (max_value - min_value) * scaled


def get_img_shape(img: Any) -> tuple[int | None, ...]:
    """Shape of a batch of images, always as `(samples, channels, image dims...)`.

    Args:
        img: An array or a symbolic tensor, in the order of `keras.config.image_data_format()`.

    Returns:
        A tuple, `None` where an axis of a symbolic tensor is open.

    Example:
        >>> get_img_shape(np.zeros((1, 32, 24, 3)))
        (1, 3, 32, 24)
    """
    try:
        shape = tuple(img.shape)
    except (AttributeError, TypeError, ValueError):
        raise TypeError(
            f"`img` must be an array or a symbolic tensor. Received: img={img!r}"
        ) from None
    if keras.config.image_data_format() == "channels_last" and len(shape) > 2:
        shape = (shape[0], shape[-1], *shape[1:-1])
    return shape


def stitch_images(
    images: Iterable[np.ndarray], margin: int = 5, cols: int = 5
) -> np.ndarray | None:
    """Lays images out in a grid, row by row, with black margins between them.

    Args:
        images: Images of one shape, `(height, width)` or `(height, width, channels)`.
        margin: Width of the margins in pixels.
        cols: Number of images in a row.

    Returns:
        The grid, of the images' type, or None where there are no images.

    Raises:
        ValueError: If the images' shapes differ, or `margin` or `cols` is too small.

    Example:
        >>> stitch_images([np.ones((4, 4, 3), "uint8")] * 3, margin=1, cols=2).shape
        (9, 9, 3)
    """
    margin = check_integer("margin", margin, least=0)
    cols = check_integer("cols", cols, least=1)
    require(is_iterable(images), "images", "be a list of images", images, TypeError)
    images = [check_array("images", image) for image in images]
    if not images:
        return None
    shapes = {image.shape for image in images}
    expected = "have one shape, (height, width) or (height, width, channels)"
    received = f"images of shapes {sorted(shapes)}"
    expect(len(shapes) == 1 and images[0].ndim in (2, 3), "images", expected, received)
    height, width = images[0].shape[:2]
    cols = min(cols, len(images))
    rows = -(-len(images) // cols)
    whole = (rows * (height + margin) - margin, cols * (width + margin) - margin)
    grid = np.zeros((*whole, *images[0].shape[2:]), dtype=np.result_type(*images))
    for i, image in enumerate(images):
        top, left = i // cols * (height + margin), i % cols * (width + margin)
        grid[top : top + height, left : left + width] = image
    return grid


def draw_text(
    img: np.ndarray,
    text: str,
    position: tuple[int, int] = (10, 10),
    font: str | None = "FreeSans.ttf",
    font_size: int = 14,
    color: tuple[int, int, int] = (0, 0, 0),
) -> np.ndarray:
    """Writes text on a copy of an image.

    Args:
        img: Image of shape `(height, width)` or `(height, width, channels)`.
        text: What to write.
        position: Left and top of the text in pixels.
        font: Name or path of a TrueType font, or None for Pillow's own, which is used with a
            warning where a font is not found.
        font_size: Size in points.
        color: Red, green and blue, in the range of the image, or their mean without three channels.

    Returns:
        A new array like `img`.

    Example:
        >>> blank = np.full((32, 64, 3), 255, "uint8")
        >>> written = draw_text(blank, "ouzel", font=None)
        >>> bool((written < 255).any()), bool((blank < 255).any())
        (True, False)
    """
    img = check_array("img", img)
    expected = "be of shape (height, width) or (height, width, channels)"
    received = f"img of shape {img.shape}"
    expect(img.ndim in (2, 3) and img.size, "img", expected, received)
    place = check_floats("position", position)
    require(place.shape == (2,), "position", "be two numbers", position)
    ink = Image.new("L", (img.shape[1], img.shape[0]))
    # Nothing is seen of what is written further away, and Pillow counts no further.
    place = np.clip(place, -(2**31), 2**31).tolist()
    ImageDraw.Draw(ink).text(tuple(place), str(text), fill=255, font=_font(font, font_size))
    opacity = np.asarray(ink, dtype=np.float32) / 255
    paint = check_floats("color", color).astype(np.float32)
    require(paint.shape == (3,), "color", "be red, green and blue", color)
    opacity = opacity if img.ndim == 2 else opacity[..., None]
    paint = paint if img.shape[2:] == (3,) else paint.mean()
    written = img * (1 - opacity) + paint * opacity
    if np.issubdtype(img.dtype, np.integer):
        written = written.round()
    return written.astype(img.dtype)


def _font(font: str | None, font_size: float) -> Any:
    require(check_number("font_size", font_size) >= 1, "font_size", "be at least 1", font_size)
    require(font_size <= _LARGEST_FONT, "font_size", f"be at most {_LARGEST_FONT}", font_size)
    if font is not None:
        check_path("font", font)
        try:
            return ImageFont.truetype(font, font_size)
        except OSError:
            warnings.warn(
                f"Font '{font}' was not found; Pillow's default font is used.", stacklevel=3
            )
    return ImageFont.load_default(font_size)


def load_img(
    path: str | os.PathLike, grayscale: bool = False, target_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Reads a picture from a file.

    Args:
        path: Path of the file.
        grayscale: Whether to give one channel, without an axis for it, instead of three.
        target_size: `(height, width)` to resize to; None keeps the picture's size.

    Returns:
        A `uint8` array of shape `(height, width, 3)`, or `(height, width)` for `grayscale`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (20, 10)).save(folder + "/black.png")
        ...     load_img(folder + "/black.png", target_size=(5, 5)).shape
        (5, 5, 3)
    """
    path = check_path("path", path)
    if target_size is not None:
        sizes: Any = check_sizes("target_size", target_size)
        is_pair = isinstance(sizes, tuple) and len(sizes) == 2
        require(is_pair, "target_size", "be `(height, width)`", target_size)
    with Image.open(path) as file:
        picture = file.convert("L" if check_flag("grayscale", grayscale) else "RGB")
        if target_size is not None:
            picture = picture.resize(sizes[::-1], Image.Resampling.BICUBIC)
        return np.array(picture)


def bgr2rgb(img: np.ndarray) -> np.ndarray:
    """An image with its last axis, the channels, in reverse order.

    Args:
        img: Array of shape `(..., channels)`.

    Returns:
        A new array.

    Example:
        >>> bgr2rgb(np.array([[1, 2, 3]]))
        array([[3, 2, 1]])
    """
    img = check_array("img", img)
    require(img.ndim, "img", "have an axis of channels", img)
    return img[..., ::-1].copy()
