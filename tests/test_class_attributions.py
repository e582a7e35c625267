"""`class_contrast` and `class_attributions`, against linear models whose attributions are known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import sequential
from keras import layers
from PIL import Image

from vis import plotting
from vis.visualization import (
    GradCAM,
    GradientTimesInput,
    LayerCAM,
    Occlusion,
    Saliency,
    class_attributions,
    class_contrast,
    overlay,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(12, 6, 5, 2)).astype("float32")
LABELS = np.array([0, 2, 2, 0, 0, 2, 0, 2, 0, 0, 2, 0])
PIXELS = Occlusion(patch=1, fill=0)


def linear(units=3, activation="softmax", shape=(6, 5, 2)):
    model = sequential(shape, layers.Flatten(), layers.Dense(units, activation, name="classes"))
    kernel = RNG.normal(size=(int(np.prod(shape)), units))
    model.set_weights([kernel, RNG.normal(size=units)])
    return model, kernel.T.reshape(units, *shape)


def contributions(kernels, images, classes):
    """Of each pixel to the score before the softmax."""
    return (kernels[classes] * images).sum(axis=-1)


def find(model, images, method=PIXELS, **settings):
    return class_attributions(model, images, method, progress=False, **settings)


@pytest.mark.parametrize("method", [PIXELS, GradientTimesInput()])
def test_contrast_of_a_softmax_is_that_of_its_logits(method):
    model, kernels = linear()
    contrast = class_contrast(model, IMAGES[:2], (2, 0), method)
    for found, index in ((contrast.first, 2), (contrast.second, 0)):
        expected = contributions(kernels, IMAGES[:2], [index] * 2)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(contrast.difference, contrast.first - contrast.second)
    other = class_contrast(model, IMAGES[:2], (0, 2), method)
    np.testing.assert_allclose(other.difference, -contrast.difference, atol=1e-6)
    assert contrast.classes == (2, 0)
    np.testing.assert_array_equal(contrast.images, IMAGES[:2])


def test_contrast_of_a_layer_method():
    model = sequential(
        (6, 5, 2),
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, "softmax"),
    )
    weights = model.layers[-1].get_weights()[0]
    features = keras.ops.convert_to_numpy(model.layers[0](IMAGES[:1]))[0]
    contrast = class_contrast(model, IMAGES[0], (1, 2), GradCAM())
    expected = [np.maximum(features @ weights[:, c], 0) / 30 for c in (1, 2)]
    np.testing.assert_allclose(contrast.first[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(contrast.difference[0], expected[0] - expected[1], atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_one_unit_has_two_classes(activation):
    model, kernels = linear(1, activation)
    contrast = class_contrast(model, IMAGES[0], (1, 0), GradientTimesInput())
    np.testing.assert_allclose(contrast.first, -contrast.second)
    score = model.predict(IMAGES[:1], verbose=0)[0, 0]
    slope = score * (1 - score) if activation == "sigmoid" else 1
    expected = slope * contributions(kernels, IMAGES[:1], [0])
    np.testing.assert_allclose(contrast.first, expected, atol=1e-5)
    found = find(model, IMAGES)
    predicted = model.predict(IMAGES, verbose=0)[:, 0] > (0.5 if activation == "sigmoid" else 0)
    assert dict(zip(found.classes, found.counts, strict=True)) == {
        c: n for c in (0, 1) if (n := int((predicted == c).sum()))
    }


@pytest.mark.parametrize("batch_size", [None, 5])
def test_mean_attributions_of_each_class(batch_size):
    model, kernels = linear()
    found = find(model, (IMAGES, LABELS), batch_size=batch_size)
    assert found.classes.tolist() == [0, 2]
    assert found.counts.tolist() == [7, 5]
    for i, c in enumerate((0, 2)):
        own = IMAGES[c == LABELS]
        expected = contributions(kernels, own, [c] * len(own)).mean(axis=0)
        np.testing.assert_allclose(found.maps[i], expected, atol=1e-5)
        np.testing.assert_allclose(found.images[i], own.mean(axis=0), rtol=1e-5)
        assert tuple(found.peaks[i]) == np.unravel_index(expected.argmax(), (6, 5))
        positive = sorted(expected[expected > 0], reverse=True)
        cells = next(n for n in range(31) if sum(positive[:n]) >= sum(positive) / 2)
        assert found.areas[i] == pytest.approx(cells / 30)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return IMAGES[4 * i : 4 * i + 4], np.eye(3)[LABELS[4 * i : 4 * i + 4]]


SOURCES = {
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5),
    "generator": lambda: zip(IMAGES, LABELS, strict=True),
    "PyDataset, one-hot": lambda: Batches(),
    "channels first": lambda: (np.moveaxis(IMAGES, -1, 1), LABELS),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_dataset(kind):
    model, _ = linear()
    expected, found = find(model, (IMAGES, LABELS)), find(model, SOURCES[kind]())
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5)
    np.testing.assert_array_equal(found.counts, expected.counts)


def test_classes_of_a_folder_are_its_subfolders(tmp_path):
    for name in ("bird/a.png", "cat/b.png", "cat/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 5, 3), "uint8")).save(tmp_path / name)
    found = find(linear(shape=(6, 5, 3))[0], tmp_path)
    assert found.classes.tolist() == [0, 1]
    assert found.counts.tolist() == [1, 2]


def test_without_labels_classes_are_predicted():
    model, _ = linear()
    predicted = model.predict(IMAGES, verbose=0).argmax(axis=1)
    found, labelled = find(model, IMAGES), find(model, (IMAGES, predicted))
    np.testing.assert_allclose(found.maps, labelled.maps, atol=1e-6)


def test_a_limited_number_of_images_per_class():
    model, _ = linear()
    seen = []

    def stream():
        for image, label in zip(IMAGES, LABELS, strict=True):
            seen.append(label)
            yield image[None], [label]
        for _ in range(50):
            seen.append(1)
            yield IMAGES[:1], [1]

    found = find(model, stream(), images_per_class=2, batch_size=4)
    assert found.counts.tolist() == [2, 2, 2]
    first = [i for c in (0, 2) for i in np.flatnonzero(c == LABELS)[:2]]
    expected = find(model, (IMAGES[first], LABELS[first]))
    np.testing.assert_allclose(found.maps[[0, 2]], expected.maps, atol=1e-5)
    # Reading ends when each class has its images.
    assert len(seen) < 30
    assert find(model, (IMAGES, LABELS), images_per_class=None).counts.tolist() == [7, 5]


def test_a_planted_square_is_found_without_knowing_where():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.7, (300, 12, 12, 1)).astype("float32")
    y = rng.integers(0, 3, 300)
    for c, rows in ((0, slice(3, 6)), (1, slice(5, 8))):
        # Faint bars, which move: classes have features of their own as well.
        for i in np.flatnonzero(y == c):
            x[i, rows, slice(start := rng.integers(0, 8), start + 4)] += 0.2
    x[y == 2, 1:3, 9:11] = 1
    model = sequential(
        (12, 12, 1),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(3, "softmax"),
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=8, verbose=0)
    found = class_attributions(model, (x, y), images_per_class=30, progress=False)
    row, column = found.peaks[2]
    assert row in (1, 2)
    assert column in (9, 10)
    assert found.areas[2] < 0.05
    assert found.areas[2] < found.areas[:2].min() / 2


def test_an_input_with_others_beside_it():
    image, extra = keras.Input((6, 5, 2), name="image"), keras.Input((3,), name="extra")
    scores = layers.Dense(2, name="a")(layers.Flatten()(image)) + layers.Dense(2)(extra)
    model = keras.Model([image, extra], layers.Dense(2, "softmax")(scores))
    found = find(
        model, (IMAGES, LABELS // 2), GradientTimesInput(), fixed_inputs={"extra": np.ones(3)}
    )
    contrast = class_contrast(
        model, {"image": IMAGES, "extra": np.ones(3)}, (0, 1), GradientTimesInput()
    )
    np.testing.assert_allclose(found.maps[0], contrast.first[LABELS == 0].mean(axis=0), atol=1e-6)


def test_figure_of_a_contrast():
    model, _ = linear()
    contrast = class_contrast(model, IMAGES[:2], (2, 0), PIXELS)
    figure = plotting.class_contrast(contrast, {0: "coat", 2: "shirt"})
    axes = np.reshape(figure.axes[:8], (2, 4))
    titles = [ax.get_title() for ax in axes[0]]
    assert titles == ["image", "shirt", "coat", "shirt - coat"]
    limit = max(np.abs(contrast.first).max(), np.abs(contrast.second).max())
    for i, row in enumerate(axes):
        # The two channels are averaged.
        for ax in row:
            np.testing.assert_allclose(ax.images[0].get_array(), IMAGES[i].mean(axis=-1))
        maps = [ax.images[1] for ax in row[1:]]
        for shown, expected in zip(
            maps, (contrast.first[i], contrast.second[i], contrast.difference[i]), strict=True
        ):
            np.testing.assert_array_equal(shown.get_array(), expected)
        for shown in maps[:2]:
            np.testing.assert_allclose(shown.get_clim(), (-limit, limit))
        limit_of_difference = np.abs(contrast.difference).max()
        np.testing.assert_allclose(maps[2].get_clim(), (-limit_of_difference, limit_of_difference))


def test_figure_of_mean_attributions():
    model, _ = linear()
    found = find(model, (IMAGES, LABELS))
    figure = plotting.class_attributions(found, ["coat", "bag", "shirt"])
    axes = figure.axes[:2]
    assert [ax.get_title() for ax in axes] == ["coat", "shirt"]
    highest = np.abs(found.maps).max()
    for i, ax in enumerate(axes):
        below, above = ax.images
        np.testing.assert_allclose(below.get_array(), found.images[i].mean(axis=-1), rtol=1e-6)
        np.testing.assert_array_equal(above.get_array(), found.maps[i])
        np.testing.assert_allclose(above.get_clim(), (-highest, highest))
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines] == [
            tuple(found.peaks[i][::-1])
        ] * 2
        text = ax.get_xlabel()
        assert f"peak {found.maps[i].max():.2g} at ({found.peaks[i][0]}, " in text
        assert f"half in {found.areas[i]:.1%}" in text
    (only,) = plotting.class_attributions(found, classes=[2]).axes[:-1]
    assert only.get_title() == "class 2"


@pytest.mark.parametrize("shape", [(7,), (9, 2), (4, 5, 6, 1)])
def test_figures_of_rows_signals_and_volumes(shape):
    model, _ = linear(shape=shape)
    images = RNG.normal(size=(4, *shape))
    found = find(model, (images, [0, 1, 0, 1]))
    assert found.maps.shape == (2, *(shape[:-1] if len(shape) > 1 else shape))
    assert len(plotting.class_attributions(found).axes) >= 2
    contrast = class_contrast(model, images[0], (0, 1), PIXELS)
    figure = plotting.class_contrast(contrast)
    if len(shape) == 1:
        widths = [bar.get_width() for bar in figure.axes[3].patches]
        np.testing.assert_allclose(widths, contrast.difference[0])


def test_overlay_of_a_gray_image_and_its_map():
    image, heat = IMAGES[0, ..., :1], IMAGES[1, ..., 0]
    np.testing.assert_allclose(overlay(heat, image), (heat + image[..., 0]) / 2)
    np.testing.assert_allclose(overlay(image, heat), (heat[..., None] + image) / 2)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda m: class_contrast(m, IMAGES[0], (1, 1)), "classes"),
        (lambda m: class_contrast(m, IMAGES[0], (1,)), "classes"),
        (lambda m: class_contrast(m, IMAGES[0], (0, 3)), "classes"),
        (lambda m: find(m, (IMAGES, LABELS + 1)), "images"),
        (lambda m: find(m, IMAGES, images_per_class=0), "images_per_class"),
        (lambda m: plotting.class_attributions(find(m, (IMAGES, LABELS)), ["a"]), "class_names"),
        (lambda m: plotting.class_attributions(find(m, (IMAGES, LABELS)), classes=[1]), "classes"),
    ],
)
def test_bad_arguments(call, name):
    with pytest.raises(ValueError, match=rf"`{name}`(.|\n)*Received: "):
        call(linear()[0])


def test_methods_must_be_objects():
    with pytest.raises(TypeError, match="`method` must be a"):
        class_contrast(linear()[0], IMAGES[0], (0, 1), Saliency)
    with pytest.raises(TypeError, match="`method` must be a"):
        find(linear()[0], IMAGES, LayerCAM)
