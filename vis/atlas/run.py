"""One run of `draw_atlas`: renders missing pictures, then computes links."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from tqdm import tqdm

from vis.atlas.directory import AtlasDirectory
from vis.atlas.images import DatasetScan
from vis.atlas.plan import LayerPlan, all_predecessors
from vis.atlas.tasks import LinkTask, RenderTask, decode_pictures
from vis.atlas.workers import WorkerPool
from vis.backend.graph import Graph

# Channels of a task. They share a trace, and are lost if their worker dies.
_MAX_CHANNELS = 32
# Layers that are rendered at the same time, so that one is traced while another is rendered.
_PARALLEL_LAYERS = 4


class AtlasRun:
    """Progress and results of one call of `draw_atlas`. Layers are known by position."""

    def __init__(
        self,
        plans: Sequence[LayerPlan],
        directory: AtlasDirectory,
        scan: DatasetScan,
    ) -> None:
        self.plans = plans
        self.directory = directory
        self.scan = scan
        # Contributions `(channels, earlier channels)`, by layer and earlier layer.
        self.links = {
            (i, j): np.zeros((len(plan.filters), len(plans[j].filters)))
            for i, plan in enumerate(plans)
            for j in (all_predecessors(plans, i) if plan.is_classes else plan.predecessors)
        }
        # By layer and channel, and by layer.
        self.picture_errors: dict[tuple[int, int], str] = {}
        self.link_errors: dict[int, str] = {}
        self._positions = {plan.name: position for position, plan in enumerate(plans)}

    def render(
        self,
        pool: WorkerPool,
        data_keys: tuple[str, ...],
        settings: Mapping[str, Any],
        show: bool,
    ) -> None:
        """Renders missing pictures with `settings` of `visualize_filters`, and writes each."""
        tasks = self._render_tasks(data_keys, settings)
        total = sum(len(plan.filters) for plan in self.plans)
        missing = sum(len(task.channels) for task in tasks)
        with tqdm(
            total=total, initial=total - missing, disable=not show, unit="picture", desc="pictures"
        ) as bar:
            # A channel that fails makes its whole task fail: retry each channel alone.
            retries = [
                task._replace(channels=(channel,))
                for task, _ in self._write_pictures(pool.as_completed(tasks), bar)
                for channel in task.channels
            ]
            for task, error in self._write_pictures(pool.as_completed(retries), bar):
                position = self._positions[task.layer]
                self.picture_errors[position, task.channels[0]] = _message(error)

    def is_drawn(self) -> bool:
        """Whether no picture is missing."""
        return not any(self.directory.missing(i, plan) for i, plan in enumerate(self.plans))

    def _render_tasks(
        self, data_keys: tuple[str, ...], settings: Mapping[str, Any]
    ) -> list[RenderTask]:
        queues = []
        # Large pictures first, so that no worker is left with one at the end.
        for plan in sorted(self.plans, key=lambda plan: -np.prod(plan.picture_size)):
            position = self._positions[plan.name]
            sized = {**settings, "image_size": plan.picture_size}
            parts = _split(self.directory.missing(position, plan))
            queues.append([RenderTask(data_keys, plan.name, part, sized) for part in parts])
        return [
            task
            for first in range(0, len(queues), _PARALLEL_LAYERS)
            for row in zip_longest(*queues[first : first + _PARALLEL_LAYERS])
            for task in row
            if task is not None
        ]

    def _write_pictures(
        self, completed: Iterable[tuple[RenderTask, Any]], bar: tqdm
    ) -> list[tuple[RenderTask, Exception]]:
        """Writes the pictures of completed tasks, and returns failed tasks with their errors."""
        failed = []
        for task, result in completed:
            if isinstance(result, Exception):
                failed.append((task, result))
                continue
            position = self._positions[task.layer]
            for channel, file in zip(task.channels, result, strict=True):
                self.directory.write_picture(position, self.plans[position], channel, file)
            bar.update(len(task.channels))
        return failed

    def compute_links(
        self,
        pool: WorkerPool,
        data_keys: tuple[str, ...],
        input_range: tuple[float, float],
        show: bool,
    ) -> None:
        """Computes links, averaged over images, or else on the channels' own pictures."""
        tasks = self._link_tasks(data_keys, input_range)
        completed = pool.as_completed(tasks)
        for task, result in tqdm(completed, "links", len(tasks), disable=not show):
            position = self._positions[task.layer]
            if isinstance(result, Exception):
                self.link_errors[position] = _message(result)
            elif not all(np.isfinite(matrix).all() for matrix in result):
                self.link_errors[position] = "Gradients are not finite."
            else:
                rows = [self.plans[position].filters.index(channel) for channel in task.channels]
                for (path, _), matrix in zip(task.earlier, result, strict=True):
                    self.links[position, self._positions[path]][rows] = matrix

    def _link_tasks(
        self, data_keys: tuple[str, ...], input_range: tuple[float, float]
    ) -> list[LinkTask]:
        tasks = []
        for position, plan in enumerate(self.plans):
            plans = [self.plans[j] for i, j in self.links if i == position]
            earlier = tuple((other.name, other.filters) for other in plans)
            for channels in _split(self._drawn(position)) if earlier else ():
                paths = (self.directory.picture(position, plan, c) for c in channels)
                pictures = () if self.scan.total else tuple(path.read_bytes() for path in paths)
                task = LinkTask(data_keys, plan.name, channels, earlier, pictures, input_range)
                tasks.append(task)
        return tasks

    def _drawn(self, position: int) -> list[int]:
        """The channels of a layer that have a picture."""
        plan = self.plans[position]
        return [c for c in plan.filters if self.directory.picture(position, plan, c).is_file()]

    def inactive(self, position: int) -> list[int]:
        """The channels of a layer that no image activates."""
        plan = self.plans[position]
        return [c for c in plan.filters if self.directory.is_inactive(position, plan, c)]

    def class_pictures(
        self, graph: Graph, input_range: tuple[float, float]
    ) -> tuple[np.ndarray, list[int]]:
        """The pictures of the classes as the model takes them, and the classes."""
        position = next(i for i, plan in enumerate(self.plans) if plan.is_classes)
        plan = self.plans[position]
        classes = self._drawn(position)
        files = [self.directory.picture(position, plan, c).read_bytes() for c in classes]
        return decode_pictures(graph, files, input_range) if files else np.zeros(0), classes

    def picture_error(self, position: int) -> str | None:
        """Why a layer has no pictures at all, or None if it has some."""
        errors = [self.picture_errors.get((position, c)) for c in self.plans[position].filters]
        return errors[0] if errors and all(errors) else None

    def errors(self) -> dict[str, str]:
        """The first error of each incomplete layer, by path."""
        first: dict[int, str] = {}
        for (position, channel), message in sorted(self.picture_errors.items()):
            whole = self.picture_error(position)
            first.setdefault(position, message if whole else f"channel {channel}: {message}")
        for path, error in self.scan.errors.items():
            first.setdefault(self._positions[path], f"images: {_message(error)}")
        for position, message in sorted(self.link_errors.items()):
            first.setdefault(position, f"links: {message}")
        return {self.plans[position].name: message for position, message in first.items()}


def _split(channels: Sequence[int]) -> list[tuple[int, ...]]:
    """Channels in as few parts of equal size as possible."""
    parts = -(-len(channels) // _MAX_CHANNELS)
    return [tuple(part.tolist()) for part in np.array_split(channels, parts)] if parts else []


def _message(error: Exception) -> str:
    """The first line of an error's message, after its type if it is unexpected."""
    message = " ".join(str(error).split("\n", 1)[0].split())
    is_expected = isinstance(error, (TypeError, ValueError))
    return message if is_expected else f"{type(error).__name__}: {message}"
