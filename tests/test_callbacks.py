from __future__ import annotations

import numpy as np
import pytest
from helpers import Recorder, sequential
from keras import layers, ops
from PIL import Image, ImageSequence

from vis._core.descent import Descent
from vis.callbacks import GifGenerator, History, OptimizerCallback, Print, Progress
from vis.input_modifiers import InputModifier
from vis.losses import ActivationMaximization, Loss
from vis.optimizer import NonFiniteError, Optimizer

pytestmark = pytest.mark.versions


def optimizer(shape=(24, 32, 3), data_format="channels_last"):
    model = sequential(
        shape,
        layers.Flatten(data_format=data_format) if len(shape) > 1 else layers.Dense(2),
    )
    return Optimizer(model.inputs[0], [(ActivationMaximization(model.layers[-1], 1), 1)])


def frames(path):
    with Image.open(path) as gif:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]


@pytest.mark.parametrize("name", ["film", "film.gif", "film.GIF", "film.of.cats"])
def test_gif_has_a_frame_for_each_step(tmp_path, name):
    optimizer().minimize(max_iter=4, callbacks=[GifGenerator(tmp_path / name)], verbose=False)
    (path,) = tmp_path.iterdir()
    assert path.name == (name if name.lower().endswith(".gif") else f"{name}.gif")
    assert [frame.shape for frame in frames(path)] == [(24, 32, 3)] * 4


@pytest.mark.parametrize(
    ("shape", "data_format"),
    [((24, 32, 1), "channels_last"), ((3, 24, 32), "channels_first"),
     ((1, 24, 32), "channels_first"), ((24, 32, 5), "channels_last")],
)  # fmt: skip
def test_gif_of_other_layouts(tmp_path, shape, data_format):
    path = str(tmp_path / "film.gif")
    optimizer(shape, data_format).minimize(
        max_iter=2, callbacks=[GifGenerator(path)], verbose=False
    )
    assert [frame.shape for frame in frames(path)] == [(24, 32, 3)] * 2


def test_gif_is_labelled_and_shows_the_image(tmp_path):
    """Frames of the same image differ by their labels only."""
    path = tmp_path / "film.gif"
    generator = GifGenerator(path)
    image = np.zeros((1, 60, 120, 3), "float32")
    image[0, :, 60:] = 100
    for i in range(3):
        generator.callback(i, [], 0.0, image, image)
    generator.on_end()
    film = np.stack(frames(path)).astype(int)
    assert len(film) == 3
    differ = np.abs(film - film[0]).max(axis=(0, 3)) > 40
    assert differ.any()
    rows, _columns = np.nonzero(differ)
    assert rows.min() >= 5
    assert rows.max() < 35
    # The image: one standard deviation above and below the middle.
    np.testing.assert_allclose(film[:, 45:, :50], 0.4 * 255, atol=8)
    np.testing.assert_allclose(film[:, 45:, 70:], 0.6 * 255, atol=8)


def test_gif_does_not_depend_on_the_range(tmp_path):
    images = {}
    image = np.random.default_rng(0).normal(size=(1, 40, 60, 3)).astype("float32")
    for name, input_range in {"bytes": (0, 255), "unit": (-1.0, 1.0)}.items():
        generator = GifGenerator(tmp_path / name, input_range)
        generator.callback(0, [], 0.0, image, image)
        generator.on_end()
        (images[name],) = frames(tmp_path / f"{name}.gif")
    np.testing.assert_array_equal(images["bytes"], images["unit"])


class Failing(Recorder):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def callback(self, i, *args):
        if i == 3:
            raise self.error


class FailsAtEnd(OptimizerCallback):
    def callback(self, *args):
        pass

    def on_end(self):
        raise OSError("disk full")


class FailingModifier(InputModifier):
    def __init__(self, error):
        self.error, self.step = error, 0

    def pre(self, image):
        self.step += 1
        if self.step == 4:
            raise self.error
        return image


def run(path, max_iter=10, before=(), after=(), **settings):
    optimizer().minimize(
        max_iter=max_iter,
        callbacks=[*before, GifGenerator(path), *after],
        verbose=False,
        **settings,
    )


def interrupted(path, **settings):
    with pytest.warns(UserWarning, match="Interrupted"):
        run(path, **settings)


def failed(path, **settings):
    with pytest.raises(OSError, match="disk full"):
        run(path, **settings)


def exited(path, **settings):
    with pytest.raises(SystemExit):
        run(path, **settings)


def not_finite(path):
    model = sequential((40, 80, 3), layers.Flatten())

    class Log(Loss):
        def build_loss(self):
            return ops.log(ops.mean(model.inputs[0]))

    with pytest.raises(NonFiniteError):
        Optimizer(model.inputs[0], [(Log(), 1)]).minimize(
            np.full((40, 80, 3), 30.0) + np.random.default_rng(0).normal(size=(40, 80, 3)),
            100, callbacks=[GifGenerator(path)], verbose=False,
        )  # fmt: skip


DISK_FULL = OSError("disk full")
ENDINGS = {
    "interrupt in a later callback": lambda p: interrupted(p, after=[Failing(KeyboardInterrupt())]),
    "interrupt in an earlier callback": lambda p: interrupted(
        p, before=[Failing(KeyboardInterrupt())]
    ),
    "interrupt in a modifier": lambda p: interrupted(
        p, input_modifiers=[FailingModifier(KeyboardInterrupt())]
    ),
    "error in a callback": lambda p: failed(p, after=[Failing(DISK_FULL)]),
    "error in a modifier": lambda p: failed(p, input_modifiers=[FailingModifier(DISK_FULL)]),
    "error at the end of another": lambda p: failed(p, max_iter=4, before=[FailsAtEnd()]),
    "sys.exit": lambda p: exited(p, after=[Failing(SystemExit())]),
    "not a number": not_finite,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_gif_is_complete_after_errors_and_interruptions(tmp_path, ending):
    path = tmp_path / "film.gif"
    ENDINGS[ending](path)
    assert list(tmp_path.iterdir()) == [path]
    assert len(frames(path)) >= 3


def test_no_gif_without_two_spatial_axes(tmp_path):
    with pytest.raises(ValueError, match=r"`GifGenerator` must be used on images .*Received: "):
        optimizer((7,)).minimize(
            max_iter=2, callbacks=[GifGenerator(tmp_path / "film.gif")], verbose=False
        )
    assert list(tmp_path.iterdir()) == []


def test_error_before_the_first_step_leaves_no_file(tmp_path):
    failing = FailingModifier(DISK_FULL)
    failing.step = 3
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path / "film.gif", input_modifiers=[failing])
    assert list(tmp_path.iterdir()) == []


def test_gif_generator_can_be_reused(tmp_path):
    path = tmp_path / "film.gif"
    generator = GifGenerator(path)
    for steps in (2, 3):
        optimizer().minimize(max_iter=steps, callbacks=[generator], verbose=False)
        assert len(frames(path)) == steps


def test_bad_arguments_of_gif_generator(tmp_path):
    with pytest.raises(ValueError, match=r"`path` .*exists.*Received: "):
        GifGenerator(tmp_path / "no" / "film.gif")
    with pytest.raises(ValueError, match=r"`input_range` .*Received: "):
        GifGenerator(tmp_path / "film.gif", input_range=(1, 0))


def test_print(capsys):
    Print().callback(3, [("TV", 1.5)], 1.5, None, None)
    out = capsys.readouterr().out
    assert "Iteration: 4" in out
    assert "('TV', 1.5)" in out
    assert "1.5" in out


class Losses(Recorder):
    losses_only = True


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("modifiers", [[], [InputModifier()]], ids=["in the graph", "in NumPy"])
def test_callbacks_of_losses_only_are_called_for_every_step(samples, modifiers):
    one, settings = optimizer(), {"max_iter": 20, "seed": 0, "samples": samples}
    recorder, losses = Recorder(), Losses()
    for callback in (recorder, losses):
        one.minimize(callbacks=[callback], input_modifiers=modifiers, verbose=False, **settings)
    assert losses.iterations == list(range(20))
    assert losses.named_losses == recorder.named_losses
    assert losses.overall == recorder.overall
    assert losses.grads == losses.wrt_values == [None] * 20


def test_callbacks_of_losses_only_leave_the_loop_in_the_graph(monkeypatch):
    one, calls = optimizer(), []
    run_loop = Descent._run_loop
    monkeypatch.setattr(
        Descent, "_run_loop", lambda self, steps: calls.append(steps) or run_loop(self, steps)
    )
    losses, history, progress = Losses(), History(), Progress(200)
    one.minimize(max_iter=200, callbacks=[losses, history, progress], verbose=True)
    assert sum(calls) == 200
    assert len(calls) < 100
    assert losses.iterations == list(range(200))
    assert history.overall_loss == losses.overall
    calls.clear()
    one.minimize(max_iter=20, callbacks=[losses, History(frames_every=5)], verbose=True)
    assert calls == [1] * 20


def test_losses_of_steps_before_a_failure_are_reported():
    model = sequential((4,), layers.Dense(2))

    class Log(Loss):
        def build_loss(self):
            return ops.log(ops.mean(model.inputs[0]))

    losses, latest = Losses(), Recorder()
    latest.every_step = False
    with pytest.raises(NonFiniteError) as error:
        Optimizer(model.inputs[0], Log()).minimize(
            np.full(4, 30.0), 100, callbacks=[losses, latest], verbose=False
        )
    assert losses.iterations == list(range(error.value.iteration - 1))
    assert all(np.isfinite(grads).all() for grads in latest.grads)


def test_base_class_is_abstract():
    with pytest.raises(NotImplementedError, match=r"`callback` .*Received: "):
        OptimizerCallback().callback(0, [], 0.0, None, None)
    OptimizerCallback().on_end()


def test_progress_shows_all_steps_and_the_loss(capsys):
    optimizer().minimize(max_iter=30, callbacks=[Progress(30, desc="drawing")], verbose=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "drawing" in captured.err
    assert "30/30" in captured.err
    assert "loss=" in captured.err


def test_progress_does_not_change_the_image():
    one = optimizer()
    expected, *_ = one.minimize(max_iter=50, seed=1, verbose=False)
    with_progress, *_ = one.minimize(max_iter=50, seed=1, callbacks=[Progress(50)], verbose=False)
    np.testing.assert_array_equal(with_progress, expected)


def test_callback_whose_repr_fails():
    class WithoutRepr(OptimizerCallback):
        def __repr__(self):
            raise AttributeError("no repr")

        def callback(self, i, named_losses, overall_loss, grads, wrt_value):
            self.last = i

    callback = WithoutRepr()
    optimizer().minimize(max_iter=3, callbacks=[callback], verbose=False)
    assert callback.last == 2


def test_callbacks_get_copies_of_arrays():
    class Overwrite(OptimizerCallback):
        def callback(self, i, named_losses, overall_loss, grads, wrt_value):
            for array in (grads, wrt_value):
                if array.flags.writeable:
                    array[:] = np.nan
            named_losses.clear()

    one = optimizer()
    expected, *_ = one.minimize(max_iter=5, seed=1, verbose=False)
    recorder = Recorder()
    actual, *_ = one.minimize(max_iter=5, seed=1, callbacks=[Overwrite(), recorder], verbose=False)
    np.testing.assert_array_equal(actual, expected)
    assert len(recorder.named_losses[0]) == 1
    assert np.isfinite(recorder.grads).all()
    assert np.isfinite(recorder.wrt_values).all()
