"""`plotting.top_images` and `plotting.save_pictures`."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import sequential
from keras import layers
from PIL import Image

from vis import plotting
from vis.visualization import top_activating_images

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(30, 9, 8, 1)).astype("float32")
LABELS = np.arange(30) % 3
NAMES = ["coat", "bag", "shoe"]


@pytest.fixture(scope="module")
def found():
    model = sequential(
        (9, 8, 1),
        layers.Conv2D(2, 5, padding="same", name="a"),
        layers.Conv2D(3, 3, padding="same", name="b"),
    )
    return top_activating_images(model, (IMAGES, LABELS), ["a", "b"], count=6, progress=False)


def test_top_images_are_crops_of_equal_size(found):
    figure = plotting.top_images(found, "a", class_names=NAMES)
    assert len(figure.axes) == 12
    clipped = 0
    for i, ax in enumerate(figure.axes):
        channel, rank = divmod(i, 6)
        crop = found["a"].crop(channel, rank)[..., 0]
        (image,) = ax.images
        np.testing.assert_array_equal(image.get_array(), crop)
        left, right = ax.get_xlim()
        bottom, top = ax.get_ylim()
        assert (right - left, bottom - top) == (5, 5)
        # The crop is where it would be in an unclipped receptive field.
        y0, x0, y1, x1 = found["a"].boxes[channel, rank]
        assert left == (-0.5 - (5 - (x1 - x0)) if x0 == 0 else -0.5)
        assert top == (-0.5 - (5 - (y1 - y0)) if y0 == 0 else -0.5)
        clipped += crop.shape != (5, 5)
        assert ax.get_xlabel() == NAMES[LABELS[found["a"].indices[channel, rank]]]
        assert ax.get_ylabel() == (f"channel {channel}" if rank == 0 else "")
    assert clipped


def test_whole_top_images_with_predictions(found):
    predicted = (LABELS + (np.arange(30) % 2)) % 3
    figure = plotting.top_images(
        found, "b", [2, 0], count=4, crop=False, class_names=NAMES, predictions=np.eye(3)[predicted]
    )
    indices = found["b"].indices[[2, 0], :4].ravel()
    assert len(figure.axes) == 8
    for ax, i in zip(figure.axes, indices, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), IMAGES[i, ..., 0])
        text, colour = ax.get_xlabel().replace("\n", " "), ax.xaxis.label.get_color()
        true, other = NAMES[LABELS[i]], NAMES[predicted[i]]
        assert text == (true if true == other else f"{true}, predicted {other}")
        assert (colour == "C3") == (true != other)
    only = plotting.top_images(found, "b", 1, count=1, labels=[f"no. {i}" for i in range(30)])
    assert only.axes[0].get_xlabel() == f"no. {found['b'].indices[1, 0]}"


def test_top_images_of_signals():
    signals = RNG.normal(size=(10, 40, 1)).astype("float32")
    model = sequential((40, 1), layers.Conv1D(1, 5, name="a"))
    top = top_activating_images(model, signals, "a", count=2, progress=False)
    figure = plotting.top_images(top)
    for rank, ax in enumerate(figure.axes):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), top["a"].crop(0, rank)[:, 0])
        assert ax.get_xlabel() == ""


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "layer"),
        ({"layer": "c"}, "layer"),
        ({"layer": "a", "channels": [2]}, "channels"),
        ({"layer": "a", "channels": []}, "channels"),
        ({"layer": "a", "count": 0}, "count"),
        ({"layer": "a", "labels": [1, 2]}, "labels"),
        ({"layer": "a", "class_names": ["coat"]}, "class_names"),
    ],
)
def test_bad_arguments_of_top_images(found, settings, name):
    with pytest.raises(ValueError, match=rf"`{name}`(.|\n)*Received: "):
        plotting.top_images(found, **settings)


def read(path):
    with Image.open(path) as file:
        return np.asarray(file)


def test_pictures_are_saved_without_loss(tmp_path):
    pixels = RNG.integers(0, 256, (3, 9, 8, 3), "uint8")
    labels = ["T-shirt/top", "t-shirt:TOP", ""]
    paths = plotting.save_pictures(tmp_path / "new" / "folder", pixels, labels)
    assert [path.name for path in paths] == ["T-shirt_top.png", "t-shirt_TOP 2.png", "2.png"]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(
        path.name for path in paths
    )
    for path, image in zip(paths, pixels, strict=True):
        np.testing.assert_array_equal(read(path), image)


def test_pictures_of_other_ranges_have_one_scale(tmp_path):
    pictures = np.stack([np.full((9, 8, 1), -1.0), np.full((9, 8, 1), 0.0)])
    paths = plotting.save_pictures(tmp_path, pictures)
    assert [path.name for path in paths] == ["0.png", "1.png"]
    assert [read(path).mean() for path in paths] == [0, 128]
    assert read(paths[0]).shape == (9, 8)
    (path,) = plotting.save_pictures(tmp_path, [np.full((9, 8), 0.5)], input_range=(0, 2))
    assert (read(path) == 64).all()


def test_results_by_layer_are_saved_in_subfolders(tmp_path, found):
    by_layer = {"block/conv": IMAGES[:2], "dense": [RNG.normal(size=5)]}
    paths = plotting.save_pictures(tmp_path, by_layer)
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == ["block_conv/0.png", "block_conv/1.png", "dense/0.png"]
    np.testing.assert_array_equal(read(paths[1]), np.round(255 * IMAGES[1, ..., 0]))
    # Rows of a table are plotted.
    assert read(paths[2]).shape[0] > 50
    paths = plotting.save_pictures(tmp_path, found)
    assert len(paths) == 5 * 6
    crop = found["b"].crop(2, 4)[..., 0]
    # All crops of a channel have one scale.
    expected = np.round(255 * crop.astype("float64"))
    np.testing.assert_array_equal(read(tmp_path / "b" / "channel 2" / "4.png"), expected)


def test_nothing_is_written_if_a_picture_or_label_is_wrong(tmp_path):
    good = np.zeros((9, 8, 3))
    for pictures, labels in (
        ([good, np.full((9, 8), np.nan)], None),
        ([good, np.zeros((9, 8, 2))], None),
        ([good, good], ["one"]),
        ([], None),
        ({}, None),
        ({"a": [good], "b": []}, None),
    ):
        with pytest.raises(ValueError, match=r"`(pictures|labels)`(.|\n)*Received: "):
            plotting.save_pictures(tmp_path / "new", pictures, labels)
        assert not (tmp_path / "new").exists()


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    (path,) = plotting.save_pictures(tmp_path, [np.zeros((9, 8))], ["a"])
    before = path.read_bytes()

    def fail(self, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        plotting.save_pictures(tmp_path, [np.ones((9, 8))], ["a"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == before
