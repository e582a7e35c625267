from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers
from PIL import Image, ImageSequence

from vis.callbacks import VisualizationCallback
from vis.visualization import GradCAM, Saliency, SmoothGrad, visualize_activation

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 8, 8, 1)).astype("float32"), RNG.integers(0, 3, 16)
IMAGES = np.uint8(RNG.integers(0, 256, (3, 8, 8, 1)))
# Height of a title or label of one line.
TITLE = 22


def compiled_model():
    model = sequential(
        (8, 8, 1), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(*callbacks, epochs=4, model=None):
    model = model or compiled_model()
    model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_every_few_epochs(tmp_path, capsys):
    draw = VisualizationCallback(
        tmp_path / "new" / "folder",
        pictures={"class": lambda model: visualize_activation(model, -1, 1, max_iter=2)},
        maps={"cam": GradCAM(), "saliency": Saliency()},
        images=IMAGES,
        every_epochs=2,
    )
    fit(draw, epochs=5)
    files_of_each = ("{}.gif", "{}/epoch_0002.png", "{}/epoch_0004.png")
    expected = [
        file.format(name) for name in ("cam", "class", "saliency") for file in files_of_each
    ]
    assert files(tmp_path / "new" / "folder") == sorted(expected)
    assert capsys.readouterr() == ("", "")


def test_maps_are_drawn_over_their_images(tmp_path):
    def corner(model, images):
        assert images is IMAGES or np.array_equal(images, IMAGES)
        heat = np.zeros(images.shape[:3])
        heat[1, 2, 3] = 1
        return heat

    fit(VisualizationCallback(tmp_path, maps={"map": corner}, images=IMAGES), epochs=1)
    sheet = pixels(tmp_path / "map" / "epoch_0001.png")
    # Two columns and two rows of 8 pixels, 16 times as large, with margins of 4.
    assert sheet.shape == (TITLE + 260, 260, 3)
    grid = sheet[TITLE:]
    assert np.array_equal(grid[:128, :128][::16, ::16], np.repeat(IMAGES[0], 3, axis=-1))
    assert np.array_equal(
        grid[:128, :128], grid[:128, :128][::16, ::16].repeat(16, 0).repeat(16, 1)
    )
    # Jet is dark red at 1.
    expected = 0.3 * IMAGES[1, 2, 3] + 0.7 * np.array([127.5, 0, 0])
    assert abs(grid[2 * 16 + 5, 132 + 3 * 16 + 5] - expected).max() <= 1
    assert (grid[:, 128:132] == 255).all()
    assert (grid[132:, 132:] == 255).all()


def constant(*shape, value=7):
    return lambda model: np.full(shape, value, "uint8")


def test_sheets_have_a_title_with_name_and_epoch(tmp_path):
    pictures = {"first": constant(4, 4, 3), "second": constant(4, 4, 3)}
    fit(VisualizationCallback(tmp_path, pictures=pictures), epochs=2)
    sheets = [pixels(tmp_path / f"{n}/epoch_000{i}.png") for n in pictures for i in (1, 2)]
    for sheet in sheets:
        assert (sheet[TITLE:] == 7).all()
        # Black text on white.
        assert {0, 255} <= set(sheet[:TITLE].ravel().tolist())
    assert len({sheet[:TITLE].tobytes() for sheet in sheets}) == 4


def test_labels_above_pictures(tmp_path):
    labels = {"three": ["a", "b", "a"]}
    pictures = {"three": constant(3, 4, 4, 1)}
    fit(VisualizationCallback(tmp_path, pictures=pictures, labels=labels), epochs=1)
    grid = pixels(tmp_path / "three" / "epoch_0001.png")[TITLE:]
    cell = TITLE + 128
    assert grid.shape == (2 * cell + 4, 260, 3)
    first, second, third = grid[:cell, :128], grid[:cell, 132:], grid[cell + 4 :, :128]
    for picture in (first, second, third):
        assert (picture[TITLE:] == 7).all()
        assert picture[:TITLE].min() == 0
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)
    draw = VisualizationCallback(
        tmp_path, pictures={"two": constant(2, 4, 4, 3)}, labels={"two": ["a"]}
    )
    with pytest.raises(ValueError, match="`labels` must have a label for each of the 2 pictures"):
        fit(draw, epochs=1)


def test_long_titles_are_wrapped(tmp_path):
    name = "a name that is wider than its picture"
    fit(VisualizationCallback(tmp_path, pictures={name: constant(4, 4, 3)}), epochs=1)
    sheet = pixels(tmp_path / name / "epoch_0001.png")
    lines = -(-len(f"{name}, epoch 1") // 16)
    assert sheet.shape[0] - 128 >= lines * 18
    assert (sheet[:, -1][:-128] == 255).all()


@pytest.mark.parametrize(("height", "scale"), [(1, 7), (100, 2), (127, 2), (128, 1), (300, 1)])
def test_small_pictures_are_scaled_up(tmp_path, height, scale):
    draw = VisualizationCallback(tmp_path, pictures={"a": constant(height, 20, 3)})
    draw.set_model(compiled_model())
    draw.on_epoch_end(0)
    sheet = pixels(tmp_path / "a" / "epoch_0001.png")
    assert sheet.shape[1] == 20 * scale
    assert (sheet[-height * scale :] == 7).all()


def test_a_gif_of_the_whole_training(tmp_path):
    """Also if it was interrupted; not of another, longer training in the same folder."""
    stale = tmp_path / "count" / "epoch_0008.png"
    stale.parent.mkdir()
    Image.new("RGB", (9, 9)).save(stale)
    epochs = []

    def count(model):
        epochs.append(None)
        return np.full((64, 64, 3), 10 * len(epochs), "uint8")

    for first, last in ((0, 4), (4, 6)):
        draw = VisualizationCallback(tmp_path, pictures={"count": count}, every_epochs=2)
        model = compiled_model()
        model.fit(X, Y, epochs=last, initial_epoch=first, verbose=0, callbacks=[draw])
    with Image.open(tmp_path / "count.gif") as gif:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    sheets = [pixels(tmp_path / "count" / f"epoch_000{epoch}.png") for epoch in (2, 4, 6)]
    assert [frame[-1, -1, 0] for frame in frames] == [10, 20, 30]
    for frame, sheet in zip(frames, sheets, strict=True):
        np.testing.assert_array_equal(frame, sheet)


def test_log_gets_each_sheet(tmp_path):
    logged = []
    draw = VisualizationCallback(
        tmp_path,
        pictures={"a": constant(4, 4, 3)},
        maps={"cam": GradCAM()},
        images=IMAGES,
        log=lambda name, image, step: logged.append((name, image, step)),
    )
    fit(draw, epochs=2)
    assert [(name, step) for name, _, step in logged] == [
        ("a", 0),
        ("cam", 0),
        ("a", 1),
        ("cam", 1),
    ]
    for name, image, step in logged:
        assert image.dtype == "uint8"
        np.testing.assert_array_equal(image, pixels(tmp_path / name / f"epoch_{step + 1:04}.png"))


def test_pictures_are_of_the_current_model(tmp_path):
    kernels = []

    def picture(model):
        kernels.append(model.layers[-1].kernel.numpy())
        return np.full((4, 4, 3), kernels[-1].mean())

    model = fit(VisualizationCallback(tmp_path, pictures={"mean": picture}), epochs=2)
    assert np.array_equal(kernels[1], model.layers[-1].kernel.numpy())
    assert not np.array_equal(kernels[0], kernels[1])


def test_channels_first_images_and_floats(tmp_path):
    images = np.moveaxis(RNG.normal(size=(1, 6, 5, 3)), -1, 1)
    draw = VisualizationCallback(
        tmp_path, maps={"map": lambda model, images: np.zeros((6, 5))}, images=images
    )
    draw.set_model(compiled_model())
    draw.on_epoch_end(0)
    # 22 times as large.
    assert pixels(tmp_path / "map" / "epoch_0001.png").shape == (TITLE + 132, 110, 3)


def test_training_does_not_depend_on_the_callback(tmp_path):
    results = []
    for with_callback in (False, True):
        keras.utils.set_random_seed(3)
        draw = VisualizationCallback(
            tmp_path, maps={"smooth": SmoothGrad(samples=2)}, images=IMAGES
        )
        model = fit(*[draw] * with_callback)
        results.append([*model.get_weights(), np.random.random()])  # noqa: NPY002
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def tensorboard_images(folder):
    for path in sorted(folder.rglob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                yield value.tag, event.step, tf.io.decode_png(value.image.encoded_image_string)


@pytest.mark.parametrize("as_callback", [False, True])
def test_tensorboard(tmp_path, as_callback):
    logs = tmp_path / "logs"
    tensorboard = keras.callbacks.TensorBoard(logs) if as_callback else logs
    draw = VisualizationCallback(
        tmp_path / "files", maps={"cam": GradCAM()}, images=IMAGES, tensorboard=tensorboard
    )
    fit(draw, epochs=2)
    events = list(tensorboard_images(logs))
    assert [(tag, step) for tag, step, _ in events] == [("cam", 0), ("cam", 1)]
    for epoch, (_, _, picture) in enumerate(events):
        file = Image.open(tmp_path / "files" / "cam" / f"epoch_{epoch + 1:04d}.png")
        np.testing.assert_array_equal(picture, np.asarray(file))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"maps": None}, ValueError, "`pictures` or `maps`"),
        ({"images": None}, ValueError, "`images` must be given"),
        ({"images": np.zeros((2, 8))}, ValueError, "`images` must be images"),
        ({"maps": GradCAM()}, TypeError, "`maps` must be a dict"),
        ({"maps": {"cam": "GradCAM"}}, TypeError, "`maps` must be a dict"),
        ({"pictures": {"cam": print}}, ValueError, "different names"),
        ({"every_epochs": 0}, ValueError, "`every_epochs`"),
        ({"images": np.full((2, 8, 8, 1), np.nan)}, ValueError, "`images` must be finite"),
        ({"pictures": {1: print}}, TypeError, "`pictures` must be a dict"),
        ({"folder": 3}, TypeError, "`folder`"),
        ({"tensorboard": True}, TypeError, "`tensorboard`"),
        ({"log": "wandb"}, TypeError, "`log` must be a function"),
        ({"labels": ["a"]}, TypeError, "`labels` must be a dict"),
        ({"labels": {"cma": ["a"]}}, ValueError, r"among \['cam'\]"),
        ({"labels": {"cam": [1]}}, TypeError, "`labels` must be a list of `str`"),
    ],
)
def test_bad_arguments(tmp_path, changed, error, message):
    arguments = {"folder": tmp_path, "maps": {"cam": GradCAM()}, "images": IMAGES}
    with pytest.raises(error, match=message) as caught:
        VisualizationCallback(**{**arguments, **changed})
    assert "Received: " in str(caught.value)


def test_map_of_the_wrong_shape(tmp_path):
    draw = VisualizationCallback(
        tmp_path, maps={"odd": lambda model, images: np.zeros((2, 2))}, images=IMAGES
    )
    with pytest.raises(ValueError, match="from 'odd'"):
        fit(draw)
