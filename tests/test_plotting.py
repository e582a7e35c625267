from __future__ import annotations

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


def test_gray_images_and_heat_maps():
    figure = plotting.picture(np.zeros((8, 6, 1)), title="night")
    assert figure.axes[0].images[0].get_array().shape == (8, 6)
    heat = np.arange(48.0).reshape(8, 6)
    colours = 255 * matplotlib.colormaps["jet"](heat / 47)[..., :3]
    share = 0.3 * heat[..., None] / 47
    for image in (np.full((8, 6), 51, "uint8"), np.full((8, 6, 3), 0.2), np.full((8, 6, 1), 0.2)):
        shown = plotting.heatmap(image, heat, alpha=0.3).axes[0].images[0].get_array()
        np.testing.assert_allclose(shown, share * colours + (1 - share) * 51, atol=0.51)
    even = plotting.heatmap(np.full((8, 6, 3), 2.0), np.ones((8, 6))).axes[0].images[0]
    assert (even.get_array() == 255).all()


def test_given_axes():
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3)
    assert plotting.picture(np.zeros((4, 4)), ax=axes[0]) is figure
    assert plotting.heatmap(np.zeros((4, 4)), np.eye(4), ax=axes[1]) is figure
    assert plotting.loss_curves(history(), ax=axes[2]) is figure
    assert [len(axes[0].images), len(axes[1].images), len(axes[2].lines)] == [1, 1, 3]
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
    ],
)
def test_bad_arguments(plot, name):
    with pytest.raises(ValueError, match=rf"`{name}`(.|\n)*Received: "):
        plot()
