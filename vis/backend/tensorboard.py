"""Writing images for TensorBoard."""

import os
from typing import Any

import tensorflow as tf


def create_writer(folder: str | os.PathLike) -> Any:
    """A writer of TensorBoard's files, to be closed in the end."""
    return tf.summary.create_file_writer(os.fspath(folder))


def write_image(writer: Any, name: str, png: bytes, size: tuple[int, int], step: int) -> None:
    """Writes a PNG image of size `(width, height)`."""
    width, height = size
    # Not by `tf.summary.image`, which needs TensorBoard to be installed.
    image = tf.compat.v1.Summary.Image(
        encoded_image_string=png, width=width, height=height, colorspace=3
    )
    summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag=name, image=image)])
    with writer.as_default():
        tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
    writer.flush()
