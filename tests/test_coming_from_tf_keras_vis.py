"""docs/coming_from_tf_keras_vis.md: the code of this package runs and gives the right results."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

# Some channels of random weights are never active.
pytestmark = pytest.mark.filterwarnings("ignore:The activation of filters")

PAGE = Path(__file__).parent.parent / "docs" / "coming_from_tf_keras_vis.md"
SIZE = 16


def sections():
    """The code of each section by heading: `py` of tf-keras-vis, `python` of this package."""
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
    """The names that the page uses, and by heading those that its sections define."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(6, 3, activation="relu", name="early")(inputs)
    x = layers.Conv2D(12, 3, activation="relu", name="late")(x)
    x = layers.Flatten()(x)
    classes = layers.Dense(5, activation="softmax", name="predictions")(x)
    images = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("float32")
    model = keras.Model(inputs, classes)
    two_heads = keras.Model(inputs, [classes, layers.Dense(4, name="second_head")(x)])
    namespace = {"model": model, "two_heads": two_heads, "images": images}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for heading, code in sections().items():
            before = set(namespace)
            exec(compile(code["python"], heading, "exec"), namespace)
            namespace[heading] = {name: namespace[name] for name in namespace.keys() - before}
            for name in ("heat", "image", "pictures", "colours"):
                if name in namespace:
                    namespace[heading][name] = namespace.pop(name)
        with Image.open("steps.gif") as gif:
            namespace["frames"] = gif.n_frames
    return namespace


def test_every_feature_of_tf_keras_vis_is_covered():
    tf_keras_vis_code = "".join(code["py"] for code in sections().values())
    for name in (
        "ActivationMaximization", "Saliency", "Gradcam", "GradcamPlusPlus", "Scorecam", "Layercam",
        "CategoricalScore", "BinaryScore", "InactiveScore", "ReplaceToLinear",
        "ExtractIntermediateLayer", "GuidedBackpropagation", "Callback", "Progress", "PrintLogger",
        "GifGenerator2D", "Jitter", "Rotate2D", "Scale", "TotalVariation2D", "Norm",
    ):  # fmt: skip
        assert re.search(rf"\b{name}\b", tf_keras_vis_code), name
    for heading, code in sections().items():
        assert bool(code["py"]) == bool(code["python"]), heading


@pytest.mark.parametrize(
    "heading",
    [
        "`Saliency`", "SmoothGrad", "Guided backpropagation", "Custom scores",
        "A different class for each image", "`Gradcam`, `GradcamPlusPlus`, `Layercam`",
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


def test_softmax_is_removed_from_the_copy_only(names):
    model, linear, images = names["model"], names["linear"], names["images"]
    assert model.layers[-1].activation is keras.activations.softmax
    expected = keras.ops.softmax(linear(images))
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-6)


def test_keepdims(names):
    assert names["`Saliency`"]["colours"].shape == (3, SIZE, SIZE, 3)


def test_custom_score(names):
    import tensorflow as tf

    linear, images = names["linear"], names["images"]
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(images))
        logits = linear(x)
        margin = tf.reduce_sum(logits[:, 1] - logits[:, 2])
    grads = abs(tape.gradient(margin, x).numpy()).max(axis=-1)
    from vis.visualization import Saliency

    heat = Saliency()(linear, images, losses=names["score"])
    for one, expected in zip(heat, grads, strict=True):
        expected = (expected - expected.min()) / np.ptp(expected)
        np.testing.assert_allclose(one, expected, atol=0.005)


def test_second_head(names):
    names_of_head = names["`BinaryScore`, `InactiveScore`"]
    from vis.visualization import visualize_saliency

    head = keras.Model(names["two_heads"].inputs, names["two_heads"].outputs[1])
    expected = visualize_saliency(head, -1, 1, names["images"])
    np.testing.assert_allclose(names_of_head["heat"], expected, atol=1e-5)


def test_gif_has_one_frame_per_step(names):
    assert names["frames"] == 5
