"""What the visualizations do where the user does not say."""

from typing import Any, NamedTuple

from vis.input_modifiers import InputModifier, Jitter, Rotate, Scale
from vis.optimizer.updates import Adam, Update
from vis.parametrizations import Parametrization, PrincipalComponents
from vis.utils.layout import Layout

# What a step is scaled by forgets early gradients, which are large, within ten steps.
_DESCENT = Adam(0.07, beta_1=0.5, beta_2=0.9)
# Where a picture is nearly done it is to come to rest.
_ANNEALING = Adam(0.07, beta_1=0.5, beta_2=0.9, decay=0.08)
# Coordinates along principal components are in standard deviations, and go to one or two.
_DESCENT_ALONG_COMPONENTS = Adam(0.1)


class Unsaid(int):
    """A number that is used where the user says none, and nothing that follows says another."""


# Told by identity from what a user has said, of the same value or another.
RANGE = (0, 255)
EROSION = 0.5
WEIGHT = Unsaid(10)
STEPS = Unsaid(120)


class Defaults(NamedTuple):
    """How pictures are looked at, how many steps are taken, and how."""

    input_modifiers: list[InputModifier]
    max_iter: int
    optimizer: Update


def defaults_of(parametrization: Parametrization, layout: Layout) -> Defaults:
    """What follows from what is optimised, of images that lie as `layout` says."""
    if isinstance(parametrization, PrincipalComponents) and parametrization.texture is None:
        # Things are where they are in the data, give or take a pixel.
        moved: list[InputModifier] = [Jitter(0.04)] if layout.axes else []
        return Defaults(moved, 100, _DESCENT_ALONG_COMPONENTS)
    turned = [Rotate(10)] if len(layout.axes) == 2 else []
    moved = [Jitter(0.1), *turned, Scale(0.8, 1.2)] if layout.axes else []
    return Defaults(moved, 120, _DESCENT)


def annealing(optimizer: Any) -> Any:
    """The rule of descent for the last of several stages, which is the user's wherever one is."""
    return _ANNEALING if optimizer is _DESCENT else optimizer
