"""Calls leave no memory, no compiled functions and no changes to the model behind."""

from __future__ import annotations

import gc
import json
import os
import weakref

import keras
import pytest
from helpers import Recorder, nodes, sequential
from keras import layers, ops
from tensorflow.python.framework.func_graph import FuncGraph
from visualization_calls import CALLS, Brightness, activation, custom_loss, make_model

from vis.backend import modify_model_backprop
from vis.backend.step import engines
from vis.input_modifiers import InputModifier
from vis.optimizer import Optimizer
from vis.regularizers import LPNorm, TotalVariation
from vis.visualization import visualize_activation, visualize_activation_with_losses


def resident_memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def collect():
    # The second round collects objects that only garbage of the first referred to.
    gc.collect()
    gc.collect()


def count_graphs():
    collect()
    return sum(isinstance(item, FuncGraph) for item in gc.get_objects())


def contents(model):
    """Weights, configuration, attributes and nodes of a model."""
    return [
        *(weight.numpy().tobytes() for weight in model.weights),
        json.dumps(model.get_config()),
        [sorted(vars(layer)) for layer in model._flatten_layers()],
        *nodes(model),
    ]


def test_model_is_not_changed():
    inner = sequential((6, 5, 2), layers.Conv2D(3, 2, activation="relu"))
    inputs = keras.Input((6, 5, 2))
    x = layers.Flatten()(ops.square(inner(inputs)))
    model = keras.Model(inputs, layers.Dense(4)(x))
    model.compile("adam", "mse")
    before = contents(model)
    visualize_activation(model, -1, 0, max_iter=2)
    visualize_activation(model, inner.layers[0], 0, max_iter=2, backprop_modifier="guided")
    visualize_activation(model, -1, 0, max_iter=2, input_modifiers=[InputModifier()])
    losses = [
        (Brightness(inner.layers[0], 0), 1),
        (LPNorm(inputs), 1),
        (TotalVariation(inputs), 1),
    ]
    for _ in range(2):
        visualize_activation_with_losses(inputs, losses, max_iter=2)
    assert contents(model) == before


USES = {
    "jitter": lambda model: activation(model, 0),
    "callback": lambda model: activation(model, 0, callbacks=[Recorder()]),
    "numpy modifier": lambda model: activation(model, 0, input_modifiers=[InputModifier()]),
    "custom loss": lambda model: custom_loss(model, 0),
}


def references_after(use):
    """Weak references to a model, a layer and a variable that are used, then garbage."""
    model = make_model()
    use(model)
    return [weakref.ref(item) for item in (model, model.layers[0], model.layers[0].kernel)]


@pytest.mark.every(3)
@pytest.mark.parametrize("name", USES)
def test_compiled_steps_are_freed_with_their_model(name):
    collect()
    before = len(engines)
    references = references_after(USES[name])
    collect()
    assert [reference() for reference in references] == [None] * 3
    assert len(engines) <= before


def test_modified_copies_are_freed_with_their_model():
    model = make_model()
    copy = weakref.ref(modify_model_backprop(model, "guided"))
    activation(model, 0, backprop_modifier="guided")
    reference = weakref.ref(model)
    del model
    collect()
    assert reference() is None
    assert copy() is None


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux only")
@pytest.mark.parametrize("rounds", [3, pytest.param(32, marks=pytest.mark.long)])
@pytest.mark.filterwarnings("ignore:The activation of filters")
def test_memory_does_not_grow_over_many_calls(rounds):
    model = make_model()
    optimizer = Optimizer(model.inputs[0], Brightness(model.layers[-1], 0))
    before = contents(model)

    def run(rounds):
        for i in range(rounds):
            for call in CALLS.values():
                call(model, i)
            optimizer.minimize(seed=i, max_iter=3, verbose=False)

    run(3)
    compiled, objects, memory = count_graphs(), len(gc.get_objects()), resident_memory()
    run(rounds)
    assert resident_memory() - memory < 12e6
    assert count_graphs() <= compiled
    assert len(gc.get_objects()) - objects < 100
    assert contents(model) == before


def test_checkpoints_leave_nothing_behind(tmp_path):
    model = make_model()
    before = contents(model)
    for i in range(3):
        activation(model, 0, checkpoint=tmp_path / f"{i}.npz", checkpoint_every=2)
        if i == 0:
            compiled = count_graphs()
    assert count_graphs() <= compiled
    assert contents(model) == before


def test_keras_optimizers_leave_no_graphs_behind(monkeypatch):
    """TensorFlow never frees a graph with gradients that are summed over replicas."""
    monkeypatch.setattr(engines, "_max_entries", 2)
    model = sequential((4,), layers.Dense(2))
    counts = []
    for i in range(4):
        optimizer = keras.optimizers.Adam(0.1 + 0.1 * i)
        visualize_activation(model, -1, 1, max_iter=2, seed=0, optimizer=optimizer)
        counts.append(count_graphs())
    assert counts[-1] <= counts[2]
