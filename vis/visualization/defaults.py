"""Defaults of `visualize_filters`, and of `visualize_activation` with `like`."""

from collections.abc import Sequence
from typing import NamedTuple

from vis.input_modifiers import InputModifier, Jitter, Rotate, Scale
from vis.optimizer.updates import Adam, Update
from vis.parametrizations import Parametrization, PrincipalComponents
from vis.utils.layout import Layout

# Gradients are large at first; these betas forget them within ten steps.
_ADAM = Adam(0.07, beta_1=0.5, beta_2=0.9)
_ADAM_WITH_DECAY = Adam(0.07, beta_1=0.5, beta_2=0.9, decay=0.08)
# Coordinates along principal components are in standard deviations, up to about 2.
_ADAM_OF_COMPONENTS = Adam(0.1)


class Defaults(NamedTuple):
    """Defaults that depend on the parametrization."""

    input_modifiers: Sequence[InputModifier]
    max_iter: int
    optimizer: Update
    last_optimizer: Update  # The optimizer of the last of several stages.


def defaults_of(parametrization: Parametrization, layout: Layout) -> Defaults:
    """The defaults for a parametrization of images with a layout."""
    if isinstance(parametrization, PrincipalComponents) and parametrization.texture is None:
        # Objects stay where they are in the examples, to within about a pixel.
        jitter = [Jitter(0.04)] if layout.axes else []
        return Defaults(jitter, 100, _ADAM_OF_COMPONENTS, _ADAM_OF_COMPONENTS)
    rotation = [Rotate(10)] if len(layout.axes) == 2 else []
    modifiers = [Jitter(0.1), *rotation, Scale(0.8, 1.2)] if layout.axes else []
    return Defaults(modifiers, 120, _ADAM, _ADAM_WITH_DECAY)
