"""`draw_atlas`: its files, resuming, executors, and errors."""

import errno
import importlib.util
import io
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
)
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import identity
from PIL import Image

from vis.applications import EfficientNetLite0
from vis.atlas import default_layers, draw_atlas
from vis.atlas.directory import AtlasDirectory
from vis.visualization import top_activating_images, visualize_filters

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "atlas.py"
QUICK = {"max_filters": 3, "max_classes": 2, "max_iter": 4, "progress": False}
HOSTILE = "<img src=x onerror=alert(1)>.png"
# One write of each kind: the path contains the first, and it is written for the n-th time.
MOMENTS = {
    "images": ("images/", 2),
    "pictures": ("pictures/", 2),
    "links": ("data/layers/0000", 2),
    "end": ("atlas.json", 2),
}


def daily(*moments):
    """All moments, of which these are tested daily."""
    return [m if m in moments else pytest.param(m, marks=pytest.mark.long) for m in MOMENTS]


# Draws an atlas, and kills itself before a file that was written gets its name.
KILLED_SCRIPT = """
import os, signal, sys
import vis, keras
from vis.atlas import draw_atlas

pattern, count, model, images, folder, quick = sys.argv[1:]
replace, seen = os.replace, []

def replace_or_die(source, target):
    seen.extend([target] * (pattern in os.fspath(target)))
    if len(seen) == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = replace_or_die
draw_atlas(keras.models.load_model(model), folder, images=images, **eval(quick))
"""


def classifier(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((24, 20, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="edges"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(5, 3, activation="relu", name="parts"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="small",
    )


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of eleven images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    for i in range(11):
        pixels = rng.integers(0, 256, (24, 20, 3), "uint8")
        Image.fromarray(pixels).save(folder / (HOSTILE if i == 4 else f"{i:02}.png"))
    return folder


@pytest.fixture(scope="module")
def atlas_folder(model, images, tmp_path_factory):
    """A finished atlas. Tests copy it."""
    folder = tmp_path_factory.mktemp("atlas") / "atlas"
    atlas = draw_atlas(model, folder, images=images, **QUICK)
    assert atlas.failed == {}
    assert atlas.index == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def files(atlas_folder):
    """The files of the finished atlas."""
    return content(atlas_folder)


@pytest.fixture(scope="module")
def two_layers(model, images, tmp_path_factory):
    """Settings of an atlas of two layers, and its files."""
    settings = {"layers": ["edges", "parts"], "images": images, **QUICK}
    folder = tmp_path_factory.mktemp("atlas")
    draw_atlas(model, folder, **settings)
    return settings, content(folder)


@pytest.fixture
def copied(atlas_folder, tmp_path):
    """A copy of the finished atlas."""
    return shutil.copytree(atlas_folder, tmp_path / "copied")


@pytest.fixture
def undrawn(monkeypatch):
    """Writes the pages of an atlas, without its pictures and links."""
    monkeypatch.setattr("vis.atlas.run.AtlasRun.render", lambda *args: None)
    monkeypatch.setattr("vis.atlas.run.AtlasRun.compute_links", lambda *args: None)


class PicklingPool(ThreadPoolExecutor):
    """Threads that get and return copies, as processes do, without their time to start."""

    def submit(self, function, *args):
        sent = pickle.dumps((function, args))
        return super().submit(self._call, sent)

    @staticmethod
    def _call(sent):
        function, args = pickle.loads(sent)
        return pickle.loads(pickle.dumps(function(*args)))


@pytest.fixture
def pickling_pool():
    with PicklingPool(1) as pool:
        yield pool


def content(folder):
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def data(files, key):
    text = files[f"data/{key}.js"].decode()
    beginning = f"atlas.receive({json.dumps(key)},"
    assert text.startswith(beginning)
    assert text.endswith(");\n")
    return json.loads(text[len(beginning) : -3])


@pytest.fixture(scope="module")
def activations(model, images):
    """The activations of both convolutions for all images, and the logits."""
    paths = sorted(images.iterdir())
    pixels = np.stack([np.asarray(Image.open(path), "float32") for path in paths])
    edges, pool, parts, *_, dense = model.layers
    maps = keras.ops.convert_to_numpy(edges(pixels)).astype("float64")
    features = keras.ops.convert_to_numpy(parts(pool(maps.astype("float32")))).astype("float64")
    kernel, bias = dense.get_weights()
    return maps, features, features.mean(axis=(1, 2)) @ kernel + bias


def most_relevant(features, kernel, classes):
    """Three channels before a global average pooling, by the definition of their relevance."""
    # The gradient of a logit is its weight, divided by the number of positions.
    relevance = abs(features.mean(axis=(1, 2)) * kernel[:, classes].T).mean(axis=0)
    return sorted(np.argsort(-relevance, kind="stable")[:3].tolist())


def test_channels_that_the_classes_depend_on_most_are_drawn(model, files, activations):
    _, pool, parts, *_, dense = model.layers
    maps, features, logits = activations
    # Two of three classes are drawn.
    classes = logits[:, :2].argmax(axis=1)
    layers = data(files, "atlas")["layers"]
    kernel = dense.get_weights()[0]
    assert tuple(layers[1]["filters"]) != (0, 1, 2)
    assert layers[1]["filters"] == most_relevant(features, kernel, classes)

    # Gradient times activation is the slope of the score when a feature map is scaled.
    def score(maps):
        features = keras.ops.convert_to_numpy(parts(pool(maps.astype("float32"))))
        return (features.mean(axis=(1, 2)) * kernel[:, classes].T).sum(axis=1)

    slopes = []
    for channel in range(4):
        scale = np.where(np.arange(4) == channel, 1e-2, 0)
        slopes.append((score(maps * (1 + scale)) - score(maps * (1 - scale))) / 2e-2)
    relevance = abs(np.array(slopes)).mean(axis=1)
    assert layers[0]["filters"] == sorted(np.argsort(-relevance, kind="stable")[:3].tolist())
    assert [layer["by_relevance"] for layer in layers] == [True, True, False]


def test_without_images_relevance_is_measured_on_the_pictures_of_classes(model, bare_files):
    layers = data(bare_files, "atlas")["layers"]
    pictures = [
        np.asarray(Image.open(io.BytesIO(bare_files[f"pictures/0002/0000{i}.png"])), "float32")
        for i in range(2)
    ]
    edges, pool, parts, *_, dense = model.layers
    features = keras.ops.convert_to_numpy(parts(pool(edges(np.stack(pictures)))))
    assert layers[1]["filters"] == most_relevant(features, dense.get_weights()[0], [0, 1])


@pytest.mark.usefixtures("undrawn")
def test_without_classes_the_first_channels_are_drawn(model, tmp_path):
    settings = {**QUICK, "max_filters": 2}
    draw_atlas(model, tmp_path / "inner", layers=["edges", "parts"], **settings)
    layers = data(content(tmp_path / "inner"), "atlas")["layers"]
    assert [layer["filters"] for layer in layers] == [[0, 1], [0, 1]]
    assert [layer["by_relevance"] for layer in layers] == [False, False]


def test_a_channel_with_one_activation_in_all_images_has_no_top_images(files, activations):
    _, features, _ = activations
    maxima = features.max(axis=(1, 2))
    channels = data(files, "layers/0001")["channels"]
    counts = {channel["index"]: len(channel["top_images"]) for channel in channels}
    assert counts == {index: 9 * (len({*maxima[:, index]}) > 1) for index in counts}
    assert {*counts.values()} == {0, 9}
    # Its picture has activated it.
    assert data(files, "atlas")["layers"][1]["inactive"] == []


def test_an_inactive_channel_has_a_note_instead_of_a_picture(tmp_path, monkeypatch):
    conv = keras.layers.Conv2D(3, 3, activation="relu", name="conv")
    model = keras.Sequential([keras.Input((16, 16, 3)), conv])
    conv.set_weights([conv.get_weights()[0], np.array([0, -1e6, 0])])
    assert draw_atlas(model, tmp_path, **QUICK).failed == {}
    files = content(tmp_path)
    assert data(files, "atlas")["layers"][0]["inactive"] == [1]
    names = [f"pictures/0000/0000{name}" for name in ("0.png", "1.inactive", "2.png")]
    assert sorted(name for name in files if "pictures" in name) == names
    monkeypatch.setattr("vis.atlas.tasks.render_filters", None)
    assert draw_atlas(model, tmp_path, **QUICK).failed == {}


def test_map_data(files):
    atlas = data(files, "atlas")
    assert atlas["model"] == atlas["title"] == "small"
    assert atlas["finished"]
    assert atlas["images"] == 11
    layers = atlas["layers"]
    assert [layer["name"] for layer in layers] == ["edges", "parts", "classes"]
    assert [layer["predecessors"] for layer in layers] == [[], [0], [1]]
    assert [len(layer["filters"]) for layer in layers] == [3, 3, 2]
    assert [layer["receptive_field"] for layer in layers] == [[3, 3], [8, 8], None]
    assert [layer["is_classes"] for layer in layers] == [False, False, True]
    assert all(layer["picture_size"] == [24, 20] and not layer["error"] for layer in layers)


def test_pictures_are_those_of_visualize_filters(model, files):
    for position, layer in enumerate(("edges", "parts", "classes")):
        plan = data(files, "atlas")["layers"][position]
        indices = [index for index in plan["filters"] if index not in plan["inactive"]]
        pictures = visualize_filters(model, layer, indices, max_iter=4, seed=0, progress=False)
        for index, picture in zip(indices, pictures, strict=True):
            file = files[f"pictures/{position:04}/{index:05}.png"]
            pixels = np.asarray(Image.open(io.BytesIO(file)), int)
            # Pictures are rounded down, files to the nearest integer.
            assert set(np.unique(pixels - picture)) <= {0, 1}


@pytest.mark.filterwarnings("ignore:`images` should activate all channels")
def test_top_images_of_each_channel(model, images, files):
    names = sorted(path.name for path in images.iterdir())
    infos = data(files, "images")
    with pytest.warns(UserWarning, match="of 'parts' have one and the same activation"):
        found = top_activating_images(model, images, ["edges", "parts"], progress=False)
    for position, expected in enumerate(found.layers):
        layer = data(files, f"layers/{position:04}")
        for channel in layer["channels"]:
            row, entries = channel["index"], channel["top_images"]
            if not entries:  # An inactive channel.
                continue
            numbers = [entry["image"] for entry in entries]
            assert numbers == expected.indices[row].tolist()
            values = [entry["value"] for entry in entries]
            assert np.allclose(values, expected.values[row], rtol=1e-3)
            assert [entry["box"] for entry in entries] == expected.boxes[row].tolist()
            assert sum(channel["histogram"]["counts"]) == 11
            for number in numbers:
                info = infos[str(number)]
                assert info["name"] == names[number]
                pixels = np.asarray(Image.open(io.BytesIO(files[f"images/{info['file']}"])))
                assert np.array_equal(pixels, np.asarray(Image.open(images / names[number])))
                assert (info["height"], info["width"]) == (24, 20)


def test_links_are_listed_at_both_ends(files):
    parts, edges = data(files, "layers/0001"), data(files, "layers/0000")
    incoming = {
        (channel["index"], link[1]): link[2]
        for channel in parts["channels"]
        for link in channel["excited_by"]
    }
    outgoing = {
        (link[1], channel["index"]): link[2]
        for channel in edges["channels"]
        for link in channel["excites"]
        if link[0] == 1
    }
    assert incoming
    assert incoming == outgoing
    assert all(value > 0 for value in incoming.values())
    assert any(link[0] == 2 for channel in edges["channels"] for link in channel["excites"])


def test_links_are_gradient_times_activation(model, files, activations):
    """Compared with the slope of the score when the feature map of an edge is scaled."""
    _, pool, parts, *_ = model.layers
    maps, _, _ = activations

    def score(maps):
        outputs = parts(pool(maps.astype("float32")))
        return keras.ops.convert_to_numpy(outputs).astype("float64").mean(axis=(0, 1, 2))

    channels = data(files, "layers/0001")["channels"]
    compared = 0
    for edge in range(4):
        up, down = maps.copy(), maps.copy()
        up[..., edge] *= 1 + 1e-3
        down[..., edge] *= 1 - 1e-3
        slopes = (score(up) - score(down)) / 2e-3
        for channel in channels:
            for link in channel["excited_by"]:
                if link[1] == edge:
                    assert link[2] == pytest.approx(slopes[channel["index"]], rel=0.03, abs=0.02)
                    compared += 1
    assert compared


@pytest.fixture(scope="module")
def bare_files(model, tmp_path_factory):
    """The files of an atlas without images."""
    folder = tmp_path_factory.mktemp("bare")
    draw_atlas(model, folder, **QUICK)
    return content(folder)


def test_without_images_links_are_computed_on_own_pictures(bare_files):
    channels = data(bare_files, "layers/0001")["channels"]
    assert all(c["top_images"] == [] and c["histogram"] is None for c in channels)
    assert any(channel["excited_by"] for channel in channels)
    assert data(bare_files, "atlas")["images"] == 0


@pytest.mark.usefixtures("undrawn")
def test_filters_and_classes_by_index(model, tmp_path):
    atlas = draw_atlas(model, tmp_path, filters={"parts": [4, 1], 0: 3}, classes=[2, -3], **QUICK)
    layers = data(content(tmp_path), "atlas")["layers"]
    assert [layer["filters"] for layer in layers] == [[3], [1, 4], [0, 2]]
    assert atlas.failed == {}


@pytest.mark.usefixtures("undrawn")
def test_filters_for_all_layers_and_without_a_limit(model, tmp_path):
    settings = {"layers": ["edges", "classes"], **QUICK, "filters": [2], "max_classes": None}
    draw_atlas(model, tmp_path, **settings)
    layers = data(content(tmp_path), "atlas")["layers"]
    assert [layer["filters"] for layer in layers] == [[2], [0, 1, 2]]


def test_repeating_a_finished_call_draws_nothing(model, images, copied, files, monkeypatch):
    monkeypatch.setattr("vis.atlas.tasks.render_filters", None)
    assert draw_atlas(model, copied, images=images, **QUICK).failed == {}
    assert content(copied) == files


def test_a_missing_picture_of_a_finished_atlas_is_drawn(model, images, copied, files):
    next(iter((copied / "pictures/0001").iterdir())).unlink()
    draw_atlas(model, copied, images=images, **QUICK)
    assert content(copied) == files


@pytest.mark.parametrize("moment", daily("pictures", "links"))
def test_resumes_after_ctrl_c(model, images, tmp_path, files, monkeypatch, moment):
    pattern, count = MOMENTS[moment]
    replace, seen = os.replace, []

    def replace_or_interrupt(source, target):
        seen.extend([target] * (pattern in os.fspath(target)))
        if len(seen) == count:
            # As if the process had been killed here, and no longer ran.
            prefix, _, rest = Path(source).name.removeprefix(".").split(".", 2)
            shutil.copy(source, Path(source).with_name(f".{prefix}.{2**31}.{rest}"))
            raise KeyboardInterrupt
        replace(source, target)

    folder = tmp_path / "atlas"
    monkeypatch.setattr(os, "replace", replace_or_interrupt)
    with pytest.raises(KeyboardInterrupt):
        draw_atlas(model, folder, images=images, **QUICK)
    monkeypatch.undo()
    assert any(Path(name).name.startswith(".") for name in content(folder))
    has_pictures = any(name.startswith("pictures/") for name in content(folder))
    assert has_pictures == (moment != "images")
    draw_atlas(model, folder, images=images, **QUICK)
    assert content(folder) == files


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
def test_resumes_after_a_kill(model, model_file, images, tmp_path, files, moment):
    folder = tmp_path / "atlas"
    pattern, count = MOMENTS[moment]
    command = [sys.executable, "-c", KILLED_SCRIPT, pattern, count, model_file, images, folder]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    killed = subprocess.run([*map(str, command), repr(QUICK)], env=environment)
    assert killed.returncode == -signal.SIGKILL
    for name, file in content(folder).items():
        if name.endswith(".png") and not Path(name).name.startswith("."):
            Image.open(io.BytesIO(file)).load()
    draw_atlas(model, folder, images=images, **QUICK)
    assert content(folder) == files


@pytest.mark.long
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_ctrl_c_does_not_wait_for_running_tasks(model_file, tmp_path, workers):
    command = [sys.executable, os.fspath(SCRIPT), "--model", os.fspath(model_file), *workers]
    command += ["--max-iter", "1000000000", "--folder", os.fspath(tmp_path / "atlas")]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not (tmp_path / "atlas" / "data" / "atlas.js").exists():
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(10)  # Until workers run.
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert printed.endswith("stopped. Rerun the command to resume.\n")


def test_an_executor_of_the_caller_draws_the_same(model, tmp_path, two_layers, pickling_pool):
    settings, files = two_layers
    draw_atlas(model, tmp_path, executor=pickling_pool, **settings)
    # It stays open.
    assert pickling_pool.submit(abs, -1).result() == 1
    assert content(tmp_path) == files


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_killed_processes_are_replaced(model, tmp_path, two_layers, monkeypatch, processes):
    settings, files = two_layers
    others = {process.pid for process in multiprocessing.active_children()}
    write, killed = AtlasDirectory.write_picture, []

    def write_and_kill(self, *args):
        write(self, *args)
        if not killed:
            workers = {process.pid for process in multiprocessing.active_children()} - others
            killed.append(workers.pop())
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(AtlasDirectory, "write_picture", write_and_kill)
    draw_atlas(model, tmp_path, executor=processes, **settings)
    assert killed
    assert content(tmp_path) == files


class BrokenPool(Executor):
    def submit(self, *args, **kwargs):
        future = Future()
        future.set_exception(BrokenExecutor("gone"))
        return future


def test_errors_of_executors_that_are_lost(model, tmp_path):
    with pytest.raises(ConnectionError, match="Rerun the call to resume"):
        draw_atlas(model, tmp_path, executor=BrokenPool(), **QUICK)
    with ThreadPoolExecutor(1) as pool:
        pass
    with pytest.raises(ConnectionError, match="accepts no tasks; is it shut down"):
        draw_atlas(model, tmp_path, executor=pool, **QUICK)


@pytest.mark.long
def test_a_cluster_whose_worker_is_killed(model, images, tmp_path, files, monkeypatch):
    distributed = pytest.importorskip("distributed")
    write, killed = AtlasDirectory.write_picture, []

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:

        def write_and_kill(self, *args):
            write(self, *args)
            if not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        monkeypatch.setattr(AtlasDirectory, "write_picture", write_and_kill)
        address = cluster.scheduler_address
        draw_atlas(model, tmp_path, images=images, executor=address, **QUICK)
    assert killed
    assert content(tmp_path) == files


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"max_filters": 2}, "max_filters was 3, is 2"),
        ({"max_iter": 5}, "max_iter was 4, is 5"),
        ({"model": classifier(1)}, "model was"),
        ({"images": None}, "images was"),
    ],
)
def test_refuses_an_atlas_with_other_settings(model, images, copied, files, changed, message):
    settings = {"model": model, "folder": copied, "images": images, **QUICK, **changed}
    with pytest.raises(ValueError, match=message):
        draw_atlas(**settings)
    assert content(copied) == files


def model_of_a_function(function):
    inputs = keras.Input((16, 16, 3))
    conv = keras.layers.Conv2D(2, 3, kernel_initializer="ones", name="conv")
    return keras.Model(inputs, conv(function(inputs)))


@pytest.mark.usefixtures("undrawn")
def test_refuses_a_model_that_computes_something_else_with_the_same_layers(tmp_path):
    draw_atlas(model_of_a_function(lambda x: x * 2), tmp_path, **QUICK)
    # Not one that is built again.
    draw_atlas(model_of_a_function(lambda x: x * 2), tmp_path, **QUICK)
    others = (
        lambda x: x * 3,
        lambda x: x + 2,
        lambda x: x[..., ::-1],
        lambda x: keras.ops.flip(x, 1),
    )
    for other in others:
        with pytest.raises(ValueError, match="model was"):
            draw_atlas(model_of_a_function(other), tmp_path, **QUICK)


def test_workers_distinguish_equal_models_with_other_layer_names(tmp_path):
    def model():
        layers = [keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
        return keras.Sequential(layers)

    with ThreadPoolExecutor(1) as pool:
        for folder in ("first", "second"):
            assert not draw_atlas(model(), tmp_path / folder, executor=pool, **QUICK).failed


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("text", ["", "3", '{"settings": {}}', '{"finished": 1, "settings": {}}'])
def test_refuses_another_manifest(model, tmp_path, text, overwrite):
    (tmp_path / "atlas.json").write_text(text)
    with pytest.raises(ValueError, match="`folder` must be new, empty, or the folder of an atlas"):
        draw_atlas(model, tmp_path, overwrite=overwrite, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["atlas.json"]


def test_overwrite_replaces_another_atlas(model, images, copied, files):
    manifest = (copied / "atlas.json").read_text().replace('"seed": 0', '"seed": 1')
    (copied / "atlas.json").write_text(manifest)
    for picture in (copied / "pictures").rglob("*.png"):
        picture.write_text("of another atlas")
    (copied / "pictures" / "0009").mkdir()
    (copied / "pictures" / "0009" / "00000.png").write_text("of another atlas")
    assert draw_atlas(model, copied, images=images, overwrite=True, **QUICK).failed == {}
    assert content(copied) == files


def test_overwrite_keeps_the_pictures_of_the_same_atlas(model, images, copied, files, monkeypatch):
    monkeypatch.setattr("vis.atlas.tasks.render_filters", None)
    assert draw_atlas(model, copied, images=images, overwrite=True, **QUICK).failed == {}
    assert content(copied) == files


def test_refuses_a_folder_with_other_files(model, tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"`folder` must be new.*Received"):
        draw_atlas(model, tmp_path, **QUICK)
    with pytest.raises(ValueError, match="`folder` must be a folder"):
        draw_atlas(model, tmp_path / "letters.txt", **QUICK)
    assert list(content(tmp_path)) == ["letters.txt"]


def test_a_folder_that_cannot_be_written_is_refused_before_images_are_read(model, tmp_path):
    def images():
        pytest.fail("An image was read.")
        yield

    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="`folder` must be writable"):
        draw_atlas(model, tmp_path / "file" / "atlas", images=images(), **QUICK)


def test_a_full_disk(model, images, tmp_path, files, monkeypatch):
    replace, count = os.replace, []

    def replace_or_fail(source, target):
        count.append(target)
        if len(count) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_or_fail)
    with pytest.raises(OSError, match=r"No space left.*are kept"):
        draw_atlas(model, tmp_path, images=images, **QUICK)
    monkeypatch.undo()
    assert not [name for name in content(tmp_path) if Path(name).name.startswith(".")]
    draw_atlas(model, tmp_path, images=images, **QUICK)
    assert content(tmp_path) == files


def test_a_layer_without_gradient_does_not_stop_the_others(tmp_path):
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    outputs = keras.layers.Lambda(
        lambda x: keras.ops.cast(keras.ops.round(x), "float32"),
        output_shape=(14, 14, 3),
        name="rounded",
    )(outputs)
    model = keras.Model(inputs, outputs)
    atlas = draw_atlas(model, tmp_path, layers=["conv", "rounded"], **QUICK)
    assert list(atlas.failed) == ["rounded"]
    files = content(tmp_path)
    errors = [layer["error"] for layer in data(files, "atlas")["layers"]]
    assert errors[0] is None
    assert errors[1]
    assert "pictures/0000/00002.png" in files


def test_a_layer_that_is_not_finite_for_an_image_does_not_stop_the_others(tmp_path):
    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    outputs = keras.layers.Lambda(lambda x: x / keras.ops.mean(x), name="divided")(outputs)
    model = keras.Model(inputs, outputs)
    images = np.random.default_rng(0).uniform(1, 255, (5, 16, 16, 3)).astype("float32")
    images[2] = 0
    settings = {"layers": ["conv", "divided"], "images": images, **QUICK}
    atlas = draw_atlas(model, tmp_path, **settings)
    assert list(atlas.failed) == ["divided"]
    assert atlas.failed["divided"].startswith("images: `model` must have finite activations")
    files = content(tmp_path)
    layers = data(files, "atlas")["layers"]
    assert data(files, "atlas")["images"] == 5
    assert [layer["error"] for layer in layers] == [None, None]
    assert [layer["warning"] for layer in layers] == [None, atlas.failed["divided"]]
    conv, divided = (data(files, f"layers/{i:04}")["channels"] for i in range(2))
    assert [len(channel["top_images"]) for channel in conv] == [5, 5, 5]
    assert [channel["top_images"] for channel in divided] == [[], [], []]
    assert [channel["histogram"] for channel in divided] == [None, None, None]
    assert "pictures/0001/00002.png" in files
    # An atlas with errors is not finished.
    assert json.loads(files["atlas.json"])["finished"] is False


def test_a_model_with_code_requires_safe_mode_false_in_workers(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Lambda(lambda x: x * 2),
            keras.layers.Conv2D(2, 3, name="conv"),
        ]
    )
    with pytest.raises(ValueError, match=r"`model` must be loadable.*safe_mode"):
        draw_atlas(model, tmp_path / "refused", executor=1, **QUICK)
    assert draw_atlas(model, tmp_path / "here", **QUICK).failed == {}
    with ThreadPoolExecutor(2) as pool:
        draw_atlas(model, tmp_path / "sent", executor=pool, safe_mode=False, **QUICK)
    assert content(tmp_path / "sent") == content(tmp_path / "here")


def test_like_examples(model, images, tmp_path, pickling_pool):
    settings = {"layers": "classes", **QUICK}
    draw_atlas(model, tmp_path / "folder", like=images, **settings)
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(images.iterdir())])
    draw_atlas(model, tmp_path / "array", like=pixels, executor=pickling_pool, **settings)
    assert content(tmp_path / "folder") == content(tmp_path / "array")
    with pytest.raises(ValueError, match="`image_size` must be None together"):
        draw_atlas(model, tmp_path / "sized", image_size=20, like=pixels, **settings)


def shown_labels(folder):
    """The true and the predicted label of each image on the pages, by number."""
    infos = data(content(folder), "images")
    return {int(number): (info["label"], info["predicted"]) for number, info in infos.items()}


def test_title_and_labels_change_without_drawing(model, images, copied, activations, monkeypatch):
    *_, logits = activations
    assert {*shown_labels(copied).values()} == {(None, None)}
    monkeypatch.setattr("vis.atlas.tasks.render_filters", None)
    monkeypatch.setattr("vis.atlas.run.AtlasRun.compute_links", None)
    before = content(copied)
    labels, true = ["a", "<b>", "c"], ["x", *[i % 3 for i in range(10)]]
    settings = {"images": images, "labels": labels, "image_labels": true, **QUICK}
    draw_atlas(model, copied, title="Mine", **settings)
    after = content(copied)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"data/atlas.js", "data/images.js"}
    assert data(after, "atlas")["title"] == "Mine"
    assert [layer["labels"] for layer in data(after, "atlas")["layers"]] == [None, None, labels[:2]]
    predicted = [labels[i] for i in logits.argmax(axis=1)]
    expected = [*zip(["x", *(labels[i % 3] for i in range(10))], predicted, strict=True)]
    assert shown_labels(copied) == dict(enumerate(expected))
    with pytest.raises(ValueError, match="`image_labels` must have one for each of 11 images"):
        draw_atlas(model, copied, images=images, image_labels=["x"], **QUICK)
    draw_atlas(model, copied, images=images, **QUICK)
    assert content(copied) == before


@pytest.mark.usefixtures("undrawn")
def test_labels_of_images_in_the_dataset(model, images, activations, tmp_path):
    *_, logits = activations
    best = logits.argmax(axis=1)
    paths = sorted(images.iterdir())
    x = np.stack([np.asarray(Image.open(path), "float32") for path in paths])
    y = np.arange(11) % 3
    settings = {"layers": "classes", **QUICK}
    draw_atlas(model, tmp_path / "pair", images=(x, y), **settings)
    expected = [(f"class {i}", f"class {j}") for i, j in zip(y, best, strict=True)]
    assert shown_labels(tmp_path / "pair") == dict(enumerate(expected))
    # Other classes than those of the model.
    draw_atlas(model, tmp_path / "pair", images=(x, y * 5), **settings)
    assert {label for label, _ in shown_labels(tmp_path / "pair").values()} == {None}

    # Folders with the names of classes, or one for each class in alphabetical order.
    folder = tmp_path / "images"
    for name, path in zip(["dog", "cat", "zebra", "cat"], paths, strict=False):
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name / path.name)
    found = {}
    for names in (["ox", "cat", "dog"], ["1", "2", "3"]):
        draw_atlas(model, tmp_path / "folder", images=folder, labels=names, **settings)
        found[names[0]] = [label for label, _ in shown_labels(tmp_path / "folder").values()]
    assert found == {"ox": ["cat", "cat", "dog", None], "1": ["1", "1", "2", "3"]}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layers": "edgs"}, ValueError, "did you mean 'edges'"),
        ({"layers": []}, ValueError, "`layers` must hold"),
        ({"max_filters": 0}, ValueError, "`max_filters` must be"),
        ({"filters": [9]}, ValueError, "`filters`"),
        ({"filters": {"edgs": [0]}}, ValueError, "did you mean 'edges'"),
        ({"filters": {"classes": [0]}}, ValueError, "`filters` must be for inner layers"),
        ({"max_classes": 1.5}, TypeError, "`max_classes`"),
        ({"classes": "all"}, TypeError, "`classes`"),
        ({"image_size": 0}, ValueError, "`image_size`"),
        ({"max_iter": 0}, ValueError, "`max_iter`"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"labels": ["one"]}, ValueError, "`labels` must have a name for each of the 3"),
        ({"labels": [1, 2, 3]}, TypeError, "`labels`"),
        ({"image_labels": "hen"}, TypeError, "`image_labels` must be a list"),
        ({"image_labels": [1.5]}, TypeError, "`image_labels` must be a list"),
        ({"image_labels": [0, 3]}, ValueError, "`image_labels` must be from 0 to 2"),
        ({"title": 3}, TypeError, "`title` must be text"),
        ({"overwrite": "yes"}, TypeError, "`overwrite` must be True or False"),
        ({"input_range": (1, 0)}, ValueError, "`input_range`"),
        ({"images": "/nowhere"}, ValueError, "`images` must be a folder"),
        ({"like": 3}, TypeError, "`like`"),
        ({"executor": 0}, ValueError, "`executor`"),
        ({"executor": "host"}, ValueError, "`executor` must be the address"),
        ({"executor": 1.5}, TypeError, "`executor`"),
        ({"safe_mode": "yes"}, TypeError, "`safe_mode`"),
        ({"folder": 3}, TypeError, "`folder`"),
        ({"model": None}, TypeError, "`model`"),
    ],
)
def test_bad_arguments(model, tmp_path, arguments, error, message):
    settings = {"model": model, "folder": tmp_path / "atlas", **QUICK, **arguments}
    with pytest.raises(error, match=message) as info:
        draw_atlas(**settings)
    assert "Received" in str(info.value)
    assert not list(tmp_path.iterdir())


def test_a_model_without_image_input(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must have one input"):
        draw_atlas(model, tmp_path, **QUICK)
    with pytest.raises(ValueError, match="`model` must have one input"):
        default_layers(model)


def test_a_scheduler_that_does_not_answer(model, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("vis.atlas.workers._SCHEDULER_TIMEOUT", 2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ValueError, match="answers within 2 seconds"):
        draw_atlas(model, tmp_path / "atlas", executor=address, **QUICK)


def test_default_layers_of_a_large_network():
    layers = default_layers(EfficientNetLite0(weights=None))
    adds = [f"block{i}_add" for i in (3, 5, 7, 8, 10, 11, 13, 14, 15)]
    assert set(adds) < set(layers)
    assert 12 <= len(layers) <= 25
    assert layers[-1] == "predictions"


def test_default_layers_of_a_small_network(model):
    assert default_layers(model) == ["edges", "parts", "classes"]


@pytest.mark.usefixtures("undrawn")
def test_classes_of_a_nested_network(tmp_path):
    """As with the preprocessing of a network of `keras.applications`."""
    inputs = keras.Input((24, 20, 3))
    model = keras.Model(inputs, classifier()(inputs / 255))
    assert default_layers(model) == ["small/edges", "small/parts", "small/classes"]
    layers = ["small/parts", "small/classes"]
    draw_atlas(model, tmp_path, layers=layers, labels=["a", "b", "c"], **QUICK)
    classes = data(content(tmp_path), "atlas")["layers"][1]
    assert classes["labels"] == ["a", "b"]
    assert classes["predecessors"] == [0]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("atlas_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script(script, model, images, tmp_path, files, capsys, monkeypatch):
    # Its compiled functions are reused.
    monkeypatch.setattr(script, "load", lambda *_: (model, identity))
    folder = tmp_path / "atlas"
    arguments = ["--max-filters", 3, "--max-classes", 2, "--max-iter", 4]
    arguments += ["--images", images, "--folder", folder]
    assert script.main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert "Layers (choose others with --layers): edges parts classes" in captured.out
    assert captured.out.splitlines()[-1] == str(folder / "index.html")
    assert "pictures" in captured.err
    assert "8/8" in captured.err
    assert content(folder) == files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "edgs"], "did you mean 'edges'"),
        (["--filters", "9"], "`filters` is out of range"),
        (["--classes", "3", "0"], "`classes` is out of range"),
        (["--images", "/nowhere"], "`images` must be a folder"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "`--workers` or `--scheduler`"),
        (["--model", "old.h5"], "--no-safe-mode"),
        (["--model", "EfficientNetLite9"], "did you mean"),
    ],
)
def test_script_prints_errors_in_one_line(
    script, model_file, tmp_path, capsys, arguments, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as info:
        script.main(["--model", str(model_file), *arguments])
    assert info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_script_lists_files_that_are_not_images(script, model_file, tmp_path, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "notes.txt").write_text("not an image")
    arguments = ["--images", str(folder), "--folder", str(tmp_path / "atlas")]
    with pytest.raises(SystemExit) as info:
        script.main(["--model", str(model_file), *arguments])
    assert info.value.code == 2
    assert "notes.txt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_the_example_atlas_in_the_docs_has_the_current_pages():
    current = content(ROOT / "vis/atlas/site")
    example = content(ROOT / "docs/_extra/example_atlas")
    assert not [name for name, file in current.items() if example.get(name) != file]
