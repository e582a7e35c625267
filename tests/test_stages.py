"""Coarse-to-fine stages, and more steps for slow pictures."""

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
from vis.visualization import filter_renderer, visualize_filters
from vis.visualization.stages import PictureSeed, Stage, run_stages, stages_of

LAYOUT, COARSE = Layout((128, 128, 3), (1, 2)), Layout((64, 64, 3), (1, 2))
ADAM, WITH_DECAY = Adam(0.1), Adam(0.1, decay=0.1)


@pytest.mark.parametrize("max_iter", [3, 10, 138])
def test_stages_go_from_coarse_to_fine(max_iter):
    stages = stages_of(Fourier(decay_power=1.5), LAYOUT, COARSE, max_iter, ADAM, WITH_DECAY)
    assert sum(stage.steps for stage in stages) == max_iter
    assert [stage.layout for stage in stages] == [COARSE, COARSE, LAYOUT]
    decays = [stage.parametrization.decay_power for stage in stages]
    assert decays == sorted(decays, reverse=True)
    assert decays[-1] == 1.5
    assert [stage.optimizer for stage in stages] == [ADAM, ADAM, WITH_DECAY]


@pytest.mark.parametrize(("parametrization", "max_iter"), [(Pixels(), 9), (Fourier(), 2)])
def test_one_stage_without_a_spectrum_or_with_few_steps(parametrization, max_iter):
    (stage,) = stages_of(parametrization, LAYOUT, COARSE, max_iter, ADAM, WITH_DECAY)
    assert (stage.layout, stage.optimizer, stage.steps) == (LAYOUT, ADAM, max_iter)


def test_the_learning_rate_falls_in_the_last_stage_of_the_default_optimizer(monkeypatch):
    rates = []

    class Recorded(Optimizer):
        def __init__(self, *args, optimizer, **settings):
            rates.append((optimizer.learning_rate, optimizer.decay))
            super().__init__(*args, optimizer=optimizer, **settings)

    monkeypatch.setattr(filter_renderer, "Optimizer", Recorded)
    model = sequential((16, 16, 3), layers.Conv2D(2, 3))
    settings = {"max_iter": 6, "seed": 0, "progress": False}
    visualize_filters(model, -1, 0, **settings)
    assert [decay > 0 for _, decay in rates] == [False, False, True]
    assert len({rate for rate, _ in rates}) == 1
    rates.clear()
    visualize_filters(model, -1, 0, optimizer=Adam(0.2), **settings)
    assert rates == [(0.2, 0.0)] * 3


class FakeDescent:
    """A descent that takes no steps."""

    def __init__(self, filters, values, losses):
        self.best_losses = np.array(losses)
        self.variables = [[np.array(values)]]
        self._filters = filters

    def pictures(self):
        pairs = zip(self._filters, self.variables[0][0], strict=True)
        return [[f"filter {i} of {values.flat[-1]}" for i, values in pairs]]


def test_slow_pictures_get_more_steps_in_later_stages():
    layout, parametrization = Layout((4, 4, 1), (1, 2)), Fourier(decorrelate=False)
    stages = [Stage(parametrization, layout, ADAM, 3, factor) for factor in (1.0, 2.5, 1.0)]
    values = parametrization.variables(None, layout, (0, 255), np.random.default_rng(0))[0]
    calls = []

    def descend(stage, seeds, variables):
        filters = [seed.filter for seed in seeds]
        calls.append((stage.steps, filters))
        rows = np.stack([i + 0 * values for i in range(4)]) if variables is None else variables[0]
        return FakeDescent(filters, rows, [0.0, 3.0, -1.0, 1.5])

    seeds = [PictureSeed(0, i, 0) for i in range(4)]
    pictures = run_stages(stages, seeds, descend, slow_above=1.0)
    assert calls[0] == (3, [0, 1, 2, 3])
    assert sorted(calls[1:]) == [(3, [0, 2])] * 2 + [(3, [1, 3]), (8, [1, 3])]
    assert pictures == [f"filter {i} of {float(i)}" for i in range(4)]
    calls.clear()
    run_stages(stages, seeds, descend, slow_above=np.inf)
    assert calls == [(3, [0, 1, 2, 3])] * 3
    calls.clear()
    assert len(run_stages(stages[:1], seeds, descend, slow_above=1.0)) == 4
    assert calls == [(3, [0, 1, 2, 3])]


def test_a_slow_picture_is_independent_of_the_batch():
    """The bias makes class 2 slow."""
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
