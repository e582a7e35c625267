"""`Parametrization`, the base class of all parametrizations."""

from typing import Any

import numpy as np

from vis.utils.layout import Layout
from vis.utils.value import Value


class Parametrization(Value):
    """Base class of parametrizations: variables, and a function from variables to images.

    All methods must be functions of the public attributes, which must be hashable.
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
            layout: Shape and spatial axes of the image.
            input_range: Lowest and highest value of the image.
            rng: Random generator of the noise.

        Returns:
            List of arrays.
        """
        raise NotImplementedError

    def image(self, variables: list[Any], layout: Layout, input_range: Any) -> Any:
        """Images from variables, in `keras.ops`.

        Args:
            variables: List of tensors, `(samples, ...)`.
            layout: Shape and spatial axes of an image.
            input_range: Tensor `(low, high)`.

        Returns:
            A tensor, `(samples, *layout.shape)`.
        """
        raise NotImplementedError

    def to_picture(self, image: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
        """One image as it is returned to users, with values in `input_range`."""
        return np.clip(image, *input_range)

    def with_decay(self, factor: float) -> "Parametrization | None":
        """The parametrization with a spectrum that falls `factor` times as fast, for coarse shapes.

        Parametrizations with a spectrum also have `resize_variables` and `convert_variables`, which
        carry variables from one stage of `visualize_filters` to the next.

        Returns:
            A parametrization, or None if this one has no spectrum.
        """
        return None
