"""Links between channels, against finite differences of the network itself."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers

from vis.atlas.links import contributions, directly_before
from vis.backend.graph import Graph
from vis.utils.utils import LayerOutput

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(5, 8, 8, 2)).astype("float32")


class Gain(layers.Layer):
    """Passes on what it is given, with a gain for each channel that a test turns a little."""

    def build(self, shape):
        self.gains = self.add_weight(shape=(shape[-1],), initializer="ones", name="gains")

    def call(self, inputs):
        return inputs * self.gains


def measured(model, gain, output, images=IMAGES, step=2e-2):
    """What channels owe to those that a gain multiplies: how scores change with the gain.

    `output` makes `(images, places..., channels)` of the images.
    """
    count = gain.gains.shape[0]
    columns = []
    for channel in range(count):
        ends = []
        for sign in (1, -1):
            gain.gains.assign(np.where(np.arange(count) == channel, 1 + sign * step, 1.0))
            found = np.asarray(output(images), "float64")
            ends.append(found.reshape(len(found), -1, found.shape[-1]).mean(axis=(0, 1)))
        columns.append((ends[0] - ends[1]) / (2 * step))
    gain.gains.assign(np.ones(count))
    return np.stack(columns, axis=1)


def output_of(model, layer):
    inner = keras.Model(model.inputs, model.get_layer(layer).output)
    return lambda images: inner.predict(images, verbose=0)


def chain():
    return sequential(
        (8, 8, 2),
        layers.Conv2D(3, 3, activation="tanh", name="first"),
        Gain(name="first_gain"),
        layers.Conv2D(4, 3, strides=2, activation="gelu", name="second"),
        Gain(name="second_gain"),
        layers.Flatten(),
        layers.Dense(5, name="logits"),
    )


def branches():
    inputs = keras.Input((8, 8, 2))
    first = layers.Conv2D(3, 3, padding="same", activation="tanh", name="first")(inputs)
    gained = Gain(name="first_gain")(first)
    left = layers.Conv2D(4, 3, padding="same", activation="gelu", name="left")(gained)
    right = layers.Conv2D(4, 1, activation="tanh", name="right")(gained)
    both = layers.Multiply(name="both")(
        [Gain(name="left_gain")(left), Gain(name="right_gain")(right)]
    )
    last = layers.Conv2D(2, 3, name="last")(layers.Concatenate()([both, gained]))
    return keras.Model(inputs, last)


@pytest.mark.parametrize(
    ("make", "layer", "before"),
    [
        (chain, "second", ["first"]),
        (chain, "logits", ["first", "second"]),
        (branches, "last", ["left", "right", "first"]),
        (branches, "left", ["first"]),
        (branches, "both", ["right", "first"]),
    ],
)
def test_against_finite_differences(make, layer, before):
    model = make()
    found = contributions(model, layer, None, before, [None] * len(before), IMAGES)
    for name, of_layer in zip(before, found, strict=True):
        gain = model.get_layer(f"{name}_gain")
        expected = measured(model, gain, output_of(model, layer))
        assert of_layer.shape == expected.shape
        assert of_layer.dtype == "float32"
        np.testing.assert_allclose(of_layer, expected, rtol=1e-2, atol=2e-4)


def test_some_channels_are_those_of_all():
    model = branches()
    whole = contributions(model, "last", None, ["left", "first"], [None, None], IMAGES)
    some = contributions(model, "last", [1], ["left", "first"], [[3, 0], 2], IMAGES)
    np.testing.assert_array_equal(some[0], whole[0][[1]][:, [3, 0]])
    np.testing.assert_array_equal(some[1], whole[1][[1]][:, [2]])


@pytest.mark.parametrize("softmax", ["activation", "layer"])
def test_classes_are_looked_at_before_their_softmax(softmax):
    model = chain()
    ends = [layers.Dense(5, activation="softmax", name="classes")]
    if softmax == "layer":
        ends = [layers.Dense(5, name="dense"), layers.Softmax(name="classes")]
    behind = sequential((8, 8, 2), *model.layers[:-1], *ends)
    behind(IMAGES)
    behind.get_layer(ends[0].name).set_weights(model.layers[-1].get_weights())
    expected = contributions(model, "logits", None, ["first"], [None], IMAGES)
    found = contributions(behind, "classes", None, ["first"], [None], IMAGES)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-6)


def test_a_softmax_before_them_does_its_work():
    model = sequential(
        (8, 8, 2),
        layers.Conv2D(3, 3, activation="softmax", name="shares"),
        Gain(name="gain"),
        layers.Conv2D(2, 3, activation="tanh", name="last"),
    )
    (found,) = contributions(model, "last", None, ["shares"], [None], IMAGES)
    expected = measured(model, model.get_layer("gain"), output_of(model, "last"))
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=2e-4)


def test_into_nested_models_and_out_of_them():
    base = chain()
    inner = keras.Model(base.inputs, base.get_layer("second_gain").output, name="base")
    model = sequential(
        (8, 8, 2), inner, layers.Conv2D(3, 2, activation="tanh", name="behind"), layers.Flatten()
    )
    before = ["base/first", "base/second"]
    found = contributions(model, "behind", None, before, [None, None], IMAGES)
    behind = model.get_layer("behind")
    for of_layer, name in zip(found, ("first_gain", "second_gain"), strict=True):
        expected = measured(model, inner.get_layer(name), lambda x: behind(inner([x])))
        np.testing.assert_allclose(of_layer, expected, rtol=1e-2, atol=2e-4)
    (inside,) = contributions(model, "base/second", None, before[:1], [None], IMAGES)
    alone = contributions(base, "second", None, ["first"], [None], IMAGES)
    np.testing.assert_allclose(inside, alone[0], rtol=1e-4, atol=1e-6)


def test_channels_first_is_as_channels_last():
    kinds = [(3, "tanh"), (5, "gelu")]
    last = sequential((8, 8, 2), *(layers.Conv2D(n, 3, activation=a) for n, a in kinds))
    first = sequential(
        (2, 8, 8),
        *(layers.Conv2D(n, 3, activation=a, data_format="channels_first") for n, a in kinds),
    )
    first.set_weights(last.get_weights())
    (found,) = contributions(first, 1, None, [0], [None], np.moveaxis(IMAGES, -1, 1))
    (expected,) = contributions(last, 1, None, [0], [None], IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_the_numbers_do_not_depend_on_the_batches(size):
    arguments = (branches(), "last", None, ["left", "first"], [None, None], IMAGES)
    for found, again in zip(
        contributions(*arguments), contributions(*arguments, batch_size=size), strict=True
    ):
        np.testing.assert_array_equal(found, again)


def test_whole_batches_as_on_a_gpu_tell_the_same(monkeypatch):
    """The way that they take there; the kernels are those of the machine at hand."""
    model, other = branches(), branches()
    other.set_weights(model.get_weights())
    arguments = ("last", [1, 0], ["left", "first"], [None, [2]], IMAGES)
    expected = contributions(model, *arguments)
    monkeypatch.setattr("vis.backend.device.has_gpu", lambda: True)
    for found, one in zip(contributions(other, *arguments), expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-4, atol=1e-6)


def test_in_half_precision():
    model = chain()
    policy = keras.DTypePolicy("mixed_float16")
    half = sequential(
        (8, 8, 2),
        layers.Conv2D(3, 3, activation="tanh", dtype=policy, name="first"),
        layers.Conv2D(4, 3, strides=2, activation="gelu", dtype=policy, name="second"),
    )
    for name in ("first", "second"):
        half.get_layer(name).set_weights(model.get_layer(name).get_weights())
    arguments = ("second", None, ["first"], [None], IMAGES)
    (found,), (expected,) = contributions(half, *arguments), contributions(model, *arguments)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)


def test_channels_in_images_of_their_own():
    model = chain()
    wanted = [4, 0, 2]
    own = contributions(model, "logits", wanted, ["first"], [None], IMAGES[:3], own_images=True)
    for row, channel, image in zip(own[0], wanted, IMAGES, strict=False):
        (one,) = contributions(model, "logits", channel, ["first"], [None], image)
        np.testing.assert_array_equal(row, one[0])


def test_images_of_another_size_where_the_model_takes_them():
    model = chain()
    images = RNG.normal(size=(2, 11, 12, 2)).astype("float32")
    (found,) = contributions(model, "second", None, ["first"], [None], images)
    larger = keras.models.clone_model(
        keras.Model(model.inputs, model.get_layer("second").output),
        input_tensors=[keras.Input((11, 12, 2))],
    )
    larger.set_weights([w for layer in model.layers[:3] for w in layer.get_weights()])
    (expected,) = contributions(larger, "second", None, ["first"], [None], images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"`images` must be of shape \(8, 8, 2\)"):
        contributions(model, "logits", None, ["first"], [None], images)


def test_one_trace_serves_all_channels():
    """Whatever the channels, the network is traced once."""
    traced = []

    class Watched(layers.Dense):
        def call(self, inputs, training=None):
            traced.append(self.name)
            return super().call(inputs)

    model = sequential((3,), Watched(4, name="a"), Watched(5, name="b"))
    values = RNG.normal(size=(4, 3)).astype("float32")
    contributions(model, "b", 0, ["a"], [[0, 1]], values)
    traced.clear()
    for channel in ([1], [2, 3], range(5)):
        contributions(model, "b", channel, ["a"], [[2]], values[: len(channel)])
    assert not traced


def test_other_inputs_are_given_values():
    image, gain = keras.Input((8, 8, 2), name="image"), keras.Input((3,), name="gain")
    maps = layers.Conv2D(3, 3, name="conv")(image)
    scaled = layers.Multiply(name="scaled")([maps, layers.Reshape((1, 1, 3))(gain)])
    model = keras.Model([image, gain], layers.Conv2D(2, 3, name="last")(scaled))
    gains = np.array([2.0, -1.0, 0.5])
    found = [
        contributions(model, "last", None, [name], [None], IMAGES, fixed_inputs={"gain": gains})[0]
        for name in ("conv", "scaled")
    ]
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_direct_predecessors():
    model = branches()
    graph = Graph.of(model)

    def before(*names):
        return directly_before(graph, [graph.find(name) for name in names])

    assert before("first", "left", "right", "both", "last") == [[], [0], [0], [1, 2], [3]]
    assert before("last", "first", "left") == [[2], [], [1]]
    assert before("left", "right") == [[], []]
    assert before("last") == [[]]


def test_direct_predecessors_in_nested_models():
    base = chain()
    inner = keras.Model(base.inputs, base.get_layer("second").output, name="base")
    model = sequential((8, 8, 2), inner, layers.Conv2D(3, 2, name="behind"))
    graph = Graph.of(model)
    targets = [graph.find(name) for name in ("base/first", "base/second", "behind")]
    assert directly_before(graph, targets) == [[], [0], [1]]


def ends_in_argmax():
    inputs = keras.Input((4,))
    first = layers.Dense(3, name="first")(inputs)
    chosen = keras.ops.one_hot(keras.ops.argmax(first, axis=-1), 3)
    return keras.Model(inputs, layers.Dense(2, name="last")(chosen))


def call(model=None, layer="second", channels=None, before=("first",), each=(None,), **kwargs):
    images = kwargs.pop("images", IMAGES)
    return contributions(model or chain(), layer, channels, before, each, images, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"model": "model"}, TypeError, "`model` must be"),
        ({"layer": "secnod"}, ValueError, "did you mean 'second'"),
        ({"layer": 99}, ValueError, "`layer` is out of range"),
        ({"before": ["fist"]}, ValueError, "did you mean 'first'"),
        ({"before": "first"}, TypeError, "`before` must be a list"),
        ({"before": [], "each": []}, TypeError, "`before` must be a list"),
        ({"before": ["logits"]}, ValueError, "`before` must hold layers that the output of"),
        ({"before": ["second"]}, ValueError, "`before` must hold layers that the output of"),
        ({"before": [LayerOutput("second")]}, ValueError, "`before` must hold layers that"),
        ({"each": 3}, TypeError, "`before_channels` must be a list"),
        ({"each": [None, None]}, ValueError, "`before_channels` must have the channels of each"),
        ({"each": [9]}, ValueError, "`before_channels` is out of range"),
        ({"channels": 4}, ValueError, "`channels` is out of range"),
        ({"channels": []}, ValueError, "`channels` must hold at least one"),
        ({"channels": "a"}, TypeError, "`channels` must be an integer"),
        ({"images": IMAGES[:0]}, ValueError, "`images` must hold at least one image"),
        ({"images": IMAGES[..., :1]}, ValueError, "`images` must be of shape"),
        ({"images": np.where(IMAGES > 0, np.nan, 0)}, ValueError, "`images` must be finite"),
        ({"images": "text"}, TypeError, "`images` must be an array of numbers"),
        ({"own_images": True}, ValueError, "one image for each of the 4 channels"),
        ({"own_images": "yes"}, TypeError, "`own_images` must be True or False"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"fixed_inputs": [IMAGES]}, ValueError, "`fixed_inputs` must"),
        (
            {"model": ends_in_argmax(), "layer": "last", "images": np.ones((2, 4))},
            ValueError,
            "No gradient flows from layer 'last' back to 'first'",
        ),
    ],
)
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        call(**kwargs)


def test_a_large_depthwise_convolution_in_between():
    """Its kernel has a gradient of its own, here in a loop over channels."""
    model = sequential(
        (96, 96, 16),
        layers.Conv2D(16, 1, name="before"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2D(2, 1, name="behind"),
    )
    images = np.random.default_rng(0).normal(size=(1, 96, 96, 16)).astype("float32")
    (found,) = contributions(model, "behind", [0, 1], ["before"], [list(range(16))], images)
    # All in between is linear, so that the parts are the whole but for the constants.
    zero = keras.ops.convert_to_numpy(model(images * 0)).mean(axis=(0, 1, 2))
    whole = keras.ops.convert_to_numpy(model(images)).mean(axis=(0, 1, 2))
    before = keras.ops.convert_to_numpy(model.layers[0](images * 0)).mean()
    assert before == 0
    np.testing.assert_allclose(found.sum(axis=1), whole - zero, rtol=1e-3, atol=1e-5)
