"""Each pair of docs/coming_from_tf_keras_vis.md: ours is run, and does what the other did."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

PAGE = Path(__file__).parent.parent / "docs" / "coming_from_tf_keras_vis.md"
SIZE = 16


def sections():
    """The code of each section, theirs and ours, by its heading."""
    _, *parts = re.split(r"^## (.+)$", PAGE.read_text("utf-8"), flags=re.M)
    return {
        heading: {
            language: "".join(re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S))
            for language in ("py", "python")
        }
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the page speaks of without defining it, and all that its sections define."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="early")(inputs)
    x = layers.Conv2D(12, 3, activation="relu", name="late")(x)
    x = layers.Flatten()(x)
    classes = layers.Dense(5, activation="softmax", name="predictions")(x)
    images = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("float32")
    model = keras.Model(inputs, classes)
    two_heads = keras.Model(inputs, [classes, layers.Dense(4, name="second_head")(x)])
    found = {"model": model, "two_heads": two_heads, "images": images}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for heading, code in sections().items():
            before = set(found)
            exec(compile(code["python"], heading, "exec"), found)
            found[heading] = {name: found[name] for name in found.keys() - before}
            for name in ("heat", "image", "pictures", "colours"):
                if name in found:
                    found[heading][name] = found.pop(name)
        found["frames"] = Image.open("steps.gif").n_frames
    return found


def test_all_that_people_use_there_has_a_pair():
    theirs = "".join(code["py"] for code in sections().values())
    for name in (
        "ActivationMaximization", "Saliency", "Gradcam", "GradcamPlusPlus", "Scorecam", "Layercam",
        "CategoricalScore", "BinaryScore", "InactiveScore", "ReplaceToLinear",
        "ExtractIntermediateLayer", "GuidedBackpropagation", "Callback", "Progress", "PrintLogger",
        "GifGenerator2D", "Jitter", "Rotate2D", "Scale", "TotalVariation2D", "Norm",
    ):  # fmt: skip
        assert re.search(rf"\b{name}\b", theirs), name
    for heading, code in sections().items():
        assert bool(code["py"]) == bool(code["python"]), heading


@pytest.mark.parametrize(
    "heading",
    [
        "`Saliency`", "SmoothGrad", "Guided backpropagation", "A score of one's own",
        "A class of its own for each image", "`Gradcam`, `GradcamPlusPlus`, `Layercam`",
        "`Scorecam`, `Faster-ScoreCAM`", "`BinaryScore`, `InactiveScore`",
    ],
)  # fmt: skip
def test_maps(names, heading):
    heat = names[heading]["heat"]
    assert heat.shape == (3, SIZE, SIZE)
    for one in heat:
        assert one.min() == 0
        assert one.max() == 1


@pytest.mark.parametrize(
    "heading",
    [
        "`ActivationMaximization` of a class", "`ActivationMaximization` of a filter",
        "Input modifiers", "Regularizers", "Optimizers", "Callbacks", "GIFs",
    ],
)  # fmt: skip
def test_pictures(names, heading):
    image = names[heading]["image"]
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


def test_the_softmax_is_gone_and_the_model_is_as_it_was(names):
    model, linear, images = names["model"], names["linear"], names["images"]
    assert model.layers[-1].activation is keras.activations.softmax
    expected = keras.ops.softmax(linear(images))
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-6)


def test_colours_are_kept(names):
    assert names["`Saliency`"]["colours"].shape == (3, SIZE, SIZE, 3)


def test_a_score_of_ones_own_is_explained(names):
    """A linear score's gradient is that of its parts."""
    import tensorflow as tf

    linear, images = names["linear"], names["images"]
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(images))
        logits = linear(x)
        margin = tf.reduce_sum(logits[:, 1] - logits[:, 2])
    grads = abs(tape.gradient(margin, x).numpy()).max(axis=-1)
    from vis.visualization import visualize_saliency_with_losses

    heat = visualize_saliency_with_losses(linear.inputs[0], names["score"], images)
    for one, expected in zip(heat, grads, strict=True):
        expected = (expected - expected.min()) / np.ptp(expected)
        np.testing.assert_allclose(one, expected, atol=0.005)


def test_the_second_head_is_explained(names):
    names_of_head = names["`BinaryScore`, `InactiveScore`"]
    from vis.visualization import visualize_saliency

    head = keras.Model(names["two_heads"].inputs, names["two_heads"].outputs[1])
    expected = visualize_saliency(head, -1, 1, names["images"])
    np.testing.assert_allclose(names_of_head["heat"], expected, atol=1e-5)


def test_each_step_is_a_frame(names):
    assert names["frames"] == 5
