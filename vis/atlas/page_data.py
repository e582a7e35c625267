"""Data that the pages of an atlas show, as JSON values."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vis.atlas.labels import Labels
from vis.atlas.run import AtlasRun
from vis.visualization.top_images import TopImagesOfLayer

_BINS = 20
# Of each kind, on the page of a channel.
_MAX_LINKS = 8

# Positions of a layer, index of a channel, contribution.
Link = tuple[int, int, float]


def atlas_data(
    model: str, labels: Labels, settings: Mapping[str, Any], run: AtlasRun, finished: bool
) -> dict[str, Any]:
    """Data of the map, and what the atlas was made with."""
    warnings = run.errors()
    layers = []
    for i, plan in enumerate(run.plans):
        layer = {
            **plan._asdict(),
            "suffix": plan.suffix,
            "labels": None,
            "inactive": run.inactive(i),
            "error": run.picture_error(i),
            "warning": warnings.get(plan.name),
        }
        if plan.is_classes and labels.classes is not None:
            layer["labels"] = [labels.classes[c] for c in plan.filters]
        layers.append(layer)
    shown_settings = {
        "steps": "default" if settings["max_iter"] is None else str(settings["max_iter"]),
        "seed": str(settings["seed"]),
        "input range": "{:g} to {:g}".format(*settings["input_range"]),
        "drawn like": "photographs" if settings["like"] is None else "examples of its data",
    }
    return {
        "title": labels.title,
        "model": model,
        "made_with": settings["made_with"],
        "settings": shown_settings,
        "finished": finished,
        "images": run.scan.total,
        "layers": layers,
    }


def layer_data(position: int, run: AtlasRun) -> dict[str, Any]:
    """Data of a layer's channels."""
    plan = run.plans[position]
    top_images = run.scan.layers.get(plan.name)
    channels = [
        {
            "index": channel,
            "error": run.picture_errors.get((position, channel)),
            "top_images": _top_images(top_images, row) if top_images else [],
            "histogram": _histogram(top_images.activations[:, row]) if top_images else None,
            "excited_by": _excited_by(position, row, run),
            "excites": _excites(position, row, run),
        }
        for row, channel in enumerate(plan.filters)
    ]
    return {"channels": channels}


def _top_images(top_images: TopImagesOfLayer, row: int) -> list[dict[str, Any]]:
    """The images with the highest activations of a channel; none if all have the same."""
    activations = top_images.activations[:, row]
    if len(activations) > 1 and np.ptp(activations) == 0:
        return []
    arrays = (top_images.indices[row], top_images.values[row], top_images.boxes[row])
    entries = zip(*(array.tolist() for array in arrays), top_images.heatmaps[row], strict=True)
    return [
        {
            "image": number,
            "value": _rounded(value),
            "box": box,
            "heatmap": _encode_heatmap(heatmap),
        }
        for number, value, box, heatmap in entries
    ]


def _encode_heatmap(heatmap: np.ndarray) -> dict[str, Any]:
    levels = np.round(255 * np.atleast_2d(heatmap)).astype("uint8")
    rows, columns = levels.shape
    values = base64.b64encode(levels.tobytes()).decode()
    return {"rows": rows, "columns": columns, "values": values}


def _histogram(activations: np.ndarray) -> dict[str, Any]:
    low, high = float(activations.min()), float(activations.max())
    counts, _ = np.histogram(activations, _BINS, (low, high if high > low else low + 1))
    return {"low": _rounded(low), "high": _rounded(high), "counts": counts.tolist()}


def _excited_by(position: int, row: int, run: AtlasRun) -> list[Link]:
    return _strongest(
        (earlier, channel, value)
        for earlier in run.plans[position].predecessors
        for channel, value in zip(
            run.plans[earlier].filters, run.links[position, earlier][row].tolist(), strict=True
        )
    )


def _excites(position: int, column: int, run: AtlasRun) -> list[Link]:
    """Channels of the next layers, then classes, whose contributions have another scale."""
    links = [
        (run.plans[later], (later, channel, value))
        for (later, earlier), matrix in sorted(run.links.items())
        if earlier == position
        for channel, value in zip(run.plans[later].filters, matrix[:, column].tolist(), strict=True)
    ]
    to_channels = _strongest(link for plan, link in links if not plan.is_classes)
    to_classes = _strongest(link for plan, link in links if plan.is_classes)
    return to_channels + to_classes


def _strongest(links: Iterable[Link]) -> list[Link]:
    """The strongest excitatory links. Inhibitory ones are left out."""
    positive = [link for link in links if link[2] > 0]
    positive.sort(key=lambda link: (-link[2], link[0], link[1]))
    return [(layer, channel, _rounded(value)) for layer, channel, value in positive[:_MAX_LINKS]]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
