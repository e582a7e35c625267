"""Draws an atlas: web pages with the channels of a network and the links between them."""

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vis import __version__
from vis.atlas.directory import AtlasDirectory
from vis.atlas.images import DatasetScan, scan_images
from vis.atlas.page_data import atlas_data, layer_data
from vis.atlas.plan import plan_layers
from vis.atlas.run import AtlasRun
from vis.atlas.tasks import encode_jpeg
from vis.atlas.workers import check_executor, open_pool
from vis.backend.graph import Graph, layout_of
from vis.backend.step import fingerprint_of
from vis.data import Dataset, examples_of
from vis.utils.description import describe, digest
from vis.utils.validation import check_flag, check_input_range, check_integer, check_path
from vis.visualization.data_prior import fit_prior


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
        like: A few hundred examples of the model's data, as in `visualize_filters`. Pictures are
            drawn like these.
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
        An `Atlas`: the page to open, and the layers that failed, which do not stop the others.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument has an invalid value, if the folder holds something else, or if
            the Dask scheduler does not answer.
        ConnectionError: If all workers are lost.
        OSError: If a file cannot be written.

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
    graph = Graph.of(model, functools.partial(examples_of, images, like), image_size)
    plans = plan_layers(
        graph, layers, filters, max_filters, classes, max_classes, image_size, labels, like
    )
    directory = AtlasDirectory(check_path("folder", folder))
    executor = check_executor(executor)
    safe_mode = check_flag("safe_mode", safe_mode)
    show = check_flag("progress", progress)
    low, high = check_input_range(input_range)
    # Floats: with integers, pictures would be rounded twice.
    input_range = float(low), float(high)
    seed = check_integer("seed", seed, least=0)
    options: dict[str, Any] = {"seed": seed, "input_range": input_range}
    if max_iter is not None:
        options["max_iter"] = check_integer("max_iter", max_iter, least=1)
    dataset = None if images is None else Dataset("images", images, graph.inputs[0], input_range)
    prior = fit_prior(graph, like, None, None, input_range)
    settings = {
        "made_with": f"keras3-vis {__version__}",
        "model": list(fingerprint_of(model)[:2]),
        "layers": {plan.name: [plan.filters, plan.picture_size] for plan in plans},
        "labels": None if labels is None else list(labels),
        "like": None if prior is None else _digest_of(prior),
        "max_iter": max_iter,
        **options,
    }

    # Check the folder before the scan, which may take long.
    directory.is_finished(settings)
    directory.check_writable()
    scan = DatasetScan({}, {}, {})
    if dataset is not None:
        scan = scan_images(dataset, graph, plans, input_range, show)
    settings["images"] = scan.digest
    if directory.is_finished(settings) and directory.has_pictures(plans):
        return Atlas(directory.index, {})

    directory.write_manifest(settings, finished=False)
    directory.write_site()
    image_infos = _write_images(directory, graph, scan, input_range)
    shared_data = _shared_data(model, settings, prior, scan, safe_mode)
    model_key, prior_key, images_key = shared_data
    with open_pool(executor, shared_data, safe_mode) as pool:
        run = AtlasRun(plans, directory, pool, scan)
        _write_page_data(model, run, image_infos, settings, finished=False)
        run.render((model_key, prior_key), options, show)
        run.compute_links((model_key, images_key), input_range, show)
    _write_page_data(model, run, image_infos, settings, finished=True)
    errors = run.errors()
    directory.write_manifest(settings, finished=not errors)
    return Atlas(directory.index, errors)


def _digest_of(value: Any) -> str:
    return digest([np.frombuffer(describe(value).encode(), "uint8")])


def _write_images(
    directory: AtlasDirectory, graph: Graph, scan: DatasetScan, input_range: Any
) -> dict[int, dict[str, Any]]:
    """Writes the top-activating images, and returns their names and sizes by number."""
    layout = layout_of(graph.inputs[0])
    infos = {}
    for number, image in sorted(scan.images.items()):
        picture = np.moveaxis(layout.to_channels_first(image[None])[0], 0, -1)
        directory.write_image(number, encode_jpeg(picture, input_range))
        name = f"image {number}" if scan.names is None else scan.names[number]
        infos[number] = {"name": name, "width": picture.shape[1], "height": picture.shape[0]}
    return infos


def _shared_data(
    model: keras.Model, settings: Mapping[str, Any], prior: Any, scan: DatasetScan, safe_mode: bool
) -> dict[str, Any]:
    """The model, the prior and the images that workers share, by keys that identify them."""
    # Equal models may have other layer names, which tasks contain.
    identity = [settings["model"], list(settings["layers"]), safe_mode]
    return {
        f"model {_digest_of(identity)}": model,
        f"like {settings['like']}": prior,
        f"images {scan.digest}": scan.sample,
    }


def _write_page_data(
    model: keras.Model,
    run: AtlasRun,
    image_infos: Mapping[int, Mapping[str, Any]],
    settings: Mapping[str, Any],
    finished: bool,
) -> None:
    for position in range(len(run.plans)):
        data = layer_data(position, run, image_infos)
        run.directory.write_data(f"layers/{position:04}", data)
    run.directory.write_data("atlas", atlas_data(model.name, settings, run, finished))
