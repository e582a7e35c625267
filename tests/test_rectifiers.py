"""Guided and rectified backpropagation through each kind of rectifier."""

from __future__ import annotations

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from helpers import nodes, sequential
from keras import layers, ops

from vis import backprop_modifiers
from vis.visualization import Saliency

IMAGE = np.array([1.0, 1.0], "float32")
# One column per hidden unit. At IMAGE the units are 3, 1, -4, -2 and 8.
KERNEL = np.array([[1, 2, -1, 1, 4], [2, -1, -3, -3, 4]], "float32")
OUTPUT_KERNEL = np.array([[1], [-1], [1], [-1], [2]], "float32")


def two_layers(*rectifier, activation=None):
    model = sequential(
        (2,),
        layers.Dense(5, activation, use_bias=False),
        *rectifier,
        layers.Dense(1, use_bias=False),
    )
    model.layers[0].set_weights([KERNEL])
    model.layers[-1].set_weights([OUTPUT_KERNEL])
    return model


def from_operation(operation):
    x = inputs = keras.Input((2,))
    x = layers.Dense(5, use_bias=False)(x)
    outputs = layers.Dense(1, use_bias=False)(operation(x))
    model = keras.Model(inputs, outputs)
    model.layers[1].set_weights([KERNEL])
    model.layers[-1].set_weights([OUTPUT_KERNEL])
    return model


def gradient(model, modifier, image=IMAGE):
    return Saliency(backprop_modifier=modifier).attributions(model, image)[0].tolist()


# Expected gradients: the sum of column times output weight over the units that pass a gradient.
UNBOUNDED = {
    # Units 1, 2 and 5 are active: (1, 2) - (2, -1) + 2 (4, 4).
    None: [7.0, 11.0],
    # Of these, units 1 and 5 have a positive gradient: (1, 2) + 2 (4, 4).
    "guided": [9.0, 10.0],
    # Units 1, 3 and 5 have a positive gradient: (1, 2) + (-1, -3) + 2 (4, 4).
    "rectified": [8.0, 7.0],
}
# Unit 5 is above 6, where the gradient is zero.
AT_MOST_6 = {None: [-1.0, 3.0], "guided": [1.0, 2.0], "rectified": [8.0, 7.0]}
# Units 1 and 5 are above a threshold of 2, unit 2 is not.
ABOVE_2 = {None: [9.0, 10.0], "guided": [9.0, 10.0], "rectified": [8.0, 7.0]}

RECTIFIERS = {
    "activation='relu'": (lambda: two_layers(activation="relu"), UNBOUNDED),
    "activation='relu6'": (lambda: two_layers(activation="relu6"), AT_MOST_6),
    "activation=ReLU()": (lambda: two_layers(activation=layers.ReLU()), UNBOUNDED),
    "activation=ops.relu": (lambda: two_layers(activation=ops.relu), UNBOUNDED),
    "Activation": (lambda: two_layers(layers.Activation("relu")), UNBOUNDED),
    "Activation relu6": (lambda: two_layers(layers.Activation("relu6")), AT_MOST_6),
    "ReLU": (lambda: two_layers(layers.ReLU()), UNBOUNDED),
    "ReLU(6)": (lambda: two_layers(layers.ReLU(max_value=6)), AT_MOST_6),
    "ReLU(7.5)": (lambda: two_layers(layers.ReLU(max_value=7.5)), AT_MOST_6),
    "ReLU(threshold)": (lambda: two_layers(layers.ReLU(threshold=2)), ABOVE_2),
    "Lambda": (lambda: two_layers(layers.Lambda(ops.relu)), UNBOUNDED),
    "ops.relu": (lambda: from_operation(ops.relu), UNBOUNDED),
    "ops.relu6": (lambda: from_operation(ops.relu6), AT_MOST_6),
    "activations.relu": (lambda: from_operation(keras.activations.relu), UNBOUNDED),
    "activations.relu(max_value)": (
        lambda: from_operation(lambda x: keras.activations.relu(x, max_value=7)),
        AT_MOST_6,
    ),
    "nested": (
        lambda: sequential((2,), sequential((2,), two_layers(activation="relu"))),
        UNBOUNDED,
    ),
}


@pytest.mark.every(4)
@pytest.mark.parametrize("modifier", [None, "guided", "rectified"])
@pytest.mark.parametrize("rectifier", RECTIFIERS)
def test_two_layers(rectifier, modifier):
    build, expected = RECTIFIERS[rectifier]
    assert gradient(build(), modifier) == expected[modifier]


@pytest.mark.parametrize("other_name", ["relu", "deconv"])
def test_other_names_of_rectified(other_name):
    model = two_layers(activation="relu")
    assert gradient(model, other_name) == UNBOUNDED["rectified"]


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_two_rectifiers_in_sequence():
    # y = relu(relu(x) * -1 + 3) * 2 at x = 1: the gradient is positive at the outer rectifier and
    # negative at the inner one.
    model = sequential((1,), *(layers.Dense(1, "relu") for _ in range(2)), layers.Dense(1))
    for layer, (kernel, bias) in zip(model.layers, [(1, 0), (-1, 3), (2, 0)], strict=True):
        layer.set_weights([np.array([[kernel]]), np.array([bias])])
    assert gradient(model, None, np.ones(1)) == [-2.0]
    assert gradient(model, "guided", np.ones(1)) == [0.0]
    assert gradient(model, "rectified", np.ones(1)) == [0.0]


def test_wrappers_and_recurrent_cells():
    inner = sequential((4,), layers.Dense(6, "relu"), layers.Dense(3))
    for layer in (
        layers.TimeDistributed(inner),
        layers.Bidirectional(layers.SimpleRNN(6, activation="relu")),
        layers.RNN([layers.SimpleRNNCell(6, activation="relu"), layers.GRUCell(6)]),
    ):
        model = sequential((5, 4), layer, layers.Flatten(), layers.Dense(2))
        image = np.random.default_rng(0).normal(size=(5, 4))
        plain, guided = (
            Saliency(backprop_modifier=modifier).attributions(model, image, filter_indices=0)
            for modifier in (None, "guided")
        )
        assert np.abs(plain - guided).max() > 1e-3, layer


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (layers.LeakyReLU(), "LeakyReLU"),
        (layers.PReLU(), "PReLU"),
        (layers.ELU(), "ELU"),
        (layers.Activation("selu"), "selu"),
        (layers.Activation("swish"), "silu"),
        (layers.Activation("gelu"), "gelu"),
        (layers.ReLU(negative_slope=0.1), "ReLU with a negative slope"),
    ],
)
def test_other_activations_keep_their_gradient_with_one_warning(layer, name):
    model = two_layers(layer)
    with pytest.warns(UserWarning, match=name) as caught:
        guided = gradient(model, "guided")
    assert len(caught) == 1
    assert guided == gradient(model, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient(model, "guided")


def test_model_without_rectifiers_warns():
    with pytest.warns(UserWarning, match="changes nothing"):
        backprop_modifiers.guided(two_layers(activation="tanh"))


def test_copy_shares_weights():
    model = two_layers(layers.BatchNormalization(), layers.ReLU(6.0))
    before = nodes(model)
    guided = backprop_modifiers.guided(model)
    assert isinstance(guided, keras.Sequential)
    assert [layer.name for layer in guided.layers] == [layer.name for layer in model.layers]
    assert all(a is b for a, b in zip(guided.variables, model.variables, strict=True))
    image = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    np.testing.assert_array_equal(guided.predict(image, verbose=0), model.predict(image, verbose=0))
    assert backprop_modifiers.guided(model) is guided
    assert nodes(model) == before
    model.layers[0].set_weights([KERNEL * 2])
    np.testing.assert_array_equal(guided(image), model(image))


def test_copy_lives_no_longer_than_its_model():
    model = two_layers(activation="relu")
    gradient(model, "guided")
    references = [weakref.ref(model), weakref.ref(backprop_modifiers.guided(model))]
    del model
    gc.collect()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_copy_can_be_saved(tmp_path):
    model = two_layers(layers.ReLU(6.0))
    guided = backprop_modifiers.guided(model)
    guided.save(tmp_path / "guided.keras")
    loaded = keras.models.load_model(tmp_path / "guided.keras")
    assert gradient(loaded, None) == AT_MOST_6["guided"]
