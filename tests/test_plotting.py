from __future__ import annotations

import itertools
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from vis import plotting
from vis.callbacks import History

matplotlib.use("Agg")


def history():
    history = History(frames_every=2)
    for i in range(6):
        image = np.full((1, 8, 8, 3), float(i))
        image[0, 0, 0] = -5
        history.callback(i, [("a", 1.0 / (i + 1)), ("b", 2.0)], 2 + 1.0 / (i + 1), None, image)
    return history


def test_grid(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype("uint8")
    figure = plotting.grid(images, labels=list("abcde"), cols=3, save_to=tmp_path / "grid.png")
    assert [ax.get_title() for ax in figure.axes] == list("abcde")
    np.testing.assert_array_equal(figure.axes[3].images[0].get_array(), images[3])
    assert figure.axes[0].get_position().y0 > figure.axes[3].get_position().y0
    with Image.open(tmp_path / "grid.png") as saved:
        assert saved.width > saved.height > 100
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def shown(ax):
    """The arrays of the images in axes."""
    return [np.asarray(image.get_array()) for image in ax.images]


def rgb_of(image):
    """The colours that Matplotlib draws for an image, 0 to 1."""
    return image.to_rgba(image.get_array())[..., :3]


RANGES = {
    "bytes": (np.array([[0, 255]], "uint8"), (0, 255)),
    "dark bytes": (np.array([[0, 9]], "int64"), (0, 255)),
    "shares": (np.array([[0.1, 0.2]]), (0, 1)),
    "black": (np.zeros((1, 2)), (0, 1)),
    "signed": (np.array([[-0.7, 0.9]]), (-1, 1)),
    "pixels": (np.array([[3.0, 200.0]]), (0, 255)),
    "standardised": (np.array([[-2.1, 2.6]]), (-2.1, 2.6)),
    "hardly negative": (np.array([[-0.1, 1.0]]), (-0.1, 1)),
    "Hounsfield units": (np.array([[-1000, 3000]], "int16"), (-1000, 3000)),
    "constant": (np.full((1, 2), 7.0), (6, 8)),
}


@pytest.mark.parametrize("name", RANGES)
def test_ranges_of_images_are_inferred(name):
    values, (low, high) = RANGES[name]
    values = np.tile(values, (6, 3))
    (image,) = plotting.picture(values).axes[0].images
    np.testing.assert_array_equal(image.get_array(), values)
    np.testing.assert_allclose(image.get_clim(), (low, high))
    colours = np.stack([values] * 3, axis=-1)
    (image,) = plotting.picture(colours).axes[0].images
    scaled = (colours - float(low)) / (float(high) - low)
    drawn = np.asarray(image.get_array())
    drawn = drawn / 255 if drawn.dtype == np.uint8 else drawn
    np.testing.assert_allclose(drawn, scaled)


def test_a_grid_has_one_range():
    figure = plotting.grid([np.full((6, 6), -1.0), np.full((6, 6), 0.5)])
    assert [ax.images[0].get_clim() for ax in figure.axes] == [(-1, 1)] * 2
    # A photograph in bytes beside a map in floats.
    figure = plotting.grid([np.full((6, 6), 200, "uint8"), np.full((6, 6), 0.5)])
    assert [ax.images[0].get_clim() for ax in figure.axes] == [(0, 255), (0, 1)]
    figure = plotting.grid([np.zeros((6, 6)), np.ones((6, 6, 3))], input_range=(-1, 3))
    assert figure.axes[0].images[0].get_clim() == (-1, 3)
    np.testing.assert_allclose(shown(figure.axes[1])[0], 0.5)


@pytest.mark.parametrize(
    ("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (6, 3), (7, 4), (8, 4), (9, 3), (10, 5)]
)
def test_rows_of_a_grid_are_even(count, columns):
    figure = plotting.grid(np.zeros((count, 6, 6)))
    places = {ax.get_subplotspec().colspan.start for ax in figure.axes}
    assert len(places) == columns


def test_gray_images_and_channels_first():
    gray = np.random.default_rng(0).uniform(size=(8, 6))
    for image in (gray, gray[..., None], gray[None]):
        np.testing.assert_array_equal(shown(plotting.picture(image, title="a").axes[0]), [gray])
    colours = np.random.default_rng(0).uniform(size=(8, 6, 3))
    for image in (colours, np.moveaxis(colours, -1, 0)):
        np.testing.assert_array_equal(shown(plotting.picture(image).axes[0]), [colours])


def test_heat_maps():
    heat = np.arange(48.0).reshape(8, 6)
    for image in (np.full((8, 6), 51, "uint8"), np.full((8, 6, 3), 0.2), np.full((1, 8, 6), 0.2)):
        for own in (heat, heat[..., None], heat[None]):
            below, above = plotting.heatmap(image, own, alpha=0.3).axes[0].images
            np.testing.assert_array_equal(above.get_array(), heat)
            colours = above.to_rgba(heat)
            expected = matplotlib.colormaps["jet"](heat / 47)[..., :3]
            np.testing.assert_allclose(colours[..., :3], expected, atol=0.02)
            np.testing.assert_allclose(colours[..., 3], 0.3 * heat / 47, atol=0.01)
            below = np.asarray(below.get_array(), float)
            np.testing.assert_allclose(below / (255 if below.max() > 1 else 1), 0.2)
    for constant in (0.0, 1.0):
        for figure in (
            plotting.heatmap(np.zeros((8, 6)), np.full((8, 6), constant), colorbar=True),
            plotting.heatmaps(np.zeros((8, 6)), np.full((3, 8, 6), constant)),
        ):
            figure.draw_without_rendering()
            image = figure.axes[0].images[1]
            assert (image.to_rgba(image.get_array())[..., 3] == 0).all()


def test_signed_heat_maps_are_centred_at_zero():
    heat = np.array([[-1.0, 0.0, 0.5, 2.0]] * 6)
    figure = plotting.heatmap(np.zeros((6, 4)), heat, alpha=1, colorbar=True)
    above = figure.axes[0].images[1]
    assert above.get_clim() == (-2, 2)
    colours = above.to_rgba(heat)[0]
    assert colours[0, 2] > colours[0, 0]  # blue
    assert (colours[2:, 0] > colours[2:, 2]).all()  # red
    np.testing.assert_allclose(colours[:, 3], [0.5**0.6, 0, 0.25**0.6, 1], atol=0.01)
    assert figure.axes[1].get_ylim() == (-2, 2)
    # Positive maps can be compared with signed ones.
    above = plotting.heatmap(np.zeros((6, 4)), heat + 1, signed=True).axes[0].images[1]
    assert above.get_clim() == (-3, 3)


def test_several_heat_maps_have_one_scale():
    rng = np.random.default_rng(0)
    images, heats = rng.uniform(size=(3, 8, 6, 3)), rng.uniform(1, 5, (3, 8, 6))
    figure = plotting.heatmaps(images, heats, ["a", "b", "c"])
    *axes, bar = figure.axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    for ax, image, heat in zip(axes, images, heats, strict=True):
        np.testing.assert_array_equal(shown(ax)[0], image)
        np.testing.assert_array_equal(shown(ax)[1], heat)
        assert ax.images[1].get_clim() == (heats.min(), heats.max())
    assert bar.get_ylim() == (heats.min(), heats.max())
    # Each can have its own scale, and one image can have several maps.
    figure = plotting.heatmaps(images[0], heats, common_scale=False)
    assert len(figure.axes) == 6
    for ax, heat in zip(figure.axes[:3], heats, strict=True):
        np.testing.assert_array_equal(shown(ax)[0], images[0])
        assert ax.images[1].get_clim() == (heat.min(), heat.max())
    figure = plotting.heatmaps(None, heats - 3, colorbar=False)
    assert [len(ax.images) for ax in figure.axes] == [1, 1, 1]
    assert figure.axes[0].images[0].get_clim()[1] == abs(heats - 3).max()


def test_an_image_of_as_many_rows_as_there_are_maps_is_one_image():
    image, heats = np.random.default_rng(0).uniform(size=(8, 6, 3)), np.zeros((8, 8, 6))
    figure = plotting.heatmaps(image, heats, colorbar=False)
    for ax in figure.axes:
        np.testing.assert_array_equal(shown(ax)[0], image)


def test_signals_are_lines():
    leads = np.random.default_rng(0).normal(size=(50, 2))
    for signal in (leads, leads.T):
        lines = plotting.picture(signal).axes[0].lines
        np.testing.assert_array_equal([line.get_ydata() for line in lines], leads.T)
    lines = plotting.picture(leads[:, 0], kind="signal").axes[0].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), leads[:, 0])
    heat = np.linspace(0, 1, 50)
    ax = plotting.heatmap(leads, heat).axes[0]
    np.testing.assert_array_equal(shown(ax), [heat[None]])
    left, right, bottom, top = ax.images[0].get_extent()
    assert (left, right) == (-0.5, 49.5)
    assert bottom < leads.min() < leads.max() < top
    figure = plotting.grid([leads, 3 * leads])
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_volumes_are_slices():
    volume = np.random.default_rng(0).uniform(size=(20, 5, 6, 1))
    heat = np.random.default_rng(1).normal(size=(20, 5, 6))
    slices = [3, 5, 8, 11, 14, 16]
    ax = plotting.heatmap(volume, heat).axes[0]
    np.testing.assert_array_equal(shown(ax)[:6], volume[slices, ..., 0])
    np.testing.assert_array_equal(shown(ax)[6:], heat[slices])
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"slice {i}" for i in slices]
    assert len(plotting.picture(volume[:2]).axes[0].images) == 2


def test_rows_of_a_table_are_bars_with_names():
    row, heat, names = np.array([1.5, -2.0, 0.5]), np.array([0.1, 0.3, -0.2]), list("abc")
    ax = plotting.picture(row, names=np.array(names)).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], row)
    assert [label.get_text() for label in ax.get_yticklabels()] == names
    ax = plotting.heatmap(row, heat, names=names).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], heat)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["a = 1.5", "b = -2", "c = 0.5"]
    red, _, blue, _ = ax.patches[2].get_facecolor()
    assert blue > red
    figure = plotting.heatmaps([row, row], [heat, 5 * heat])
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert len(figure.axes) == 2


def test_text_is_coloured_words():
    words, heat = ["a", "lovely", "but", "dull", "film"] * 9, np.tile([0, 2, 0.5, -1, 0.1], 9)
    ax = plotting.tokens(words, heat, title="review").axes[0]
    assert [text.get_text() for text in ax.texts] == words
    colours = [text.get_bbox_patch().get_facecolor() for text in ax.texts]
    assert colours[0][3] == pytest.approx(0, abs=0.03)
    assert colours[1][3] == pytest.approx(0.6, abs=0.01)
    assert colours[1][0] > colours[1][2]
    assert colours[3][2] > colours[3][0]
    # Words follow each other and stay in the figure.
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len({round(box.y0) for box in boxes}) > 1
    assert all(box.x1 <= ax.get_window_extent().x1 for box in boxes)
    for one, two in itertools.pairwise(boxes):
        assert one.x1 < two.x0 or one.y0 > two.y1


def test_text_as_html():
    html = plotting.tokens_html(["<b>", "dull"], [1.0, -0.25])
    assert html == html._repr_html_()
    assert "&lt;b&gt;" in html
    found = re.findall(r'title="(.*?)" style="background-color: rgba\((.*?)\)', html)
    assert [value for value, _ in found] == ["1", "-0.25"]
    (red, _, _, strong), (_, _, blue, weak) = (map(float, c.split(",")) for _, c in found)
    assert min(red, blue) > 200
    assert (strong, weak) == (0.6, pytest.approx(0.6 * 0.25**0.6, abs=0.01))


def test_given_axes():
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3)
    assert plotting.picture(np.zeros((4, 4)), ax=axes[0]) is figure
    assert plotting.heatmap(np.zeros((4, 4)), np.eye(4), ax=axes[1]) is figure
    assert plotting.loss_curves(history(), ax=axes[2]) is figure
    assert [len(axes[0].images), len(axes[1].images), len(axes[2].lines)] == [1, 2, 3]
    assert plotting.grid(np.zeros((2, 4, 4)), ax=axes[:2]) is figure
    assert plotting.heatmaps(None, np.zeros((3, 4, 4)), ax=axes) is figure
    with pytest.raises(TypeError, match="`ax` must be 2 Matplotlib axes"):
        plotting.grid(np.zeros((2, 4, 4)), ax=axes)
    plt.close(figure)


def test_loss_curves():
    lines = {
        line.get_label(): line.get_ydata() for line in plotting.loss_curves(history()).axes[0].lines
    }
    np.testing.assert_allclose(lines["a"], 1 / np.arange(1, 7))
    np.testing.assert_allclose(lines["overall loss"], 2 + 1 / np.arange(1, 7))


def test_film_strip():
    frames = history()
    assert len(frames.frames) == 3
    figure = plotting.film_strip(frames, count=2)
    assert len(figure.axes) == 2


def test_no_figure_is_left_open():
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    plotting.grid(np.zeros((2, 4, 4, 3)))
    assert plt.get_fignums() == before


def test_large_packages_are_imported_when_used():
    # Keras imports some of them itself.
    code = (
        "import sys, keras, tensorflow; before = set(sys.modules); import vis.plotting; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "sys.exit(bool(new & {'matplotlib', 'imageio', 'scipy'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("plot", "name"),
    [
        (lambda: plotting.picture(np.zeros((4, 4, 2))), "image"),
        (lambda: plotting.grid([]), "images"),
        (lambda: plotting.grid(np.zeros((2, 4, 4)), labels=["a"]), "labels"),
        (lambda: plotting.heatmap(np.zeros((4, 4)), np.zeros((3, 3))), "heat"),
        (lambda: plotting.film_strip(History()), "history"),
        (lambda: plotting.heatmap(np.zeros((4, 4, 3)), np.zeros((4, 4, 3))), "heat"),
        (lambda: plotting.heatmaps(np.zeros((4, 4)), []), "heats"),
        (lambda: plotting.heatmaps(np.zeros((2, 4, 4)), np.zeros((3, 4, 4))), "images"),
        (lambda: plotting.picture(np.zeros((4, 4)), kind="film"), "kind"),
        (lambda: plotting.picture(np.full((4, 4), np.nan)), "image"),
        (lambda: plotting.picture(np.zeros(4), names=["a"]), "names"),
        (lambda: plotting.tokens(["a", "b"], [1.0]), "heat"),
    ],
)
def test_bad_arguments(plot, name):
    with pytest.raises(ValueError, match=rf"`{name}`(.|\n)*Received: "):
        plot()
