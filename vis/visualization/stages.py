"""From coarse to fine: the sizes and spectra that a picture goes through."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vis._core.descent import Descent
from vis._core.model_inputs import ModelInputs
from vis.backend.graph import Target
from vis.backend.step import accepts
from vis.input_modifiers import Transform, check_transforms
from vis.parametrizations import Parametrization
from vis.utils.layout import Layout

# No coarse pictures below this size: too little can be seen in them.
_LEAST_COARSE_SIZE = 64
# How many times as steeply as in the finished picture the spectrum falls in each stage, and which
# share of the steps are over at its end. All but the last may be of half the size.
_DECAYS = (5 / 3, 7 / 6, 1)
_ENDS = (5 / 12, 3 / 4, 1)
# How many times as many steps as others a picture gets in each stage that is slow in the first.
_SLOW_FACTORS = (1, 2.5, 2)


class Stage(NamedTuple):
    """Some of the steps: what is optimised in them, and at which size."""

    parametrization: Any
    layout: Layout
    steps: int
    slow_factor: float = 1.0  # How many times as many steps a slow picture gets.
    anneals: bool = False  # Whether the picture is to come to rest in it.


def coarse_layout(
    layout: Layout, subject: ModelInputs, layer: Target, input_modifiers: Sequence[Transform]
) -> Layout | None:
    """Half the size, where the model and the modifiers take it and something can be seen in it."""
    half = layout.resized(tuple(-(-size // 2) for size in layout.spatial_shape))
    if min(half.spatial_shape, default=0) < _LEAST_COARSE_SIZE:
        return None
    try:
        check_transforms(input_modifiers, (1, *half.shape), half.axes)
    except ValueError:
        return None
    return half if accepts(subject.graph, subject.tensors[0], layer, half.shape) else None


def stages_of(
    parametrization: Parametrization, layout: Layout, coarse: Layout | None, max_iter: int
) -> list[Stage]:
    """From coarse to fine, in the spectrum and in size, with `max_iter` steps together.

    `parametrization` and `layout` are the finished picture's; `coarse` is for the first stages.
    """
    if max_iter < len(_DECAYS) or parametrization.with_decay(1) is None:
        return [Stage(parametrization, layout, max_iter)]
    ends = (max_iter * np.array(_ENDS)).round().astype(int)
    each = zip(_DECAYS, np.diff(ends, prepend=0).tolist(), _SLOW_FACTORS, strict=True)
    stages = [
        Stage(parametrization.with_decay(times), coarse or layout, steps, slow_factor)
        for times, steps, slow_factor in each
    ]
    stages[-1] = stages[-1]._replace(layout=layout, anneals=True)
    return stages


def run_stages(
    stages: Sequence[Stage],
    seeds: Sequence[tuple[int, ...]],
    descend: Callable[[Stage, Sequence[int], list[np.ndarray] | None], Descent],
    slow_above: float,
) -> list[np.ndarray]:
    """The pictures of a batch, taken through all stages.

    `seeds` has for each picture what its randomness follows from. `descend` takes some of the
    pictures, by their numbers, through a stage, from given values of what is optimised or its own
    start. One whose loss was above `slow_above` all through the first stage gets more steps later.
    """
    first, *rest = stages
    begun = descend(first, range(len(seeds)), None)
    if not rest:
        return list(begun.pictures()[0])
    pictures: dict[int, np.ndarray] = {}
    is_slow = begun.best_losses > slow_above
    for slow in {*is_slow.tolist()}:
        which = np.flatnonzero(is_slow == slow).tolist()
        before, descent, its_part = first, begun, which
        for number, stage in enumerate(rest, 1):
            rngs = [np.random.default_rng((*seeds[i], number)) for i in which]
            variables = [value[its_part] for value in descent.variables[0]]
            made = before.parametrization
            if stage.layout != before.layout:
                variables = made.resized(variables, before.layout, stage.layout, rngs)
            variables = stage.parametrization.converted(variables, stage.layout, made)
            steps = round(stage.slow_factor * stage.steps) if slow else stage.steps
            descent = descend(stage._replace(steps=steps), which, variables)
            before, its_part = stage, slice(None)
        pictures.update(zip(which, descent.pictures()[0], strict=True))
    return [pictures[i] for i in range(len(seeds))]
