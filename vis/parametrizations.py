"""What is optimised, and the image that it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np

from vis.utils.image import deprocess_input, random_array
from vis.utils.layout import Layout
from vis.utils.value import Value


class Parametrization(Value):
    """Base class of all parametrizations: variables, and a function from them to images.

    Everything a parametrization does must be a function of its attributes, which are hashable.
    """

    def variables(
        self,
        seed_image: np.ndarray | None,
        layout: Layout,
        input_range: tuple[float, float],
        rng: np.random.Generator,
    ) -> list[np.ndarray]:
        """Initial values of the variables of one image.

        Args:
            seed_image: Image to start from, of `layout.shape`, or None for noise.
            layout: How the image lies in an array.
            input_range: Lowest and highest value of the image.
            rng: Where noise comes from.

        Returns:
            Arrays.
        """
        raise NotImplementedError

    def image(self, variables: list[Any], layout: Layout, input_range: Any) -> Any:
        """The images that the variables of several samples stand for.

        Args:
            variables: Backend tensors `(samples, ...)`.
            layout: How an image lies in an array.
            input_range: Backend tensor `(low, high)`.

        Returns:
            A backend tensor `(samples, *layout.shape)`, written in `keras.ops`.
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
        >>> from vis.utils.layout import Layout
        >>> layout = Layout((4, 4, 3), axes=(1, 2))
        >>> Pixels().variables(None, layout, (0, 255), np.random.default_rng(0))[0].shape
        (4, 4, 3)
    """

    def variables(self, seed_image, layout, input_range, rng):
        if seed_image is not None:
            return [seed_image]
        low, high = input_range
        return [random_array(layout.shape, (low + high) / 2, 0.05 * (high - low), rng)]

    def image(self, variables, layout, input_range):
        return variables[0]

    def picture(self, image, input_range):
        return deprocess_input(image, input_range)
