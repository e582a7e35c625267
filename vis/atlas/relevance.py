"""Relevant channels: those that the classes of an atlas depend on most."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vis.atlas.images import predict_classes
from vis.atlas.links import contributions
from vis.atlas.plan import LayerPlan, all_predecessors, with_channels
from vis.backend.graph import Graph


def relevance(
    model: keras.Model,
    layer: Any,
    classes: Sequence[int],
    earlier_layers: Sequence[Any],
    images: np.ndarray,
) -> list[np.ndarray]:
    """How much classes depend on each channel of earlier layers.

    It is the absolute contribution of the channel to the class of an image, averaged over images.
    `classes` has a channel of `layer` for each image.
    """
    channels = [None] * len(earlier_layers)
    links = contributions(model, layer, classes, earlier_layers, channels, images, own_images=True)
    return [np.abs(matrix).mean(axis=0) for matrix in links]


def choose_channels(
    graph: Graph,
    plans: Sequence[LayerPlan],
    limit: int | None,
    images: np.ndarray,
    classes: Sequence[int] | None = None,
) -> list[LayerPlan]:
    """The plans with the most relevant channels for layers that have none.

    `classes` has a class for each image; by default its highest score among those of the atlas.
    """
    if all(plan.filters for plan in plans):
        return list(plans)
    position = next(i for i, plan in enumerate(plans) if plan.is_classes)
    layer = graph.find(plans[position].name)
    if classes is None:
        predicted = predict_classes(graph, layer, plans[position].filters, dict(enumerate(images)))
        classes = list(predicted.values())
    # All earlier layers, as for the links of the classes: one trace serves both.
    earlier = [plans[i].name for i in all_predecessors(plans, position)]
    values: dict[str, np.ndarray] = {}
    # Without a gradient the first channels are drawn, and the links report the error.
    with contextlib.suppress(ValueError):
        values = dict(
            zip(earlier, relevance(graph.model, layer, classes, earlier, images), strict=True)
        )
    chosen = {}
    for plan in plans:
        order = np.argsort(-values.get(plan.name, np.zeros(plan.filter_count)), kind="stable")
        chosen[plan.name] = sorted(order[:limit].tolist())
    return with_channels(plans, chosen)
