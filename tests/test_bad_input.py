"""Bad input: each argument gives a valid result, or an error of this package.

Each argument of each public function gets values of many kinds, but no callables where functions
are expected, because these may raise errors of their own.
"""

from __future__ import annotations

import decimal
import fractions
import inspect
import math
import random
import re
import tempfile
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import Recorder, sequential
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from keras import layers

import vis
from vis import (
    backprop_modifiers,
    callbacks,
    grad_modifiers,
    input_modifiers,
    losses,
    parametrizations,
    plotting,
    regularizers,
    visualization,
)
from vis.applications import EfficientNetLite0
from vis.optimizer import Optimizer, updates
from vis.utils import utils
from vis.utils.imagenet import imagenet_class_index
from vis.utils.layout import Layout

PACKAGE = str(Path(vis.__file__).parent)
FOLDER = tempfile.mkdtemp()


def network():
    return sequential(
        (8, 8, 3),
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        layers.Flatten(name="flat"),
        layers.Dense(3, name="dense"),
    )


keras.utils.set_random_seed(0)
MODEL = network()
OTHER = network()
IMAGE = np.random.default_rng(0).uniform(0, 255, (8, 8, 3)).astype("float32")
LOSSES = [(losses.ActivationMaximization(MODEL.layers[-1], 1), 1)]
HISTORY = callbacks.History(frames_every=1)
HISTORY.callback(0, [("Some Loss", 1.0)], 1.0, None, IMAGE[None])
ONE_IMAGE = (IMAGE[None], [1])
CONTRAST = visualization.class_contrast(MODEL, IMAGE, (0, 2), visualization.Saliency())
PATCHES = keras.layers.Reshape((4, 6))(keras.layers.Conv2D(6, 4, 4)(MODEL.inputs[0]))
TOKENS = keras.layers.MultiHeadAttention(2, 3)(PATCHES, PATCHES)
TRANSFORMER = keras.Model(
    MODEL.inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(TOKENS))
)
MEANS = visualization.class_attributions(MODEL, ONE_IMAGE, visualization.Saliency(), progress=False)
TOP = visualization.top_activating_images(MODEL, ONE_IMAGE, "conv", progress=False)


class Strange:
    """An object without attributes."""


CORNERS = [
    None, True, False, 0, 1, 2, -1, -7, 8, 0.0, 0.5, 1.0, -0.5, 2.5, math.nan, math.inf, -math.inf,
    1e6, 1e-6, 1 + 2j, fractions.Fraction(1, 3), decimal.Decimal("0.5"), "", "x", "dense",
    "conv", "Dense", "guided", "absolute", "0", "\0", "ö", b"dense", [], (), {}, set(), [None],
    [1], [0, 2], [1, 1], [3], ["x"], ["dense"], [[0], [1, 2]], (0, 1), (1, 0), (0, 0), (0.0, 1.0),
    (0, math.nan), (-math.inf, math.inf), (0, 255, 3), ("a", "b"), {"a": 1}, {1, 2}, range(3),
    slice(None), Ellipsis, NotImplemented, Strange(), Strange, iter([1]), np.float32(0.5),
    np.int64(1), np.bool_(True), np.datetime64("2020-01-01"), np.array(1), np.array(math.nan),
    np.array([]), np.arange(3), np.array([1.0, math.nan, 2.0]), np.array(["a", "b"]),
    np.array([None, 1]), np.array([1 + 1j]), np.zeros((8, 8)), np.zeros((0, 8, 8, 3)),
    np.zeros((8, 8, 3)), np.zeros((3, 8, 8)), np.zeros((1, 8, 8, 3)), np.ones((2, 8, 8, 3), bool),
    np.zeros((9, 8, 3)), np.zeros((8, 8, 4)), np.zeros((1, 1, 8, 8, 3)), np.full((8, 8, 3), 1e6),
    np.full((8, 8, 3), math.nan), np.full((8, 8, 3), math.inf), np.zeros((8, 8, 3), complex),
    np.full((8, 8, 3), "x"), np.full((8, 8, 3), None), np.zeros((8, 8, 3), "int64"),
    np.zeros((8, 8, 3), "float16"), keras.ops.zeros((8, 8, 3)), keras.Input((8, 8, 3)),
    MODEL.inputs[0], MODEL.outputs[0], OTHER.inputs[0], OTHER.outputs[0], MODEL, OTHER,
    keras.Sequential(), keras.Sequential([layers.Dense(2)]), layers.Dense(2), MODEL.layers[0],
    MODEL.layers[-1], OTHER.layers[0], LOSSES, LOSSES[0], LOSSES[0][0], [(LOSSES[0][0], "x")],
    [(LOSSES[0][0], math.nan)], [(LOSSES[0][0], 0)], losses.Loss, Recorder, [Recorder],
    input_modifiers.Jitter, input_modifiers.Jitter(1), [input_modifiers.Jitter((1, 2, 3))],
    parametrizations.Fourier, parametrizations.Fourier(), keras.optimizers.Adam,
    keras.optimizers.Adam(0.1), HISTORY, Path(FOLDER), Path(FOLDER) / "no" / "folder" / "x.png",
]  # fmt: skip

numbers = st.integers(-99, 99) | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=4)
arrays = st.builds(
    lambda shape, kind, value: np.full(shape, value).astype(kind),
    st.lists(st.integers(0, 9), max_size=5),
    st.sampled_from(["float32", "float64", "int8", "uint8", "bool", "complex64", "U2", "object"]),
    st.sampled_from([0, 1, 255]),
)
ANYTHING = st.sampled_from(CORNERS) | st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=4
) | arrays  # fmt: skip


def small(value):
    """Whether a value is not a large number of steps, pixels or copies, which would be slow."""
    return not any(np.size(v) and np.max(v) > 9 for v in numbers_in(value))


def numbers_in(value):
    if isinstance(value, (list, tuple)):
        return [number for part in value for number in numbers_in(part)]
    is_number = isinstance(value, (int, float, np.ndarray, np.number))
    return [value] if is_number and np.asarray(value).dtype.kind in "biuf" else []


def check_result_or_error(call, arguments, check):
    try:
        result = call(**arguments)
    except (OSError, ValueError, TypeError) as error:
        caught = error
    else:
        check(result)
        return
    if isinstance(caught, OSError):
        # An error of the operating system has a number.
        assert caught.errno is not None or "image file" in str(caught)
        return
    traceback = caught.__traceback__
    while traceback.tb_next:
        traceback = traceback.tb_next
    file = traceback.tb_frame.f_code.co_filename
    assert file.startswith(PACKAGE), f"raised in {file}: {caught}"
    assert re.search(r"`\w+`.*Received: .", str(caught), re.DOTALL), str(caught)


def check_picture(result):
    assert isinstance(result, np.ndarray)
    assert result.shape[-3:] == (8, 8, 3)
    assert np.isfinite(result).all()


def check_pictures(result):
    for pictures in result.values() if isinstance(result, dict) else [result]:
        check_picture(pictures)


def check_map(result):
    assert isinstance(result, np.ndarray)
    assert result.shape[-2:] == (8, 8) or result.shape[-3:] == (8, 8, 3) or result.ndim == 1
    assert result.min() >= 0
    assert result.max() <= 1


def check_finite(result):
    assert np.isfinite(result).all()


def check_nothing(result):
    repr(result)


def transformed(kind):
    """A function that applies a transform to an image."""

    def transform(**settings):
        return kind(**settings).pre(IMAGE[None])

    transform.__qualname__ = kind.__qualname__
    return transform


def check_batch(images):
    assert images.ndim == 4
    assert np.isfinite(images).all()


def check_loss(loss):
    assert isinstance(str(loss), str)
    for value in loss.parameters.values():
        assert np.isfinite(value).all()


def pictured(kind):
    """A function that converts an image to a parametrization and back."""

    def picture(**settings):
        parametrization = kind(**settings)
        layout, rng = Layout((8, 8, 3), axes=(1, 2)), np.random.default_rng(0)
        variables = parametrization.variables(IMAGE, layout, (0, 255), rng)
        batch = [keras.ops.convert_to_tensor(value[None], "float32") for value in variables]
        return parametrization.image(batch, layout, np.float32([0, 255])).numpy()

    picture.__qualname__ = kind.__qualname__
    return picture


def check_optimizer(optimizer):
    image, grads, _ = optimizer.minimize(max_iter=1, seed=0, verbose=False)
    assert np.isfinite(image).all()
    assert np.isfinite(grads).all()


def explained(kind):
    """A function that explains an image by an attribution method."""

    def explain(**settings):
        is_for_tokens = issubclass(kind, visualization.AttentionMap)
        return kind(**settings)(TRANSFORMER if is_for_tokens else MODEL, IMAGE, -1, 1)

    explain.__qualname__ = kind.__qualname__
    return explain


def check_figure(figure):
    assert figure.axes


SEEDED = {"max_iter": 1, "seed": 0, "verbose": False}
INPUT = {"img_input": MODEL.inputs[0]}
LAYER = {"layer": MODEL.layers[0]}
FEW = {"max_iter", "samples", "steps", "batch_size", "max_channels", "patch", "stride", "pixels",
       "size", "cols", "margin", "count", "image_size", "target_size", "font_size", "shape",
       "frames_every", "p"}  # fmt: skip
# Functions that accept anything.
PLAIN = {
    "LayerOutput",
    "add_defaults_to_kwargs",
    "get_identifier",
    "listify",
    "reverse_enumerate",
    "slicer",
}
PLAIN_CLASSES = {
    "AttentionMap",
    "Attribution",
    "CAM",
    "ClassAttributions",
    "ClassContrast",
    "TopImages",
    "TopImagesOfLayer",
}
FUNCTIONS = {"grad_modifier", "backprop_modifier", "identifier"}

minimize = Optimizer(MODEL.inputs[0], LOSSES).minimize

# Function, valid arguments, and a check of its result.
CALLS = [
    (
        visualization.visualize_activation,
        {"model": MODEL, "layer_idx": -1, "filter_indices": 1, "wrt_tensor": None,
         "seed_input": IMAGE, "input_range": (0, 255), "like": None, "backprop_modifier": None,
         "grad_modifier": None, "act_max_weight": 1, "lp_norm_weight": 10, "tv_weight": 10,
         "parametrization": None, "optimizer": None, "input_modifiers": None, "callbacks": None,
         **SEEDED},
        check_picture,
    ),
    (
        visualization.visualize_activation_with_losses,
        {"input_tensor": MODEL.inputs[0], "losses": LOSSES, "wrt_tensor": None,
         "seed_input": IMAGE, "input_range": (0, 255), "parametrization": None,
         "optimizer": None, "like": None, **SEEDED},
        check_picture,
    ),
    (
        visualization.visualize_filters,
        {"model": MODEL, "layer_idx": -1, "filter_indices": [1], "batch_size": 2,
         "image_size": None, "parametrization": None, "input_modifiers": [], "max_iter": 1,
         "seed": 0, "progress": False, "optimizer": None, "input_range": (0, 255),
         "like": None},
        check_pictures,
    ),
    (
        visualization.top_activating_images,
        {"model": MODEL, "images": IMAGE[None], "layers": -1, "filters": [1], "count": 1,
         "input_range": (0, 255), "batch_size": 2, "fixed_inputs": None, "progress": False},
        lambda result: check_finite(result.layers[0].activations),
    ),
    (
        visualization.visualize_saliency,
        {"model": MODEL, "layer_idx": -1, "filter_indices": 1, "seed_input": IMAGE,
         "wrt_tensor": None, "backprop_modifier": None, "grad_modifier": "absolute",
         "keepdims": False},
        check_map,
    ),
    (
        visualization.visualize_saliency_with_losses,
        {"input_tensor": MODEL.inputs[0], "losses": LOSSES, "seed_input": IMAGE,
         "wrt_tensor": None, "grad_modifier": "absolute", "keepdims": False},
        check_map,
    ),
    (
        visualization.visualize_cam,
        {"model": MODEL, "layer_idx": -1, "filter_indices": 1, "seed_input": IMAGE,
         "penultimate_layer_idx": None, "backprop_modifier": None, "grad_modifier": None},
        check_map,
    ),
    (
        visualization.visualize_cam_with_losses,
        {"input_tensor": MODEL.inputs[0], "losses": LOSSES, "seed_input": IMAGE,
         "penultimate_layer": MODEL.layers[0], "grad_modifier": None},
        check_map,
    ),
    (
        Optimizer,
        {"input_tensor": MODEL.inputs[0], "losses": LOSSES, "input_range": (0, 255),
         "wrt_tensor": None, "norm_grads": True, "parametrization": None, "optimizer": None},
        check_optimizer,
    ),
    (
        minimize,
        {"seed_input": IMAGE, "input_modifiers": None, "grad_modifier": None, "callbacks": None,
         "samples": 1, **SEEDED},
        lambda result: check_finite(result[0]),
    ),
    (visualization.find_layer, {"model": MODEL, "layer_idx": -1}, check_nothing),
    (visualization.inputs_of, {"model": MODEL}, check_nothing),
    (visualization.get_num_filters, {"layer": MODEL.layers[0]}, check_nothing),
    (visualization.overlay, {"array1": IMAGE, "array2": IMAGE, "alpha": 0.5}, check_nothing),
    (losses.ActivationMaximization, {**LAYER, "filter_indices": 1}, check_loss),
    (losses.FilterActivations, {**LAYER, "filter_indices": [1]}, check_loss),
    (losses.Neuron, {**LAYER, "filter_index": 1, "position": (1, 1)}, check_loss),
    (losses.Direction, {**LAYER, "direction": [1, 0, 0, 1]}, check_loss),
    (losses.CosineDirection, {**LAYER, "direction": [1, 0, 0, 1], "power": 2.0}, check_loss),
    (losses.DeepDream, LAYER, check_loss),
    (losses.Diversity, LAYER, check_loss),
    (losses.FeatureInversion, {**LAYER, **INPUT, "image": IMAGE}, check_loss),
    (regularizers.TotalVariation, {**INPUT, "beta": 2.0}, check_loss),
    (regularizers.LPNorm, {**INPUT, "p": 6.0}, check_loss),
    (regularizers.L1, {**INPUT, "center": 0.0}, check_loss),
    (regularizers.L2, {**INPUT, "center": 0.0}, check_loss),
    (regularizers.BlurPenalty, INPUT, check_loss),
    (transformed(input_modifiers.Jitter), {"jitter": 1}, check_batch),
    (transformed(input_modifiers.Rotate), {"degrees": 10.0}, check_batch),
    (transformed(input_modifiers.Scale), {"low": 0.8, "high": 1.2}, check_batch),
    (transformed(input_modifiers.Pad), {"pixels": 2, "value": None}, check_batch),
    (transformed(input_modifiers.Crop), {"size": 4}, check_batch),
    (transformed(input_modifiers.Noise), {"std": 1.0}, check_batch),
    (transformed(input_modifiers.Blur), {"high": 1.0, "low": 0.0}, check_batch),
    (
        pictured(parametrizations.Fourier),
        {"decay_power": 1.0, "decorrelate": True, "contrast": 1.0, "noise": 0.1},
        check_picture,
    ),
    (
        pictured(parametrizations.MagnitudeConstrained),
        {"spectrum": 1.25, "decorrelate": True, "contrast": 1.0},
        check_picture,
    ),
    (callbacks.Progress, {"max_iter": 3, "desc": None}, check_nothing),
    (callbacks.History, {"frames_every": None}, check_nothing),
    (callbacks.GifGenerator, {"path": f"{FOLDER}/x", "input_range": (0, 255)}, check_nothing),
    (
        callbacks.VisualizationCallback,
        {"folder": FOLDER, "pictures": None, "maps": {"cam": visualization.GradCAM()},
         "images": IMAGE[None], "labels": None, "every_epochs": 1,
         "tensorboard": None, "log": None},
        check_nothing,
    ),
    (
        visualization.class_contrast,
        {"model": MODEL, "seed_input": IMAGE, "classes": (0, 2),
         "method": visualization.Saliency(), "layer_idx": -1, "input_name": None},
        lambda result: check_finite(result.difference),
    ),
    (
        visualization.class_attributions,
        {"model": MODEL, "images": ONE_IMAGE, "method": visualization.Saliency(),
         "layer_idx": -1, "images_per_class": 1, "input_range": (0, 255), "batch_size": 2,
         "fixed_inputs": None, "progress": False},
        lambda result: check_finite(result.maps),
    ),
    (
        plotting.picture,
        {"image": IMAGE, "title": None, "ax": None, "save_to": None, "input_range": None,
         "kind": None, "names": None},
        check_figure,
    ),
    (
        plotting.grid,
        {"images": [IMAGE], "labels": None, "cols": None, "save_to": None, "ax": None},
        check_figure,
    ),
    (
        plotting.heatmap,
        {"image": IMAGE, "heat": IMAGE[..., 0], "alpha": 0.7, "title": None, "ax": None,
         "save_to": None, "signed": None, "colorbar": False},
        check_figure,
    ),
    (
        plotting.heatmaps,
        {"images": IMAGE, "heats": [IMAGE[..., 0]], "labels": None, "cols": None,
         "common_scale": True, "colorbar": True},
        check_figure,
    ),
    (
        plotting.tokens,
        {"words": ["a", "b"], "heat": [0.0, 1.0], "title": None, "ax": None, "signed": None},
        check_figure,
    ),
    (plotting.tokens_html, {"words": ["a"], "heat": [1.0], "signed": None}, check_nothing),
    (plotting.class_contrast, {"contrast": CONTRAST, "class_names": None}, check_figure),
    (
        plotting.class_attributions,
        {"found": MEANS, "class_names": None, "classes": None, "cols": None},
        check_figure,
    ),
    (
        plotting.top_images,
        {"found": TOP, "layer": None, "channels": None, "count": None, "crop": True,
         "class_names": None, "labels": None, "predictions": None, "input_range": None},
        check_figure,
    ),
    (
        plotting.save_pictures,
        {"folder": f"{FOLDER}/pictures", "pictures": [IMAGE], "labels": None},
        check_nothing,
    ),
    (plotting.loss_curves, {"history": HISTORY, "ax": None, "save_to": None}, check_figure),
    (
        plotting.film_strip,
        {"history": HISTORY, "count": 1, "input_range": (0, 255), "save_to": None},
        check_figure,
    ),
    (backprop_modifiers.guided, {"model": MODEL}, check_nothing),
    (backprop_modifiers.get, {"identifier": "guided"}, check_nothing),
    (grad_modifiers.get, {"identifier": "absolute"}, check_nothing),
    (utils.apply_modifications, {"model": MODEL, "custom_objects": None}, check_nothing),
    (utils.find_layer_idx, {"model": MODEL, "layer_name": "dense"}, check_nothing),
    (utils.deprocess_input, {"input_array": IMAGE, "input_range": (0, 255)}, check_finite),
    (utils.random_array, {"shape": (2, 2), "mean": 128.0, "std": 20.0}, check_finite),
    (utils.normalize, {"array": IMAGE, "min_value": 0.0, "max_value": 1.0}, check_finite),
    (utils.get_img_shape, {"img": IMAGE}, check_nothing),
    (utils.stitch_images, {"images": [IMAGE], "margin": 1, "cols": 1}, check_nothing),
    (
        utils.draw_text,
        {"img": IMAGE, "text": "a", "position": (1, 1), "font": None, "font_size": 9,
         "color": (0, 0, 0)},
        check_nothing,
    ),
    (utils.load_img, {"path": "x", "grayscale": False, "target_size": None}, check_nothing),
    (utils.bgr2rgb, {"img": IMAGE}, check_nothing),
    (utils.lookup_imagenet_labels, {"indices": 3}, check_nothing),
    (imagenet_class_index, {"name": "espresso"}, check_nothing),
]  # fmt: skip

for name in visualization.__all__:
    method = getattr(visualization, name)
    if isinstance(method, type) and name not in PLAIN_CLASSES:
        defaults = {
            p.name: p.default
            for p in inspect.signature(method).parameters.values()
            if p.default is not p.empty
        }
        few = {"steps": 3, "samples": 2, "seed": 0}
        few = {name: few[name] for name in few if name in defaults}
        CALLS.append((explained(method), {**defaults, **few}, check_map))
CALLS.append(
    (
        visualization.Saliency().__call__,
        {"model": MODEL, "seed_input": IMAGE, "layer_idx": -1, "filter_indices": 1},
        check_map,
    )
)

CASES = [
    pytest.param(function, arguments, name, check, id=f"{function.__qualname__}-{name}")
    for function, arguments, check in CALLS
    for name in arguments
]


@pytest.mark.every(3)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("examples", [12, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize(("function", "arguments", "name", "check"), CASES)
def test_argument(function, arguments, name, check, examples):
    values = ANYTHING
    if name in FEW:
        values = values.filter(small)
    if name in FUNCTIONS:
        values = values.filter(lambda value: not callable(value))

    # Each argument gets other examples, but the same ones in each run.
    @seed(zlib.crc32(f"{function.__qualname__} {name}".encode()))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(value=values)
    def property_of(value):
        check_result_or_error(function, {**arguments, name: value}, check)

    property_of()


@pytest.mark.parametrize(
    ("function", "arguments", "check"),
    [pytest.param(*call, id=call[0].__qualname__) for call in CALLS],
)
def test_valid_arguments(function, arguments, check):
    if function is not utils.load_img:
        check(function(**arguments))


def test_all_public_functions_are_tested():
    tested = {function.__qualname__ for function, *_ in CALLS}
    assert tested.issuperset(set(visualization.__all__) - PLAIN_CLASSES)
    assert tested.issuperset({name for name in utils.__all__ if name not in PLAIN})


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: losses.LossSum("xyz"), "pairs"),
        (lambda: losses.LossSum(None), "pairs"),
        (lambda: input_modifiers.Jitter(1).pre(None), "image"),
        (lambda: input_modifiers.Blur().pre("xyz"), "image"),
        (lambda: grad_modifiers.relu(None), "grads"),
        (lambda: grad_modifiers.invert("x"), "grads"),
        (lambda: updates.RMSprop("xyz"), "learning_rate"),
        (lambda: updates.Adam(beta_1=float("nan")), "beta_1"),
        (lambda: updates.KerasUpdate(None), "optimizer"),
        (lambda: utils.random_array((2, 2), rng=1), "rng"),
        (lambda: utils.random_array((2, 2), rng=random.Random(1)), "rng"),
        (lambda: utils.draw_text(IMAGE, "a", font=None, font_size=10**30), "font_size"),
        (lambda: utils.draw_text(IMAGE, "a", font=None, font_size=math.inf), "font_size"),
        (lambda: EfficientNetLite0(weights=IMAGE), "weights"),
        (lambda: EfficientNetLite0(weights=None, pooling=IMAGE), "pooling"),
        (
            lambda: EfficientNetLite0(
                weights=None, input_tensor=keras.Input((64, 64, 3)), input_shape=3
            ),
            "input_shape",
        ),
    ],
)
def test_small_objects(call, name):
    with pytest.raises((TypeError, ValueError), match=rf"`{name}` must (be|have) .*Received: "):
        call()


@pytest.mark.parametrize("position", [(1e300, 1), (1, -1e300), (3e9, 3e9)])
def test_text_outside_the_image_is_not_drawn(position):
    np.testing.assert_array_equal(utils.draw_text(IMAGE, "a", position, font=None), IMAGE)


@pytest.mark.parametrize("rng", [np.random.default_rng(0), np.random.RandomState(0), np.random])
def test_noise_of_any_numpy_generator(rng):
    noise = utils.random_array((9, 9), mean=3.0, std=2.0, rng=rng)
    assert noise.mean() == pytest.approx(3)
    assert noise.std() == pytest.approx(2, rel=1e-5)
