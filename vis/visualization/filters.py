"""Feature visualization: an independent picture for each of many filters."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from vis._core.model_inputs import inputs_to_optimise
from vis._core.optimised_inputs import resolve_parametrizations, resolve_ranges
from vis.backend.graph import Graph, ModelInputs, warn_of_range
from vis.backend.layers import WeightCache
from vis.backend.tensors import draw_seed
from vis.data import examples_of
from vis.input_modifiers import InputModifier
from vis.losses import Loss, LossSum
from vis.optimizer.updates import Update
from vis.parametrizations import Parametrization
from vis.utils.validation import check_flag, check_integer
from vis.visualization.data_prior import fit_prior, is_fitted, range_or_default, size_or_default
from vis.visualization.filter_renderer import BATCH_SIZE, FilterRenderer, RenderSettings
from vis.visualization.score_check import ActivationCurve, warn_of_activations
from vis.visualization.selected_filters import are_several_layers, select_filters


def visualize_filters(
    model: keras.Model,
    layer_idx: int | str | keras.Layer | Sequence[Any],
    filter_indices: Any = None,
    *,
    batch_size: int | None = None,
    image_size: int | Sequence[int] | str | None = None,
    parametrization: Parametrization | None = None,
    input_modifiers: Sequence[InputModifier] | None = None,
    max_iter: int | None = None,
    seed: int | None = None,
    progress: bool = True,
    optimizer: keras.optimizers.Optimizer | Update | None = None,
    input_range: tuple[float, float] | None = None,
    fixed_inputs: Any = None,
    precision: str | None = None,
    skip_erosion: float | None = None,
    like: Any = None,
    loss: Callable[[keras.Layer, list[int]], Loss | LossSum] | None = None,
) -> np.ndarray | dict[str, np.ndarray]:
    """Generates an independent picture for each of many filters, in compiled batches.

    Optimisation is coarse to fine: high `Fourier` frequencies have less weight in the first three
    quarters of the steps, which run at half the size, for a third of the cost, if the model allows
    it. A softmax at the end of a layer is skipped. There, and for the output logits of a model, a
    picture shows what distinguishes a class from the others (`vis.losses.ClassScores`). Pictures
    are independent of the others in a batch (Olah et al., "Feature Visualization", Distill 2017).

    Args:
        model: A Keras model.
        layer_idx: A layer as in `visualize_activation`, or a list of layers.
        filter_indices: An index, a list of indices, or None for all. A repeated index gets
            different pictures. For a list of layers: a list with one of these for each layer, a
            dict by layer, or None.
        batch_size: Maximum number of pictures in a batch; by default 16.
        image_size: Size of the pictures along each spatial axis, one number for all or one for
            each. By default the size of the model's input, or 224 if it is open. Other sizes work
            if the model is convolutional up to the layer. `"receptive_field"` is a size that shows
            what filters of an early layer see, in a fraction of the time.
        parametrization: Parametrization of the pictures; by default `Fourier`, or `Pixels` without
            spatial axes.
        input_modifiers: Random transforms of the images, `vis.input_modifiers.Transform` objects;
            by default jitter, rotation and scaling.
        max_iter: Number of steps, at least 1; by default 120, or 100 for principal components of
            whole examples (`like`). Classes with a low probability after 50 of 120 steps get 2.5
            times the next 40 steps and twice the last 30.
        seed: Random seed, for the same pictures in each call; by default drawn from NumPy's global
            random state.
        progress: Whether to show a progress bar.
        optimizer: A Keras optimizer or an update rule of `vis.optimizer.updates`; by default Adam,
            with a learning rate that falls in the last quarter of the steps.
        input_range: Lowest and highest value of the model's input; by default (0, 255), or the
            range of the examples in `like`.
        fixed_inputs: Values of the other inputs: a dict by name, or a list with None for the image.
        precision: As in `visualize_activation`.
        skip_erosion: Strength of random skip-connection scaling in residual networks, 0 to 0.5, as
            in `vis.optimizer.Optimizer`. By default 0.5 for classes and 0.2 for inner channels,
            which other networks do not share.
        like: A few hundred examples that pictures should look like, as in `visualize_activation`.
            Without them, pictures look like photographs.
        loss: What pictures minimise: `vis.losses.FilterActivations` for the activation itself,
            `vis.losses.ClassScores` for what distinguishes a class from the others, or another
            function of the layer and a filter index for each picture. By default `ClassScores` for
            layers that end in a softmax and for a dense layer of output logits, unless the model
            is compiled with another loss than a cross-entropy.

    Returns:
        An array `(filters, image dims..., channels)`, `uint8` if `input_range` is (0, 255) in
        integers, and float otherwise. For a list of layers: a dict of arrays by the layers' paths.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> conv = keras.layers.Conv2D(4, 3, name="conv")
        >>> model = keras.Sequential([keras.Input((16, 16, 1)), conv])
        >>> pictures = visualize_filters(model, "conv", [0, 3], max_iter=4, progress=False)
        >>> pictures.shape, str(pictures.dtype)
        ((2, 16, 16, 1), 'uint8')
    """
    pictures, curves = render_filters(
        model,
        layer_idx,
        filter_indices,
        batch_size=batch_size,
        image_size=image_size,
        parametrization=parametrization,
        input_modifiers=input_modifiers,
        max_iter=max_iter,
        seed=seed,
        progress=progress,
        optimizer=optimizer,
        input_range=input_range,
        fixed_inputs=fixed_inputs,
        precision=precision,
        skip_erosion=skip_erosion,
        like=like,
        loss=loss,
    )
    advice = "More steps may help."
    if loss is None:
        advice = (
            "If the outputs are no classes, pass `loss=vis.losses.FilterActivations`; otherwise "
            "more steps may help."
        )
    warn_of_activations(curves, advice)
    return pictures if are_several_layers(layer_idx) else next(iter(pictures.values()))


def render_filters(
    model: keras.Model,
    layer_idx: Any,
    filter_indices: Any,
    *,
    batch_size: int | None = None,
    image_size: Any = None,
    parametrization: Parametrization | None = None,
    input_modifiers: Sequence[InputModifier] | None = None,
    max_iter: int | None = None,
    seed: int | None = None,
    progress: bool = True,
    optimizer: Any = None,
    input_range: tuple[float, float] | None = None,
    fixed_inputs: Any = None,
    precision: str | None = None,
    skip_erosion: float | None = None,
    like: Any = None,
    loss: Any = None,
) -> tuple[dict[str, np.ndarray], list[ActivationCurve]]:
    """Pictures by the layers' paths, and the activations of their filters in each step."""
    graph = Graph.of(model, functools.partial(examples_of, like), image_size, fixed_inputs)
    selected = select_filters(graph, "layer_idx", layer_idx, "filter_indices", filter_indices)
    parametrization = fit_prior(graph, like, parametrization, fixed_inputs, input_range)
    fit_receptive_field = isinstance(image_size, str) and image_size == "receptive_field"
    given_size = None if fit_receptive_field else image_size
    size = size_or_default(given_size, parametrization, graph)
    inputs = _single_input(inputs_to_optimise(graph, fixed_inputs, image_size=size))
    (input_range,) = resolve_ranges(
        inputs,
        range_or_default(input_range, parametrization, graph),
        resolve_parametrizations(inputs, parametrization),
    )
    if not is_fitted(parametrization):
        warn_of_range(inputs.varying[0], np.array(input_range), "input_range", model)
    settings = RenderSettings(
        input_range=input_range,
        batch_size=check_integer("batch_size", BATCH_SIZE if batch_size is None else batch_size, 1),
        image_size=size,
        fit_receptive_field=fit_receptive_field,
        parametrization=parametrization,
        input_modifiers=input_modifiers,
        max_iter=None if max_iter is None else check_integer("max_iter", max_iter, least=1),
        optimizer=optimizer,
        precision=precision,
        skip_erosion=skip_erosion,
        loss=loss,
    )
    seed = draw_seed() if seed is None else check_integer("seed", seed, least=0)
    show = check_flag("progress", progress)
    weight_cache = WeightCache()
    renderers = [FilterRenderer(inputs, x.layer, settings, weight_cache) for x in selected]
    jobs = list(zip(selected, renderers, strict=True))
    steps = sum(renderer.max_iter * len(filters.indices) for filters, renderer in jobs)
    with tqdm(total=steps, disable=not show, unit="step") as bar:
        pictures = {x.path: renderer.render(x.indices, seed, bar) for x, renderer in jobs}
    return pictures, [curve for renderer in renderers for curve in renderer.activation_curves()]


def _single_input(inputs: ModelInputs) -> ModelInputs:
    """Returns inputs, or raises unless exactly one of them is optimised."""
    if len(inputs.varying) != 1:
        raise ValueError(
            "`fixed_inputs` must give a value for each input but the one that pictures are made "
            f"of. Received: {len(inputs.varying)} inputs without a value"
        )
    return inputs
