"""From coarse to fine, and slow pictures for longer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers

from vis.optimizer import Optimizer
from vis.optimizer.updates import Adam
from vis.parametrizations import Fourier, Pixels
from vis.utils.layout import Layout
from vis.visualization import filters, visualize_filters
from vis.visualization.stages import Stage, drawn, stages_of

LAYOUT, COARSE = Layout((128, 128, 3), (1, 2)), Layout((64, 64, 3), (1, 2))


@pytest.mark.parametrize("max_iter", [3, 10, 138])
def test_stages_go_from_coarse_to_fine(max_iter):
    stages = stages_of(Fourier(decay_power=1.5), LAYOUT, COARSE, max_iter)
    assert sum(stage.steps for stage in stages) == max_iter
    assert [stage.layout for stage in stages] == [COARSE, COARSE, LAYOUT]
    decays = [stage.parametrization.decay_power for stage in stages]
    assert decays == sorted(decays, reverse=True)
    assert decays[-1] == 1.5
    assert [stage.anneals for stage in stages] == [False, False, True]


def test_one_stage_where_there_is_no_spectrum_or_no_time():
    (stage,) = stages_of(Pixels(), LAYOUT, COARSE, 9)
    assert (stage.layout, stage.steps) == (LAYOUT, 9)
    (stage,) = stages_of(Fourier(), LAYOUT, COARSE, 2)
    assert (stage.layout, stage.steps) == (LAYOUT, 2)


def test_the_last_stage_comes_to_rest_unless_the_user_says_how_steps_are_taken(monkeypatch):
    rates = []

    class Recorded(Optimizer):
        def __init__(self, *args, optimizer, **settings):
            rates.append((optimizer.learning_rate, optimizer.decay))
            super().__init__(*args, optimizer=optimizer, **settings)

    monkeypatch.setattr(filters, "Optimizer", Recorded)
    model = sequential((16, 16, 3), layers.Conv2D(2, 3))
    settings = {"max_iter": 6, "seed": 0, "progress": False}
    visualize_filters(model, -1, 0, **settings)
    assert [decay > 0 for _, decay in rates] == [False, False, True]
    assert len({rate for rate, _ in rates}) == 1
    rates.clear()
    visualize_filters(model, -1, 0, optimizer=Adam(0.2), **settings)
    assert rates == [(0.2, 0.0)] * 3


class Taken:
    """A descent that only remembers what it was asked for."""

    def __init__(self, which, taken, losses):
        self.best_losses = np.array(losses)
        self.variables = [[np.array(taken)]]
        self._which = which

    def pictures(self):
        pairs = zip(self._which, self.variables[0][0], strict=True)
        return [[f"picture {i} of {values.flat[-1]}" for i, values in pairs]]


def test_slow_pictures_get_more_steps_in_the_stages_that_follow():
    layout, parametrization = Layout((4, 4, 1), (1, 2)), Fourier(decorrelate=False)
    stages = [Stage(parametrization, layout, 3, slow_factor) for slow_factor in (1.0, 2.5, 1.0)]
    values = parametrization.variables(None, layout, (0, 255), np.random.default_rng(0))[0]
    asked = []

    def descend(stage, which, variables):
        asked.append((stage.steps, list(which)))
        rows = np.stack([i + 0 * values for i in range(4)]) if variables is None else variables[0]
        return Taken(which, rows, [0.0, 3.0, -1.0, 1.5])

    numbers = [(0, i) for i in range(4)]
    pictures = drawn(stages, numbers, descend, slow_above=1.0)
    assert asked[0] == (3, [0, 1, 2, 3])
    assert sorted(asked[1:]) == [(3, [0, 2])] * 2 + [(3, [1, 3]), (8, [1, 3])]
    assert pictures == [f"picture {i} of {float(i)}" for i in range(4)]
    asked.clear()
    drawn(stages, numbers, descend, slow_above=np.inf)
    assert asked == [(3, [0, 1, 2, 3])] * 3
    asked.clear()
    assert len(drawn(stages[:1], numbers, descend, slow_above=1.0)) == 4
    assert asked == [(3, [0, 1, 2, 3])]


def test_a_slow_picture_does_not_depend_on_its_neighbours():
    """Of classes that cannot be told apart none is found, of one that can it is."""
    keras.utils.set_random_seed(0)
    model = sequential(
        (32, 32, 3),
        layers.Conv2D(8, 5, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(6),
    )
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, np.where(np.arange(6) == 2, -50.0, bias)])
    settings = {"seed": 4, "max_iter": 12, "progress": False}
    together = visualize_filters(model, -1, [1, 2, 3], **settings)
    for number, picture in zip([1, 2, 3], together, strict=True):
        np.testing.assert_array_equal(picture, visualize_filters(model, -1, number, **settings)[0])
