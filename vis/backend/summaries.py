"""Pictures for TensorBoard."""

import os

import tensorflow as tf


class PictureWriter:
    """Writes pictures to a folder that TensorBoard reads; it is made with the first of them."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self._writer = tf.summary.create_file_writer(os.fspath(folder))

    def write(self, name: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """Writes a picture of `(width, height)`, a PNG file, as one step of those of a name."""
        width, height = size
        # As a protocol buffer, for `tf.summary.image` needs TensorBoard to be installed here.
        image = tf.compat.v1.Summary.Image(
            encoded_image_string=png, width=width, height=height, colorspace=3
        )
        summary = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag=name, image=image)])
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
