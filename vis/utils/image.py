"""Images as NumPy arrays: scaling, grids, text, files."""

import numbers
import os
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
    warn,
)

# In points. The memory of a font grows with its size.
_MAX_FONT_SIZE = 1000


def deprocess_input(
    input_array: np.ndarray, input_range: tuple[float, float] = (0, 255)
) -> np.ndarray:
    """Scales an optimised image to a range for display.

    It is standardised to mean 0.5 and standard deviation 0.1, clipped to [0, 1], and scaled.

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


def to_bytes(image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    """An image with values in `input_range` as `uint8`, from 0 to 255."""
    low, high = input_range
    fractions = (np.asarray(image, "float64") - low) / (high - low)
    return np.round(np.clip(fractions, 0, 1) * 255).astype("uint8")


def match_range_dtype(image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    """The image, as `uint8` if the range is (0, 255) in integers."""
    are_integers = all(isinstance(end, numbers.Integral) for end in input_range)
    if are_integers and tuple(input_range) == (0, 255):
        return np.clip(image, 0, 255).astype("uint8")
    return image


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Images of either data format as `(..., height, width, 3)`.

    Without three channels, the first one is repeated.
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
        rng: NumPy generator of the noise; by default the global one.

    Returns:
        A float array.

    Example:
        >>> noise = random_array((8, 8), mean=128.0, std=20.0)
        >>> round(float(noise.mean()), 3), round(float(noise.std()), 3)
        (128.0, 20.0)
    """
    sizes = check_sizes("shape", shape)
    mean, std = check_number("mean", mean), check_number("std", std)
    # `random.Random` also has a method `random`, but for single numbers only.
    is_generator = rng is None or hasattr(rng, "standard_normal")
    require(is_generator, "rng", "be a NumPy generator", rng, TypeError)
    noise = np.random.random(sizes) if rng is None else rng.random(sizes)  # noqa: NPY002
    return mean + std * (noise - noise.mean()) / (noise.std() + keras.config.epsilon())


def normalize(array: np.ndarray, min_value: float = 0.0, max_value: float = 1.0) -> np.ndarray:
    """Scales an array linearly to a range.

    Args:
        array: Any array.
        min_value: Minimum of the result.
        max_value: Maximum of the result.

    Returns:
        A new float array. If all values are equal, they become `min_value`.

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
    """The shape of a batch of images as `(samples, channels, image dims...)`.

    Args:
        img: Array or symbolic tensor in the data format `keras.config.image_data_format()`.

    Returns:
        A tuple, with None for open axes.

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
    """Arranges images in a grid, row by row, with black margins between them.

    Args:
        images: Images of one shape, `(height, width)` or `(height, width, channels)`.
        margin: Width of the margins in pixels.
        cols: Number of images in a row.

    Returns:
        The grid, of the images' type, or None without images.

    Raises:
        ValueError: If the shapes differ, or if `margin` or `cols` is too small.

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
    size = (rows * (height + margin) - margin, cols * (width + margin) - margin)
    grid = np.zeros((*size, *images[0].shape[2:]), dtype=np.result_type(*images))
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
    """Draws text on a copy of an image.

    Args:
        img: Image of shape `(height, width)` or `(height, width, channels)`.
        text: The text.
        position: Left and top of the text in pixels.
        font: Name or path of a TrueType font. If it is None, or is not found, which gives a
            warning, Pillow's default font is used.
        font_size: Size in points, at least 1.
        color: Red, green and blue in the image's range. Without three channels, their mean is used.

    Returns:
        A new array like `img`.

    Example:
        >>> blank = np.full((32, 64, 3), 255, "uint8")
        >>> labelled = draw_text(blank, "ouzel", font=None)
        >>> bool((labelled < 255).any()), bool((blank < 255).any())
        (True, False)
    """
    img = check_array("img", img)
    expected = "be of shape (height, width) or (height, width, channels)"
    received = f"img of shape {img.shape}"
    expect(img.ndim in (2, 3) and img.size, "img", expected, received)
    corner = check_floats("position", position)
    require(corner.shape == (2,), "position", "be two numbers", position)
    # Pillow has no larger numbers.
    corner = np.clip(corner, -(2**31), 2**31).tolist()
    mask = Image.new("L", (img.shape[1], img.shape[0]))
    ImageDraw.Draw(mask).text(tuple(corner), str(text), fill=255, font=_font(font, font_size))
    opacity = np.asarray(mask, dtype=np.float32) / 255
    rgb = check_floats("color", color).astype(np.float32)
    require(rgb.shape == (3,), "color", "be red, green and blue", color)
    opacity = opacity if img.ndim == 2 else opacity[..., None]
    value = rgb if img.shape[2:] == (3,) else rgb.mean()
    drawn = img * (1 - opacity) + value * opacity
    if np.issubdtype(img.dtype, np.integer):
        drawn = drawn.round()
    return drawn.astype(img.dtype)


def _font(font: str | None, font_size: float) -> Any:
    require(check_number("font_size", font_size) >= 1, "font_size", "be at least 1", font_size)
    require(font_size <= _MAX_FONT_SIZE, "font_size", f"be at most {_MAX_FONT_SIZE}", font_size)
    if font is not None:
        check_path("font", font)
        try:
            return ImageFont.truetype(font, font_size)
        except OSError:
            warn(f"Font '{font}' was not found; Pillow's default font is used.")
    return ImageFont.load_default(font_size)


def load_img(
    path: str | os.PathLike, grayscale: bool = False, target_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Reads an image file.

    Args:
        path: Path of the file.
        grayscale: Whether to read one channel, without an axis for it, instead of three.
        target_size: `(height, width)` to resize to; by default the image's size.

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
        image = file.convert("L" if check_flag("grayscale", grayscale) else "RGB")
        if target_size is not None:
            image = image.resize(sizes[::-1], Image.Resampling.BICUBIC)
        return np.array(image)


def bgr2rgb(img: np.ndarray) -> np.ndarray:
    """Reverses the channels of an image, its last axis.

    Args:
        img: Array of shape `(..., channels)`.

    Returns:
        A new array.

    Example:
        >>> bgr2rgb(np.array([[1, 2, 3]]))
        array([[3, 2, 1]])
    """
    img = check_array("img", img)
    require(img.ndim, "img", "have a channel axis", img)
    return img[..., ::-1].copy()
