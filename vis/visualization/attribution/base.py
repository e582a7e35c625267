"""What all attribution methods have in common."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis import backprop_modifiers
from vis._core.model_inputs import ModelInputs, explained_tensor, inputs_to_explain
from vis.backend.graph import Graph, Target, layer_in_copy
from vis.utils.value import Value
from vis.visualization.attribution.maps import normalise_maps
from vis.visualization.attribution.score import Score


class Attribution(Value):
    """Base class of methods that say which parts of an image a model's score rests on.

    A method is an object that holds its settings, and nothing of a model. A subclass defines
    `measure`; five lines are a method of your own.

    Example:
        >>> class Brightness(Attribution):
        ...     def measure(self, score, images):
        ...         return images.mean(axis=-1)
        >>> model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
        >>> Brightness()(model, np.arange(12.0).reshape(2, 2, 3)).round(2)
        array([[0.  , 0.33],
               [0.67, 1.  ]])
    """

    backprop_modifier: str | Callable | None = None

    def __call__(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        """Draws the attributions as a map.

        Args:
            model: A Keras model.
            seed_input: An image, or a batch of images. For a model with several inputs a list,
                or a dict by name; the first that is an image is explained. Of words and other
                integers what the model's embedding makes of them is explained.
            layer_idx: The layer whose activation is explained, as in `visualize_saliency`.
            filter_indices: As in `visualize_saliency`.

        Returns:
            A map in [0, 1] of the image's spatial shape; for several one each, scaled on its own.

        Raises:
            TypeError: If an argument is of the wrong kind.
            ValueError: If an argument has a wrong value.
        """
        graph = Graph.of(model)
        attributions = self.attributions(model, seed_input, layer_idx, filter_indices)
        return normalise_maps(self.to_maps(attributions, explained_tensor(graph)))

    def attributions(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        """The attributions as they are, signed and not scaled.

        Args:
            model: As for the call.
            seed_input: As for the call.
            layer_idx: As for the call.
            filter_indices: As for the call.

        Returns:
            `(samples, ...)`, of the images' shape or of their spatial shape.
        """
        graph = Graph.of(model)
        layer = graph.find(layer_idx)
        layers = [layer, *self.feature_layers(graph, layer)]
        graph, (layer, *feature_layers) = apply_backprop_modifier(
            self.backprop_modifier, graph, layers
        )
        subject = self.model_inputs(graph, seed_input)
        score = Score.for_filters(subject, layer, filter_indices)
        return self.measure(score, subject.images, *feature_layers)

    def feature_layers(self, graph: Graph, layer: Target) -> list[Target]:
        """The layers that `measure` is given besides, to explain one."""
        return []

    def model_inputs(self, graph: Graph, seed_input: np.ndarray) -> ModelInputs:
        """What of the graph is explained."""
        return inputs_to_explain(graph, seed_input)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        """The attributions of each image's score.

        Args:
            score: What is explained.
            images: `(samples, ...)`.

        Returns:
            As in `attributions`.
        """
        raise NotImplementedError(
            f"`measure` must be defined by subclasses of `Attribution`. Received: {type(self)}"
        )

    def to_maps(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        """What is drawn of attributions.

        Args:
            attributions: `(samples, ...)`.
            tensor: The symbolic tensor whose attributions these are.
        """
        return attributions


def apply_backprop_modifier(
    backprop_modifier: str | Callable | None, graph: Graph, layers: Sequence[Target]
) -> tuple[Graph, list[Target]]:
    """The graph as a backprop modifier changes its model, and where layers are in it."""
    modify = backprop_modifiers.get(backprop_modifier)
    if modify is None:
        return graph, list(layers)
    copy = Graph.of(modify(graph.model))
    return copy, [copy.find(layer_in_copy(layer, graph.model, copy.model)) for layer in layers]
