from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import Recorder, sequential
from keras import layers, ops

from vis._core.checkpoints import Checkpoint
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, Jitter, Noise, Rotate
from vis.losses import ActivationMaximization, Diversity, Loss
from vis.optimizer import NonFiniteError, Optimizer
from vis.optimizer.updates import Update
from vis.parametrizations import Fourier, MagnitudeConstrained
from vis.regularizers import LPNorm, TotalVariation
from vis.visualization import visualize_activation


def network(seed=0, units=5, dtype=None, activation="relu"):
    keras.utils.set_random_seed(seed)
    return sequential(
        (8, 8, 3),
        layers.Conv2D(6, 3, activation=activation, dtype=dtype),
        layers.BatchNormalization(dtype=dtype),
        layers.Flatten(dtype=dtype),
        layers.Dropout(0.5, dtype=dtype),
        layers.Dense(units, dtype=dtype),
    )


def losses_of(model, index=1):
    image = model.inputs[0]
    return [
        (ActivationMaximization(model.layers[-1], index), 1),
        (LPNorm(image), 10),
        (TotalVariation(image), 10),
    ]


class PowerCutError(Exception):
    pass


class Interrupt(OptimizerCallback):
    """Aborts a run at an iteration, from 0."""

    def __init__(self, at):
        self.at = at

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        if i == self.at:
            raise PowerCutError


class Fade(InputModifier):
    """A modifier without state."""

    def __init__(self, factor=0.99):
        self.factor = factor

    def post(self, image):
        return self.factor * image


class Mean(Loss):
    def __init__(self, tensor, sign=-1):
        super().__init__()
        self.tensor, self.sign = tensor, sign

    def build_loss(self):
        return self.sign * ops.mean(ops.square(self.tensor))


@functools.cache
def shared_network():
    return network()


def run(path, max_iter=11, every=4, at=None, make=None, callbacks=(), **settings):
    """A run that is aborted at an iteration, if `at` is given."""
    model = shared_network()
    optimizer = Optimizer(model.inputs[0], losses_of(model), **(make or {}))
    if at is not None:
        callbacks = [*callbacks, Interrupt(at)]
    settings = {"seed": 3, "verbose": False, "callbacks": callbacks, **settings}
    return optimizer.minimize(
        max_iter=max_iter, checkpoint=path, checkpoint_every=every, **settings
    )


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, "float64"), np.asarray(b, "float64"))


def file_of(tmp_path, **settings):
    path = tmp_path / "run.npz"
    run(path, **settings)
    return path


def adam():
    return keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(2.0, 3, 0.5))


NOISE = np.random.default_rng(1).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
RUNS = {
    "plain": lambda: {},
    "transforms": lambda: {"input_modifiers": [Jitter(2), Rotate(9), Noise(1.0)]},
    "fourier": lambda: {"make": {"parametrization": Fourier()}, "input_modifiers": [Jitter(2)]},
    "magnitudes": lambda: {"make": {"parametrization": MagnitudeConstrained()}},
    "keras-adam": lambda: {"make": {"optimizer": adam()}},
    "keras-momentum": lambda: {"make": {"optimizer": keras.optimizers.SGD(9.0, 0.9)}},
    "samples": lambda: {"samples": 3, "input_modifiers": [Jitter(2)]},
    "samples-keras": lambda: {"samples": 2, "make": {"optimizer": adam()}},
    "seed-input": lambda: {"seed_input": NOISE, "input_modifiers": [Jitter(1)]},
    "numpy-modifier": lambda: {"input_modifiers": [Jitter(2), Fade(), Jitter(1)]},
    "numpy-gradients": lambda: {"grad_modifier": lambda grads: grads * 0.5},
    "named-gradients": lambda: {"grad_modifier": "absolute"},
    "callback": lambda: {"callbacks": [Recorder()]},
}


@pytest.mark.every(2)
@pytest.mark.parametrize("case", RUNS)
def test_resumed_run_agrees_with_an_uninterrupted_one(tmp_path, case):
    path = tmp_path / "run.npz"
    expected = run(None, **RUNS[case]())
    for at in (2, 9):
        with pytest.raises(PowerCutError):
            run(path, at=at, **RUNS[case]())
        assert path.exists() == (at == 9)
    assert_same(run(path, **RUNS[case]()), expected)
    # The third run has no steps left.
    assert_same(run(path, at=0, **RUNS[case]()), expected)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.npz"]


@pytest.mark.every(3)
@pytest.mark.parametrize(
    ("kind", "samples"),
    [("expression", 1), ("expression", 2), ("coupled", 2), ("inner", 1), ("float64", 2)],
)
def test_resumed_run_with_other_losses(tmp_path, kind, samples):
    def minimize(path, at=None):
        model = network(dtype="float64" if kind == "float64" else None)
        losses, wrt = losses_of(model), None
        if kind == "expression":
            losses.append((Mean(model.layers[0].output), 2))
        elif kind == "coupled":
            losses.append((Diversity(model.layers[0]), 2))
        elif kind == "inner":
            wrt, losses = model.layers[0].output, losses[:1]
        optimizer = Optimizer(model.inputs[0], losses, wrt_tensor=wrt)
        callbacks = [] if at is None else [Interrupt(at)]
        return optimizer.minimize(
            max_iter=9, seed=2, samples=samples, verbose=False, callbacks=callbacks,
            checkpoint=path, checkpoint_every=2,
        )  # fmt: skip

    expected = minimize(None)
    with pytest.raises(PowerCutError):
        minimize(tmp_path / "run", at=5)
    assert_same(minimize(tmp_path / "run"), expected)


def test_bfloat16_is_restored(tmp_path):
    def minimize(path):
        keras.utils.set_random_seed(0)
        model = sequential((6,), layers.Dense(4, dtype="mixed_bfloat16"), layers.Dense(2))
        optimizer = Optimizer(
            model.inputs[0],
            [(ActivationMaximization(model.layers[-1], 1), 1)],
            wrt_tensor=model.layers[0].output,
        )
        return optimizer.minimize(max_iter=2, seed=0, verbose=False, checkpoint=path)

    expected = minimize(tmp_path / "run.npz")
    assert expected[2].dtype.name == "bfloat16"
    assert_same(minimize(tmp_path / "run.npz"), expected)


def test_larger_max_iter_continues_the_run(tmp_path):
    path = file_of(tmp_path, max_iter=6)
    recorder = Recorder()
    image = run(path, max_iter=11, callbacks=[recorder])
    assert recorder.iterations == [6, 7, 8, 9, 10]
    assert_same(image, run(None, max_iter=11))


def test_smaller_max_iter_is_refused(tmp_path):
    path = file_of(tmp_path, max_iter=6)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"`checkpoint`.*`max_iter`=5.*iteration 6.*Received: "):
        run(path, max_iter=5)
    assert path.read_bytes() == before


def test_file_is_written_every_few_iterations(tmp_path):
    for at, step in {3: 0, 4: 4, 7: 4, 8: 8, 10: 8}.items():
        path = tmp_path / f"{at}.npz"
        with pytest.raises(PowerCutError):
            run(path, at=at)
        recorder = Recorder()
        run(path, callbacks=[recorder])
        assert recorder.iterations == list(range(step, 11))


def test_image_does_not_depend_on_checkpoint_every(tmp_path):
    expected = run(None)
    for every in (1, 3, 50):
        assert_same(run(tmp_path / f"{every}.npz", every=every), expected)
    # It may change in between.
    with pytest.raises(PowerCutError):
        run(tmp_path / "some.npz", every=2, at=5)
    assert_same(run(tmp_path / "some.npz", every=5), expected)


def test_default_seed_is_from_the_file(tmp_path):
    model = network()
    settings = {"filter_indices": 2, "max_iter": 9}
    np.random.seed(0)  # noqa: NPY002
    expected = visualize_activation(model, -1, **settings)
    settings.update(checkpoint=tmp_path / "run.npz", checkpoint_every=4)
    np.random.seed(0)  # noqa: NPY002
    with pytest.raises(PowerCutError):
        visualize_activation(model, -1, callbacks=[Interrupt(6)], **settings)
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(visualize_activation(model, -1, **settings), expected)
    np.testing.assert_equal(np.random.get_state(), before)  # noqa: NPY002


def test_visualize_activation_accepts_checkpoint(tmp_path):
    model = network()
    settings = {"filter_indices": 2, "max_iter": 9, "seed": 1, "input_modifiers": [Jitter(1)]}
    expected = visualize_activation(model, -1, **settings)
    settings.update(checkpoint=tmp_path / "run.npz", checkpoint_every=4)
    with pytest.raises(PowerCutError):
        visualize_activation(model, -1, callbacks=[Interrupt(6)], **settings)
    # The path is a string, and the model another one with the same weights.
    settings.update(checkpoint=str(tmp_path / "run.npz"))
    np.testing.assert_array_equal(visualize_activation(network(), -1, **settings), expected)


class Explode(InputModifier):
    """Enlarges the values of the image until they are infinite."""

    def pre(self, image):
        return image if image.max() < 2000 else image * np.inf

    def post(self, image):
        return image * 1.5


def test_failed_run_keeps_the_last_file(tmp_path):
    with pytest.raises(NonFiniteError) as expected:
        run(None, input_modifiers=[Explode()])
    assert expected.value.iteration > 4
    for _ in range(2):
        with pytest.raises(NonFiniteError) as error:
            run(tmp_path / "run.npz", input_modifiers=[Explode()])
        assert error.value.iteration == expected.value.iteration
        assert_same([error.value.best_image], [expected.value.best_image])
        assert Checkpoint(tmp_path / "run.npz").seed == 3


# Killed processes.

SCRIPT = """
import os, signal, sys
import vis, keras, numpy as np
from vis.input_modifiers import Jitter
from vis.visualization import visualize_activation

def die():
    os.kill(os.getpid(), signal.SIGKILL)

replace, sync, calls = os.replace, os.fsync, []

def count(name):
    calls.append(name)
    return calls.count(name) == 7

def truncate(descriptor):
    if count("sync"):
        os.ftruncate(descriptor, 999)
        die()
    sync(descriptor)

def die_before_rename(*paths):
    if count("replace"):
        die()
    replace(*paths)

model, path, kind = sys.argv[1:]
if kind == "half":
    os.fsync = truncate
elif kind == "unnamed":
    os.replace = die_before_rename
print("ready", flush=True)
visualize_activation(
    keras.models.load_model(model), -1, filter_indices=1, seed=5, input_modifiers=[Jitter(1)],
    input_range=(0.0, 1.0), max_iter=10**6, checkpoint=path, checkpoint_every=3,
)
print("done", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
@pytest.mark.parametrize(
    "moment", ["half", *(pytest.param(m, marks=pytest.mark.long) for m in ("unnamed", "anywhere"))]
)
def test_killed_run_is_resumed(tmp_path, moment):
    model, path = network(), tmp_path / "run.npz"
    model.save(tmp_path / "model.keras")
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path / "model.keras", path, moment],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            if moment == "anywhere":
                while not path.exists() and process.poll() is None:
                    time.sleep(0.01)
                time.sleep(np.random.default_rng().uniform(0, 0.3))
                process.kill()
            output = process.communicate(timeout=120)[0]
        finally:
            process.kill()
    assert output == b"ready\n"
    assert process.returncode == -signal.SIGKILL
    step = Checkpoint(path)._contents.step
    assert step % 3 == 0
    assert moment == "anywhere" or step == 18
    settings = {"filter_indices": 1, "seed": 5, "input_modifiers": [Jitter(1)]}
    settings.update(input_range=(0.0, 1.0), max_iter=step + 50)
    image = visualize_activation(model, -1, **settings, checkpoint=path)
    np.testing.assert_array_equal(image, visualize_activation(model, -1, **settings))


# Files that are refused.


def test_truncated_file(tmp_path):
    path = file_of(tmp_path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 487), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"`checkpoint` must be.*damaged.*Received: "):
            Checkpoint(path)
    with pytest.raises(ValueError, match=r"`checkpoint` must be.*damaged.*Received: "):
        run(path)
    assert path.read_bytes() == whole[:-1]


def test_file_with_a_changed_byte(tmp_path):
    path = file_of(tmp_path)
    whole = path.read_bytes()
    good = Checkpoint(path)._contents
    refused = 0
    for position in range(0, len(whole), 37):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            contents = Checkpoint(path)._contents
        except ValueError:
            refused += 1
        else:
            assert contents[:2] == good[:2]
            assert_same(contents.arrays, good.arrays)
    assert refused > 0.8 * len(range(0, len(whole), 37))


def test_file_with_a_changed_bit_in_the_array_header(tmp_path):
    path = file_of(tmp_path)
    whole = path.read_bytes()
    good = Checkpoint(path)._contents
    # The first array is the header.
    begin = whole.index(b"\x93NUMPY", whole.index(b"\x93NUMPY") + 1)
    for position in range(begin, begin + 128):
        for bit in range(8):
            changed = bytes([whole[position] ^ (1 << bit)])
            path.write_bytes(whole[:position] + changed + whole[position + 1 :])
            with pytest.raises(ValueError, match=r"`checkpoint` must be.*damaged.*Received: "):
                Checkpoint(path)
    path.write_bytes(whole)
    assert_same(Checkpoint(path)._contents.arrays, good.arrays)


@pytest.mark.parametrize("content", ["nothing", "text", "npy", "npz", "pickle"])
def test_other_files(tmp_path, content):
    path = tmp_path / "run.npz"
    with path.open("wb") as file:
        if content == "text":
            file.write(b"My notes. " * 50)
        elif content == "npy":
            np.save(file, np.zeros(3))
        elif content == "npz":
            np.savez(file, zeros=np.zeros(3))
        elif content == "pickle":
            np.savez(file, header=np.array([print], object))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"`checkpoint` must be a file that a run.*Received: "):
        run(path)
    assert path.read_bytes() == before


def test_file_of_a_newer_version(tmp_path, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr("vis._core.checkpoints._VERSION", 7)
        path = file_of(tmp_path)
    with pytest.raises(ValueError, match=r"`checkpoint`.*version 7.*newer release.*Received: "):
        run(path)


def other_weights():
    model = network()
    model.layers[-1].bias.assign([0, 0, 1e-3, 0, 0])
    return model


OTHER_ARGUMENTS = {
    "`seed` (3 in the file, 4 now)": lambda: {"seed": 4},
    "shape of the images": lambda: {"samples": 2},
    "initial image": lambda: {"seed_input": NOISE[0]},
    "`input_range` ([0.0, 255.0] in the file, [0.0, 1.0] now)": lambda: {
        "make": {"input_range": (0, 1)}
    },
    "`norm_grads` (True in the file, False now)": lambda: {"make": {"norm_grads": False}},
    "`parametrization`": lambda: {"make": {"parametrization": Fourier()}},
    "`optimizer`": lambda: {"make": {"optimizer": keras.optimizers.Adam(1.0)}},
    "`grad_modifier`": lambda: {"grad_modifier": "absolute"},
    "settings: `grad_modifier`. ": lambda: {"grad_modifier": lambda grads: grads * 2},
    "`input_modifiers`": lambda: {"input_modifiers": [Jitter(1)]},
    "settings: `input_modifiers`. ": lambda: {"input_modifiers": [Fade()]},
    "settings: `losses` (": lambda: {"losses": slice(2)},
    "filters or other parameters of the losses": lambda: {"index": 2},
}


@pytest.mark.every(2)
@pytest.mark.parametrize("difference", OTHER_ARGUMENTS)
def test_file_with_different_settings(tmp_path, difference):
    path = file_of(tmp_path)
    before = path.read_bytes()
    changed = OTHER_ARGUMENTS[difference]()
    model = shared_network()
    losses = losses_of(model, changed.pop("index", 1))[changed.pop("losses", slice(3))]
    optimizer = Optimizer(model.inputs[0], losses, **changed.pop("make", {}))
    settings = {"seed": 3, "max_iter": 11, **changed}
    with pytest.raises(ValueError, match=r"`checkpoint` must be of the same run") as error:
        optimizer.minimize(verbose=False, checkpoint=path, **settings)
    assert difference in str(error.value)
    assert str(error.value).endswith(f"Received: checkpoint='{path}'")
    assert path.read_bytes() == before


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("make", "difference"),
    [
        (other_weights, "weights"),
        (lambda: network(seed=1), "weights"),
        (lambda: network(activation="elu"), "computation"),
        (lambda: network(units=6), "filters or other parameters of the losses"),
    ],
    ids=["a bias", "all weights", "activation", "units"],
)
def test_checkpoint_of_another_model_is_rejected(tmp_path, make, difference):
    visualize_activation(network(), -1, 1, seed=0, max_iter=3, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=rf"`checkpoint`.*{difference}.*Received: "):
        visualize_activation(make(), -1, 1, seed=0, max_iter=3, checkpoint=tmp_path / "run")


def test_layers_after_the_target_do_not_affect_the_fingerprint(tmp_path):
    expected = visualize_activation(
        network(), 0, 1, seed=0, max_iter=3, checkpoint=tmp_path / "run"
    )
    image = visualize_activation(
        network(units=9), 0, 1, seed=0, max_iter=3, checkpoint=tmp_path / "run",
        callbacks=[Interrupt(0)],
    )  # fmt: skip
    np.testing.assert_array_equal(image, expected)


def test_fingerprint_depends_on_the_code_of_losses(tmp_path):
    def minimize(sign):
        model = network()
        Optimizer(model.inputs[0], Mean(model.layers[0].output, sign)).minimize(
            max_iter=2, seed=0, verbose=False, checkpoint=tmp_path / "run"
        )

    minimize(-1)
    with pytest.raises(ValueError, match=r"`checkpoint`.*computation.*Received: "):
        minimize(1)


def test_keras_optimizers_with_different_settings(tmp_path):
    run(tmp_path / "run", make={"optimizer": keras.optimizers.Adam(1.0)})
    # Keras numbers the names of optimizers.
    run(tmp_path / "run", make={"optimizer": keras.optimizers.Adam(1.0)})
    with pytest.raises(ValueError, match=r"`checkpoint`.*settings: `optimizer`.*Received: "):
        run(tmp_path / "run", make={"optimizer": keras.optimizers.Adam(1.1)})


# State that cannot be resumed.


class Counting(InputModifier):
    def __init__(self):
        self.count = 0

    def post(self, image):
        self.count += 1
        return image / self.count


class Random(InputModifier):
    def pre(self, image):
        return image + np.random.normal()  # noqa: NPY002


class Generating(InputModifier):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def pre(self, image):
        return image + self.rng.normal()


@pytest.mark.parametrize("kind", [Counting, Random, Generating])
def test_modifiers_with_state(tmp_path, kind):
    run(None, input_modifiers=[kind()])
    with pytest.raises(ValueError, match=r"`input_modifiers` must not keep state.*Received: "):
        run(tmp_path / "run.npz", input_modifiers=[Fade(), kind()])
    assert not (tmp_path / "run.npz").exists()


def test_gradient_modifiers_with_state(tmp_path):
    history = []

    def momentum(grads):
        history.append(grads)
        return np.mean(history, axis=0)

    run(None, grad_modifier=momentum)
    with pytest.raises(ValueError, match=r"`grad_modifier` must not keep state.*Received: "):
        run(tmp_path / "run.npz", grad_modifier=momentum)


@keras.saving.register_keras_serializable("test")
class AddRandomNoise(layers.Layer):
    def call(self, inputs):
        return inputs + tf.random.normal(ops.shape(inputs))


def test_models_that_draw_random_numbers_are_rejected(tmp_path):
    model = sequential((4,), AddRandomNoise(), layers.Dense(3))
    visualize_activation(model, -1, 0, max_iter=2, seed=0)
    with pytest.raises(ValueError, match=r"`checkpoint` needs a model.*no random.*Received: "):
        visualize_activation(model, -1, 0, max_iter=2, seed=0, checkpoint=tmp_path / "run")


class AddNoiseOfGenerator(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs), seed=self.seed_generator)


def test_noise_of_a_seed_generator_is_the_same_after_an_interruption(tmp_path):
    model = sequential((4,), AddNoiseOfGenerator(), layers.Dense(3))
    whole = visualize_activation(model, -1, 0, max_iter=6, seed=0)
    for max_iter in (2, 6):
        resumed = visualize_activation(
            model, -1, 0, max_iter=max_iter, seed=0, checkpoint=tmp_path / "run"
        )
    np.testing.assert_array_equal(resumed, whole)


def test_layers_that_are_random_only_in_training_are_accepted(tmp_path):
    model = sequential(
        (8, 8, 3),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomZoom(0.1),
        layers.RandomContrast(0.1),
        layers.GaussianNoise(0.1),
        layers.Dropout(0.5),
        layers.Conv2D(3, 3),
    )
    for _ in range(2):
        visualize_activation(model, -1, 0, max_iter=2, seed=0, checkpoint=tmp_path / "run")


# Bad arguments.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the path of a file"),
        ("missing/run.npz", "in a folder that exists"),
        ("folder", "the path of a file"),
        ("run\0.npz", "a valid path"),
        ("r" * 300, "a valid path"),
    ],
)
def test_bad_paths(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=rf"`checkpoint` must be {message}.*Received: "):
        run(name)


@pytest.mark.parametrize("path", [3, b"run.npz", True, ["run.npz"]])
def test_paths_of_the_wrong_type(path):
    with pytest.raises(TypeError, match=r"`checkpoint` must be the path of a file.*Received: "):
        run(path)


@pytest.mark.parametrize(("every", "kind"), [(0, ValueError), (1.5, TypeError), (None, TypeError)])
@pytest.mark.parametrize("checkpoint", [None, "run.npz"])
def test_bad_checkpoint_every(every, kind, checkpoint):
    with pytest.raises(kind, match=r"`checkpoint_every` must be.*Received: "):
        run(checkpoint, every=every)


def test_nothing_is_printed(tmp_path, capfd):
    run(tmp_path / "run.npz")
    run(tmp_path / "run.npz")
    assert capfd.readouterr() == ("", "")


SCALE = 1.0


def scaled(grads):
    return SCALE * grads


def test_global_variables_of_functions_are_part_of_the_settings(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    model = sequential((4,), layers.Dense(2))

    def run(steps):
        return visualize_activation(
            model,
            -1,
            1,
            max_iter=steps,
            seed=0,
            checkpoint=path,
            checkpoint_every=2,
            grad_modifier=scaled,
        )

    run(2)
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    with pytest.raises(ValueError, match=r"`grad_modifier`"):
        run(4)


def test_update_rules_with_different_code(tmp_path):
    path = tmp_path / "run.npz"
    model = sequential((4,), layers.Dense(2))

    def rule(step):
        class Rule(Update):
            def slots(self, variables):
                return []

            def apply(self, variables, grads, slots):
                return [x - step * g for x, g in zip(variables, grads, strict=True)], []

        return Rule()

    def run(steps, step):
        return visualize_activation(
            model,
            -1,
            1,
            max_iter=steps,
            seed=0,
            checkpoint=path,
            checkpoint_every=2,
            optimizer=rule(step),
        )

    run(2, 0.1)
    run(4, 0.1)
    with pytest.raises(ValueError, match="optimizer"):
        run(6, -5.0)


def test_gradient_modifier_with_an_iterator(tmp_path):
    model = sequential((4,), layers.Dense(2))
    factors = iter([1.0, -1.0] * 10)
    with pytest.raises(ValueError, match="`grad_modifier` must not keep state"):
        visualize_activation(
            model,
            -1,
            1,
            max_iter=4,
            seed=0,
            checkpoint=tmp_path / "run.npz",
            grad_modifier=lambda grads: next(factors) * grads,
        )
