"""Activation maximization by keras-vis's algorithm, and by other libraries if installed."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from vis.visualization import visualize_activation

Draw = Callable[[Sequence[int]], np.ndarray]


def keras_vis(model: keras.Model, layer: Any, **arguments: object) -> Draw:
    """Draws by keras-vis's algorithm: pixels, one picture at a time."""
    return lambda channels: np.stack(
        [visualize_activation(model, layer, int(c), **arguments) for c in channels]
    )


def others(
    model: keras.Model, steps: int = 200, input_range: tuple[float, float] = (0, 255)
) -> dict[str, Draw]:
    """Functions of other libraries that draw a network's outputs, by name."""
    known = {"tf-keras-vis": _tf_keras_vis, "Xplique": _xplique}
    return {
        name: draw(model, steps, input_range)
        for name, draw in known.items()
        if importlib.util.find_spec(name.replace("-", "_").lower())
    }


def _tf_keras_vis(model: keras.Model, steps: int, input_range: tuple[float, float]) -> Draw:
    def draw(channels: Sequence[int]) -> np.ndarray:
        from tf_keras_vis.activation_maximization import ActivationMaximization
        from tf_keras_vis.utils.scores import CategoricalScore

        visualizer = ActivationMaximization(model, clone=False)
        scores = [CategoricalScore(int(c)) for c in channels]
        images = [visualizer(score, steps=steps, input_range=input_range)[0] for score in scores]
        return _in_range(images, input_range)

    return draw


def _xplique(model: keras.Model, steps: int, input_range: tuple[float, float]) -> Draw:
    def draw(channels: Sequence[int]) -> np.ndarray:
        from xplique.features_visualizations import Objective, optimize

        pictures = []
        for c in channels:
            objective = Objective.neuron(model, -1, int(c))
            images, _ = optimize(objective, nb_steps=steps, values_range=input_range)
            pictures.append(np.asarray(images[-1])[0])
        return _in_range(pictures, input_range)

    return draw


def _in_range(images: Sequence[np.ndarray], input_range: tuple[float, float]) -> np.ndarray:
    """Images clipped to their range, as `uint8` if that is (0, 255)."""
    clipped = np.clip(np.stack(images), *input_range)
    return np.round(clipped).astype("uint8") if input_range == (0, 255) else clipped
