"""Runs the example script of activation maximization on small models."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import from_pixels
from PIL import Image

from vis.visualization import visualize_filters

EXAMPLES = Path(__file__).parent.parent / "examples"
WITH_KERAS_VIS = ["--method", "keras-vis"]


@pytest.fixture(scope="module")
def script():
    path = EXAMPLES / "activation_maximization.py"
    spec = importlib.util.spec_from_file_location("activation_maximization_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _run_in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save(folder, outputs, *, shape=(12, 16, 3), activation="softmax", **options):
    """Path of a small saved classifier."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(5, 3, activation="relu", name="features", **options),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, activation=activation, name="predictions"),
        ]
    )
    path = folder / "model.keras"
    model.save(path)
    return str(path)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models"), outputs=6)


@pytest.fixture(scope="module")
def loaded(script, classifier):
    return script.load(classifier)


@pytest.fixture
def load_once(script, loaded, monkeypatch):
    """Runs of the script get the same classifier, and share its compiled functions."""
    monkeypatch.setattr(script, "load", lambda name: loaded)
    yield
    # `--method keras-vis` replaces it.
    loaded[0].layers[-1].activation = keras.activations.softmax


def run(script, tmp_path, *arguments):
    """Runs the script; returns its picture as an array."""
    path = script.main(["--max-iter", "3", "--output", str(tmp_path / "out.png"), *arguments])
    return np.asarray(Image.open(path))


def error(script, capsys, *arguments):
    """Runs the script with wrong arguments; returns the error message of `argparse`."""
    with pytest.raises(SystemExit) as exit_info:
        script.main(["--max-iter", "1", *arguments])
    assert exit_info.value.code == 2
    return capsys.readouterr().err


def test_writes_a_grid_and_prints_its_path_last(script, tmp_path, classifier, capsys):
    output = tmp_path / "new folder" / "grid.png"
    arguments = ["--model", classifier, "--max-iter", "2", "--output", str(output)]
    assert script.main([*arguments, "--filters", "0", "5"]) == output
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(output)
    assert "4/4" in captured.err
    assert script.main([*arguments, "--filters", "0", "5", *WITH_KERAS_VIS]) == output
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(output)
    assert "filter 5" in captured.err
    assert "2/2" in captured.err
    assert "loss=" in captured.err
    with Image.open(output) as grid:
        # Two pictures side by side.
        assert grid.width > 1.5 * grid.height


@pytest.mark.usefixtures("load_once")
def test_pictures_are_labelled(script, tmp_path, classifier, monkeypatch):
    labels = []
    monkeypatch.setattr(script.plotting, "grid", lambda *args, **kwargs: labels.extend(args[1]))
    script.main(["--model", classifier, "--max-iter", "1", "--filters", "1", "4"])
    assert labels == ["filter 1", "filter 4"]


@pytest.mark.usefixtures("load_once")
@pytest.mark.parametrize("method", [[], WITH_KERAS_VIS])
def test_the_same_seed_gives_the_same_picture(script, tmp_path, classifier, method):
    arguments = ["--model", classifier, "--filters", "2", *method, "--seed"]
    first = run(script, tmp_path, *arguments, "7")
    np.testing.assert_array_equal(run(script, tmp_path, *arguments, "7"), first)
    assert (run(script, tmp_path, *arguments, "8") != first).any()


@pytest.mark.usefixtures("load_once")
def test_pictures_are_those_of_visualize_filters(script, loaded, classifier):
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.plotting, "grid", lambda pictures, *_, **__: drawn.extend(pictures))
        script.main(["--model", classifier, "--filters", "2", "--max-iter", "9"])
    expected = visualize_filters(
        loaded[0], -1, 2, max_iter=9, seed=0, progress=False, input_range=(0.0, 255.0)
    )
    np.testing.assert_allclose(255 * drawn[0], expected[0], atol=1e-3)


def test_the_softmax_is_replaced_by_a_linear_activation(script, tmp_path):
    (tmp_path / "linear").mkdir()
    arguments = [*WITH_KERAS_VIS, "--filters", "3", "--model"]
    softmax = run(script, tmp_path, *arguments, save(tmp_path, outputs=6))
    linear = save(tmp_path / "linear", outputs=6, activation=None)
    np.testing.assert_array_equal(softmax, run(script, tmp_path, *arguments, linear))


def test_imagenet_names_for_a_thousand_outputs(script, tmp_path, capsys):
    arguments = ["--model", save(tmp_path, outputs=1000), *WITH_KERAS_VIS, "--filters"]
    by_name = run(script, tmp_path, *arguments, "water_ouzel", "Egyptian cat")
    assert "Egyptian_cat" in capsys.readouterr().err
    by_index = run(script, tmp_path, *arguments, "20", "285")
    np.testing.assert_array_equal(by_name, by_index)


@pytest.mark.usefixtures("load_once")
def test_inner_layer(script, tmp_path, classifier):
    by_name = run(script, tmp_path, "--model", classifier, "--layer", "features")
    by_index = run(script, tmp_path, "--model", classifier, "--layer", "0")
    np.testing.assert_array_equal(by_name, by_index)


def test_gray_models_in_another_range(script, tmp_path):
    model = save(tmp_path, outputs=3, shape=(28, 28, 1))
    picture = run(script, tmp_path, "--model", model, "--input-range", "0", "1", "--filters", "0")
    middle = picture[len(picture) // 2 - 20 :][:40, picture.shape[1] // 2 - 20 :][:, :40]
    assert middle[..., 0].std() > 10
    assert (middle[..., 0] == middle[..., 2]).all()


def test_one_gif_for_each_filter(script, tmp_path, classifier):
    gif = str(tmp_path / "steps.gif")
    options = ["--model", classifier, *WITH_KERAS_VIS, "--gif", gif, "--filters"]
    run(script, tmp_path, *options, "4")
    with Image.open(gif) as animation:
        assert animation.n_frames == 3
    run(script, tmp_path, *options, "0", "1")
    assert {path.name for path in tmp_path.glob("*.gif")} == {
        "steps.gif",
        "steps_0.gif",
        "steps_1.gif",
    }


def test_networks_of_keras_applications_take_pixels():
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    for family in ("vgg16", "mobilenet_v2", "densenet", "efficientnet"):
        module = getattr(keras.applications, family)
        network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Identity()])
        model = from_pixels(network, module.preprocess_input)
        expected = module.preprocess_input(pixels.copy())
        np.testing.assert_allclose(model(pixels), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg16"], "did you mean VGG16"),
        (["--model", "nothing like it"], "must be EfficientNetLite0"),
        (["--model", "missing.keras"], "must be a file that exists"),
        (["--max-iter", "0"], "at least 1"),
        (["--seed", "-1"], "at least 0"),
        (["--output", "picture.jpeg"], ".png file"),
        ([*WITH_KERAS_VIS, "--gif", "film.mp4"], ".gif file"),
        (["--gif", "film.gif"], "needs `--method keras-vis`"),
        (["--method", "best"], "invalid choice"),
    ],
)
def test_wrong_arguments(script, capsys, arguments, message):
    assert message in error(script, capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "prediction"], "did you mean 'predictions'"),
        (["--layer", "9"], "out of range"),
        (["--filters", "6"], "0 to 5"),
        (["--filters", "water_ouzel"], "must be indices"),
        (["--jitter", "-2"], "`jitter` must not be negative"),
        (["--jitter", "nan"], "`jitter` must be finite"),
        (["--input-range", "1", "0"], "`input_range` must be `(low, high)`"),
    ],
)
def test_wrong_arguments_for_the_model(script, tmp_path, classifier, capsys, arguments, message):
    output = ["--output", str(tmp_path / "out.png")]
    assert message in error(script, capsys, "--model", classifier, *output, *arguments)
    assert not list(tmp_path.glob("out.png"))


def test_unknown_imagenet_names_give_suggestions(script, tmp_path, capsys):
    model = save(tmp_path, outputs=1000)
    output = str(tmp_path / "out.png")
    message = error(
        script, capsys, "--model", model, "--output", output, "--filters", "water_oozel"
    )
    assert "water_ouzel" in message


def test_models_without_image_inputs_are_refused(script, tmp_path, capsys):
    path = str(tmp_path / "vectors.keras")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    assert "must take images" in error(script, capsys, "--model", path)


def test_a_softmax_layer_is_refused(script, tmp_path, capsys):
    path = str(tmp_path / "softmax.keras")
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Softmax()]
    keras.Sequential(layers).save(path)
    assert "the layer before it" in error(script, capsys, "--model", path, *WITH_KERAS_VIS)


@pytest.mark.usefixtures("load_once")
@pytest.mark.parametrize("method", [[], WITH_KERAS_VIS])
def test_the_default_number_of_steps(script, tmp_path, classifier, method, capsys):
    output = tmp_path / "grid.png"
    arguments = ["--model", classifier, "--filters", "1", "--output", str(output), *method]
    assert script.main(arguments) == output
    assert "100%" in capsys.readouterr().err
