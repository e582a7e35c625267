"""Calls are traced once, and leave no changes to the model and no memory behind."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import keras
import numpy as np
import pytest
from helpers import Recorder, nodes, sequential
from keras import layers, ops

from vis.backend import modify_model_backprop
from vis.backend.step import engines as _engines
from vis.input_modifiers import InputModifier, Jitter
from vis.losses import Loss
from vis.optimizer import Optimizer
from vis.regularizers import LPNorm, TotalVariation
from vis.visualization import visualize_activation, visualize_activation_with_losses


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


def test_model_is_not_changed():
    inner = sequential((6, 5, 2), layers.Conv2D(3, 2, activation="relu"))
    inputs = keras.Input((6, 5, 2))
    x = layers.Flatten()(ops.square(inner(inputs)))
    model = keras.Model(inputs, layers.Dense(4)(x))
    model.compile("adam", "mse")
    before = nodes(model)
    weights = [w.copy() for w in model.get_weights()]
    attributes = [sorted(vars(layer)) for layer in model._flatten_layers()]
    visualize_activation(model, -1, 0, max_iter=2)
    visualize_activation(model, inner.layers[0], 0, max_iter=2, backprop_modifier="guided")
    visualize_activation(model, -1, 0, max_iter=2, input_modifiers=[InputModifier()])
    losses = [(Brightness(inner.layers[0]), 1), (LPNorm(inputs), 1), (TotalVariation(inputs), 1)]
    for _ in range(2):
        visualize_activation_with_losses(inputs, losses, max_iter=2)
    assert nodes(model) == before
    assert [sorted(vars(layer)) for layer in model._flatten_layers()] == attributes
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.count_params() == sum(w.size for w in weights)


def collect():
    # The second round collects objects that only garbage of the first referred to.
    gc.collect()
    gc.collect()


def make_and_use(use):
    """Weak references to a model, a layer and a variable that are used, then garbage."""
    model = counting_model()
    use(model)
    return [weakref.ref(item) for item in (model, model.layers[1], model.layers[1].kernel)]


def use_custom_loss(model):
    Optimizer(model.inputs[0], [(Brightness(model.layers[1]), 1)]).minimize(
        max_iter=2, verbose=False
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda model: visualize_activation(model, -1, 0, max_iter=2),
        lambda model: visualize_activation(model, -1, 0, max_iter=2, callbacks=[Recorder()]),
        lambda model: visualize_activation(model, -1, 0, max_iter=2, input_modifiers=[Jitter(1)]),
        lambda model: visualize_activation(
            model, -1, 0, max_iter=2, input_modifiers=[InputModifier()]
        ),
        lambda model: visualize_activation(model, -1, 0, max_iter=2, backprop_modifier="guided"),
        use_custom_loss,
    ],
    ids=["plain", "callback", "jitter", "numpy modifier", "guided", "custom loss"],
)
def test_compiled_steps_are_freed_with_their_model(use):
    gc.collect()
    before = len(_engines)
    references = make_and_use(use)
    collect()
    assert [reference() for reference in references] == [None] * 3
    assert len(_engines) <= before


def test_modified_copies_are_freed_with_their_model():
    model = counting_model()
    copy = weakref.ref(modify_model_backprop(model, "guided"))
    visualize_activation(model, -1, 0, max_iter=2, backprop_modifier="guided")
    reference = weakref.ref(model)
    del model
    collect()
    assert reference() is None
    assert copy() is None


def resident_memory():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux only")
@pytest.mark.parametrize("kind", ["plain", "guided", "custom loss"])
def test_memory_does_not_grow_over_many_calls(kind):
    model = counting_model()
    optimizer = Optimizer(model.inputs[0], [(Brightness(model.layers[1]), 1)])

    def call(i):
        if kind == "custom loss":
            optimizer.minimize(seed=i, max_iter=2, verbose=False)
        else:
            visualize_activation(model, -1, i % 3, seed=i, max_iter=2, **SETTINGS[kind]())

    for i in range(30):
        call(i)
    gc.collect()
    objects, memory, traces, before = (
        len(gc.get_objects()), resident_memory(), model.layers[0].calls.count, nodes(model)
    )  # fmt: skip
    for i in range(300):
        call(i)
    gc.collect()
    assert model.layers[0].calls.count == traces
    assert nodes(model) == before
    assert len(gc.get_objects()) - objects < 100
    assert resident_memory() - memory < 8e6


def test_custom_losses_leave_no_memory_behind():
    model = counting_model()

    def call():
        Optimizer(model.inputs[0], [(Brightness(model.layers[1]), 1)])

    for _ in range(5):
        call()
    gc.collect()
    objects = len(gc.get_objects())
    for _ in range(100):
        call()
    gc.collect()
    assert len(gc.get_objects()) - objects < 50


def test_concurrent_threads():
    model = counting_model()
    image = np.ones((6, 5, 2), "float32")

    def draw(i):
        return visualize_activation(model, -1, i, seed_input=image, max_iter=20)

    pictures = {}
    threads = [
        threading.Thread(target=lambda i=i: pictures.update({i: draw(i % 3)})) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        np.testing.assert_array_equal(pictures[i], draw(i % 3))


def test_global_settings_are_not_changed():
    before = keras.config.dtype_policy().name, keras.config.image_data_format()
    visualize_activation(counting_model(), -1, 0, max_iter=2)
    assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == before
