from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers
from PIL import Image

from vis.callbacks import VisualizationCallback
from vis.visualization import GradCAM, Saliency, SmoothGrad, visualize_activation

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 8, 8, 1)).astype("float32"), RNG.integers(0, 3, 16)
IMAGES = np.uint8(RNG.integers(0, 256, (3, 8, 8, 1)))


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
    names = ["cam", "class", "saliency"]
    assert files(tmp_path / "new" / "folder") == [
        f"{name}/epoch_{epoch}.png" for name in names for epoch in ("0002", "0004")
    ]
    assert capsys.readouterr() == ("", "")


def test_maps_are_drawn_over_their_images(tmp_path):
    def corner(model, images):
        assert images is IMAGES or np.array_equal(images, IMAGES)
        heat = np.zeros(images.shape[:3])
        heat[1, 2, 3] = 1
        return heat

    fit(VisualizationCallback(tmp_path, maps={"map": corner}, images=IMAGES), epochs=1)
    picture = np.asarray(Image.open(tmp_path / "map" / "epoch_0001.png")).astype(int)
    # Two columns and two rows of 8 pixels with margins of 2; jet is dark red at 1.
    assert picture.shape == (18, 18, 3)
    assert np.array_equal(picture[:8, :8], np.repeat(IMAGES[0], 3, axis=-1))
    assert (
        abs(picture[2, 10 + 3] - (0.3 * IMAGES[1, 2, 3] + 0.7 * np.array([127.5, 0, 0]))).max() <= 1
    )
    assert not picture[:, 8:10].any()


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
    assert Image.open(tmp_path / "map" / "epoch_0001.png").size == (5, 6)


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
