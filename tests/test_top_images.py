"""The strongest images of channels, against a plain calculation and from all kinds of data."""

from __future__ import annotations

import itertools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import channels_last, sequential
from keras import layers
from PIL import Image

from vis.utils.utils import LayerOutput
from vis.visualization import top_activating_images

RNG = np.random.default_rng(0)
CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}


def find(model, images, wanted, *args, **kwargs):
    return top_activating_images(model, images, wanted, *args, progress=False, **kwargs)


def convolved(images, kernel, bias, stride, padding):
    """Images `(samples, sizes..., channels)` through a convolution, and how far it begins outside.

    Written as a sum over windows.
    """
    size, sizes = kernel.shape[0], images.shape[1:-1]
    begins = [0] * len(sizes)
    if padding == "same":
        missing = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in sizes]
        begins = [m // 2 for m in missing]
        around = [(b, m - b) for b, m in zip(begins, missing, strict=True)]
        images = np.pad(images, [(0, 0), *around, (0, 0)])
    out = [(n - size) // stride + 1 for n in images.shape[1:-1]]
    found = np.zeros((len(images), *out, kernel.shape[-1]))
    axes = list(range(len(out) + 1))
    for place in itertools.product(*map(range, out)):
        window = tuple(slice(i * stride, i * stride + size) for i in place)
        seen = images[(slice(None), *window)]
        found[(slice(None), *place)] = np.tensordot(seen, kernel, ([a + 1 for a in axes], axes))
    return found + bias, begins


def sampled(values, box, middle_of_first, stride, points=400):
    """A map over a box, cell by cell: the mean of what many points in the cell are nearest to."""
    ends = len(box) // 2
    values = (values - values.min()) / (values.max() - values.min())
    for low, high, first in zip(box[:ends], box[ends:], middle_of_first, strict=True):
        cells = min(max(round((high - low) / stride), 1), 16)
        edges = np.linspace(low, high, cells + 1)
        rows = []
        for begin, end in itertools.pairwise(edges):
            at = begin + (np.arange(points) + 0.5) / points * (end - begin)
            nearest = np.floor((at - first) / stride + 0.5).astype(int)
            inside = nearest[(nearest >= 0) & (nearest < len(values))]
            rows.append(values[inside].mean(axis=0) if len(inside) else 0 * values[0])
        # The axis comes back as the last, as there are as many rounds as axes.
        values = np.moveaxis(np.stack(rows), 0, -1)
    return values


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_against_a_plain_calculation(dimensions, data_format, stride, padding):
    sizes = (13, 10, 9)[:dimensions]
    shape = (2, *sizes) if data_format == "channels_first" else (*sizes, 2)
    kind = CONVOLUTIONS[dimensions]
    layer = kind(3, 3, strides=stride, padding=padding, data_format=data_format)
    model = sequential(shape, layer)
    layer.set_weights([layer.get_weights()[0], np.array([0.1, -0.2, 0.3], "float32")])
    images = RNG.normal(size=(12, *shape)).astype("float32")
    found = find(model, images, -1, count=5, batch_size=4).layers[0]

    last = channels_last(images, data_format)
    maps, begins = convolved(last, *layer.get_weights(), stride, padding)
    flat = maps.reshape(len(images), -1, 3)
    activations = flat.max(axis=1)
    np.testing.assert_allclose(found.activations, activations, atol=1e-5)
    order = np.argsort(-activations, axis=0)[:5].T
    np.testing.assert_array_equal(found.images, order)
    np.testing.assert_allclose(found.values, np.sort(activations, axis=0)[::-1][:5].T, atol=1e-5)
    for channel, rank in itertools.product(range(3), range(5)):
        image = order[channel, rank]
        values = maps[image, ..., channel]
        place = np.array(np.unravel_index(values.argmax(), values.shape))
        np.testing.assert_array_equal(found.places[channel, rank], place)
        low, high = place * stride - begins, place * stride - begins + 3
        box = [*np.maximum(low, 0), *np.minimum(high, sizes)]
        np.testing.assert_array_equal(found.boxes[channel, rank], box)
        heat = found.maps[channel][rank]
        middles = 1.5 - np.array(begins)
        np.testing.assert_allclose(heat, sampled(values, box, middles, stride), atol=0.01)
        assert 0 <= heat.min() <= heat.max() <= 1 + 1e-6


def test_a_large_map_is_made_smaller_by_averaging():
    inputs = keras.Input((32, 32, 1))
    maps = layers.Conv2D(1, 3, padding="same")(inputs)
    mean = layers.GlobalAveragePooling2D(keepdims=True)(maps)
    model = keras.Model(inputs, layers.Add(name="wide")([maps, mean]))
    images = RNG.uniform(size=(3, 32, 32, 1)).astype("float32")
    found = find(model, images, "wide", count=1).layers[0]
    heat, values = found.maps[0][0], model.predict(images, verbose=0)[found.images[0, 0], ..., 0]
    values = (values - values.min()) / np.ptp(values)
    assert found.boxes[0, 0].tolist() == [0, 0, 32, 32]
    np.testing.assert_allclose(heat, values.reshape(16, 2, 16, 2).mean(axis=(1, 3)), atol=1e-5)


def test_what_sees_all_is_a_box_of_the_whole_image():
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(2, 3, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="classes"),
    )
    images = RNG.normal(size=(6, 8, 8, 1)).astype("float32")
    found = find(model, images, "classes").layers[0]
    dense = model.layers[-1]
    features = keras.Model(model.inputs, dense.input).predict(images, verbose=0)
    logits = features @ dense.get_weights()[0] + dense.get_weights()[1]
    np.testing.assert_allclose(found.activations, logits, atol=1e-5)
    assert found.images.shape == (3, 6)
    assert found.places.shape == (3, 6, 0)
    assert (found.boxes == [0, 0, 8, 8]).all()
    assert found.sees == (8, 8)
    assert found.maps[0][0].shape == ()


def test_the_receptive_field_of_a_stack_has_its_offset_and_stride():
    """Behind valid convolutions places are closer to each other than they are many."""
    stack = [layers.Conv2D(2, 3, strides=2) for _ in range(3)]
    model = sequential((51, 51, 1), *stack)
    images = RNG.normal(size=(30, 51, 51, 1)).astype("float32")
    found = find(model, images, -1, count=30).layers[0]
    assert found.sees == (15, 15)
    boxes = np.concatenate([found.places * 8, found.places * 8 + 15], axis=-1)
    np.testing.assert_array_equal(found.boxes, boxes)


def test_of_equal_images_the_first_comes_first():
    image = RNG.normal(size=(1, 6, 6, 1)).astype("float32")
    images = np.concatenate([0.5 * image, image, 0.5 * image, image, image])
    model = sequential((6, 6, 1), layers.Conv2D(1, 3, use_bias=False, activation="relu"))
    for size in (1, 2, 5):
        found = find(model, images, -1, count=4, batch_size=size).layers[0]
        assert found.images.tolist() == [[1, 3, 4, 0]]


def network():
    return sequential(
        (8, 8, 3),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.Conv2D(5, 3, name="second"),
        layers.BatchNormalization(name="norm"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax", name="classes"),
    )


IMAGES = RNG.integers(0, 256, (17, 8, 8, 3)).astype("uint8")
ALL = ["first", "second", "norm", "classes"]


chained = itertools.chain.from_iterable


def assert_same(one, other, exactly=True):
    for a, b in zip(one.layers, other.layers, strict=True):
        np.testing.assert_array_equal(a.filters, b.filters)
        np.testing.assert_array_equal(a.images, b.images)
        for name in ("activations", "values", "places", "boxes"):
            ours, theirs = getattr(a, name), getattr(b, name)
            assert ours.dtype == theirs.dtype
            if exactly:
                np.testing.assert_array_equal(ours, theirs)
            else:
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
        for ours, theirs in zip(chained(a.maps), chained(b.maps), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=0 if exactly else 1e-3)
    assert one.pictures.keys() == other.pictures.keys()
    for i in one.pictures:
        np.testing.assert_array_equal(one.pictures[i], other.pictures[i])


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_numbers_do_not_depend_on_the_batches(size):
    model = network()
    assert_same(find(model, IMAGES, ALL), find(model, IMAGES, ALL, batch_size=size))


def test_all_layers_together_are_as_each_alone():
    model = network()
    together = find(model, IMAGES, ALL, [None, [1, 0], 2, None], count=3)
    for name, of_layer in zip(ALL, together.layers, strict=True):
        wanted = of_layer.filters.tolist()
        alone = find(model, IMAGES, name, wanted, count=3)
        assert alone.layers[0].name == of_layer.name == name
        np.testing.assert_allclose(alone.layers[0].values, of_layer.values, rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(alone.layers[0].images, of_layer.images)
    assert [x.filters.tolist() for x in together.layers] == [[0, 1, 2, 3], [1, 0], [2], [0, 1, 2]]


def test_a_softmax_on_the_way_does_its_work_for_what_lies_behind():
    model = sequential(
        (6,), layers.Dense(3, activation="softmax", name="gate"), layers.Dense(2, name="last")
    )
    values = RNG.normal(size=(9, 6)).astype("float32")
    gate, last = find(model, values, ["gate", "last"]).layers
    np.testing.assert_allclose(last.activations, model.predict(values, verbose=0), atol=1e-5)
    kernel, bias = model.layers[0].get_weights()
    np.testing.assert_allclose(gate.activations, values @ kernel + bias, atol=1e-5)
    assert gate.boxes.shape == (3, 9, 0)


def test_a_softmax_that_is_a_layer_of_its_own():
    model = sequential((6,), layers.Dense(3), layers.Softmax(name="classes"))
    values = RNG.normal(size=(4, 6)).astype("float32")
    (found,) = find(model, values, "classes").layers
    kernel, bias = model.layers[0].get_weights()
    np.testing.assert_allclose(found.activations, values @ kernel + bias, atol=1e-5)


def test_the_pictures_are_those_found_and_no_others():
    found = find(network(), IMAGES, ["first", "classes"], [0, [1, 2]], count=2)
    wanted = {int(i) for of_layer in found.layers for i in of_layer.images.flat}
    assert found.pictures.keys() == wanted
    for i, picture in found.pictures.items():
        np.testing.assert_array_equal(picture, IMAGES[i])
        assert picture.dtype == "uint8"
        assert picture.base is None


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return IMAGES[5 * i : 5 * i + 5], np.zeros(len(IMAGES[5 * i : 5 * i + 5]))


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


SOURCES = {
    "array": lambda: IMAGES,
    "floats": lambda: IMAGES.astype("float64"),
    "channels first": lambda: np.moveaxis(IMAGES, -1, 1),
    "list": lambda: list(IMAGES),
    "nested lists": lambda: IMAGES.tolist(),
    "tensor": lambda: tf.constant(IMAGES),
    "dataset": lambda: dataset(IMAGES),
    "dataset of batches": lambda: dataset(IMAGES).batch(4),
    "with labels": lambda: dataset(IMAGES, np.arange(17)).batch(6),
    "by name": lambda: dataset(IMAGES).batch(5).map(lambda x: {"image": x}),
    "PyDataset": Batches,
    "generator": lambda: (image for image in IMAGES),
    "generator of batches": lambda: (IMAGES[i : i + 3] for i in range(0, 17, 3)),
    "generator of pairs": lambda: ((image, 1) for image in IMAGES),
}


@pytest.mark.parametrize("name", SOURCES)
def test_data_of_each_kind(name):
    model = network()
    found = find(model, SOURCES[name](), ALL)
    assert_same(
        find(model, IMAGES, ALL)._replace(pictures=found.pictures), found._replace(names=None)
    )
    assert found.names is None
    for i, picture in found.pictures.items():
        np.testing.assert_array_equal(picture, IMAGES[i])


def test_gray_images_without_an_axis_for_their_channel():
    model = sequential((8, 8, 1), layers.Conv2D(2, 3))
    gray = IMAGES[..., 0]
    expected = find(model, gray[..., None], -1)
    for source in (gray, list(gray), dataset(gray).batch(4), iter(gray)):
        assert_same(expected, find(model, source, -1))
    assert find(model, gray[0], -1).layers[0].activations.shape == (1, 2)


def test_a_stream_is_read_once_and_not_held():
    read, alive, most = 0, [], 0

    class Counted(np.ndarray):
        def __del__(self):
            if self.base is None:
                alive.pop()

    def stream():
        nonlocal read, most
        for image in np.repeat(IMAGES, 10, axis=0):
            own = np.ndarray.__new__(Counted, image.shape, "uint8")
            own[:] = image
            alive.append(None)
            read, most = read + 1, max(most, len(alive))
            yield own

    found = find(network(), stream(), ALL, count=1, batch_size=4)
    assert read == len(found.layers[0].activations) == 170
    assert most <= 10
    assert len(found.pictures) <= 15


def test_images_of_several_sizes():
    model = sequential((None, None, 3), layers.Conv2D(3, 3, name="conv"), layers.Conv2D(2, 3))
    images = [RNG.normal(size=(8 + i % 3, 12 - i % 2, 3)).astype("float32") for i in range(12)]
    found = find(model, images, [0, 1], count=3, batch_size=5)
    for number, of_layer in enumerate(found.layers):
        inner = keras.Model(model.inputs, model.layers[number].output)
        maps = [inner([image[None]]).numpy()[0] for image in images]
        expected = np.array([m.max(axis=(0, 1)) for m in maps])
        np.testing.assert_allclose(of_layer.activations, expected, atol=1e-5)
        np.testing.assert_array_equal(of_layer.images, np.argsort(-expected, axis=0)[:3].T)
        for i, box in zip(of_layer.images.flat, of_layer.boxes.reshape(-1, 4), strict=True):
            height, width = images[i].shape[:2]
            assert (box[:2] >= 0).all()
            assert (box[2:] <= (height, width)).all()
            assert (box[2:] - box[:2] == 3 + 2 * number).all()


def test_layers_inside_others_and_calls_of_shared_ones():
    base = sequential((8, 8, 3), layers.Conv2D(4, 3, name="conv"))
    base.name = "base"
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    inputs = keras.Input((8, 8, 3))
    outputs = shared(shared(base(inputs)))
    model = keras.Model(inputs, outputs)
    found = find(model, IMAGES, ["base/conv", LayerOutput("shared", call=1)]).layers
    inner = base(IMAGES.astype("float32")).numpy()
    np.testing.assert_allclose(found[0].activations, inner.max(axis=(1, 2)), rtol=1e-4)
    outer = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found[1].activations, outer.max(axis=(1, 2)), rtol=1e-4)
    (one,) = find(model, IMAGES, LayerOutput("shared", call=1)).layers
    np.testing.assert_allclose(one.activations, found[1].activations, rtol=1e-4)


def test_tokens_without_the_axes_of_an_image():
    model = sequential((8, 8, 3), layers.Reshape((64, 3)), layers.Dense(2, name="tokens"))
    found = find(model, IMAGES, "tokens", count=2).layers[0]
    tokens = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found.activations, tokens.max(axis=1), rtol=1e-4)
    assert found.places.shape == (2, 2, 1)
    assert (found.boxes == [0, 0, 8, 8]).all()
    assert found.maps[0][0].shape == (16,)


def test_words_are_looked_at_as_well():
    model = sequential((None,), layers.Embedding(9, 4), layers.Conv1D(2, 3, name="conv"))
    words = RNG.integers(0, 9, (7, 12))
    found = find(model, words, "conv").layers[0]
    expected = model.predict(words, verbose=0).max(axis=1)
    np.testing.assert_allclose(found.activations, expected, atol=1e-5)
    assert found.boxes.shape == (2, 7, 0)


def two_inputs():
    image, gain = keras.Input((8, 8, 3), name="image"), keras.Input((2,), name="gain")
    maps = layers.Conv2D(2, 3, name="conv")(image)
    scaled = layers.Multiply(name="scaled")([maps, layers.Reshape((1, 1, 2))(gain)])
    return keras.Model([image, gain], scaled)


def test_other_inputs_are_given_values():
    model, gains = two_inputs(), np.array([2.0, -1.0])
    found = find(model, IMAGES, "scaled", fixed_inputs={"gain": gains}).layers[0]
    maps = model.predict([IMAGES, np.tile(gains, (17, 1))], verbose=0)
    np.testing.assert_allclose(found.activations, maps.max(axis=(1, 2)), rtol=1e-4)


def test_a_folder_of_images(tmp_path):
    (tmp_path / "inside").mkdir()
    names = ["b.png", "a <img src=x>.png", "inside/c.bmp"]
    for name, image in zip(names, IMAGES, strict=False):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    torn = (tmp_path / "b.png").read_bytes()[:-60]
    (tmp_path / "torn.png").write_bytes(torn)
    model = network()
    with pytest.warns(UserWarning, match=r"no images, and are left out: 'notes.txt', 'torn.png'"):
        found = find(model, tmp_path, ALL)
    assert found.names == ["a <img src=x>.png", "b.png", "inside/c.bmp"]
    assert_same(find(model, IMAGES[[1, 0, 2]], ALL), found)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "torn.png").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = find(model, str(tmp_path), ALL, input_range=(-1, 1))
    expected = find(model, IMAGES[[1, 0, 2]] / 127.5 - 1, ALL)
    assert_same(expected._replace(pictures={}), scaled._replace(pictures={}), exactly=False)
    for i, picture in scaled.pictures.items():
        assert picture.dtype == "float32"
        np.testing.assert_allclose(picture, expected.pictures[i], atol=1e-5)


def test_pictures_are_brought_to_the_size_and_channels_of_the_input(tmp_path):
    left_to_right = np.tile(np.linspace(0, 240, 32).astype("uint8"), (16, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(left_to_right).rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(left_to_right).convert("RGBA").save(tmp_path / "b.png")
    Image.fromarray(left_to_right).convert("P").save(tmp_path / "c.gif")
    Image.fromarray(257 * left_to_right.astype("uint16")).save(tmp_path / "d.png")
    expected = left_to_right.reshape(4, 4, 8, 4).mean(axis=(1, 3))
    for channels in (1, 3):
        model = sequential((4, 8, channels), layers.Conv2D(1, 2))
        found = find(model, tmp_path, -1)
        assert sorted(found.pictures) == [0, 1, 2, 3]
        for picture in found.pictures.values():
            assert picture.shape == (4, 8, channels)
            np.testing.assert_allclose(picture[:, 1:-1, 0], expected[:, 1:-1], atol=2)


def test_images_in_another_range_than_the_model_expects_are_told_of():
    model = sequential((8, 8, 3), layers.Rescaling(1 / 127.5, offset=-1), layers.Conv2D(2, 3))
    with pytest.warns(UserWarning, match="Received: `images` with values"):
        find(model, IMAGES / 255, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        find(model, IMAGES, -1)


def test_whole_batches_as_on_a_gpu_tell_the_same(monkeypatch):
    """The way that they take there; the kernels are those of the machine at hand."""
    model, other = network(), network()
    other.set_weights(model.get_weights())
    expected = find(model, IMAGES, ALL)
    monkeypatch.setattr("vis.backend.device.has_gpu", lambda: True)
    assert_same(find(other, IMAGES, ALL, batch_size=6), expected, exactly=False)


def test_progress_counts_images(capsys):
    top_activating_images(network(), IMAGES, "first", batch_size=5)
    assert "17/17" in capsys.readouterr().err


def nan_model():
    return sequential((8, 8, 3), layers.Rescaling(float("inf"), name="inf"))


BAD = {
    "no model": (lambda: find("model", IMAGES, 0), TypeError, "`model` must be"),
    "close match": (
        lambda: find(network(), IMAGES, "fist"), ValueError, "`layers` must .* mean 'first'"),
    "index": (lambda: find(network(), IMAGES, 99), ValueError, "`layers` is out of range"),
    "layer": (lambda: find(network(), IMAGES, 1.5), TypeError, "`layers` must be an index"),
    "no layers": (lambda: find(network(), IMAGES, []), ValueError, "`layers` must hold"),
    "one of them": (lambda: find(network(), IMAGES, [0, None]), TypeError, "`layers` must be"),
    "filters": (lambda: find(network(), IMAGES, 0, 4), ValueError, "`filters` is out of range"),
    "no filters": (lambda: find(network(), IMAGES, 0, []), ValueError, "`filters` must hold"),
    "text filters": (lambda: find(network(), IMAGES, 0, "a"), TypeError, "`filters` must be an"),
    "filters of some": (
        lambda: find(network(), IMAGES, [0, 1], [None]), ValueError, "`filters` must be None, or"),
    "filters of all": (
        lambda: find(network(), IMAGES, [0, 1], 3), ValueError, "`filters` must be None, or"),
    "count": (lambda: find(network(), IMAGES, 0, count=0), ValueError, "`count` must be at least"),
    "half": (lambda: find(network(), IMAGES, 0, count=1.5), TypeError, "`count` must be an int"),
    "range": (
        lambda: find(network(), IMAGES, 0, input_range=(1, 0)), ValueError, "low < high"),
    "range of one": (
        lambda: find(network(), IMAGES, 0, input_range=3), TypeError, "`input_range` must be"),
    "batch size": (
        lambda: find(network(), IMAGES, 0, batch_size=0), ValueError, "`batch_size` must be at"),
    "progress": (
        lambda: top_activating_images(network(), IMAGES, 0, progress="no"), TypeError, "progress"),
    "nothing": (lambda: find(network(), None, 0), TypeError, "`images` must be"),
    "number": (lambda: find(network(), 3, 0), TypeError, "`images` must be"),
    "set": (lambda: find(network(), {1, 2}, 0), TypeError, "`images` must be"),
    "text in it": (lambda: find(network(), ["a", "b"], 0), TypeError, "`images` must be an array"),
    "empty": (lambda: find(network(), IMAGES[:0], 0), ValueError, "at least one image"),
    "empty list": (lambda: find(network(), [], 0), ValueError, "at least one image"),
    "empty stream": (lambda: find(network(), iter(()), 0), ValueError, "at least one image"),
    "shape": (lambda: find(network(), IMAGES[:, :7], 0), ValueError, "`images` must be of shape"),
    "shape of a vector": (
        lambda: find(network(), np.zeros(5), 0), ValueError, "`images` must be of shape"),
    "shape of one": (
        lambda: find(network(), [IMAGES[0], IMAGES[0, 1:]], 0), ValueError, "`images` must be of"),
    "NaN": (
        lambda: find(network(), np.where(IMAGES > 9, np.nan, IMAGES), 0),
        ValueError, "`images` must be finite"),
    "endless": (
        lambda: find(network(), dataset(IMAGES).repeat(), 0), ValueError, "come to an end"),
    "infinite": (
        lambda: find(nan_model(), IMAGES.astype("float32"), 0), ValueError, "finite numbers"),
    "no folder": (
        lambda: find(network(), "no/such/folder", 0), ValueError, "`images` must be a folder"),
    "inputs": (lambda: find(two_inputs(), IMAGES, -1), ValueError, "Received: 2 inputs"),
    "no input left": (
        lambda: find(network(), IMAGES, 0, fixed_inputs=IMAGES), ValueError, "0 inputs"),
    "name of input": (
        lambda: find(two_inputs(), IMAGES, -1, fixed_inputs={"gian": [1, 2]}),
        ValueError, "did you mean 'gain'"),
    "fixed shape": (
        lambda: find(two_inputs(), IMAGES, -1, fixed_inputs={"gain": [1, 2, 3]}),
        ValueError, "`fixed_inputs` must be of shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def test_folders_that_hold_no_images(tmp_path):
    with pytest.raises(ValueError, match="Received: a folder with no files"):
        find(network(), tmp_path, 0)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.png").write_text("b")
    with pytest.raises(ValueError, match=r"no images but 'a.txt', 'b.png'"):
        find(network(), tmp_path, 0)
    with pytest.raises(ValueError, match="`images` must be a folder"):
        find(network(), tmp_path / "a.txt", 0)
    for shape in ((4,), (8, 8, 2), (8, 3)):
        with pytest.raises(ValueError, match="does not take gray or colour images"):
            find(sequential(shape, layers.Dense(2)), tmp_path, 0)
