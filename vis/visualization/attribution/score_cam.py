"""Score-CAM and Faster Score-CAM, which need no gradients."""

import functools
from collections.abc import Callable

import keras
import numpy as np

from vis.backend.graph import spatial_axes
from vis.utils.layout import Layout
from vis.utils.validation import check_integer
from vis.visualization.attribution.cam import CAM
from vis.visualization.attribution.maps import batches, scale_maps
from vis.visualization.attribution.penultimate_layer import PenultimateLayers
from vis.visualization.attribution.score import Score


class ScoreCAM(CAM):
    """Score-CAM: feature maps weighted by the softmax of the scores of masked images.

    Each feature map, resized and scaled to [0, 1], is the mask of one image.

    Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu, "Score-CAM: Score-Weighted Visual Explanations
    for Convolutional Neural Networks", CVPR workshops 2020, https://arxiv.org/abs/1910.01279.

    Args:
        penultimate_layer_idx: As in `CAM`.
        batch_size: Number of masked images per batch.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> ScoreCAM()(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self, penultimate_layer_idx: PenultimateLayers = None, *, batch_size: int = 16
    ) -> None:
        super().__init__(penultimate_layer_idx)
        self.batch_size = check_integer("batch_size", batch_size, least=1)

    def weighted_features(self, score: Score, images: np.ndarray, layer: keras.Layer) -> np.ndarray:
        activations = score.activations(images, score.output_ref(layer))
        features = self.features(score, layer, images.shape[1:], activations)
        place = functools.partial(self._place, score, layer, images.shape[1:])
        return score.map_samples(functools.partial(self._of_sample, place), images, features)

    def select_channels(self, features: np.ndarray) -> np.ndarray:
        """Indices of the channels to use, for feature maps `(spatial..., channels)`."""
        return np.arange(features.shape[-1])

    def _of_sample(
        self, place: Callable, score: Score, image: np.ndarray, features: np.ndarray
    ) -> np.ndarray:
        from scipy.special import softmax

        layout = Layout(image.shape, spatial_axes(score.input_tensor))
        channels = self.select_channels(features)
        maps = np.moveaxis(features[..., channels], -1, 0)
        scores = []
        for batch in batches(len(maps), self.batch_size):
            masks = scale_maps(place(maps[batch]))
            if layout.channel_axis is not None:
                masks = np.expand_dims(masks, layout.channel_axis)
            scores.append(score.values(masks * image))
        weights = np.zeros(features.shape[-1])
        if len(channels) > 1 and np.ptp(np.concatenate(scores)) == 0:
            score.note("all masked images have the same score")
        else:
            weights[channels] = softmax(np.concatenate(scores))
        return features * weights


class FasterScoreCAM(ScoreCAM):
    """Faster Score-CAM: Score-CAM with the feature maps that vary most over the image.

    Tabayashi, "Faster-Score-CAM", 2020, https://github.com/tabayashi0117/Score-CAM.

    Args:
        penultimate_layer_idx: As in `CAM`.
        max_channels: Number of feature maps. The original's ten miss all but the largest object.
        batch_size: As in `ScoreCAM`.

    Example:
        >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
        >>> FasterScoreCAM(max_channels=2)(model, np.random.normal(size=(8, 8, 3))).shape
        (8, 8)
    """

    def __init__(
        self,
        penultimate_layer_idx: PenultimateLayers = None,
        *,
        max_channels: int = 64,
        batch_size: int = 16,
    ) -> None:
        super().__init__(penultimate_layer_idx, batch_size=batch_size)
        self.max_channels = check_integer("max_channels", max_channels, least=1)

    def select_channels(self, features: np.ndarray) -> np.ndarray:
        deviation = features.std(axis=tuple(range(features.ndim - 1)))
        return np.argsort(-deviation, kind="stable")[: self.max_channels]
