"""Pictures for TensorBoard."""

import os
from typing import Any

import tensorflow as tf


def picture_writer(folder: str | os.PathLike) -> Any:
    """What writes to a folder that TensorBoard reads, until it is closed."""
    return tf.summary.create_file_writer(os.fspath(folder))


def write_picture(writer: Any, name: str, png: bytes, size: tuple[int, int], step: int) -> None:
    """Writes a picture of `(width, height)`, a PNG file, as one step of those of a name."""
    width, height = size
    # As a protocol buffer, for `tf.summary.image` needs TensorBoard to be installed here.
    image = tf.compat.v1.Summary.Image(
        encoded_image_string=png, width=width, height=height, colorspace=3
    )
    summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag=name, image=image)])
    with writer.as_default():
        tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
    writer.flush()
