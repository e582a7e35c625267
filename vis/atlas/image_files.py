"""Image files of an atlas: PNG for small images, in which the blocks of a JPEG show."""

import io

import numpy as np
from PIL import Image

from vis.utils.image import to_bytes

# Maximum height and width of a PNG.
_MAX_PNG_SIZE = 64
# High enough that the blocks of larger images are invisible.
_JPEG_QUALITY = 90


def suffix_of(height: int, width: int) -> str:
    """The suffix of an image's file."""
    return ".png" if max(height, width) <= _MAX_PNG_SIZE else ".jpg"


def encode_image(image: np.ndarray, input_range: tuple[float, float]) -> bytes:
    """An image `(height, width, 1 or 3)` with values in `input_range` as a file."""
    pixels = to_bytes(image, input_range)
    converted = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    file = io.BytesIO()
    if suffix_of(*pixels.shape[:2]) == ".png":
        converted.save(file, "PNG")
    else:
        converted.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def decode_image(file: bytes, input_range: tuple[float, float]) -> np.ndarray:
    """The image `(height, width, channels)` in a file, with values in `input_range`."""
    low, high = input_range
    with Image.open(io.BytesIO(file)) as image:
        pixels = np.asarray(image, "float32") / 255
    return np.asarray(low + (high - low) * pixels, "float32").reshape(*pixels.shape[:2], -1)
