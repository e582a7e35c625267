"""Draws an atlas: web pages with the channels of a network and the links between them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from vis import __version__
from vis.atlas.directory import AtlasDirectory
from vis.atlas.images import DatasetScan, as_examples, scan_images, stream_of
from vis.atlas.page_data import atlas_data, layer_data
from vis.atlas.plan import LayerPlan, plan_layers
from vis.atlas.run import AtlasRun
from vis.atlas.tasks import encode_jpeg
from vis.atlas.workers import check_executor, open_pool
from vis.backend.graph import Graph, layout_of
from vis.backend.step import fingerprint_of
from vis.utils.description import describe, digest
from vis.utils.validation import check_flag, check_input_range, check_integer, check_path
from vis.visualization.data_prior import fit_prior

_MADE_WITH = f"keras3-vis {__version__}"


@dataclass(frozen=True)
class Atlas:
    """Result of `draw_atlas`.

    Attributes:
        index: Path of the page to open.
        failed: For each layer that could not be drawn, or only in part: the error message.
    """

    index: Path
    failed: dict[str, str]


def draw_atlas(
    model: keras.Model,
    folder: Any,
    *,
    layers: Any = None,
    max_filters: int | None = 16,
    filters: Any = None,
    max_classes: int | None = 16,
    classes: int | Sequence[int] | None = None,
    image_size: int | None = None,
    max_iter: int | None = None,
    seed: int = 0,
    images: Any = None,
    like: Any = None,
    input_range: tuple[float, float] = (0, 255),
    labels: Sequence[str] | None = None,
    executor: int | str | Executor | None = None,
    safe_mode: bool = True,
    progress: bool = True,
) -> Atlas:
    """Draws an atlas: web pages with the channels of a network and the links between them.

    The page of a channel shows its picture, drawn by `visualize_filters`; the images of your
    dataset with the highest activations, cropped to the receptive field; a histogram of its
    activations; and the channels that excite it or that it excites, as links. A link is gradient
    times activation, averaged over images: over all of them up to 64, over an evenly spaced
    sample of more. Without images, each channel's own picture is used. See also OpenAI's
    Microscope, and Olah et al., "Zoom In: An Introduction to Circuits", Distill 2020.

    Rerun an interrupted call to resume it. The files are the same as without the interruption.

    Args:
        model: A Keras model with one input: images with one channel or three.
        folder: Path of a new or empty folder, or of the folder of the same atlas.
        layers: A layer or a list of layers, as `layer_idx` in `visualize_activation`. Defaults to
            `default_layers(model)`.
        max_filters: Number of channels to draw of each layer, the first ones. None draws all.
        filters: Indices of the channels to draw instead, for all layers, or a dict with indices
            for some layers.
        max_classes: Number of classes to draw, the first ones. None draws all.
        classes: Indices of the classes to draw instead.
        image_size: Height and width in pixels of the pictures of inner channels, if the network
            accepts that size. Defaults to the input size, and at most 128. Pictures of classes
            have the input size.
        max_iter: Number of steps, as in `visualize_filters`.
        seed: Random seed.
        images: Dataset in which to look for top-activating images, as in `top_activating_images`:
            a folder of image files, an array, or a dataset.
        like: A few hundred examples of the model's data, as in `visualize_filters`, or a folder of
            them. Pictures are drawn like these.
        input_range: Lowest and highest value of the model's input.
        labels: Names of the model's classes. Names of ImageNet's classes are known.
        executor: Where to compute. Defaults to this process. Otherwise a number of processes (the
            script must then call `draw_atlas` under `if __name__ == "__main__":`), the address of
            a Dask scheduler, such as `"tcp://10.0.0.1:8786"`, or any
            `concurrent.futures.Executor`.
        safe_mode: Whether workers refuse to load a model that contains code, such as a Lambda
            layer. See `keras.models.load_model`.
        progress: Whether to show a progress bar.

    Returns:
        An `Atlas`, with the page to open and the layers that failed. A layer that fails does not
        stop the others.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has an invalid value, if the folder holds other files or an
            atlas with different settings, or if the Dask scheduler does not answer.
        ConnectionError: If all workers are lost. Finished pictures are kept.
        OSError: If a file cannot be written. Finished pictures are kept.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential(
        ...     [keras.Input((16, 16, 1)), keras.layers.Conv2D(4, 3, name="conv")]
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     atlas = draw_atlas(model, folder, max_filters=2, max_iter=4, progress=False)
        ...     atlas.index.name, atlas.failed
        ('index.html', {})
    """
    plans = plan_layers(
        model,
        layers,
        filters=filters,
        max_filters=max_filters,
        classes=classes,
        max_classes=max_classes,
        image_size=image_size,
        labels=labels,
        has_examples=like is not None,
    )
    directory = AtlasDirectory(check_path("folder", folder))
    executor = check_executor(executor)
    safe_mode = check_flag("safe_mode", safe_mode)
    show = check_flag("progress", progress)
    low, high = check_input_range(input_range)
    # Floats: with integers, pictures would be rounded twice.
    options: dict[str, Any] = {
        "seed": check_integer("seed", seed, least=0),
        "input_range": (float(low), float(high)),
    }
    if max_iter is not None:
        options["max_iter"] = check_integer("max_iter", max_iter, least=1)
    stream = None if images is None else stream_of("images", model, images, options["input_range"])
    prior = None if like is None else _prior_of(model, like, options["input_range"])
    settings = _manifest_settings(model, plans, options, labels, prior)

    # Check the folder before the scan, which may take long.
    directory.is_finished(settings)
    directory.check_writable()
    scan = DatasetScan({}, {}, {})
    if stream is not None:
        scan = scan_images(stream, model, plans, options["input_range"], show)
    settings["images"] = scan.digest
    if directory.is_finished(settings) and _has_all_pictures(directory, plans):
        return Atlas(directory.index, {})

    directory.write_manifest(settings, finished=False)
    directory.write_site()
    _write_images(directory, model, scan, options["input_range"])
    shared = _SharedData.of(model, plans, settings, prior, scan, safe_mode)
    with open_pool(executor, shared.items, safe_mode) as pool:
        run = AtlasRun(plans, directory, pool, scan.errors)
        _write_page_data(directory, model, run, scan, settings, finished=False)
        run.render(shared.render_keys, options, show)
        run.compute_links(shared.link_keys, options["input_range"], show)
    _write_page_data(directory, model, run, scan, settings, finished=True)
    errors = run.errors()
    directory.write_manifest(settings, finished=not errors)
    return Atlas(directory.index, errors)


class _SharedData(NamedTuple):
    """Data that workers share, by key, and the keys that each kind of task needs."""

    items: dict[str, Any]
    render_keys: tuple[str, ...]
    link_keys: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model: keras.Model,
        plans: Sequence[LayerPlan],
        settings: Mapping[str, Any],
        prior: Any,
        scan: DatasetScan,
        safe_mode: bool,
    ) -> "_SharedData":
        # Tasks name layers, and equal models may have layers of different names.
        identity = [settings["model"], [plan.name for plan in plans], safe_mode]
        model_key = f"model {_digest_of(identity)}"
        items: dict[str, Any] = {model_key: model}
        render_keys: tuple[str, ...] = (model_key,)
        link_keys: tuple[str, ...] = (model_key,)
        if prior is not None:
            render_keys += (f"like {settings['like']}",)
            items[render_keys[-1]] = prior
        if scan.sample is not None:
            link_keys += (f"images {scan.digest}",)
            items[link_keys[-1]] = scan.sample
        return cls(items, render_keys, link_keys)


def _prior_of(model: keras.Model, like: Any, input_range: tuple[float, float]) -> Any:
    examples = as_examples(model, like, input_range)
    return fit_prior(Graph.of(model), examples, None, None)


def _manifest_settings(
    model: keras.Model,
    plans: Sequence[LayerPlan],
    options: Mapping[str, Any],
    labels: Sequence[str] | None,
    prior: Any,
) -> dict[str, Any]:
    """What must be equal for an atlas to be resumed, but for the images."""
    return {
        "made_with": _MADE_WITH,
        "model": list(fingerprint_of(model)[:2]),
        "layers": {plan.name: [plan.filters, plan.picture_size] for plan in plans},
        "max_iter": options.get("max_iter"),
        "seed": options["seed"],
        "input_range": options["input_range"],
        "labels": None if labels is None else list(labels),
        "like": None if prior is None else _digest_of(prior),
    }


def _digest_of(value: Any) -> str:
    return digest([np.frombuffer(describe(value).encode(), "uint8")])


def _has_all_pictures(directory: AtlasDirectory, plans: Sequence[LayerPlan]) -> bool:
    return all(
        directory.picture(position, channel).is_file()
        for position, plan in enumerate(plans)
        for channel in plan.filters
    )


def _write_images(
    directory: AtlasDirectory,
    model: keras.Model,
    scan: DatasetScan,
    input_range: tuple[float, float],
) -> None:
    channel_axis = layout_of(Graph.of(model).inputs[0]).channel_axis - 1
    for number, image in sorted(scan.images.items()):
        file = encode_jpeg(np.moveaxis(image, channel_axis, -1), input_range)
        directory.write_image(number, file)


def _write_page_data(
    directory: AtlasDirectory,
    model: keras.Model,
    run: AtlasRun,
    scan: DatasetScan,
    settings: Mapping[str, Any],
    finished: bool,
) -> None:
    images = _image_infos(model, scan)
    for position, plan in enumerate(run.plans):
        data = layer_data(position, run, scan.layers.get(plan.name), images)
        directory.write_data(f"layers/{position:04}", data)
    shown_settings = {
        "steps": "default" if settings["max_iter"] is None else str(settings["max_iter"]),
        "seed": str(settings["seed"]),
        "input range": "{:g} to {:g}".format(*settings["input_range"]),
        "drawn like": "photographs" if settings["like"] is None else "examples of its data",
    }
    data = atlas_data(model.name, _MADE_WITH, shown_settings, scan.count, run, finished)
    directory.write_data("atlas", data)


def _image_infos(model: keras.Model, scan: DatasetScan) -> dict[int, dict[str, Any]]:
    """Name and size of the top-activating images, by number."""
    layout = layout_of(Graph.of(model).inputs[0])
    infos = {}
    for number, image in scan.images.items():
        height, width = (image.shape[axis - 1] for axis in layout.axes)
        name = f"image {number}" if scan.names is None else scan.names[number]
        infos[number] = {"name": name, "width": width, "height": height}
    return infos
