"""Runs the code blocks of README.md and the pages in docs/, in order."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from vis import atlas, visualization
from vis.losses import ActivationMaximization

DOCS = Path(__file__).parent.parent / "docs"
STEPS = 3


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.M | re.S)


@pytest.fixture
def few_steps(monkeypatch):
    """Limits all optimisations to a few steps."""

    def shortened(function):
        return lambda *args, **settings: function(*args, **{**settings, "max_iter": STEPS})

    for name in (
        "visualize_activation",
        "visualize_activation_with_losses",
        "visualize_filters",
    ):
        monkeypatch.setattr(visualization, name, shortened(getattr(visualization, name)))


def run(page, names):
    """Runs the blocks of a page in one namespace."""
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


@pytest.fixture
def labelled():
    images = np.random.default_rng(0).uniform(0, 255, (15, 16, 16, 3)).astype("float32")
    names = ["top", "coat", "pullover", "shirt", "bag"]
    return {"x_train": images, "y_train": np.arange(15) % 5, "class_names": names}


@pytest.mark.usefixtures("few_steps")
@pytest.mark.filterwarnings("ignore:.* maps show nothing")
def test_figures(classifier, labelled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("figures.md", {"model": classifier, **labelled})
    names = ["classes", "contrast", "methods", "shortcuts", "top"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [f"{n}.png" for n in names]
    assert (tmp_path / "pictures" / "pullover.png").is_file()
    assert (tmp_path / "report.pdf").is_file()


@pytest.mark.usefixtures("few_steps")
@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_which_method(classifier, image, labelled):
    names = run("which_method.md", {"model": classifier, "photograph": image, **labelled})
    assert names["pictures"].shape == (2, 16, 16, 3)
    assert names["facets"].shape == (4, 16, 16, 3)
    assert names["kept"].shape == (16, 16, 3)
    assert names["error"] < 0.05
    for name in ("heat", "smooth", "before", "after"):
        assert names[name].shape == (16, 16)
    assert (names["before"] != names["after"]).any()
    assert names["contrast"].difference.shape == (1, 16, 16)
    assert names["found"].classes.tolist() == [0, 1, 2, 3, 4]
    assert len(names["figure"].axes) == 6
    for ours, theirs in zip(classifier.weights, names["shuffled"].weights, strict=True):
        np.testing.assert_allclose(np.sort(ours, None), np.sort(theirs, None))


def test_every_question_of_the_table_has_a_section():
    text = (DOCS / "which_method.md").read_text("utf-8")
    headings = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", text, re.M)
    }
    headings = {re.sub(r"[^\w-]", "", heading) for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) == headings
    assert text.count("**Limits.**") == len(headings) - 1


def test_own_data():
    examples = np.random.default_rng(0).uniform(size=(30, 8, 8, 1)).astype("float32")
    head = [keras.layers.Flatten(), keras.layers.Dense(4, name="predictions")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *head])
    names = run("own_data.md", {"model": model, "x_train": examples})
    assert names["pictures"].shape == (4, 8, 8, 1)
    assert names["image"].shape == (8, 8, 1)


@pytest.mark.long
def test_atlas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), "uint8")
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{i}.png")

    def shortened(*args, **settings):
        few = {"layers": ["block2_expand"], "max_filters": 1, "max_iter": STEPS, "image_size": 64}
        return draw(*args, **settings, **few)

    draw = atlas.draw_atlas
    monkeypatch.setattr(atlas, "draw_atlas", shortened)
    names = run("atlas.md", {})
    assert names["atlas"].failed == {}
    assert (tmp_path / "atlas" / "index.html").is_file()
    assert names["crop"].ndim == 3


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize(
    "page",
    [
        "../README.md",
        "coming_from_keras_vis.md",
        "getting_started.md",
        "feature_visualization.md",
        "softmax.md",
    ],
)
def test_pages_about_pictures(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photograph = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype("uint8")
    Image.fromarray(photograph).save("photograph.jpg")
    examples = np.random.default_rng(1).uniform(0, 255, (12, 224, 224, 3)).astype("float32")
    names = run(page, {"x_train": examples})
    pictures = [names[name] for name in ("image", "pictures", "kept", "heat") if name in names]
    assert pictures or page in ("softmax.md", "coming_from_keras_vis.md")
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
    *others, training = blocks("attention.md")
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
    # TensorBoard is not installed with TensorFlow any more.
    for old, new in [
        ("    tensorboard=tensorboard,\n", ""),
        ("[tensorboard, draw]", "[draw]"),
        ("epochs=50", "epochs=5"),
    ]:
        assert old in training
        training = training.replace(old, new)
    exec(compile(training, "attention.md", "exec"), names)
    assert names["heat"].shape == (224, 224)
    assert (tmp_path / "pictures" / "cam" / "epoch_0005.png").exists()
    assert (tmp_path / "pictures" / "ship" / "epoch_0005.png").exists()


class Block(layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.attention = layers.Conv2D(4, 3, padding="same", name="attention")

    def call(self, x):
        return self.attention(x)


class Encoder(layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.blocks = [Block(name=f"block_{i}") for i in range(3)]

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(4, 3, name="conv_3")
        self.block = layers.Conv2D(4, 3, name="conv_4")

    def call(self, x):
        return self.block(self.convolution(x))


def nested_classifier():
    """A model with all layer names of the page."""
    inputs = keras.Input((16, 16, 3))
    x = Encoder(name="encoder")(inputs)
    y = nested = keras.Input((16, 16, 4))
    for i in range(6):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv3_block{i}_out")(y)
    x = layers.Flatten()(keras.Model(nested, y, name="resnet50")(x))
    return keras.Model(inputs, layers.Dense(5, name="predictions")(x))


def siamese_model():
    encoder = keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Conv2D(4, 3, name="conv")], name="encoder"
    )
    one, two = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
    return keras.Model([one, two], layers.Subtract()([encoder(one), encoder(two)]))


def recurrent():
    inputs = keras.Input((6, 3))
    return keras.Model(inputs, layers.LSTM(4, return_state=True, name="lstm")(inputs))


def price_model():
    """A model of a photograph, numbers and words."""
    photograph, rooms = keras.Input((16, 16, 3), name="photograph"), keras.Input((1,), name="rooms")
    street = keras.Input((5,), name="street", dtype="int32")
    parts = [
        layers.Flatten()(layers.Conv2D(4, 3)(photograph)),
        rooms,
        layers.Flatten()(layers.Embedding(9, 2)(street)),
    ]
    price = layers.Dense(1, name="price")(layers.Concatenate()(parts))
    return keras.Model({"photograph": photograph, "rooms": rooms, "street": street}, price)


def text_classifiers():
    """Classifiers of word indices, and of text."""
    words = layers.Embedding(30, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)
    of_indices = keras.Sequential([keras.Input((3,), dtype="int32"), *words])
    split = layers.TextVectorization(vocabulary=["a", "fine", "film"], output_sequence_length=3)
    text = keras.Input((), dtype="string")
    return of_indices, keras.Model(text, of_indices(split(text)))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("few_steps")
def test_any_model(image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, subclassed, house = nested_classifier(), Subclassed(), price_model()
    reader, text_classifier = text_classifiers()
    (layer, several_calls, several_inputs, maps, words, find, losses, saved) = blocks(
        "any_model.md"
    )
    everything = {name: getattr(visualization, name) for name in visualization.__all__}
    words_of_house = np.array([[1, 2, 3, 4, 5]])
    values = {"photograph": image, "rooms": [4.0], "street": words_of_house[0]}
    photograph_network = keras.Sequential([keras.Input((224, 224, 3)), layers.Conv2D(2, 9, 9)])
    photograph_network.export("saved_model", verbose=False)

    def execute(block, **names):
        names = {**everything, "keras": keras, **names}
        exec(compile(block, "any_model.md", "exec"), names)
        return names

    execute(layer, model=model)
    first, second = several_calls.split("visualize_activation(model")
    imports, of_siamese = first.split("\n\n")
    execute(f"{imports}\n{of_siamese}", siamese=siamese_model())
    execute(f"{imports}\nvisualize_activation(model{second}", model=recurrent())
    images = execute(several_inputs, model=house, words=words_of_house)["images"]
    assert images["photograph"].shape == image.shape
    assert 1 <= images["rooms"] <= 9
    named = {"model": house, "photograph": image, "words": words_of_house[0], "values": values}
    assert execute(maps, **named)["heat"].shape == (16, 16)
    tokens = np.array([1, 2, 3])
    heat = execute(words, classifier=reader, text_classifier=text_classifier, tokens=tokens)["heat"]
    assert heat.shape[-1] == 3
    execute(find, model=subclassed, images=np.stack([image]))
    encoder = nested_classifier()
    execute(
        losses.replace("block_2/conv", "encoder/block_2/attention"),
        model=encoder,
        ActivationMaximization=ActivationMaximization,
    )
    execute(saved)
