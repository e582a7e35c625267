"""What is optimised, and the image that it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np

from vis.utils.image import deprocess_input, random_array
from vis.utils.value import Value


class Parametrization(Value):
    """Base class of all parametrizations: variables, and a function from them to images.

    Everything a parametrization does must be a function of its attributes, which are hashable.
    """

    def variables(
        self,
        seed_input: np.ndarray | None,
        shape: tuple[int, ...],
        input_range: tuple[float, float],
        rng: np.random.Generator | None,
    ) -> list[np.ndarray]:
        """Initial values of the variables.

        Args:
            seed_input: Images to start from, of `shape`, or None for noise.
            shape: Shape of the images, `(samples, ...)`.
            input_range: Lowest and highest value of an image.
            rng: Where noise comes from; None is NumPy's global generator.

        Returns:
            Arrays whose first axis is the samples'.
        """
        raise NotImplementedError

    def image(self, variables: list[Any], shape: tuple[int, ...], input_range: Any) -> Any:
        """The images that the variables stand for.

        Args:
            variables: Backend tensors.
            shape: Shape of one image.
            input_range: Backend tensor `(low, high)`.

        Returns:
            A backend tensor `(samples, *shape)`, written in `keras.ops`.
        """
        raise NotImplementedError


    def picture(self, image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
        """One finished image, brought into `input_range`."""
        return np.clip(image, *input_range)


class Pixels(Parametrization):
    """The image's values themselves, as in keras-vis.

    The start is uniform noise in the middle of the range, with a standard deviation of 5 % of
    its width.

    Example:
        >>> Pixels().variables(None, (1, 4, 4, 3), (0, 255), np.random.default_rng(0))[0].shape
        (1, 4, 4, 3)
    """

    def variables(self, seed_input, shape, input_range, rng):
        if seed_input is not None:
            return [seed_input]
        low, high = input_range
        noise = [
            random_array(shape[1:], mean=(low + high) / 2, std=0.05 * (high - low), rng=rng)
            for _ in range(shape[0])
        ]
        return [np.stack(noise)]

    def image(self, variables, shape, input_range):
        return variables[0]

    def picture(self, image, input_range):
        return deprocess_input(image, input_range)
