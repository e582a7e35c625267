"""Base class of the attribution methods."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from vis import backprop_modifiers
from vis._core.model_inputs import default_input, inputs_to_explain
from vis.backend.graph import Graph, ModelInputs, Target, layer_in_copy
from vis.utils.value import Value
from vis.visualization.attribution.maps import normalise_maps
from vis.visualization.attribution.score import Score


class Attribution(Value):
    """Attribution: base class of methods that explain a model's score by parts of the image.

    An object holds the settings of the method and no model. A subclass defines `measure`.

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
        """Attribution map of an image, scaled to [0, 1].

        Args:
            model: A Keras model.
            seed_input: An image, or a batch of images. For a model with several inputs: a list,
                or a dict by name; the first image is explained. For token ids and other integers:
                the output of the embedding is explained.
            layer_idx: The layer whose activation is explained, as in `visualize_saliency`.
            filter_indices: As in `visualize_saliency`.

        Returns:
            A map of the image's spatial shape; for a batch of several images one map per image,
            `(samples, ...)`, each scaled by itself.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument has a wrong value.
        """
        graph = Graph.of(model)
        attributions = self.attributions(model, seed_input, layer_idx, filter_indices)
        return normalise_maps(self.to_maps(attributions, default_input(graph)))

    def attributions(
        self,
        model: keras.Model,
        seed_input: np.ndarray,
        layer_idx: int | str | keras.Layer = -1,
        filter_indices: int | Sequence[int] | None = None,
    ) -> np.ndarray:
        """Signed attributions, without scaling.

        Args:
            model: As in `__call__`.
            seed_input: As in `__call__`.
            layer_idx: As in `__call__`.
            filter_indices: As in `__call__`.

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
        """Further layers that `measure` needs; passed to it after the images."""
        return []

    def model_inputs(self, graph: Graph, seed_input: np.ndarray) -> ModelInputs:
        """The input to explain, and the values of all inputs."""
        return inputs_to_explain(graph, seed_input)

    def measure(self, score: Score, images: np.ndarray) -> np.ndarray:
        """Computes the attributions.

        Args:
            score: The score that is explained.
            images: `(samples, ...)`.

        Returns:
            As in `attributions`.
        """
        raise NotImplementedError(
            f"`measure` must be defined by subclasses of `Attribution`. Received: {type(self)}"
        )

    def to_maps(self, attributions: np.ndarray, tensor: keras.KerasTensor) -> np.ndarray:
        """Converts attributions to maps that are not scaled yet.

        Args:
            attributions: `(samples, ...)`.
            tensor: The symbolic tensor that is explained.
        """
        return attributions


def apply_backprop_modifier(
    backprop_modifier: str | Callable | None, graph: Graph, layers: Sequence[Target]
) -> tuple[Graph, list[Target]]:
    """The graph of the modified model, and its counterparts of some layers."""
    modify = backprop_modifiers.get(backprop_modifier)
    if modify is None:
        return graph, list(layers)
    copy = Graph.of(modify(graph.model))
    return copy, [copy.find(layer_in_copy(layer, graph.model, copy.model)) for layer in layers]
