"""`Pixels`: the image's own values."""

from vis.parametrizations.base import Parametrization
from vis.utils.image import deprocess_input, random_array


class Pixels(Parametrization):
    """The pixels themselves, as in keras-vis.

    Starts from uniform noise around the middle of the range, with a standard deviation of 5 % of
    its width.

    Example:
        >>> import numpy as np
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

    def to_picture(self, image, input_range):
        return deprocess_input(image, input_range)
