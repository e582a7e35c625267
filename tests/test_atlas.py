"""A network drawn as a folder of pages: what is in it, that it goes on, and who draws it."""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from vis.applications import EfficientNetLite0
from vis.atlas import default_layers, draw_atlas
from vis.atlas.images import Sample
from vis.visualization import top_activating_images, visualize_filters

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "atlas.py"
QUICK = {"filters": 3, "classes": 2, "max_iter": 4, "progress": False}
HOSTILE = "<img src=x onerror=alert(1)>.png"


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
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(1)
    for i in range(11):
        pixels = rng.integers(0, 256, (24, 20, 3), "uint8")
        Image.fromarray(pixels).save(folder / (HOSTILE if i == 4 else f"{i:02}.png"))
    return folder


@pytest.fixture(scope="module")
def drawn(model, photographs, tmp_path_factory):
    """An atlas in one go, and its folder's content."""
    folder = tmp_path_factory.mktemp("atlas") / "drawn"
    atlas = draw_atlas(model, folder, images=photographs, **QUICK)
    assert atlas.failed == {}
    assert atlas.index == folder / "index.html"
    return content(folder)


def content(folder):
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def data(files, key):
    text = files[f"data/{key}.js"].decode()
    beginning = f"atlas.receive({json.dumps(key)},"
    assert text.startswith(beginning)
    assert text.endswith(");\n")
    return json.loads(text[len(beginning) : -3])


def test_map_of_the_layers(drawn):
    atlas = data(drawn, "atlas")
    assert atlas["model"] == "small"
    assert atlas["finished"]
    assert atlas["photographs"] == 11
    assert [layer["name"] for layer in atlas["layers"]] == ["edges", "parts", "classes"]
    assert [layer["before"] for layer in atlas["layers"]] == [[], [0], [1]]
    assert [layer["drawn"] for layer in atlas["layers"]] == [[0, 1, 2], [0, 1, 2], [0, 1]]
    assert [layer["sees"] for layer in atlas["layers"]] == [[3, 3], [8, 8], None]
    assert [layer["is_classes"] for layer in atlas["layers"]] == [False, False, True]
    assert all(layer["size"] == [24, 20] and not layer["failed"] for layer in atlas["layers"])


def test_pictures_are_those_of_visualize_filters(model, drawn):
    for position, layer in enumerate(("edges", "parts", "classes")):
        indices = [0, 1] if layer == "classes" else [0, 1, 2]
        pictures = visualize_filters(model, layer, indices, max_iter=4, seed=0, progress=False)
        for index, picture in zip(indices, pictures, strict=True):
            file = drawn[f"pictures/{position:04}/{index:05}.jpg"]
            shown = np.asarray(Image.open(io.BytesIO(file)), float)
            # Not all of it, as JPEG loses some of the noise.
            assert np.corrcoef(shown.ravel(), picture.ravel())[0, 1] > 0.98


def test_strongest_images_of_each_channel(model, photographs, drawn):
    names = sorted(path.name for path in photographs.iterdir())
    found = top_activating_images(model, photographs, ["edges", "parts"], progress=False)
    for position, of_layer in enumerate(found.layers):
        record = data(drawn, f"layers/{position:04}")
        for channel in record["channels"]:
            row = channel["index"]
            numbers = [strong["photograph"] for strong in channel["strongest"]]
            assert numbers == of_layer.indices[row].tolist()
            values = [strong["value"] for strong in channel["strongest"]]
            assert np.allclose(values, of_layer.values[row], rtol=1e-3)
            assert [s["box"] for s in channel["strongest"]] == of_layer.boxes[row].tolist()
            assert sum(channel["spread"]["counts"]) == 11
            for number in numbers:
                assert record["photographs"][str(number)]["name"] == names[number]
                assert f"photographs/{number:05}.jpg" in drawn


def test_links_lead_both_ways(drawn):
    parts, edges = data(drawn, "layers/0001"), data(drawn, "layers/0000")
    there = {
        (channel["index"], link[1]): link[2]
        for channel in parts["channels"]
        for link in channel["excited_by"]
    }
    back = {
        (link[1], channel["index"]): link[2]
        for channel in edges["channels"]
        for link in channel["speaks_to"]
        if link[0] == 1
    }
    assert there
    assert there == back
    assert all(value > 0 for value in there.values())
    to_classes = [link for c in edges["channels"] for link in c["speaks_to"] if link[0] == 2]
    assert to_classes


def test_links_are_gradient_times_activation(model, photographs, drawn):
    """The score of a part, and its slope where an edge's map is scaled."""
    files = sorted(photographs.iterdir())
    images = np.stack([np.asarray(Image.open(file), "float32") for file in files])
    edges, pool, parts, *_ = model.layers
    maps = keras.ops.convert_to_numpy(edges(images)).astype("float64")

    def score(maps):
        value = pool(maps.astype("float32"))
        return keras.ops.convert_to_numpy(parts(value)).astype("float64").mean(axis=(0, 1, 2))

    record = data(drawn, "layers/0001")
    seen = 0
    for edge in range(3):
        step = np.ones(maps.shape[-1])
        step[edge] = 1e-3
        up, down = maps.copy(), maps.copy()
        up[..., edge] *= 1 + 1e-3
        down[..., edge] *= 1 - 1e-3
        slopes = (score(up) - score(down)) / 2e-3
        for channel in record["channels"]:
            for link in channel["excited_by"]:
                if link[1] == edge:
                    assert link[2] == pytest.approx(slopes[channel["index"]], rel=0.03, abs=0.02)
                    seen += 1
    assert seen


def test_without_images_links_are_over_own_pictures(model, tmp_path):
    draw_atlas(model, tmp_path, **QUICK)
    files = content(tmp_path)
    record = data(files, "layers/0001")
    assert all(c["strongest"] == [] and c["spread"] is None for c in record["channels"])
    assert any(channel["excited_by"] for channel in record["channels"])
    assert data(files, "atlas")["photographs"] == 0


def test_the_same_call_again_draws_nothing(model, photographs, tmp_path, drawn, monkeypatch):
    draw_atlas(model, tmp_path, images=photographs, **QUICK)
    assert content(tmp_path) == drawn
    monkeypatch.setattr("vis.atlas.tasks.visualize_filters", None)
    assert draw_atlas(model, tmp_path, images=photographs, **QUICK).failed == {}
    assert content(tmp_path) == drawn


@pytest.mark.parametrize("after", [1, 3])
def test_ctrl_c_and_again(model, photographs, tmp_path, drawn, monkeypatch, after):
    from vis.atlas.directory import AtlasDirectory

    write, written = AtlasDirectory.write_picture, []

    def interrupted(self, *args):
        written.append(args)
        if len(written) > after:
            raise KeyboardInterrupt
        write(self, *args)

    monkeypatch.setattr(AtlasDirectory, "write_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_atlas(model, tmp_path, images=photographs, **QUICK)
    assert len([name for name in content(tmp_path) if name.endswith(".jpg")]) >= after
    monkeypatch.undo()
    draw_atlas(model, tmp_path, images=photographs, **QUICK)
    assert content(tmp_path) == drawn


@pytest.mark.long
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_ctrl_c_does_not_wait_for_what_is_at_hand(saved, tmp_path, workers):
    command = [sys.executable, os.fspath(SCRIPT), "--model", os.fspath(saved), *workers]
    command += ["--max-iter", "1000000000", "--output", os.fspath(tmp_path / "atlas")]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not (tmp_path / "atlas" / "data" / "atlas.js").exists():
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(20)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert told.endswith("the same command goes on from here.\n")


def killed_and_again(saved, photographs, folder, moments):
    command = [sys.executable, os.fspath(SCRIPT), "--model", os.fspath(saved)]
    command += ["--filters", "3", "--classes", "2", "--max-iter", "4"]
    command += ["--images", os.fspath(photographs), "--output", os.fspath(folder)]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    for moment in moments:
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        for name, file in content(folder).items():
            if name.endswith(".jpg") and not Path(name).name.startswith("."):
                Image.open(io.BytesIO(file)).load()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)


def test_killed_and_again(saved, photographs, tmp_path, drawn):
    killed_and_again(saved, photographs, tmp_path / "atlas", [7])
    assert content(tmp_path / "atlas") == drawn


@pytest.mark.long
def test_killed_at_twenty_moments_and_again(saved, photographs, tmp_path, drawn):
    moments = [random.Random(0).uniform(3, 12) for _ in range(20)]
    killed_and_again(saved, photographs, tmp_path / "atlas", moments)
    assert content(tmp_path / "atlas") == drawn


@pytest.mark.parametrize(
    "kind", ["threads", pytest.param("processes", marks=pytest.mark.long), "number"]
)
def test_any_executor_draws_the_same(model, photographs, tmp_path, drawn, kind):
    if kind == "number":
        draw_atlas(model, tmp_path, images=photographs, executor=2, **QUICK)
    else:
        import multiprocessing

        pool = (
            ThreadPoolExecutor(2)
            if kind == "threads"
            else ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        )
        with pool:
            draw_atlas(model, tmp_path, images=photographs, executor=pool, **QUICK)
            # It is the caller's, and goes on.
            assert pool.submit(abs, -1).result() == 1
    assert content(tmp_path) == drawn


def test_processes_that_die_are_replaced(model, photographs, tmp_path, drawn, monkeypatch):
    from vis.atlas.directory import AtlasDirectory

    write, killed = AtlasDirectory.write_picture, []

    def write_and_kill(self, *args):
        write(self, *args)
        if not killed:
            import multiprocessing

            killed.append(multiprocessing.active_children()[0])
            os.kill(killed[0].pid, signal.SIGKILL)

    monkeypatch.setattr(AtlasDirectory, "write_picture", write_and_kill)
    draw_atlas(model, tmp_path, images=photographs, executor=1, **QUICK)
    assert killed
    assert content(tmp_path) == drawn


class Broken(Executor):
    def submit(self, *args, **kwargs):
        from concurrent.futures import BrokenExecutor

        future = Future()
        future.set_exception(BrokenExecutor("gone"))
        return future


def test_an_executor_that_is_lost_is_told_of(model, tmp_path):
    with pytest.raises(ConnectionError, match="goes on from there"):
        draw_atlas(model, tmp_path, executor=Broken(), **QUICK)


@pytest.mark.long
def test_a_cluster_whose_worker_is_killed(model, photographs, tmp_path, drawn):
    distributed = pytest.importorskip("distributed")
    from vis.atlas.directory import AtlasDirectory

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        write, killed = AtlasDirectory.write_picture, []

        def write_and_kill(self, *args):
            write(self, *args)
            if not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AtlasDirectory, "write_picture", write_and_kill)
            draw_atlas(
                model, tmp_path, images=photographs, executor=cluster.scheduler_address, **QUICK
            )
    assert killed
    assert content(tmp_path) == drawn


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"filters": 2}, "layers was"),
        ({"max_iter": 5}, "steps was 4, is 5"),
        ({"model": classifier(1)}, "model was"),
        ({"images": None}, "images was"),
    ],
)
def test_refuses_to_mix(model, photographs, tmp_path, changed, told):
    call = {"model": model, "images": photographs, **QUICK}
    draw_atlas(output=tmp_path, **call)
    before = content(tmp_path)
    with pytest.raises(ValueError, match=told):
        draw_atlas(output=tmp_path, **{**call, **changed})
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "changed",
    [lambda x: x * 3, lambda x: x + 2, lambda x: x[..., ::-1], lambda x: keras.ops.flip(x, 1)],
)
def test_refuses_a_model_that_computes_something_else_with_the_same_layers(tmp_path, changed):
    def model(function):
        inputs = keras.Input((16, 16, 3))
        conv = keras.layers.Conv2D(2, 3, kernel_initializer="ones", name="conv")
        return keras.Model(inputs, conv(function(inputs)))

    draw_atlas(model(lambda x: x * 2), tmp_path, **QUICK)
    # Built anew it is the same.
    draw_atlas(model(lambda x: x * 2), tmp_path, **QUICK)
    with pytest.raises(ValueError, match="model was"):
        draw_atlas(model(changed), tmp_path, **QUICK)


def test_workers_tell_models_apart_whose_layers_have_other_names(tmp_path):
    def model():
        layers = [keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
        return keras.Sequential(layers)

    with ThreadPoolExecutor(1) as pool:
        for folder in ("one", "other"):
            assert not draw_atlas(model(), tmp_path / folder, executor=pool, **QUICK).failed


def test_draws_what_is_missing_of_a_finished_atlas(model, photographs, tmp_path, drawn):
    draw_atlas(model, tmp_path, images=photographs, **QUICK)
    (tmp_path / "pictures/0001/00001.jpg").unlink()
    draw_atlas(model, tmp_path, images=photographs, **QUICK)
    assert content(tmp_path) == drawn


@pytest.mark.parametrize("claim", ["", "3", '{"format": 1}', '{"format": 1, "settings": null}'])
def test_refuses_what_is_no_atlas(model, tmp_path, claim):
    (tmp_path / "atlas.json").write_text(claim)
    with pytest.raises(ValueError, match="`output` must have an atlas of this version"):
        draw_atlas(model, tmp_path, **QUICK)


def test_refuses_a_folder_that_is_not_ours(model, tmp_path):
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"`output` must be a new folder.*Received"):
        draw_atlas(model, tmp_path, **QUICK)
    with pytest.raises(ValueError, match="`output` must be the path of a folder"):
        draw_atlas(model, tmp_path / "letters.txt", **QUICK)
    assert list(content(tmp_path)) == ["letters.txt"]


def test_a_layer_that_fails_is_reported_and_the_others_are_there(tmp_path):
    inputs = keras.Input((16, 16, 3))
    convolved = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    counted = keras.layers.Lambda(
        lambda x: keras.ops.cast(keras.ops.round(x), "float32"),
        output_shape=(14, 14, 3),
        name="rounded",
    )(convolved)
    model = keras.Model(inputs, counted)
    atlas = draw_atlas(model, tmp_path, ["conv", "rounded"], **QUICK)
    assert list(atlas.failed) == ["rounded"]
    files = content(tmp_path)
    failed = [layer["failed"] for layer in data(files, "atlas")["layers"]]
    assert failed[0] is None
    assert failed[1]
    assert "pictures/0000/00002.jpg" in files


def test_a_layer_that_is_not_finite_for_photographs_takes_no_other_with_it(tmp_path):
    inputs = keras.Input((16, 16, 3))
    convolved = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    divided = keras.layers.Lambda(lambda x: x / keras.ops.mean(x), name="divided")(convolved)
    model = keras.Model(inputs, divided)
    images = np.random.default_rng(0).uniform(1, 255, (5, 16, 16, 3)).astype("float32")
    images[2] = 0
    call = {"images": images, **QUICK}
    atlas = draw_atlas(model, tmp_path, ["conv", "divided"], **call)
    assert list(atlas.failed) == ["divided"]
    assert atlas.failed["divided"].startswith(
        "strongest images: `model` must have finite activations"
    )
    files = content(tmp_path)
    told = data(files, "atlas")
    assert told["photographs"] == 5
    assert [layer["failed"] for layer in told["layers"]] == [None, None]
    assert [layer["lacks"] for layer in told["layers"]] == [None, atlas.failed["divided"]]
    conv, divided = (data(files, f"layers/{i:04}")["channels"] for i in range(2))
    assert [len(channel["strongest"]) for channel in conv] == [5, 5, 5]
    assert [channel["strongest"] for channel in divided] == [[], [], []]
    assert [channel["spread"] for channel in divided] == [None, None, None]
    assert "pictures/0001/00002.jpg" in files
    # Nothing is taken for finished that has failed.
    assert draw_atlas(model, tmp_path, ["conv", "divided"], **call).failed == atlas.failed


def test_a_model_that_brings_code_goes_to_workers_only_if_told(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            keras.layers.Lambda(lambda x: x * 2),
            keras.layers.Conv2D(2, 3, name="conv"),
        ]
    )
    with pytest.raises(ValueError, match=r"`model` must be one that Keras loads.*allow_code"):
        draw_atlas(model, tmp_path / "refused", executor=1, **QUICK)
    assert draw_atlas(model, tmp_path / "here", **QUICK).failed == {}
    with ThreadPoolExecutor(1) as pool:
        draw_atlas(model, tmp_path / "sent", executor=pool, allow_code=True, **QUICK)
    assert content(tmp_path / "sent") == content(tmp_path / "here")


def test_a_full_disk(model, tmp_path, monkeypatch):
    from vis.atlas.directory import AtlasDirectory

    replace, count = os.replace, []

    def full(source, target):
        count.append(target)
        if len(count) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"No space left.*is kept"):
        draw_atlas(model, tmp_path, **QUICK)
    monkeypatch.undo()
    assert not [name for name in content(tmp_path) if Path(name).name.startswith(".")]
    draw_atlas(model, tmp_path / "again", **QUICK)
    draw_atlas(model, tmp_path, **QUICK)
    whole = content(tmp_path / "again")
    assert {k: v for k, v in content(tmp_path).items() if not k.startswith("again/")} == whole
    assert AtlasDirectory(tmp_path).index.is_file()


def test_a_folder_that_cannot_be_written_is_told_of_before_images_are_read(model, tmp_path):
    def images():
        pytest.fail("An image was read.")
        yield

    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="`output` must be the path of a folder that can be written"):
        draw_atlas(model, tmp_path / "file" / "atlas", images=images(), **QUICK)


def test_like_examples(model, photographs, tmp_path):
    draw_atlas(model, tmp_path / "folder", ["classes"], like=photographs, **QUICK)
    files = sorted(photographs.iterdir())
    array = np.stack([np.asarray(Image.open(file)) for file in files])
    draw_atlas(model, tmp_path / "array", ["classes"], like=array, executor=1, **QUICK)
    assert content(tmp_path / "folder") == content(tmp_path / "array")
    with pytest.raises(ValueError, match="`image_size` must not be given together"):
        draw_atlas(model, tmp_path / "sized", image_size=20, like=array, **QUICK)


def test_labels(model, tmp_path):
    labels = ["a", "<b>", "c"]
    draw_atlas(model, tmp_path, ["classes"], labels=labels, **QUICK)
    assert data(content(tmp_path), "atlas")["layers"][0]["labels"] == labels[:2]


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"layers": "edgs"}, ValueError, "did you mean 'edges'"),
        ({"layers": []}, ValueError, "`layers` must hold"),
        ({"filters": 0}, ValueError, "`filters` must be"),
        ({"filters": [9]}, ValueError, "`filters`"),
        ({"classes": "all"}, TypeError, "`classes`"),
        ({"image_size": 0}, ValueError, "`image_size`"),
        ({"max_iter": 0}, ValueError, "`max_iter`"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"labels": ["one"]}, ValueError, "`labels` must have a name for each of the 3"),
        ({"labels": [1, 2, 3]}, TypeError, "`labels`"),
        ({"labels": ["a"], "layers": "edges"}, ValueError, "`labels` must go with `layers`"),
        ({"input_range": (1, 0)}, ValueError, "`input_range`"),
        ({"images": "/nowhere"}, ValueError, "`images` must be a folder"),
        ({"like": 3}, TypeError, "`like`"),
        ({"executor": 0}, ValueError, "`executor`"),
        ({"executor": "host"}, ValueError, "`executor` must be the address"),
        ({"executor": 1.5}, TypeError, "`executor`"),
        ({"allow_code": "yes"}, TypeError, "`allow_code`"),
        ({"output": 3}, TypeError, "`output`"),
        ({"model": None}, TypeError, "`model`"),
    ],
)
def test_bad_arguments(model, tmp_path, arguments, error, told):
    call = {"model": model, "output": tmp_path / "atlas", **QUICK, **arguments}
    with pytest.raises(error, match=told) as info:
        draw_atlas(**call)
    assert "Received" in str(info.value)
    assert not list(tmp_path.iterdir())


def test_model_that_takes_no_images(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`model` must take images"):
        draw_atlas(model, tmp_path, **QUICK)
    with pytest.raises(ValueError, match="`model` must take images"):
        default_layers(model)


def test_a_scheduler_that_does_not_answer(model, tmp_path):
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    begun = time.monotonic()
    with pytest.raises(ValueError, match="answers within 10 seconds"):
        draw_atlas(model, tmp_path / "atlas", executor=address, **QUICK)
    assert time.monotonic() - begun < 20


def test_layers_that_matter_of_a_large_network():
    layers = default_layers(EfficientNetLite0(weights=None))
    adds = [f"block{i}_add" for i in (3, 5, 7, 8, 10, 11, 13, 14, 15)]
    assert set(adds) < set(layers)
    assert 12 <= len(layers) <= 25
    assert layers[-1] == "predictions"


def test_classes_of_a_network_inside_another(tmp_path):
    """As behind the preprocessing of a network of `keras.applications`."""
    inputs = keras.Input((24, 20, 3))
    model = keras.Model(inputs, classifier()(inputs / 255))
    assert default_layers(model) == ["small/edges", "small/parts", "small/classes"]
    draw_atlas(model, tmp_path, labels=["a", "b", "c"], **QUICK)
    layers = data(content(tmp_path), "atlas")["layers"]
    assert layers[-1]["labels"] == ["a", "b"]
    assert layers[-1]["before"] == [1]


def test_layers_that_matter_of_a_small_network(model):
    assert default_layers(model) == ["edges", "parts", "classes"]


@pytest.mark.parametrize("count", [1, 8, 9, 40, 1000])
def test_a_sample_is_evenly_spaced(count):
    sample = Sample(8)
    for first in range(0, count, 7):
        sample.add(np.arange(first, min(first + 7, count))[:, None])
    kept = sample.images[:, 0]
    assert len(kept) == count if count <= 8 else 4 <= len(kept) <= 8
    assert kept[0] == 0
    assert len(set(np.diff(kept))) <= 1
    assert count - kept[-1] <= max(1, kept[1] if len(kept) > 1 else 1)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("atlas_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script(script, saved, photographs, tmp_path, drawn, capsys):
    output = tmp_path / "atlas"
    arguments = ["--model", str(saved), "--filters", "3", "--classes", "2", "--max-iter", "4"]
    code = script.main([*arguments, "--images", str(photographs), "--output", str(output)])
    captured = capsys.readouterr()
    assert code == 0
    assert "Layers (choose others by --layers): edges parts classes" in captured.out
    assert captured.out.splitlines()[-1] == str(output / "index.html")
    assert "pictures" in captured.err
    assert "8/8" in captured.err
    assert content(output) == drawn


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--layers", "edgs"], "did you mean 'edges'"),
        (["--images", "/nowhere"], "`images` must be a folder"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "`--workers` or `--scheduler`"),
        (["--model", "old.h5"], "--allow-code"),
        (["--model", "EfficientNetLite9"], "did you mean"),
    ],
)
def test_script_tells_what_is_wrong_in_one_line(
    script, saved, tmp_path, capsys, arguments, told, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as info:
        script.main(["--model", str(saved), *arguments])
    assert info.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_script_names_files_that_are_no_images(script, saved, photographs, tmp_path, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    output = str(tmp_path / "atlas")
    with pytest.raises(SystemExit) as info:
        script.main(["--model", str(saved), "--images", str(folder), "--output", output])
    assert info.value.code == 2
    assert "notes.txt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_the_atlas_in_the_docs_has_the_pages_of_today():
    """Or it would go on to show those that it was drawn with."""
    pages, shown = ROOT / "vis/atlas/site", ROOT / "docs/_extra/example_atlas"
    stale = [name for name, file in content(pages).items() if content(shown).get(name) != file]
    assert not stale
