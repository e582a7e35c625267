"""Draws an atlas: a network's channels, what excites them, and what they do for each other."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vis import __version__
from vis.atlas.directory import AtlasDirectory
from vis.atlas.images import DatasetScan, scan_images
from vis.atlas.page_data import atlas_record, layer_record
from vis.atlas.plan import picture_size, plan_layers
from vis.atlas.run import AtlasRun
from vis.atlas.tasks import as_jpeg
from vis.atlas.workers import check_executor, open_pool
from vis.backend.graph import Graph, layout_of
from vis.backend.step import fingerprint_of
from vis.data import Dataset
from vis.utils.description import describe, digest
from vis.utils.validation import check_flag, check_input_range, check_integer, check_path
from vis.visualization.data_prior import fit_prior

_MADE_WITH = f"keras3-vis {__version__}"


@dataclass(frozen=True)
class Atlas:
    """What `draw_atlas` has drawn.

    Attributes:
        index: The page to open.
        failed: Of each layer that could not be drawn, whole or in part, the reason.
    """

    index: Path
    failed: dict[str, str]


def draw_atlas(
    model: keras.Model,
    output: Any,
    layers: Any = None,
    filters: int | Sequence[int] | None = 16,
    classes: int | Sequence[int] | None = 16,
    image_size: int | None = None,
    max_iter: int | None = None,
    seed: int = 0,
    images: Any = None,
    like: Any = None,
    input_range: tuple[float, float] = (0, 255),
    labels: Sequence[str] | None = None,
    executor: int | str | Executor | None = None,
    allow_code: bool = False,
    progress: bool = True,
) -> Atlas:
    """Draws a network's channels as a folder of web pages to walk through.

    For each channel there is its picture, by `visualize_filters`; the images of yours that excite
    it most, cropped to where they do; how its activation is spread over them; and which channels
    excite it and which it speaks to, as links. A link is gradient times activation, averaged over
    the images, of more than 64 over some from all over them; without images it is that of the
    channel's own picture. The idea is that of OpenAI's Microscope, and of Olah et al., "Zoom In:
    An Introduction to Circuits", Distill 2020.

    Each file is there whole or not at all. The same call after an interruption goes on where it
    was, and ends in the same bytes.

    Args:
        model: A Keras model that takes images in grey or in colour.
        output: Path of a folder: a new one, an empty one, or that of the same atlas.
        layers: Layers as `layer_idx` takes them; by default those that matter: every convolution
            of a small network, the outputs of a large one's blocks, and the classes.
        filters: How many channels of each layer, the first ones; or their indices; None for all.
        classes: The same for the model's output.
        image_size: Height and width of the pictures of inner channels in pixels, where the
            network takes that; by default at most 128. Classes are drawn at the model's own size.
        max_iter: Number of steps, as for `visualize_filters`.
        seed: Whole number that all randomness follows from.
        images: What to look for strong examples in: a folder of image files, an array, or a
            dataset, as for `top_activating_images`.
        like: A few hundred examples of what the model is used on, as for `visualize_filters`, or
            a folder of them. Pictures then look like these.
        input_range: Lowest and highest value of the model's input.
        labels: Names of the model's classes. Those of ImageNet are known.
        executor: Who draws. By default this process; a number of processes beside it, for a script
            that begins under `if __name__ == "__main__":`; the address of a Dask scheduler, such as
            `"tcp://10.0.0.1:8786"`; or any `concurrent.futures.Executor`.
        allow_code: Whether workers may run code of the model's own, such as a Lambda layer's.
        progress: Whether to show a progress bar.

    Returns:
        An `Atlas`: the page to open, and which layers failed. Those do not stop the others.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value, if the folder has something else or another
            atlas, or if a scheduler does not answer.
        ConnectionError: If all workers are lost. What they have drawn is kept.
        OSError: If a file cannot be written. What was written is kept.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential(
        ...     [keras.Input((16, 16, 1)), keras.layers.Conv2D(4, 3, name="conv")]
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     atlas = draw_atlas(model, folder, filters=2, max_iter=4, progress=False)
        ...     atlas.index.name, atlas.failed
        ('index.html', {})
    """
    size = picture_size(model, image_size, like is not None)
    plans = plan_layers(model, layers, filters, classes, size, labels)
    folder = AtlasDirectory(check_path("output", output))
    executor = check_executor(executor)
    low, high = check_input_range(input_range)
    # As floats, or pictures would be rounded twice.
    input_range = float(low), float(high)
    seed = check_integer("seed", seed, least=0)
    show = check_flag("progress", progress)
    allow_code = check_flag("allow_code", allow_code)
    steps = {} if max_iter is None else {"max_iter": check_integer("max_iter", max_iter, least=1)}
    tensor = Graph.of(model).inputs[0]
    dataset = None if images is None else Dataset("images", images, tensor, input_range)
    shared_data: dict[str, Any] = {}
    settings = {
        "made_with": _MADE_WITH,
        "model": list(fingerprint_of(model)[:2]),
        "layers": {plan.name: [plan.drawn, plan.size] for plan in plans},
        "steps": max_iter,
        "seed": seed,
        "input_range": input_range,
        "labels": None if labels is None else list(labels),
        "like": None,
    }
    if like is not None:
        learnt = fit_prior(Graph.of(model), like, None, None, input_range)
        settings["like"] = digest([np.frombuffer(describe(learnt).encode(), "uint8")])
        shared_data[f"like {settings['like']}"] = learnt
    # Before the images are gone through, which may take long.
    folder.is_finished(settings)
    folder.check_writable()
    found = DatasetScan({}, {}, {})
    if dataset is not None:
        found = scan_images(dataset, model, plans, input_range, show)
    settings["images"] = found.identity
    pictures = [(i, channel) for i, plan in enumerate(plans) for channel in plan.drawn]
    if folder.is_finished(settings) and all(folder.picture(*p).is_file() for p in pictures):
        return Atlas(folder.index, {})
    folder.claim(settings, finished=False)
    channel_axis = layout_of(Graph.of(model).inputs[0]).channel_axis - 1
    for number, image in sorted(found.images.items()):
        file = as_jpeg(np.moveaxis(image, channel_axis, -1), input_range)
        folder.write_photograph(number, file)

    # Orders name layers, which models that compute the same may call by other names.
    called = describe([settings["model"], [plan.name for plan in plans], allow_code])
    needs = (f"model {digest([np.frombuffer(called.encode(), 'uint8')])}", *shared_data)
    linking = needs[:1]
    if found.sample is not None:
        linking = (*linking, f"images {found.identity}")
        shared_data[linking[1]] = found.sample
    shared_data[needs[0]] = model
    with open_pool(executor, shared_data, allow_code) as crew:
        work = AtlasRun(plans, folder, crew, found.errors)
        _write(model, work, found, settings, finished=False)
        work.draw(needs, {"seed": seed, "input_range": input_range, **steps}, show)
        work.link(linking, input_range, show)
    _write(model, work, found, settings, finished=True)
    failed = work.failures()
    folder.claim(settings, finished=not failed)
    return Atlas(folder.index, failed)


def _write(
    model: keras.Model, work: AtlasRun, found: DatasetScan, settings: dict[str, Any], finished: bool
) -> None:
    """Writes what the pages are told."""
    photographs = _described(model, found)
    for position in range(len(work.plans)):
        record = layer_record(
            position, work, found.layers.get(work.plans[position].name), photographs
        )
        work.folder.write_data(f"layers/{position:04}", record)
    told = {
        "steps": "as many as fit" if settings["steps"] is None else str(settings["steps"]),
        "seed": str(settings["seed"]),
        "input range": "{:g} to {:g}".format(*settings["input_range"]),
        "drawn like": "photographs" if settings["like"] is None else "examples of its data",
    }
    record = atlas_record(model.name, _MADE_WITH, told, found.total, work, finished)
    work.folder.write_data("atlas", record)


def _described(model: keras.Model, found: DatasetScan) -> dict[int, dict[str, Any]]:
    """Names and sizes of those images that are strongest somewhere, by number."""
    layout = layout_of(Graph.of(model).inputs[0])
    described = {}
    for number, image in found.images.items():
        height, width = (image.shape[axis - 1] for axis in layout.axes)
        name = f"image {number}" if found.names is None else found.names[number]
        described[number] = {"name": name, "width": width, "height": height}
    return described
