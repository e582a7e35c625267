"""Links between channels, compared with finite differences."""

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers

from vis.atlas.links import contributions, direct_predecessors
from vis.backend.graph import Graph

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(5, 8, 8, 2)).astype("float32")


class Gain(layers.Layer):
    """Multiplies each channel by a gain, which tests vary."""

    def build(self, shape):
        self.gains = self.add_weight(shape=(shape[-1],), initializer="ones", name="gains")

    def call(self, inputs):
        return inputs * self.gains


def slopes(gain, output, images=IMAGES, step=2e-2):
    """Derivatives of the scores with respect to the gains, by finite differences.

    `output` is a function from images to an array `(images, positions..., channels)`.
    """
    count = gain.gains.shape[0]
    columns = []
    for channel in range(count):
        ends = []
        for sign in (1, -1):
            gain.gains.assign(np.where(np.arange(count) == channel, 1 + sign * step, 1.0))
            values = np.asarray(output(images), "float64")
            ends.append(values.reshape(len(values), -1, values.shape[-1]).mean(axis=(0, 1)))
        columns.append((ends[0] - ends[1]) / (2 * step))
    gain.gains.assign(np.ones(count))
    return np.stack(columns, axis=1)


def output_of(model, layer):
    inner = keras.Model(model.inputs, model.get_layer(layer).output)
    return lambda images: keras.ops.convert_to_numpy(inner([images]))


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
    ("build", "layer", "earlier"),
    [
        (chain, "second", ["first"]),
        (chain, "logits", ["first", "second"]),
        (branches, "last", ["left", "right", "first"]),
        (branches, "left", ["first"]),
        (branches, "both", ["right", "first"]),
    ],
)
def test_links_are_derivatives(build, layer, earlier):
    model = build()
    links = contributions(model, layer, None, earlier, [None] * len(earlier), IMAGES)
    for name, actual in zip(earlier, links, strict=True):
        expected = slopes(model.get_layer(f"{name}_gain"), output_of(model, layer))
        assert actual.shape == expected.shape
        assert actual.dtype == "float32"
        np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=2e-4)


def test_some_channels():
    model = branches()
    all_ = contributions(model, "last", None, ["left", "first"], [None, None], IMAGES)
    some = contributions(model, "last", [1], ["left", "first"], [[3, 0], 2], IMAGES)
    np.testing.assert_array_equal(some[0], all_[0][[1]][:, [3, 0]])
    np.testing.assert_array_equal(some[1], all_[1][[1]][:, [2]])


@pytest.mark.parametrize("softmax", ["activation", "layer"])
def test_links_of_classes_are_computed_before_the_softmax(softmax):
    model = chain()
    ends = [layers.Dense(5, activation="softmax", name="classes")]
    if softmax == "layer":
        ends = [layers.Dense(5, name="dense"), layers.Softmax(name="classes")]
    classifier = sequential((8, 8, 2), *model.layers[:-1], *ends)
    classifier(IMAGES)
    classifier.get_layer(ends[0].name).set_weights(model.layers[-1].get_weights())
    expected = contributions(model, "logits", None, ["first"], [None], IMAGES)
    actual = contributions(classifier, "classes", None, ["first"], [None], IMAGES)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-4, atol=1e-6)


def test_a_softmax_of_an_earlier_layer_is_kept():
    model = sequential(
        (8, 8, 2),
        layers.Conv2D(3, 3, activation="softmax", name="shares"),
        Gain(name="gain"),
        layers.Conv2D(2, 3, activation="tanh", name="last"),
    )
    (actual,) = contributions(model, "last", None, ["shares"], [None], IMAGES)
    expected = slopes(model.get_layer("gain"), output_of(model, "last"))
    np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=2e-4)


def test_nested_models():
    base = chain()
    inner = keras.Model(base.inputs, base.get_layer("second_gain").output, name="base")
    model = sequential(
        (8, 8, 2), inner, layers.Conv2D(3, 2, activation="tanh", name="outer"), layers.Flatten()
    )
    earlier = ["base/first", "base/second"]
    links = contributions(model, "outer", None, earlier, [None, None], IMAGES)
    outer = model.get_layer("outer")
    for actual, name in zip(links, ("first_gain", "second_gain"), strict=True):
        expected = slopes(inner.get_layer(name), lambda x: outer(inner([x])))
        np.testing.assert_allclose(actual, expected, rtol=1e-2, atol=2e-4)
    (inside,) = contributions(model, "base/second", None, earlier[:1], [None], IMAGES)
    alone = contributions(base, "second", None, ["first"], [None], IMAGES)
    np.testing.assert_allclose(inside, alone[0], rtol=1e-4, atol=1e-6)


def test_channels_first_equals_channels_last():
    kinds = [(3, "tanh"), (5, "gelu")]
    last = sequential((8, 8, 2), *(layers.Conv2D(n, 3, activation=a) for n, a in kinds))
    first = sequential(
        (2, 8, 8),
        *(layers.Conv2D(n, 3, activation=a, data_format="channels_first") for n, a in kinds),
    )
    first.set_weights(last.get_weights())
    (actual,) = contributions(first, 1, None, [0], [None], np.moveaxis(IMAGES, -1, 1))
    (expected,) = contributions(last, 1, None, [0], [None], IMAGES)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_links_do_not_depend_on_the_batch_size(size):
    arguments = (branches(), "last", None, ["left", "first"], [None, None], IMAGES)
    for default, other in zip(
        contributions(*arguments), contributions(*arguments, batch_size=size), strict=True
    ):
        np.testing.assert_array_equal(default, other)


def test_whole_batches_as_on_a_gpu(monkeypatch):
    """The code path of GPUs, with the kernels of this machine."""
    model, other = branches(), branches()
    other.set_weights(model.get_weights())
    arguments = ("last", [1, 0], ["left", "first"], [None, [2]], IMAGES)
    expected = contributions(model, *arguments)
    monkeypatch.setattr("vis.backend.device.has_gpu", lambda: True)
    for actual, value in zip(contributions(other, *arguments), expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-6)


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
    (actual,), (expected,) = contributions(half, *arguments), contributions(model, *arguments)
    assert actual.dtype == "float32"
    np.testing.assert_allclose(actual, expected, rtol=2e-2, atol=2e-3)


def test_one_image_for_each_channel():
    model = chain()
    channels = [4, 0, 2]
    own = contributions(model, "logits", channels, ["first"], [None], IMAGES[:3], own_images=True)
    for row, channel, image in zip(own[0], channels, IMAGES, strict=False):
        (expected,) = contributions(model, "logits", channel, ["first"], [None], image)
        np.testing.assert_array_equal(row, expected[0])


def test_images_of_another_size():
    model = chain()
    images = RNG.normal(size=(2, 11, 12, 2)).astype("float32")
    (actual,) = contributions(model, "second", None, ["first"], [None], images)
    larger = keras.models.clone_model(
        keras.Model(model.inputs, model.get_layer("second").output),
        input_tensors=[keras.Input((11, 12, 2))],
    )
    larger.set_weights([w for layer in model.layers[:3] for w in layer.get_weights()])
    (expected,) = contributions(larger, "second", None, ["first"], [None], images)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"`images` must be of shape \(8, 8, 2\)"):
        contributions(model, "logits", None, ["first"], [None], images)


def test_one_trace_for_all_channels():
    traced = []

    class Traced(layers.Dense):
        def call(self, inputs, training=None):
            traced.append(self.name)
            return super().call(inputs)

    model = sequential((3,), Traced(4, name="a"), Traced(5, name="b"))
    values = RNG.normal(size=(4, 3)).astype("float32")
    contributions(model, "b", 0, ["a"], [[0, 1]], values)
    traced.clear()
    for channel in ([1], [2, 3], range(5)):
        contributions(model, "b", channel, ["a"], [[2]], values[: len(channel)])
    assert not traced


def test_direct_predecessors():
    model = branches()
    graph = Graph.of(model)

    def predecessors(*names):
        return direct_predecessors(graph, [graph.find(name) for name in names])

    assert predecessors("first", "left", "right", "both", "last") == [[], [0], [0], [1, 2], [3]]
    assert predecessors("last", "first", "left") == [[2], [], [1]]
    assert predecessors("left", "right") == [[], []]
    assert predecessors("last") == [[]]


def test_direct_predecessors_in_nested_models():
    base = chain()
    inner = keras.Model(base.inputs, base.get_layer("second").output, name="base")
    model = sequential((8, 8, 2), inner, layers.Conv2D(3, 2, name="outer"))
    graph = Graph.of(model)
    targets = [graph.find(name) for name in ("base/first", "base/second", "outer")]
    assert direct_predecessors(graph, targets) == [[], [0], [1]]


def ends_in_argmax():
    inputs = keras.Input((4,))
    first = layers.Dense(3, name="first")(inputs)
    one_hot = keras.ops.one_hot(keras.ops.argmax(first, axis=-1), 3)
    return keras.Model(inputs, layers.Dense(2, name="last")(one_hot))


def call(
    model=None,
    layer="second",
    channels=None,
    earlier=("first",),
    earlier_channels=(None,),
    **kwargs,
):
    images = kwargs.pop("images", IMAGES)
    model = model or chain()
    return contributions(model, layer, channels, earlier, earlier_channels, images, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"model": "model"}, TypeError, "`model` must be"),
        ({"layer": "secnod"}, ValueError, "did you mean 'second'"),
        ({"layer": 99}, ValueError, "out of range"),
        ({"earlier": ["fist"]}, ValueError, "did you mean 'first'"),
        ({"earlier_channels": [9]}, ValueError, "`channels` is out of range"),
        ({"channels": 4}, ValueError, "`channels` is out of range"),
        ({"channels": []}, ValueError, "`channels` must hold at least one"),
        ({"channels": "a"}, TypeError, "`channels` must be an integer"),
        ({"images": IMAGES[:0]}, ValueError, "`images` must hold at least one image"),
        ({"images": IMAGES[..., :1]}, ValueError, "`images` must be of shape"),
        ({"images": np.where(IMAGES > 0, np.nan, 0)}, ValueError, "`images` must be finite"),
        ({"images": "text"}, TypeError, "`images` must be an array of numbers"),
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
    """Its own gradient kernel loops over channels."""
    model = sequential(
        (96, 96, 16),
        layers.Conv2D(16, 1, name="earlier"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2D(2, 1, name="later"),
    )
    images = np.random.default_rng(0).normal(size=(1, 96, 96, 16)).astype("float32")
    (links,) = contributions(model, "later", [0, 1], ["earlier"], [list(range(16))], images)
    # All layers in between are linear, so contributions add up to the score without its bias.
    bias = keras.ops.convert_to_numpy(model(images * 0)).mean(axis=(0, 1, 2))
    score = keras.ops.convert_to_numpy(model(images)).mean(axis=(0, 1, 2))
    assert keras.ops.convert_to_numpy(model.layers[0](images * 0)).mean() == 0
    np.testing.assert_allclose(links.sum(axis=1), score - bias, rtol=1e-3, atol=1e-5)
