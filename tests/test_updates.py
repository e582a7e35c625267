from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from vis.optimizer.updates import Adam

pytestmark = pytest.mark.versions


@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_adam_agrees_with_keras_and_inverse_time_decay(decay):
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.3, 1, decay)
    expected = keras.optimizers.Adam(schedule, beta_1=0.5, beta_2=0.9)
    start = np.array([[1.0, -2.0, 3.0]], "float32")
    variable, variables = keras.Variable(start), [ops.convert_to_tensor(start)]
    rule = Adam(0.3, beta_1=0.5, beta_2=0.9, decay=decay)
    slots = rule.slots(variables)
    for step in range(8):
        grads = ops.convert_to_tensor(np.cos(start + step))
        expected.apply([grads], [variable])
        variables, slots = rule.apply(variables, [grads], slots)
        np.testing.assert_allclose(variables[0], variable, rtol=1e-4)


def test_negative_decay():
    with pytest.raises(ValueError, match=r"`decay` must not be negative. Received: decay=-0.1"):
        Adam(decay=-0.1)
