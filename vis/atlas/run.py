"""The work on an atlas: pictures first, then links, and what is written of both."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from tqdm import tqdm

from vis.atlas.directory import AtlasDirectory
from vis.atlas.plan import LayerPlan, all_before
from vis.atlas.tasks import LinkTask, RenderTask
from vis.atlas.workers import WorkerPool

# Most pictures of an order: what is lost when a worker dies, and what shares a trace.
_AT_ONCE = 32
# Layers that are drawn side by side, so that one is traced while another is drawn.
_SIDE_BY_SIDE = 4

# Of two layers by position, the later first, how much each drawn channel of the other does for
# each of its own.
Contributions = dict[tuple[int, int], np.ndarray]


class AtlasRun:
    """What is left to do for an atlas, and what came of it."""

    def __init__(
        self,
        plans: Sequence[LayerPlan],
        folder: AtlasDirectory,
        crew: WorkerPool,
        unseen: Mapping[str, Exception],
    ) -> None:
        self.plans = plans
        self.folder = folder
        self._crew = crew
        # Errors of layers without top-activating images, by path.
        self._unseen = unseen
        self._positions = {plan.name: position for position, plan in enumerate(plans)}
        # Why there is no picture, by position and channel, and why there are no links.
        self.failed: dict[tuple[int, int], str] = {}
        self.unlinked: dict[int, str] = {}
        self.links: Contributions = {}

    def draw(self, needs: tuple[str, ...], settings: Mapping[str, Any], show: bool) -> None:
        """Draws what is not there yet, and writes each picture as soon as it is done.

        `needs` are keys of what orders need, `settings` arguments of `visualize_filters`.
        """
        total = sum(len(plan.drawn) for plan in self.plans)
        orders = self._drawings(needs, settings)
        missing = sum(len(order.channels) for order in orders)
        bar = tqdm(
            total=total, initial=total - missing, disable=not show, unit="picture", desc="pictures"
        )
        with bar:
            # One channel that fails takes those with it that were drawn beside it: those again.
            alone = [
                order._replace(channels=(channel,))
                for order, _ in self._drawn(orders, bar)
                for channel in order.channels
            ]
            for order, error in self._drawn(alone, bar):
                self.failed[self._positions[order.layer], order.channels[0]] = _told(error)

    def _drawings(self, needs: tuple[str, ...], settings: Mapping[str, Any]) -> list[RenderTask]:
        queues = []
        # The largest first, so that nobody is left with one when the others are done.
        for plan in sorted(self.plans, key=lambda plan: -np.prod(plan.size)):
            position = self._positions[plan.name]
            left = [c for c in plan.drawn if not self.folder.picture(position, c).is_file()]
            sized = {**settings, "image_size": plan.size}
            queues.append([RenderTask(needs, plan.name, some, sized) for some in _shared_out(left)])
        return [
            order
            for first in range(0, len(queues), _SIDE_BY_SIDE)
            for row in zip_longest(*queues[first : first + _SIDE_BY_SIDE])
            for order in row
            if order is not None
        ]

    def _drawn(self, orders: Sequence[RenderTask], bar: tqdm) -> list[tuple[RenderTask, Exception]]:
        """Writes what orders bring, and returns those that fail, with the reason."""
        failing = []
        for order, result in self._crew.as_completed(orders):
            if isinstance(result, Exception):
                failing.append((order, result))
                continue
            for channel, file in zip(order.channels, result, strict=True):
                self.folder.write_picture(self._positions[order.layer], channel, file)
            bar.update(len(order.channels))
        return failing

    def link(self, needs: tuple[str, ...], input_range: tuple[float, float], show: bool) -> None:
        """Finds out what channels do for those behind them.

        `needs` are keys of the model, and of the images if there are any.
        """
        has_images = len(needs) > 1
        orders = []
        for position, plan in enumerate(self.plans):
            earlier = all_before(self.plans, position) if plan.is_classes else plan.before
            before = tuple((self.plans[e].name, self.plans[e].drawn) for e in earlier)
            for e in earlier:
                self.links[position, e] = np.zeros((len(plan.drawn), len(self.plans[e].drawn)))
            drawn = [c for c in plan.drawn if (position, c) not in self.failed]
            for channels in _shared_out(drawn) if before else ():
                pictures = (self.folder.picture(position, c) for c in channels)
                own = () if has_images else tuple(file.read_bytes() for file in pictures)
                orders.append(LinkTask(needs, plan.name, channels, before, own, input_range))
        done = self._crew.as_completed(orders)
        for order, result in tqdm(done, "links", len(orders), disable=not show):
            position = self._positions[order.layer]
            if isinstance(result, Exception):
                self.unlinked[position] = _told(result)
                continue
            rows = [self.plans[position].drawn.index(channel) for channel in order.channels]
            if not all(np.isfinite(matrix).all() for matrix in result):
                self.unlinked[position] = "Gradients are not finite."
                continue
            for (path, _), matrix in zip(order.before, result, strict=True):
                self.links[position, self._positions[path]][rows] = matrix

    def failure_of(self, position: int) -> str | None:
        """Why a layer has no pictures at all, or None where it has some."""
        reasons = [self.failed.get((position, c)) for c in self.plans[position].drawn]
        return reasons[0] if all(reasons) else None

    def failures(self) -> dict[str, str]:
        """Of each layer that could not be drawn or linked, whole or in part, the reason."""
        found: dict[int, str] = {}
        for (position, channel), reason in sorted(self.failed.items()):
            whole = self.failure_of(position)
            found.setdefault(position, reason if whole else f"channel {channel}: {reason}")
        for name, error in sorted(self._unseen.items()):
            found.setdefault(self._positions[name], f"strongest images: {_told(error)}")
        for position, reason in sorted(self.unlinked.items()):
            found.setdefault(position, f"links: {reason}")
        return {self.plans[position].name: reason for position, reason in found.items()}


def _shared_out(channels: Sequence[int]) -> list[tuple[int, ...]]:
    """Channels in as few parts as may be, of one size."""
    parts = -(-len(channels) // _AT_ONCE)
    return [tuple(part.tolist()) for part in np.array_split(channels, parts)] if parts else []


def _told(error: Exception) -> str:
    """What an error says, in one line; its kind where that is not of the user's call."""
    said = " ".join(str(error).split("\n", 1)[0].split())
    return said if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: {said}"
