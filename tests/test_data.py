"""Datasets: every kind of source, in batches and as an evenly spaced sample."""

from __future__ import annotations

import itertools
import tracemalloc
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers
from PIL import Image

from vis.data import Dataset, EvenSample, check_distinct, sample_inputs

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (17, 8, 6, 3)).astype("uint8")
LABELS = np.arange(17)
INPUT = keras.Input((8, 6, 3))
GRAY = keras.Input((8, 6, 1))


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts, size=5):
        super().__init__()
        self.parts, self.size = parts, size
        self.read = []

    def __len__(self):
        return -(-len(self.parts[0]) // self.size)

    def __getitem__(self, i):
        self.read.append(i)
        batch = tuple(part[i * self.size : (i + 1) * self.size] for part in self.parts)
        return batch if len(batch) > 1 else batch[0]


class FileOfRows:
    """An array in a file: rows are read by slices, and it has no other indexing."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, 0

    def __len__(self):
        return len(self.array)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        self.read += len(self.array[rows])
        return self.array[rows]


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


SOURCES = {
    "array": lambda: IMAGES,
    "channels first": lambda: np.moveaxis(IMAGES, -1, 1),
    "tensor": lambda: tf.constant(IMAGES),
    "file": lambda: FileOfRows(IMAGES),
    "with labels": lambda: (IMAGES, LABELS),
    "with a list of labels": lambda: (IMAGES, LABELS.tolist()),
    "with weights": lambda: (IMAGES, LABELS, np.ones(17)),
    "list": lambda: list(IMAGES),
    "tuple": lambda: tuple(IMAGES),
    "nested lists": lambda: IMAGES.tolist(),
    "list of batches": lambda: [IMAGES[:4], IMAGES[4:]],
    "list of images and batches": lambda: [IMAGES[0], IMAGES[1:]],
    "list of pairs": lambda: list(zip(IMAGES, LABELS, strict=True)),
    "tf.data": lambda: dataset(IMAGES),
    "tf.data in batches": lambda: dataset(IMAGES).batch(4),
    "tf.data with labels": lambda: dataset(IMAGES, LABELS).batch(6),
    "tf.data by name": lambda: dataset(IMAGES).batch(5).map(lambda x: {"image": x}),
    "PyDataset": lambda: Batches(IMAGES),
    "PyDataset with labels": lambda: Batches(IMAGES, LABELS),
    "generator": lambda: (image for image in IMAGES),
    "generator of batches": lambda: (IMAGES[i : i + 3] for i in range(0, 17, 3)),
    "generator of pairs": lambda: ((image, 1) for image in IMAGES),
}


def check(actual, expected):
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == expected.dtype


def read_all(name, source, tensor=INPUT, size=4, **settings):
    return list(Dataset(name, source, tensor, **settings).batches(size))


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source(kind):
    batches = read_all("images", SOURCES[kind]())
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 1]
    expected = IMAGES.astype("int64") if kind == "nested lists" else IMAGES
    check(np.concatenate(batches), expected)
    data = Dataset("images", SOURCES[kind](), INPUT)
    assert data.names is None
    assert data.count in (17, None)
    is_stream = kind.startswith(("tf.data", "PyDataset", "generator"))
    assert (data.count is None) == is_stream
    check(data.sample(17), expected)
    check(Dataset("images", SOURCES[kind](), INPUT).sample(500), expected)
    few = Dataset("images", SOURCES[kind](), INPUT).sample(9)
    check(few, expected[::2])


ONE_HOT = np.eye(18)[LABELS]
LABELLED = {
    "pair": (IMAGES, LABELS),
    "list of labels": (IMAGES, LABELS.tolist()),
    "one-hot": (IMAGES, ONE_HOT),
    "column": (IMAGES, LABELS[:, None].astype("float32")),
    "list of pairs": list(zip(IMAGES, LABELS, strict=True)),
    "list of one-hot pairs": list(zip(IMAGES, ONE_HOT, strict=True)),
    "tf.data": dataset(IMAGES, LABELS).batch(6),
    "PyDataset": Batches(IMAGES, LABELS),
}


@pytest.mark.parametrize("kind", LABELLED)
def test_labels_are_class_indices_of_the_images_that_have_been_read(kind):
    data = Dataset("images", LABELLED[kind], INPUT)
    seen = 0
    for batch in data.batches(4):
        seen += len(batch)
        assert data.labels[:seen] == LABELS[:seen].tolist()
    assert len(data.labels) == 17


@pytest.mark.parametrize(
    "labels", [None, LABELS + 0.5, -LABELS - 1, ONE_HOT + ONE_HOT[::-1], ["a"] * 17, IMAGES * 9]
)
def test_targets_that_are_no_classes_are_no_labels(labels):
    data = Dataset("images", IMAGES if labels is None else (IMAGES, labels), INPUT)
    assert len([*data.batches(4)]) == 5
    assert data.labels is None


@pytest.mark.parametrize("size", [2, 10, 500])
@pytest.mark.parametrize("count", [1, 2, 9, 20, 21, 39, 40, 41, 640])
def test_an_array_and_a_stream_have_even_samples(count, size):
    values = np.arange(count)[:, None].astype("float32")
    tensor = keras.Input((1,))
    sample = Dataset("like", values, tensor).sample(size)[:, 0]
    positions = np.linspace(0, count - 1, min(count, size)).astype(int)
    np.testing.assert_array_equal(sample, positions)
    for stream in (iter(values), dataset(values).batch(3)):
        streamed = Dataset("like", stream, tensor).sample(size)[:, 0]
        # A long stream is read in part.
        available = min(count, -(-10 * size // 3) * 3)
        assert len(streamed) == min(available, size)
        if count <= 2 * size:
            np.testing.assert_array_equal(streamed, sample)
        steps = np.diff(streamed)
        assert all(1 <= step <= max(1, 2 * available / size) for step in steps)


def test_only_what_a_sample_needs_is_read():
    values = np.arange(4000.0)[:, None]
    tensor = keras.Input((1,))
    file = FileOfRows(values)
    Dataset("like", file, tensor).sample(50)
    assert file.read == 50
    batches = Batches(values, size=10)
    sample = Dataset("like", batches, tensor).sample(50)[:, 0]
    assert len(batches.read) == 10
    assert batches.read[0] == 0
    assert batches.read[-1] == 399
    assert len(sample) == 50
    assert np.diff(sample).min() > 0
    read = itertools.count()
    Dataset("like", ([float(next(read))] for _ in range(4000)), tensor).sample(50)
    assert next(read) == 500
    Dataset("like", ([float(next(read))] for _ in itertools.count()), tensor).sample(50)


def test_memory_does_not_grow_with_the_stream():
    def peak(count):
        stream = (np.full((8, 6, 3), i % 255, "float64") for i in range(count))
        tracemalloc.start()
        for _ in Dataset("images", stream, INPUT).batches(4):
            pass
        sample = EvenSample(10)
        for i in range(count):
            sample.add(np.full((4, 8, 6, 3), i % 255, "float64"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(50)
    # Other threads may allocate a little meanwhile; all images are 9 MB.
    assert peak(2000) < 1.5 * peak(200) + 500_000


def test_gray_images_without_an_axis_for_their_channel():
    gray = IMAGES[..., 0]
    for source in (
        gray,
        list(gray),
        [gray[:9], gray[9:]],
        dataset(gray).batch(4),
        iter(gray),
        (gray, LABELS),
    ):
        check(Dataset("images", source, GRAY).sample(20), gray[..., None])
    check(np.concatenate(read_all("images", gray[0], GRAY)), gray[:1, ..., None])
    first = keras.Input((1, 8, 6))
    check(Dataset("images", gray, first).sample(20), gray[:, None])


def test_two_images_are_not_an_image_and_its_labels():
    pair = (IMAGES[0], IMAGES[1])
    check(Dataset("images", pair, INPUT).sample(20), IMAGES[:2])
    of_two_sizes = (IMAGES[:5], IMAGES[5:])
    check(Dataset("images", of_two_sizes, INPUT).sample(20), IMAGES)
    # As in Keras, a pair of equally long arrays is inputs and targets.
    check(Dataset("images", (IMAGES[:5], IMAGES[5:10]), INPUT).sample(20), IMAGES[:5])
    rows = [(1.0, 2.0), (3.0, 4.0)]
    np.testing.assert_array_equal(Dataset("like", rows, keras.Input((2,))).sample(9), rows)


def test_images_of_several_sizes():
    images = [RNG.normal(size=(8 + i // 3, 6, 3)) for i in range(8)]
    tensor = keras.Input((None, None, 3))
    batches = read_all("images", images, tensor, size=2)
    assert [len(batch) for batch in batches] == [2, 1, 2, 1, 2]
    with pytest.raises(ValueError, match=r"one shape.*Received: examples of shapes \[\(8, 6"):
        Dataset("like", images, tensor).sample(20)


def test_examples_of_unknown_shape():
    for source in (IMAGES, list(IMAGES), dataset(IMAGES).batch(4), (IMAGES, LABELS)):
        check(Dataset("examples", source).sample(20), IMAGES)
    pair = (IMAGES[0], IMAGES[1])
    check(Dataset("examples", pair).sample(20), IMAGES[:2])
    for wrong in (np.arange(5.0), [1.0, 2.0], np.float64(3)):
        with pytest.raises(ValueError, match="`examples` must hold examples of at least one axis"):
            Dataset("examples", wrong).sample(20)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_text(shape):
    tensor = keras.Input(shape, dtype="string")
    texts = ["good film", "bad film", "film"] * 3
    expected = np.reshape(np.array(texts, object), (9, *shape))
    sources = (
        texts,
        expected,
        expected.tolist(),
        iter(texts),
        list(zip(texts, LABELS[:9], strict=True)),
    )
    for source in sources:
        np.testing.assert_array_equal(Dataset("like", source, tensor).sample(20), expected)
    for source in (dataset(texts), dataset(texts).batch(4), dataset(expected).batch(4)):
        sample = Dataset("like", source, tensor).sample(20)
        assert [text.decode() for text in sample.flat] == texts
    with pytest.raises(TypeError, match="`images` must be images"):
        read_all("images", texts, tensor)
    with pytest.raises(ValueError, match="`like` must be text of shape"):
        Dataset("like", np.reshape(texts, (3, 3, 1)), tensor).sample(20)


def save(folder, images):
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(path)


def test_a_folder(tmp_path):
    images = dict(zip(["b.png", "a <img src=x>.png", "inside/c.bmp"], IMAGES, strict=False))
    save(tmp_path, images)
    expected = IMAGES[[1, 0, 2]]
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "torn.png").write_bytes((tmp_path / "b.png").read_bytes()[:-60])
    for folder in (tmp_path, str(tmp_path)):
        data = Dataset("images", folder, INPUT)
        assert data.count == 5
        with pytest.warns(UserWarning, match=r"are skipped: 'notes.txt', 'torn.png'"):
            check(np.concatenate(list(data.batches(2))), expected)
        assert data.names == ["a <img src=x>.png", "b.png", "inside/c.bmp"]
        with pytest.warns(UserWarning, match=r"are skipped: 'notes.txt', 'torn.png'"):
            check(data.sample(5), expected)
    (tmp_path / "torn.png").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A sample is chosen among the images.
        check(data.sample(3), expected)
        check(data.sample(2), expected[::2])
    (tmp_path / "notes.txt").unlink()
    scaled = Dataset("images", tmp_path, INPUT, (-1, 1)).sample(9)
    np.testing.assert_allclose(scaled, expected / 127.5 - 1, atol=1e-6)
    assert scaled.dtype == "float32"
    pool = layers.GlobalAveragePooling2D(data_format="channels_first")
    (first,) = sequential((3, 8, 6), pool).inputs
    check(Dataset("images", tmp_path, first).sample(9), np.moveaxis(expected, -1, 1))
    (flat,) = sequential((8, 6), layers.Reshape((8, 6, 1)), layers.Conv2D(1, 3)).inputs
    assert Dataset("images", tmp_path, flat).sample(9).shape == (3, 8, 6)


def test_files_are_brought_to_the_size_and_channels_of_the_input(tmp_path):
    left_to_right = np.tile(np.linspace(0, 240, 32).astype("uint8"), (16, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(left_to_right).rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(left_to_right).convert("RGBA").save(tmp_path / "b.png")
    Image.fromarray(left_to_right).convert("P").save(tmp_path / "c.gif")
    Image.fromarray(257 * left_to_right.astype("uint16")).save(tmp_path / "d.png")
    expected = left_to_right.reshape(4, 4, 8, 4).mean(axis=(1, 3))
    for channels in (1, 3):
        images = Dataset("images", tmp_path, keras.Input((4, 8, channels))).sample(9)
        assert images.shape == (4, 4, 8, channels)
        for image in images:
            np.testing.assert_allclose(image[:, 1:-1, 0], expected[:, 1:-1], atol=2)


def test_subfolders_are_classes(tmp_path):
    save(tmp_path, {"cat/1.png": IMAGES[0], "dog/old/2.png": IMAGES[1], "emu/3.png": IMAGES[2]})
    data = Dataset("images", tmp_path, INPUT)
    assert len(data.sample(3)) == 3
    assert len([*data.batches(2)]) == 2
    assert data.labels == [0, 1, 2]
    Image.fromarray(IMAGES[0]).save(tmp_path / "fox.png")
    data = Dataset("images", tmp_path, INPUT)
    assert len([*data.batches(2)]) == 2
    assert data.labels is None


def test_folders_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"Received: a folder with no images$"):
        read_all("images", tmp_path)
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.png").write_text("b")
    with pytest.raises(ValueError, match=r"no images but 'a.txt', 'b.png'"):
        read_all("images", tmp_path)
    for path in (tmp_path / "a.txt", "no/such/folder", "\0"):
        with pytest.raises(ValueError, match="`images` must be a folder that exists"):
            Dataset("images", path, INPUT)
    for shape in ((4,), (8, 8, 2), (8, 3)):
        with pytest.raises(ValueError, match=r"unless the model takes gray or colour(.|\n)*shape"):
            Dataset("images", tmp_path, keras.Input(shape))
    with pytest.raises(ValueError, match=r"`examples` must be an array.*Received: a folder"):
        Dataset("examples", tmp_path)
    with pytest.raises(ValueError, match="low < high"):
        Dataset("images", tmp_path, INPUT, (1, 0))


def test_several_inputs():
    rows = RNG.normal(size=(17, 4)).astype("float32")
    for stream in (Batches(IMAGES, rows), iter([(IMAGES[:9], rows[:9]), (IMAGES[9:], rows[9:])])):
        source = ([batch] for batch in stream)  # Each is `x` without labels.
        images, others, absent = sample_inputs("like", source, lambda x: [*x, None], 9)
        check(images, IMAGES[::2])
        check(others, rows[::2])
        assert absent is None
    with pytest.raises(ValueError, match=r"at least two examples.*Received: no examples"):
        sample_inputs("like", iter(()), list, 9)
    with pytest.raises(TypeError, match="`like` must be a folder, an array"):
        sample_inputs("like", 3, list, 9)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (None, TypeError, "be a folder, an array"),
        (3, TypeError, "be a folder, an array"),
        ({1, 2}, TypeError, "be a folder, an array"),
        ({"a": IMAGES}, TypeError, "be a folder, an array"),
        (INPUT, TypeError, "be a folder, an array"),
        (b"images", TypeError, "be a folder, an array"),
        (["a", "b"], TypeError, "be an array of numbers"),
        ([INPUT], ValueError, "be one array of numbers"),
        (IMAGES[:0], ValueError, "at least one image"),
        ([], ValueError, "at least one image"),
        (iter(()), ValueError, "at least one image"),
        (IMAGES[:, :7], ValueError, r"be of shape \(8, 6, 3\)"),
        (np.zeros(5), ValueError, r"be of shape \(8, 6, 3\)"),
        (np.float32(1), ValueError, r"be of shape \(8, 6, 3\)"),
        ([IMAGES[0], IMAGES[0, 1:]], ValueError, r"be of shape \(8, 6, 3\)"),
        (np.where(IMAGES > 9, np.nan, IMAGES), ValueError, "be finite"),
        (dataset(IMAGES).repeat(), ValueError, "come to an end; see its method `take`"),
    ],
)
def test_wrong_sources(source, error, message):
    with pytest.raises(error, match=rf"`images` must (.|\n)*{message}(.|\n)*Received: "):
        read_all("images", source)


def test_examples_must_differ():
    check_distinct("like", IMAGES)
    for few, received in ((IMAGES[:1], "1 example$"), (IMAGES[:0], "0 examples$")):
        with pytest.raises(ValueError, match=f"at least two examples.*Received: {received}"):
            check_distinct("like", few)
    with pytest.raises(ValueError, match=r"differ.*Received: 3 examples that are all alike"):
        check_distinct("like", np.ones((3, 2)))


def test_all_of_a_generator_is_read_after_a_sample_of_it():
    rows = np.arange(50.0)[:, None]
    generator = ((row[None], [int(row[0]) % 3]) for row in rows)
    dataset = Dataset("images", generator, keras.Input((1,)))
    sample = np.concatenate(dataset.examples(2))
    # Of the first ten times as many.
    assert sample[:, 0].tolist() == [0, 16]
    np.testing.assert_array_equal(np.concatenate([*dataset.batches(8)]), rows)
    assert dataset.labels == [i % 3 for i in range(50)]
