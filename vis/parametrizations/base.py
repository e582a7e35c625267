"""What every parametrization can do."""

from typing import Any

import numpy as np

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

    def with_decay(self, times: float) -> "Parametrization | None":
        """The same with a spectrum that falls so many times as fast, for coarse structure first.

        Whoever has such a spectrum also has `resized` and `converted`, which hand what is
        optimised on from stage to stage.

        Args:
            times: How many times.

        Returns:
            A parametrization, or None where there is no spectrum.
        """
        return None
