"""Callbacks of `Optimizer.minimize`: losses, progress bar, GIF."""

import contextlib
import os
from typing import Any

import numpy as np
from tqdm import tqdm

from vis.utils.files import atomic_write
from vis.utils.image import deprocess_input, draw_text, to_rgb
from vis.utils.validation import check_input_range, check_integer, check_path, expect, require


class OptimizerCallback:
    """Base class of the callbacks of `Optimizer.minimize`.

    The loop over steps stays in the compiled graph unless a callback needs the gradients or the
    image of every step.

    Attributes:
        every_step: Whether the callback is called for every step. If False, it is called several
            times a second with the latest step, and the loop stays in the graph.
        losses_only: Whether the callback uses the losses only. If True, it is called for every
            step, in order, with None for `grads` and `wrt_value`. The calls come in batches,
            several times a second, and the loop stays in the graph.

    Example:
        >>> class Tell(OptimizerCallback):
        ...     def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        ...         print(f"{overall_loss} after {i} steps")
        >>> Tell().callback(2, [], 0.5, None, None)
        0.5 after 2 steps
    """

    every_step = True
    losses_only = False

    def callback(
        self,
        i: int,
        named_losses: list[tuple[str, float]],
        overall_loss: float,
        grads: np.ndarray,
        wrt_value: np.ndarray,
    ) -> None:
        """Called after the gradients were computed, before the image is updated.

        Args:
            i: Index of the iteration, from 0.
            named_losses: Name and weighted value of each loss, averaged over the samples.
            overall_loss: Sum of the weighted losses.
            grads: Gradients, `(samples, ...)`; a list if several inputs are optimised.
            wrt_value: Value of the tensor that the gradients are taken of, or a list.
        """
        raise NotImplementedError(
            "`callback` must be defined by subclasses of `OptimizerCallback`. "
            f"Received: {type(self)}"
        )

    def on_end(self) -> None:
        """Called at the end of the optimisation, after errors and interruptions as well."""


class Print(OptimizerCallback):
    """Prints the losses of each iteration, in batches several times a second."""

    losses_only = True

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        print(f"Iteration: {i + 1}, named_losses: {named_losses}, overall loss: {overall_loss}")


class Progress(OptimizerCallback):
    """Progress bar with the overall loss.

    Args:
        max_iter: Number of iterations, at least 1.
        desc: Text before the bar.
    """

    every_step = False

    def __init__(self, max_iter: int, *, desc: str | None = None) -> None:
        self._max_iter = check_integer("max_iter", max_iter, least=1)
        self._desc = desc
        self._bar = None

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        if self._bar is None:
            self._bar = tqdm(total=self._max_iter, desc=self._desc)
        self._bar.set_postfix(loss=f"{overall_loss:.4g}", refresh=False)
        self._bar.update(i + 1 - self._bar.n)

    def on_end(self):
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class History(OptimizerCallback):
    """Records the losses of each iteration and, on request, the image every N iterations.

    Args:
        frames_every: Number of iterations between stored frames, at least 1. A frame is the value
            of `wrt_tensor`, beginning with that of the first iteration. None stores no frames,
            and the loop stays in the compiled graph.

    Attributes:
        losses: Dict of the losses' names and the list of each one's values.
        overall_loss: List of the sums of the losses.
        frames: List of arrays, of the first sample.

    Example:
        >>> history = History(frames_every=2)
        >>> for i in range(3):
        ...     history.callback(i, [("Some Loss", 1.0)], 1.0, None, np.zeros((1, 4, 4, 3)))
        >>> history.losses, len(history.frames)
        ({'Some Loss': [1.0, 1.0, 1.0]}, 2)
    """

    def __init__(self, *, frames_every: int | None = None) -> None:
        every = None if frames_every is None else check_integer("frames_every", frames_every, 1)
        self._frames_every = every
        self.losses_only = every is None
        self.losses: dict[str, list[float]] = {}
        self.overall_loss: list[float] = []
        self.frames: list[np.ndarray] = []

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        for name, value in named_losses:
            self.losses.setdefault(name, []).append(value)
        self.overall_loss.append(overall_loss)
        if self._frames_every and i % self._frames_every == 0:
            self.frames.append(_first_image(wrt_value).copy())


class GifGenerator(OptimizerCallback):
    """Writes an animated GIF of the optimisation, one frame per iteration.

    The file is written at the end, after errors and interruptions as well.

    Args:
        path: Path of the file; `.gif` is added if it is missing.
        input_range: Lowest and highest value of the image. The frames do not depend on it.

    Raises:
        ValueError: If the folder of `path` does not exist.
    """

    def __init__(self, path: str | os.PathLike, input_range: tuple[float, float] = (0, 255)):
        path = check_path("path", path)
        self.path = path if path.suffix.lower() == ".gif" else path.with_name(f"{path.name}.gif")
        is_in_folder = self.path.parent.is_dir()
        require(is_in_folder, "path", "be in a folder that exists", os.fspath(path))
        self.input_range = check_input_range(input_range)
        self._open_file = contextlib.ExitStack()
        self._writer: Any = None

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        import imageio.v2

        # Standardising makes the frame independent of the input range.
        frame = deprocess_input(_first_image(wrt_value), (0, 255))
        received = f"an image of shape {frame.shape}"
        expect(frame.ndim == 3, "GifGenerator", "be used on images with two spatial axes", received)
        frame = draw_text(to_rgb(np.uint8(frame.round())), f"Step {i + 1}", font=None)
        if self._writer is None:
            unfinished = self._open_file.enter_context(atomic_write(self.path))
            self._writer = self._open_file.enter_context(
                imageio.v2.get_writer(unfinished, mode="I", loop=0)
            )
        self._writer.append_data(frame)

    def on_end(self):
        self._writer = None
        self._open_file.close()


def _first_image(wrt_value: Any) -> np.ndarray:
    """The first sample; for several inputs, that of the input with the most axes."""
    values = wrt_value if isinstance(wrt_value, list) else [wrt_value]
    return max(values, key=np.ndim)[0]
