"""Architectures of `keras.applications`, in each of the six calls that matter most.

Before each merge the first blocks of four architectures, with `long` those of one architecture per
family and the whole of it, and with `--write-docs` all architectures; that run writes
`docs/models.md`.
"""

from __future__ import annotations

import gc
import inspect
import re
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import look_trained, nodes

from vis.backend.graph import apply_modifications
from vis.backprop_modifiers import guided
from vis.callbacks import History
from vis.optimizer.updates import RMSprop
from vis.visualization import visualize_activation, visualize_cam, visualize_saliency
from vis.visualization.attribution.maps import resize_maps

DOCS = Path(__file__).parent.parent / "docs" / "models.md"

# What the names of a family begin with, and its smallest architecture.
FAMILIES = {
    "ConvNeXt": "ConvNeXtTiny",
    "DenseNet": "DenseNet121",
    "EfficientNetB": "EfficientNetB0",
    "EfficientNetV2": "EfficientNetV2B0",
    "Inception": "InceptionV3",
    "MobileNet": "MobileNet",
    "MobileNetV2": "MobileNetV2",
    "MobileNetV3": "MobileNetV3Small",
    "NASNet": "NASNetMobile",
    "ResNet": "ResNet50",
    "ResNet50V": "ResNet50V2",
    "VGG": "VGG16",
    "Xception": "Xception",
}
# The last layer of their first blocks, which have all kinds of layers and connections. For
# MobileNetV2, see `test_transfer_learning.py`.
LAST_LAYERS = {
    "ConvNeXtTiny": "convnext_tiny_stage_1_block_0_identity",
    "DenseNet121": "conv3_block1_concat",
    "EfficientNetB0": "block2b_add",
    "EfficientNetV2B0": "block4b_add",
    "InceptionV3": "mixed3",
    "MobileNet": "conv_pw_4_relu",
    "MobileNetV3Small": "expanded_conv_4_add",
    "NASNetMobile": "reduction_concat_stem_2",
    "ResNet50": "conv3_block1_out",
    "ResNet50V2": "conv3_block1_out",
    "VGG16": "block3_pool",
    "Xception": "block4_pool",
}
# Four with all kinds of layers and connections: depthwise and separable convolutions, gates, dense
# and residual connections, layer normalisation, silu, gelu and relu.
DAILY = ("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "MobileNet")

# The first that an architecture takes; below 64 most have last feature maps of a single place.
SIZES = (64, 75, 96, 128, 224, 331)
CLASSES = 10
UNIT = 1
# Activations like rectifiers, for which the paper of guided backpropagation defines nothing.
UNDEFINED = {"elu", "gelu", "hard_silu", "leaky_relu", "silu"}


def architectures():
    """All functions of `keras.applications` and its modules that build a model, by name."""
    found, modules = {}, [keras.applications]
    while modules:
        for name, value in vars(modules.pop()).items():
            if inspect.ismodule(value) and value.__name__.startswith("keras.applications."):
                modules.append(value)
            elif inspect.isfunction(value) and "weights" in inspect.signature(value).parameters:
                found[name] = value
    return dict(sorted(found.items()))


def smallest(build):
    """An architecture at the smallest size that it takes."""
    for size in SIZES:
        try:
            return build(weights=None, input_shape=(size, size, 3), classes=CLASSES)
        except ValueError as error:
            if "size" not in str(error):
                raise
    raise AssertionError(f"no size of {SIZES} is taken")


def shortened(name):
    """The first blocks of an architecture as a classifier."""
    model = smallest(architectures()[name])
    features = model.get_layer(LAST_LAYERS[name]).output
    features = keras.layers.Conv2D(32, 1)(features)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    return keras.Model(model.inputs, keras.layers.Dense(CLASSES, "softmax")(pooled))


def input_range(model):
    """What an architecture of today takes, and what one of yesterday is given by hand."""
    scales = (keras.layers.Rescaling, keras.layers.Normalization)
    inside = any(isinstance(layer, scales) for layer in model.layers)
    return (0.0, 255.0) if inside else (-1.0, 1.0)


def state(model):
    """What a visualization must leave as it is: weights, graph and activations."""
    sums = [zlib.crc32(np.ascontiguousarray(weight.numpy())) for weight in model.weights]
    return sums, nodes(model), [getattr(layer, "activation", None) for layer in model.layers]


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def convolutions(model):
    """The convolution and pooling layers whose maps have several places."""
    return [
        layer
        for layer in model.layers
        if (hasattr(layer, "kernel_size") or hasattr(layer, "pool_size"))
        and np.prod(layer.output.shape[1:3]) > 1
    ]


class Case:
    """A model with random weights, its copy without softmax, and what Keras says of an image."""

    def __init__(self, model):
        self.model = model
        self.size = self.model.inputs[0].shape[1]
        self.range = input_range(self.model)
        rng = np.random.default_rng(2)
        self.image, *others = rng.uniform(*self.range, (8, self.size, self.size, 3))
        look_trained(self.model, np.stack(others))
        self.probabilities = self.model(self.image[None])[0].numpy()
        self.before = state(self.model)

        self.model.layers[-1].activation = keras.activations.linear
        self.linear = apply_modifications(self.model)
        self.model.layers[-1].activation = keras.activations.softmax

        candidates = convolutions(self.linear)
        inner = [layer for layer in candidates if isinstance(layer, keras.layers.Conv2D)]
        self.inner = inner[len(inner) // 3]
        self.penultimate = candidates[-1]
        self._ask_keras()
        self.linear_before = state(self.linear)

    def _ask_keras(self):
        layers = [self.inner, self.penultimate, self.linear.layers[-1]]
        known = keras.Model(self.linear.inputs, [layer.output for layer in layers])
        with tf.GradientTape() as tape:
            tape.watch(image := tf.constant(self.image[None], "float32"))
            self.activation, maps, logits = known([image])
            unit = logits[0, UNIT]
        self.grads, map_grads = (tensor.numpy()[0] for tensor in tape.gradient(unit, [image, maps]))
        self.logits = logits[0].numpy()
        self.cam = maps.numpy()[0] @ map_grads.mean(axis=(0, 1))


def check_activation(case, layer, before):
    history = History()
    low, high = case.range
    picture = visualize_activation(
        case.linear,
        layer,
        UNIT,
        seed_input=case.image,
        input_range=case.range,
        lp_norm_weight=0,
        tv_weight=0,
        optimizer=RMSprop(learning_rate=0.0003 * (high - low)),
        max_iter=3,
        seed=0,
        callbacks=[history],
    )
    assert picture.shape == case.image.shape
    assert low <= picture.min() < picture.max() <= high
    first, *others = history.overall_loss
    assert first == pytest.approx(-before, rel=2e-3, abs=1e-3)
    assert np.isfinite(others).all()
    assert min(others) < first


def last_layer(case):
    check_activation(case, -1, float(case.logits[UNIT]))


def inner_layer(case):
    check_activation(case, case.inner, float(case.activation[..., UNIT].numpy().mean()))


def scaled(array):
    return (array - array.min()) / np.ptp(array)


def assert_alike(actual, expected):
    """Rounding turns a few of a deep network's rectifiers on or off, which single pixels show."""
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.99
    assert abs(actual - expected).mean() < 0.01


def saliency(case):
    heat = visualize_saliency(case.linear, -1, UNIT, case.image)
    assert heat.shape == (case.size, case.size)
    assert_alike(heat, scaled(abs(case.grads).max(axis=-1)))


def grad_cam(case):
    # Where a class is seen nowhere, it is shown what speaks against it.
    sign, modifier = (1, None) if case.cam.max() > 0 else (-1, "negate")
    heat = visualize_cam(case.linear, -1, UNIT, case.image, grad_modifier=modifier)
    assert heat.shape == (case.size, case.size)
    expected = resize_maps(np.maximum(sign * case.cam, 0)[None], heat.shape)[0]
    if np.ptp(expected) > 1e-5 * expected.max():
        assert_alike(heat, scaled(expected))
    else:
        # A pooling as wide as its maps, as at the end of a small NASNet, says the same everywhere.
        heat = visualize_cam(case.linear, -1, UNIT, case.image, case.inner)
        assert np.isfinite(heat).all()
        assert np.ptp(heat) == 1


def modifications(case):
    assert len(case.linear.weights) == len(case.model.weights)
    for ours, theirs in zip(case.linear.weights, case.model.weights, strict=True):
        assert ours is not theirs
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_allclose(softmax(case.logits), case.probabilities, rtol=1e-3, atol=1e-6)
    assert np.ptp(case.logits) > 0


def guided_copy(case, recwarn):
    functions = {
        getattr(getattr(layer, "activation", None), "__name__", None)
        for layer in case.linear.layers
    }
    rectifies = "relu" in functions or any(
        isinstance(layer, keras.layers.ReLU) for layer in case.linear.layers
    )
    undefined = functions & UNDEFINED
    recwarn.clear()
    copy = guided(case.linear)
    warnings = [str(warning.message) for warning in recwarn]
    assert bool(undefined) == any("guided" in warning for warning in warnings), warnings
    assert rectifies or undefined

    for ours, theirs in zip(copy.weights, case.linear.weights, strict=True):
        assert ours is theirs
    tolerance = 1e-5 * abs(case.logits).max()
    np.testing.assert_allclose(copy(case.image[None])[0], case.logits, atol=tolerance)
    heat = visualize_saliency(case.linear, -1, UNIT, case.image, backprop_modifier="guided")
    plain = scaled(abs(case.grads).max(axis=-1))
    assert np.isfinite(heat).all()
    assert np.ptp(heat) == 1
    assert (abs(heat - plain).max() > 0.05) == rectifies
    return f"yes; not {', '.join(sorted(undefined))}" if undefined else "yes"


CHECKS = {
    "activation of the last layer": last_layer,
    "of an inner layer": inner_layer,
    "saliency": saliency,
    "Grad-CAM": grad_cam,
    "`apply_modifications`": modifications,
    "guided": guided_copy,
}

VERSION = "All architectures of `keras.applications`, in Keras {}, each with random weights"

INTRODUCTION = f"""# Tested networks of keras.applications

{VERSION.format(keras.__version__)}
and a small input. *yes* means a passed test. `tests/test_keras_applications.py` defines them and
writes this table:

```sh
python -m pytest -n 0 tests/test_keras_applications.py --write-docs
```

Guided backpropagation is defined for rectifiers. Other activations keep their gradients, with a
warning; the last column names them.

"""


def minor(version):
    """3 and 15 of version 3.15.1."""
    return [int(number) for number in version.split(".")[:2]]


def documented_version():
    """Which Keras the docs speak of."""
    pattern = re.escape(VERSION).replace(r"\{\}", "([0-9.]+)")
    return minor(re.search(pattern, DOCS.read_text())[1])


def documented():
    """The cells of the table in the docs, by architecture."""
    rows = [
        [cell.strip() for cell in row.split("|")]
        for row in re.findall(r"^\| (`.*) \|$", DOCS.read_text(), re.M)
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


@pytest.fixture(scope="module")
def rows(request):
    """The cells of each architecture that was tested; with `--write-docs` they become the page."""
    found = {}
    yield found
    if request.config.getoption("--write-docs"):
        assert found.keys() == architectures().keys(), "the page is written of all of them"
        columns = ["architecture", "input", "layers", *CHECKS]
        lines = [columns, ["---"] * len(columns)]
        lines += [[f"`{name}`", *cells] for name, cells in found.items()]
        DOCS.write_text(INTRODUCTION + "".join(f"| {' | '.join(line)} |\n" for line in lines))


def pytest_generate_tests(metafunc):
    if "architecture" in metafunc.fixturenames:
        if metafunc.config.getoption("--write-docs"):
            metafunc.parametrize("architecture", architectures())
        else:
            smallest_ones = [pytest.param(x, marks=pytest.mark.long) for x in FAMILIES.values()]
            metafunc.parametrize("architecture", smallest_ones)


@pytest.fixture(autouse=True)
def free_memory():
    yield
    keras.backend.clear_session()
    gc.collect()


def check_all(case, subtests, recwarn):
    results = dict.fromkeys(CHECKS, "no")
    for title, check in CHECKS.items():
        with subtests.test(title):
            needed = [recwarn] if "recwarn" in inspect.signature(check).parameters else []
            results[title] = check(case, *needed) or "yes"
    with subtests.test("the model is left as it was"):
        assert state(case.linear) == case.linear_before
        assert state(case.model) == case.before
        np.testing.assert_array_equal(case.model(case.image[None])[0], case.probabilities)
    return results.values()


def test_architecture(architecture, subtests, recwarn, rows):
    case = Case(smallest(architectures()[architecture]))
    results = check_all(case, subtests, recwarn)
    shape = f"{case.size} x {case.size}"
    rows[architecture] = [shape, str(len(case.model.layers)), *results]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in DAILY else pytest.mark.long) for n in LAST_LAYERS],
)
def test_first_blocks(name, subtests, recwarn):
    check_all(Case(shortened(name)), subtests, recwarn)


def test_all_architectures_are_found():
    named = {
        name for name, value in vars(keras.applications).items()
        if callable(value) and name[0].isupper()
    }  # fmt: skip
    assert named
    assert architectures().keys() == named


def test_each_architecture_belongs_to_a_family():
    for name in architectures():
        assert any(name.startswith(family) for family in FAMILIES), name
    assert set(FAMILIES.values()) <= architectures().keys()
    assert set(FAMILIES.values()) == LAST_LAYERS.keys() | {"MobileNetV2"}


def test_docs_list_all_architectures_of_this_version_of_keras(request):
    if request.config.getoption("--write-docs"):
        pytest.skip("they are being written")
    if minor(keras.__version__) < documented_version():
        pytest.skip("the page is about a later version of Keras")
    assert documented_version() == minor(keras.__version__), "write it anew, as it says itself"
    assert list(documented()) == list(architectures())
    for name, (_, _, *results) in documented().items():
        assert len(results) == len(CHECKS), name
        assert all(result.startswith("yes") for result in results), name
