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
from vis.atlas.images import DatasetScan, sample_images, scan_images
from vis.atlas.labels import Labels
from vis.atlas.pages import Pages
from vis.atlas.plan import plan_layers, with_channels
from vis.atlas.relevance import choose_channels
from vis.atlas.run import AtlasRun
from vis.atlas.workers import check_executor, open_pool
from vis.backend.graph import Graph
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
    max_filters: int | None = 32,
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
    image_labels: Sequence[str] | Sequence[int] | None = None,
    title: str | None = None,
    overwrite: bool = False,
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
        max_filters: Maximum number of channels of each layer: those that the classes depend on
            most, by gradient times activation for the class of each image, averaged over images.
            Without images, the pictures of the classes are used; without classes in the atlas, the
            first channels. None draws all.
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
        image_labels: The true class of each image, as a name or an index. By default the folder of
            an image, if it is named like a class. Shown beside the predicted class.
        title: Title of the pages. Defaults to the model's name. To change the title or labels of a
            finished atlas, call again: nothing is drawn again.
        overwrite: Whether to replace an atlas in `folder` that was drawn with other settings.
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
    plans = plan_layers(graph, layers, filters, max_filters, classes, max_classes, image_size, like)
    page_labels = Labels.check(graph, model.name if title is None else title, labels, image_labels)
    overwrite = check_flag("overwrite", overwrite)
    directory = AtlasDirectory(check_path("folder", folder), overwrite)
    executor = check_executor(executor)
    safe_mode = check_flag("safe_mode", safe_mode)
    show = check_flag("progress", progress)
    low, high = check_input_range(input_range)
    # Floats: with integers, pictures would be rounded twice.
    input_range = float(low), float(high)
    seed = check_integer("seed", seed, least=0)
    if max_iter is not None:
        max_iter = check_integer("max_iter", max_iter, least=1)
    options = {"seed": seed, "input_range": input_range, "max_iter": max_iter}
    dataset = None if images is None else Dataset("images", images, graph.inputs[0], input_range)
    prior = fit_prior(graph, like, None, None, input_range)
    settings = {
        "made_with": f"keras3-vis {__version__}",
        "model": list(fingerprint_of(model)[:2]),
        "layers": {plan.name: [plan.filters, plan.picture_size] for plan in plans},
        "max_filters": max_filters,
        "like": None if prior is None else _digest_of(prior),
        **options,
    }

    # Check the folder before the scan, which may take long.
    manifest = directory.manifest(settings)
    directory.check_writable()
    if manifest is not None and not overwrite:
        plans = with_channels(plans, manifest.channels)
    scan, sample = DatasetScan({}, {}, {}), None
    if dataset is not None:
        sample = sample_images(dataset)
        plans = choose_channels(graph, plans, max_filters, sample)
        scan = scan_images(dataset, graph, plans, input_range, show)
        page_labels.check_count(scan.total)
    settings["images"] = scan.digest
    manifest = directory.manifest(settings)
    if manifest is not None:
        plans = with_channels(plans, manifest.channels)
    pages = Pages(directory, model.name, graph, page_labels, settings, scan)
    run = AtlasRun(plans, directory, scan)
    if manifest is not None and manifest.finished and run.is_drawn():
        pages.write_labels(run, finished=True)
        return Atlas(directory.index, {})

    if manifest is None:
        directory.clear()
    directory.write_manifest(settings, plans, finished=False)
    directory.write_site()
    pages.write_images()
    shared_data = _shared_data(model, settings, prior, sample, safe_mode)
    model_key, prior_key, images_key = shared_data
    with open_pool(executor, shared_data, safe_mode) as pool:
        pages.write(run, finished=False)
        run.render(pool, (model_key, prior_key), options, show)
        if not all(plan.filters for plan in plans):
            # Without images, relevance is measured on the pictures of the classes.
            pictures, drawn = run.class_pictures(graph, input_range)
            plans = choose_channels(graph, plans, max_filters, pictures, drawn)
            directory.write_manifest(settings, plans, finished=False)
            run = AtlasRun(plans, directory, scan)
            pages.write(run, finished=False)
            run.render(pool, (model_key, prior_key), options, show)
        run.compute_links(pool, (model_key, images_key), input_range, show)
    pages.write(run, finished=True)
    errors = run.errors()
    directory.write_manifest(settings, plans, finished=not errors)
    return Atlas(directory.index, errors)


def _digest_of(value: Any) -> str:
    return digest([np.frombuffer(describe(value).encode(), "uint8")])


def _shared_data(
    model: keras.Model, settings: Mapping[str, Any], prior: Any, sample: Any, safe_mode: bool
) -> dict[str, Any]:
    """The model, the prior and the images that workers share, by keys that identify them."""
    # Equal models may have other layer names, which tasks contain.
    identity = [settings["model"], list(settings["layers"]), safe_mode]
    return {
        f"model {_digest_of(identity)}": model,
        f"like {settings['like']}": prior,
        f"images {sample if sample is None else digest([sample])}": sample,
    }
