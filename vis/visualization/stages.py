"""Coarse-to-fine stages: the image sizes and spectra through which a picture is optimised."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vis._core.descent import Descent
from vis.backend.graph import ModelInputs, Target
from vis.backend.step import accepts_shape
from vis.input_modifiers import Transform, check_transforms
from vis.optimizer.updates import Update
from vis.parametrizations import Parametrization
from vis.utils.layout import Layout

# Smaller coarse pictures show too little.
_LEAST_COARSE_SIZE = 64
# For each stage, how much steeper its spectrum falls than in the last one, and the share of the
# steps that is over at its end. All but the last may be of half the size.
_DECAYS = (5 / 3, 7 / 6, 1)
_ENDS = (5 / 12, 3 / 4, 1)
# How many times the steps of other pictures a slow picture gets in each stage.
_SLOW_FACTORS = (1, 2.5, 2)


class Stage(NamedTuple):
    """Parametrization, image size, optimizer and number of steps of a part of the optimisation."""

    parametrization: Any
    layout: Layout
    optimizer: Any
    steps: int
    slow_factor: float = 1.0  # How many times these steps a slow picture gets.


class PictureSeed(NamedTuple):
    """Random seed of one picture."""

    seed: int
    filter: int
    repetition: int  # How often the filter comes before among the requested filters.


# Runs a stage for some pictures, from given variables or their own start.
Descend = Callable[[Stage, Sequence[PictureSeed], list[np.ndarray] | None], Descent]


def coarse_layout(
    layout: Layout, inputs: ModelInputs, layer: Target, input_modifiers: Sequence[Transform]
) -> Layout | None:
    """The layout of half the size, or None if it is too small for the model or the modifiers."""
    half = layout.resized(tuple(-(-size // 2) for size in layout.spatial_shape))
    if min(half.spatial_shape, default=0) < _LEAST_COARSE_SIZE:
        return None
    try:
        check_transforms(input_modifiers, (1, *half.shape), half.axes)
    except ValueError:
        return None
    return half if accepts_shape(inputs.graph, inputs.varying[0], layer, half.shape) else None


def stages_of(
    parametrization: Parametrization,
    layout: Layout,
    coarse: Layout | None,
    max_iter: int,
    optimizer: Update | Any,
    last_optimizer: Update | Any,
) -> list[Stage]:
    """The stages, `max_iter` steps together.

    `parametrization`, `layout` and `last_optimizer` are those of the last stage, `coarse` and
    `optimizer` those of the stages before it. With few steps or a parametrization without a
    spectrum, there is a single stage, with `optimizer`.
    """
    if max_iter < len(_DECAYS) or parametrization.with_decay(1) is None:
        return [Stage(parametrization, layout, optimizer, max_iter)]
    ends = (max_iter * np.array(_ENDS)).round().astype(int)
    each = zip(_DECAYS, np.diff(ends, prepend=0).tolist(), _SLOW_FACTORS, strict=True)
    stages = [
        Stage(parametrization.with_decay(times), coarse or layout, optimizer, steps, slow_factor)
        for times, steps, slow_factor in each
    ]
    stages[-1] = stages[-1]._replace(layout=layout, optimizer=last_optimizer)
    return stages


def run_stages(
    stages: Sequence[Stage], seeds: Sequence[PictureSeed], descend: Descend, slow_above: float
) -> list[np.ndarray]:
    """Pictures of a batch after all stages.

    Slow pictures, whose loss stays above `slow_above` in the first stage, get more steps later.
    """
    first = descend(stages[0], seeds, None)
    if len(stages) == 1:
        return list(first.pictures()[0])
    (variables,) = first.variables
    is_slow = first.best_losses > slow_above
    pictures: dict[int, np.ndarray] = {}
    for slow in {*is_slow.tolist()}:
        chosen = np.flatnonzero(is_slow == slow).tolist()
        last = _run_later_stages(
            stages, [seeds[i] for i in chosen], [v[chosen] for v in variables], descend, slow
        )
        pictures.update(zip(chosen, last.pictures()[0], strict=True))
    return [pictures[i] for i in range(len(seeds))]


def _run_later_stages(
    stages: Sequence[Stage],
    seeds: Sequence[PictureSeed],
    variables: list[np.ndarray],
    descend: Descend,
    slow: bool,
) -> Descent:
    """Runs all stages but the first, from the variables that the first one ended with."""
    for number in range(1, len(stages)):
        earlier, stage = stages[number - 1 : number + 1]
        if stage.layout != earlier.layout:
            rngs = [np.random.default_rng((*seed, number)) for seed in seeds]
            variables = earlier.parametrization.resize_variables(
                variables, earlier.layout, stage.layout, rngs
            )
        variables = stage.parametrization.convert_variables(
            variables, stage.layout, earlier.parametrization
        )
        if slow:
            stage = stage._replace(steps=round(stage.slow_factor * stage.steps))
        descent = descend(stage, seeds, variables)
        (variables,) = descent.variables
    return descent
