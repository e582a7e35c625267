"""What the pages are told of a layer and its channels."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from vis.atlas.run import AtlasRun
from vis.visualization.top_images import TopImagesOfLayer

_BINS = 20
# Links of each kind that a page shows.
_LINKS = 8


def atlas_record(
    name: str,
    made_with: str,
    settings: Mapping[str, str],
    photographs: int,
    work: AtlasRun,
    finished: bool,
) -> dict[str, Any]:
    """What the pages are told first: the map.

    `settings` are what a reader may want to know of how the pictures were made, `photographs` how
    many images were looked at.
    """
    reasons = work.failures()
    layers = [
        {**plan._asdict(), "failed": work.failure_of(position), "lacks": reasons.get(plan.name)}
        for position, plan in enumerate(work.plans)
    ]
    return {
        "model": name,
        "made_with": made_with,
        "settings": settings,
        "finished": finished,
        "photographs": photographs,
        "layers": layers,
    }


def layer_record(
    position: int,
    work: AtlasRun,
    statistics: TopImagesOfLayer | None,
    photographs: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """What the pages are told of the layer at a position.

    `statistics` are what `top_activating_images` has found of it, `photographs` the names and sizes of
    images by number.
    """
    channels: list[dict[str, Any]] = [
        {
            "index": channel,
            "failed": work.failed.get((position, channel)),
            "strongest": [] if statistics is None else _strongest(statistics, row),
            "spread": None if statistics is None else _spread(statistics.activations[:, row]),
            "excited_by": _excited_by(position, row, work),
            "speaks_to": _speaks_to(position, row, work),
        }
        for row, channel in enumerate(work.plans[position].drawn)
    ]
    shown = {s["photograph"] for channel in channels for s in channel["strongest"]}
    return {
        "channels": channels,
        "photographs": {str(number): photographs[number] for number in sorted(shown)},
    }


def _strongest(statistics: TopImagesOfLayer, row: int) -> list[dict[str, Any]]:
    of_channel = zip(
        statistics.indices[row].tolist(),
        statistics.values[row].tolist(),
        statistics.boxes[row].tolist(),
        statistics.heatmaps[row],
        strict=True,
    )
    return [
        {
            "photograph": photograph,
            "value": _rounded(value),
            "box": box or None,
            "heat": _heat(heat),
        }
        for photograph, value, box, heat in of_channel
    ]


def _heat(heat: np.ndarray) -> dict[str, Any]:
    levels = np.round(255 * np.atleast_2d(heat)).astype("uint8")
    rows, columns = levels.shape
    values = base64.b64encode(levels.tobytes()).decode()
    return {"rows": rows, "columns": columns, "values": values}


def _spread(activations: np.ndarray) -> dict[str, Any]:
    low, high = float(activations.min()), float(activations.max())
    counts, _ = np.histogram(activations, _BINS, (low, high if high > low else low + 1))
    return {"low": _rounded(low), "high": _rounded(high), "counts": counts.tolist()}


def _excited_by(position: int, row: int, work: AtlasRun) -> list[tuple[int, int, float]]:
    return _best(
        (earlier, channel, value)
        for earlier in work.plans[position].before
        if (position, earlier) in work.links
        for channel, value in zip(
            work.plans[earlier].drawn, work.links[position, earlier][row].tolist(), strict=True
        )
    )


def _speaks_to(position: int, column: int, work: AtlasRun) -> list[tuple[int, int, float]]:
    """Channels right behind it, and then classes, whose contributions are on another scale."""
    following = [
        (work.plans[later], (later, channel, value))
        for (later, earlier), matrix in sorted(work.links.items())
        if earlier == position
        for channel, value in zip(work.plans[later].drawn, matrix[:, column].tolist(), strict=True)
    ]
    behind = [link for plan, link in following if not plan.is_classes]
    return _best(behind) + _best(link for plan, link in following if plan.is_classes)


def _best(links: Any) -> list[tuple[int, int, float]]:
    """The strongest of those that excite, not of those that inhibit."""
    positive = [link for link in links if link[2] > 0]
    positive.sort(key=lambda link: (-link[2], link[0], link[1]))
    return [(layer, channel, _rounded(value)) for layer, channel, value in positive[:_LINKS]]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
