"""The code on the pages in docs/ runs as it stands, from a page's first block to its last."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from vis import visualization

DOCS = Path(__file__).parent.parent / "docs"
STEPS = 3


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.M | re.S)


@pytest.fixture
def few_steps(monkeypatch):
    """All descents stop after a few steps, whatever the page asks for."""

    def shortened(function):
        return lambda *args, **settings: function(*args, **{**settings, "max_iter": STEPS})

    for name in (
        "visualize_activation",
        "visualize_activation_with_losses",
        "visualize_filters",
    ):
        monkeypatch.setattr(visualization, name, shortened(getattr(visualization, name)))


def run(page, names):
    """Runs the blocks of a page one after the other, each with what those before it define."""
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype("float32")


@pytest.fixture
def classifier():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="early")(inputs)
    x = layers.Conv2D(6, 3, activation="relu", name="late")(x)
    return keras.Model(inputs, layers.Dense(5, name="predictions")(layers.Flatten()(x)))


@pytest.mark.usefixtures("few_steps")
def test_which_method(classifier, image):
    names = run("which_method.md", {"model": classifier, "photograph": image})
    assert names["pictures"].shape == (2, 16, 16, 3)
    assert names["facets"].shape == (4, 16, 16, 3)
    assert names["kept"].shape == (16, 16, 3)
    assert names["error"] < 0.05
    for name in ("heat", "smooth", "before", "after"):
        assert names[name].shape == (16, 16)
    assert (names["before"] != names["after"]).any()
    for ours, theirs in zip(classifier.weights, names["shuffled"].weights, strict=True):
        np.testing.assert_allclose(np.sort(ours, None), np.sort(theirs, None))


def test_every_question_of_the_table_has_a_section():
    text = (DOCS / "which_method.md").read_text("utf-8")
    headings = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", text, re.M)
    }
    headings = {re.sub(r"[^\w-]", "", heading) for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) == headings
    assert text.count("**What it does not say.**") == len(headings) - 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("page", ["getting_started.md", "feature_visualization.md", "softmax.md"])
def test_pages_about_pictures(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(page, {})
    pictures = [names[name] for name in ("image", "pictures", "kept", "dream") if name in names]
    assert pictures or page == "softmax.md"
    assert all(np.ptp(picture) > 0 for picture in pictures)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("few_steps")
def test_attention(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (20, 16, 16, 3)).astype("float32")
    names = {
        "photograph": rng.uniform(0, 255, (224, 224, 3)).astype("float32"),
        "x": x,
        "y": np.zeros(20),
        "x_validation": x,
    }
    *others, learning = blocks("attention.md")
    for block in others:
        exec(compile(block, "attention.md", "exec"), names)
    names["model"] = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    names["model"].compile("sgd", loss)
    # TensorFlow does not bring TensorBoard along any more.
    for there, here in [
        ("    tensorboard=tensorboard,\n", ""),
        ("[tensorboard, draw]", "[draw]"),
        ("epochs=50", "epochs=5"),
    ]:
        assert there in learning
        learning = learning.replace(there, here)
    exec(compile(learning, "attention.md", "exec"), names)
    assert names["heat"].shape == (224, 224)
    assert (tmp_path / "pictures" / "cam" / "epoch_0005.png").exists()
    assert (tmp_path / "pictures" / "ship" / "epoch_0005.png").exists()
