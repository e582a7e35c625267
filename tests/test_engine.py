"""Compiled steps: calls of one kind are traced once, and change no global settings."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import Recorder, sequential
from keras import layers, ops

from vis.input_modifiers import InputModifier, Jitter
from vis.losses import Loss
from vis.optimizer import Optimizer
from vis.visualization import visualize_activation

pytestmark = pytest.mark.versions


class Counter:
    count = 0


class CountTraces(layers.Layer):
    """Counts its calls from Python, which happen only in a trace."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Shared with copies of the layer.
        self.calls = Counter()

    def call(self, x):
        self.calls.count += 1
        return x


def counting_model(*more, shape=(6, 5, 2)):
    return sequential(
        shape, CountTraces(), layers.Conv2D(4, 2, activation="relu"), layers.Conv2D(3, 2), *more
    )


class Brightness(Loss):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def build_loss(self):
        return -ops.mean(self.layer.output)


def count_traces(model, calls):
    """The number of traces of the model in each call."""
    counts = []
    for call in calls:
        before = model.layers[0].calls.count
        call()
        counts.append(model.layers[0].calls.count - before)
    return counts


SETTINGS = {
    "plain": lambda: {},
    "callback": lambda: {"callbacks": [Recorder()]},
    "jitter": lambda: {"input_modifiers": [Jitter(0.3)]},
    "numpy modifier": lambda: {"input_modifiers": [InputModifier()]},
    "named gradient modifier": lambda: {"grad_modifier": "absolute"},
    "gradient modifier": lambda: {"grad_modifier": lambda grads: 2 * grads},
    "guided": lambda: {"backprop_modifier": "guided"},
}


@pytest.mark.every(3)
@pytest.mark.filterwarnings("ignore:The activation of filters")
@pytest.mark.parametrize("kind", SETTINGS)
def test_one_trace_for_all_filters_images_weights_and_seeds(kind):
    model = counting_model()

    def call(layer_idx=-1, filters=0, **settings):
        return lambda: visualize_activation(
            model, layer_idx, filters, max_iter=2, **SETTINGS[kind](), **settings
        )

    image = np.zeros((6, 5, 2))
    calls = [
        call(),
        call(),
        call(filters=2),
        call(filters=[0, 1]),
        call(filters=None),
        call(act_max_weight=0.3, tv_weight=-2),
        call(seed=3),
        call(seed_input=image),
        call(seed_input=image[None] + 3, filters=1),
        call(input_range=(-1.0, 1.0)),
        call(model.layers[-1]),
    ]
    first, *others = count_traces(model, calls)
    assert first > 0
    assert others == [0] * len(others)


def test_one_trace_for_a_custom_loss():
    model = counting_model()
    optimizer = Optimizer(model.inputs[0], [(Brightness(model.layers[1]), 1)])
    first, *others = count_traces(
        model, [lambda seed=seed: optimizer.minimize(max_iter=2, seed=seed, verbose=False)
                for seed in range(4)]
    )  # fmt: skip
    assert first > 0
    assert others == [0, 0, 0]


def test_compiled_steps_are_not_shared_by_equal_models():
    one, two = counting_model(), counting_model()
    image = np.ones((6, 5, 2), "float32")
    pictures = [visualize_activation(m, -1, 0, seed_input=image, max_iter=3) for m in (one, two)]
    assert (pictures[0] != pictures[1]).any()
    two.set_weights(one.get_weights())
    picture = visualize_activation(two, -1, 0, seed_input=image, max_iter=3)
    np.testing.assert_array_equal(picture, pictures[0])


def test_global_settings_are_not_changed():
    before = keras.config.dtype_policy().name, keras.config.image_data_format()
    visualize_activation(counting_model(), -1, 0, max_iter=2)
    assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == before
