from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from vis import grad_modifiers

pytestmark = pytest.mark.versions

GRADS = np.array([[-2.0, 0.5], [0.0, 4.0]], "float32")
EXPECTED = {
    "negate": [[2, -0.5], [0, -4]],
    "absolute": [[2, 0.5], [0, 4]],
    "invert": [[-0.5, 2], [1e7, 0.25]],
    "relu": [[0, 0.5], [0, 4]],
    "small_values": [[0.5, 2], [1e7, 0.25]],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_values(name):
    before = GRADS.copy()
    modifier = getattr(grad_modifiers, name)
    modified = modifier(GRADS)
    assert isinstance(modified, np.ndarray)
    np.testing.assert_allclose(modified, EXPECTED[name], rtol=1e-5)
    np.testing.assert_array_equal(GRADS, before)
    tensor = modifier(ops.convert_to_tensor(GRADS))
    assert not isinstance(tensor, np.ndarray)
    np.testing.assert_allclose(ops.convert_to_numpy(tensor), EXPECTED[name], rtol=1e-5)
    assert grad_modifiers.get(name) is modifier


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint64", "int8", "longdouble"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [("negate", [-1, 0]), ("absolute", [1, 0]), ("invert", [1, 1e7]), ("relu", [1, 0]),
     ("small_values", [1, 1e7])],
)  # fmt: skip
def test_arrays_of_other_dtypes(name, expected, dtype):
    modified = getattr(grad_modifiers, name)(np.array([1, 0], dtype))
    np.testing.assert_allclose(modified, expected, rtol=1e-5)


def test_get_of_a_function():
    assert grad_modifiers.get(np.sign) is np.sign
    assert grad_modifiers.get(None) is None


@pytest.mark.parametrize("name", ["absolut", "", "keras", "get", "get_identifier", "Callable", 3])
def test_get_of_an_unknown_name(name):
    with pytest.raises(ValueError, match=r"`grad_modifier` must be .*Received: "):
        grad_modifiers.get(name)


def test_error_lists_the_names():
    with pytest.raises(ValueError, match="'absolute', 'invert', 'negate', 'relu', 'small_values'"):
        grad_modifiers.get("square")
