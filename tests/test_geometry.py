"""Geometry: where positions of a layer lie in the image, compared with gradients and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers, ops

from vis.backend.graph import Graph, ModelInputs, geometry_of, spatial_axes
from vis.visualization import GradCAM, Saliency, top_activating_images, visualize_cam

pytestmark = pytest.mark.versions

RNG = np.random.default_rng(0)


def geometry(model, layer, shape):
    graph = Graph.of(model)
    inputs = ModelInputs.with_zeros(graph, graph.inputs[0])
    return geometry_of(inputs, graph.find(layer), shape)


def dependencies(model, layer, shape, position):
    """The range of pixels along each axis with a gradient from one position, by brute force."""
    images = tf.constant(RNG.uniform(0.5, 1.5, (8, *shape)).astype("float32"))
    features = keras.Model(model.inputs, model.get_layer(layer).output)
    with tf.GradientTape() as tape:
        tape.watch(images)
        values = features(images)[(slice(None), *position)]
    mask = (np.abs(tape.gradient(values, images).numpy()) > 0).any(axis=(0, -1))
    return [(int(i.min()), int(i.max())) for i in np.nonzero(mask)]


STACKS = {
    "strides": [layers.Conv2D(3, 3, strides=2, padding="same"), layers.MaxPooling2D(2)],
    "valid": [layers.Conv2D(3, 5), layers.AveragePooling2D(2), layers.Conv2D(2, 3)],
    "dilated": [layers.Conv2D(3, 3, dilation_rate=2, padding="same"), layers.DepthwiseConv2D(3)],
    "cropped": [layers.Cropping2D(((6, 0), (0, 4))), layers.Conv2D(3, 3, strides=2)],
    "padded": [layers.ZeroPadding2D(((4, 0), (1, 2))), layers.SeparableConv2D(3, 3)],
    "enlarged": [layers.Conv2D(3, 3, strides=4, padding="same"), layers.UpSampling2D(2)],
    "transposed": [layers.Conv2D(3, 4, strides=2), layers.Conv2DTranspose(2, 3, strides=2)],
}


@pytest.mark.parametrize("name", STACKS)
def test_receptive_fields_contain_all_pixels_with_a_gradient(name):
    stack = [layers.Activation("linear")]
    stack += [type(x).from_config(x.get_config()) for x in STACKS[name]]
    model = sequential((24, 20, 2), *stack)
    for weight in model.weights:
        weight.assign(np.abs(weight.numpy()) + 0.1)
    last = model.layers[-1].name
    found = geometry(model, last, (24, 20, 2))
    sizes = model.outputs[0].shape[1:-1]
    assert found.shape == tuple(model.outputs[0].shape[1:])
    assert found.channel_axis == 3
    for position in [tuple(size // 2 for size in sizes), tuple(size // 3 for size in sizes)]:
        for axis, (low, high) in enumerate(dependencies(model, last, (24, 20, 2), position)):
            span = found.axes[axis].span
            assert span.axis == axis + 1
            centre = span.offset + span.stride * position[axis]
            assert centre - span.reach - 1e-6 <= low <= high <= centre + span.reach + 1e-6
            # Not much wider than what the network sees.
            assert 2 * span.reach <= high - low + 2 * abs(span.stride) + 2


class Opaque(layers.Layer):
    """A custom layer with a stride of two, of which no rule exists."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(3, 3, strides=2, padding="same", name="inner")

    def call(self, inputs):
        return self.conv(inputs)


def test_custom_layers_are_measured():
    model = sequential((24, 24, 2), Opaque(name="opaque"))
    rows, columns, channels = geometry(model, "opaque", (24, 24, 2)).axes
    for axis, number in ((rows, 1), (columns, 2)):
        assert axis.span.axis == number
        assert axis.span.stride == pytest.approx(2, abs=0.01)
        assert axis.span.offset == pytest.approx(1, abs=0.05)
    assert channels.is_channels
    assert not channels.spans


def test_a_layer_of_an_unknown_kind_is_measured_once():
    opaque = Opaque(name="opaque")
    model = sequential((16, 16, 2), opaque, layers.Conv2D(2, 3), layers.Conv2D(2, 1, name="last"))
    calls = []
    plain = opaque.call
    opaque.call = lambda inputs: calls.append(1) or plain(inputs)
    fields = [geometry(model, name, (16, 16, 2)) for name in ("opaque", "last", "last")]
    assert [field.axes[0].span.reach for field in fields] == pytest.approx([1, 3, 3])
    assert len(calls) == 1


def test_axes_are_followed_through_permutations_and_reshapes():
    model = sequential(
        (6, 8, 3),
        layers.Conv2D(4, 3, padding="same"),
        layers.Reshape((48, 4)),
        layers.Permute((2, 1), name="turned"),
        layers.Softmax(axis=1, name="classes"),
    )
    channels, positions = geometry(model, "classes", (6, 8, 3)).axes
    assert channels.is_channels
    assert [(s.axis, s.length, s.stride) for s in positions.spans] == [(1, 6, 1.0), (2, 8, 1.0)]


def test_class_tokens_have_no_place_in_the_image():
    class ClassToken(layers.Layer):
        def call(self, tokens):
            return ops.zeros_like(tokens[:, :1])

    inputs = keras.Input((12, 12, 3))
    patches = layers.Reshape((9, 5))(layers.Conv2D(5, 4, 4)(inputs))
    tokens = layers.Concatenate(axis=1, name="tokens")([ClassToken()(patches), patches])
    model = keras.Model(inputs, tokens)
    positions, channels = geometry(model, "tokens", (12, 12, 3)).axes
    assert (positions.start, positions.size) == (1, 10)
    assert [(s.axis, s.length, s.offset, s.stride) for s in positions.spans] == [
        (1, 3, 1.5, 4.0),
        (2, 3, 1.5, 4.0),
    ]
    assert channels.is_channels


@pytest.mark.parametrize(
    ("shape", "first", "expected"),
    [
        ((3, 24, 40), layers.Permute((2, 3, 1)), (2, 3)),
        ((28, 28), layers.Reshape((28, 28, 1)), (1, 2)),
        ((5, 60), layers.Permute((2, 1)), (2,)),
        ((784,), layers.Reshape((28, 28, 1)), ()),
        ((24, 40, 3), layers.Activation("relu"), (1, 2)),
    ],
    ids=["permute", "gray", "series", "flat", "plain"],
)
def test_spatial_axes_of_inputs(shape, first, expected):
    kind = layers.Conv1D if shape == (5, 60) else layers.Conv2D
    model = sequential(shape, first, kind(2, 3), layers.Flatten(), layers.Dense(2))
    assert spatial_axes(model.inputs[0]) == expected
    image = RNG.normal(size=shape).astype("float32")
    sizes = tuple(shape[axis - 1] for axis in expected) or shape
    assert Saliency()(model, image, -1, 1).shape == sizes


def test_maps_lie_where_a_cropped_network_looks():
    """The map of a single bright spot has its centre there, and is 0 in the part cut off."""
    model = sequential(
        (40, 40, 1),
        layers.Cropping2D(((20, 0), (0, 0))),
        layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones"),
        layers.Lambda(ops.square),
        layers.GlobalAveragePooling2D(),
        layers.Dense(1, use_bias=False, kernel_initializer="ones"),
    )
    image = np.zeros((40, 40, 1), "float32")
    image[30:34, 18:22] = 1
    heat = visualize_cam(model, -1, 0, image)
    rows, columns = (heat.sum(axis=axis) @ np.arange(40) / heat.sum() for axis in (1, 0))
    assert rows == pytest.approx(31.5, abs=0.5)
    assert columns == pytest.approx(19.5, abs=0.5)
    image[20:24, 18:22] = 1
    assert visualize_cam(model, -1, 0, image)[:20].max() == 0


def test_mirrored_features_are_mirrored_back():
    inputs = keras.Input((12, 16, 1))
    maps = layers.Conv2D(2, 3, padding="same", activation="relu")
    outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(maps(ops.flip(inputs, 2))))
    model = keras.Model(inputs, outputs)
    image = RNG.uniform(size=(12, 16, 1)).astype("float32")
    plain = keras.Input((12, 16, 1))
    same = keras.Model(plain, model.layers[-1](layers.GlobalAveragePooling2D()(maps(plain))))
    expected = GradCAM()(same, image[:, ::-1], -1, 1)[:, ::-1]
    np.testing.assert_allclose(GradCAM()(model, image, -1, 1), expected, atol=1e-5)


def test_crops_of_a_network_that_sees_a_part_of_the_image():
    model = sequential(
        (16, 16, 1), layers.Cropping2D(((8, 0), (0, 0))), layers.Conv2D(2, 3, name="conv")
    )
    images = RNG.uniform(size=(5, 16, 16, 1)).astype("float32")
    found = top_activating_images(model, images, "conv", count=1, progress=False)["conv"]
    features = model.predict(images, verbose=0)
    for channel in range(2):
        image, row, column = np.unravel_index(features[..., channel].argmax(), features.shape[:-1])
        assert found.indices[channel, 0] == image
        crop = images[image, 8 + row : 11 + row, column : column + 3]
        np.testing.assert_array_equal(found.crop(channel, 0), crop)
