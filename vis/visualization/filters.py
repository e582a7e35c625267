"""Generates one independent picture for each of many filters."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from vis._core.model_inputs import ModelInputs, inputs_to_optimise
from vis._core.optimised_inputs import ranges
from vis.backend import device
from vis.backend.graph import Graph, LayerOutput, Target, filters_of, layout_of
from vis.backend.layers import WeightCache, has_softmax
from vis.backend.private import operation_of
from vis.backend.step import accepts, receptive_field
from vis.backend.tensors import draw_seed
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, is_in_graph
from vis.losses import ClassScores, FilterActivations
from vis.optimizer import Optimizer
from vis.optimizer.updates import Update
from vis.parametrizations import Fourier, Parametrization, Pixels
from vis.utils.image import match_range_dtype
from vis.utils.layout import Layout
from vis.utils.validation import check_all, check_flag, check_indices, check_integer, check_kind
from vis.visualization.data_prior import fit_prior, fitted_priors, range_of, size_of
from vis.visualization.defaults import EROSION, RANGE, STEPS, annealing, defaults_of
from vis.visualization.stages import coarse_layout, run_stages, stages_of

_BATCH_SIZE = 16
# The `image_size` that follows from what a layer sees: so many times its receptive field.
_FITS = "receptive_field"
_FIELDS = 3
_LEAST_FITTING_SIZE = 32
# In place of `EROSION`: a class is that of other networks, too; a channel is of this one alone.
_EROSION_OF_CHANNELS = 0.2
# The loss of `ClassScores` above which a class is hardly seen yet: a probability of a third or so.
_UNSEEN = 0.0


def visualize_filters(
    model: keras.Model,
    layer_idx: int | str | keras.Layer,
    filter_indices: int | Sequence[int] | None = None,
    batch_size: int | None = None,
    image_size: int | Sequence[int] | str | None = None,
    parametrization: Parametrization | None = None,
    input_modifiers: Sequence[InputModifier] | None = None,
    max_iter: int = STEPS,
    seed: int | None = None,
    progress: bool = True,
    optimizer: keras.optimizers.Optimizer | Update | None = None,
    input_range: tuple[float, float] = RANGE,
    fixed_inputs: Any = None,
    precision: str | None = None,
    skip_erosion: float = EROSION,
    like: Any = None,
) -> np.ndarray:
    """Generates an independent picture for each of many filters, in compiled batches.

    Coarse structure comes first: of `Fourier` coefficients, those of high frequency weigh less in
    the first three quarters of the steps, and where the model allows it, these are taken at half
    the size, at a third of the cost. A layer that ends in a softmax is looked at before it.
    There, and where a model ends in logits, a class is drawn as what tells it from the others
    (`vis.losses.ClassScores`). Each sample of a batch has its own loss, gradient norm and
    transforms, and depends on no other (Olah et al., "Feature Visualization", Distill 2017).

    Args:
        model: A Keras model.
        layer_idx: As in `visualize_activation`.
        filter_indices: An index or a list, None for all. A repeated one gets different pictures.
        batch_size: Most pictures to make at a time; 16 by default.
        image_size: Size of the pictures along each spatial axis, one number for all or one for
            each. By default that of the model's input, or 224 where it is open. Another size works
            wherever the model up to the layer is convolutional. `"receptive_field"` is a size that
            shows what filters of an early layer see, in a fraction of the time.
        parametrization: What is optimised; by default `Fourier`, or `Pixels` without spatial axes.
        input_modifiers: How images are looked at, `vis.input_modifiers.Transform` objects; jitter,
            rotation and scaling by default.
        max_iter: Number of steps, at least 1; by default 120, or 100 where `like` shows all that
            there can be. Pictures of classes that the model hardly sees yet after 50 of 120 steps
            get 2.5 times the 40 that follow, and twice the last 30.
        seed: Whole number that all randomness follows from. The same seed gives the same pictures.
            Without one it follows from NumPy's global random state.
        progress: Whether to show a progress bar.
        optimizer: A Keras optimizer or a rule of `vis.optimizer.updates`; Adam by default.
        input_range: Lowest and highest value of the model's input; by default (0, 255), or that of
            the examples in `like`.
        fixed_inputs: Values of all inputs but one: a dict by name, or a list with None for that.
        precision: As in `visualize_activation`.
        skip_erosion: As for `vis.optimizer.Optimizer`: how much the skip connections of a residual
            network change from step to step, 0 to 0.5. Pictures are then not of this network
            alone: by default 0.5 for classes, which others have, too, and 0.2 for inner channels.
        like: As in `visualize_activation`: a few hundred examples of what the model is used on,
            which pictures are to look like. Without them they look like photographs.

    Returns:
        Array `(filters, image dims..., channels)`; `uint8` for an `input_range` of bytes, or float.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument has a wrong value.

    Example:
        >>> model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(4, 3)])
        >>> pictures = visualize_filters(model, -1, [0, 3], max_iter=4, progress=False)
        >>> pictures.shape, str(pictures.dtype)
        ((2, 16, 16, 1), 'uint8')
    """
    graph = Graph.of(model)
    layer = graph.find(layer_idx)
    fits = isinstance(image_size, str) and image_size == _FITS
    parametrization = fit_prior(graph, like, parametrization, fixed_inputs, input_range)
    size = size_of(None if fits else image_size, parametrization, graph)
    subject = inputs_to_optimise(graph, fixed_inputs, image_size=size)
    if len(subject.tensors) != 1:
        raise ValueError(
            "`fixed_inputs` must give a value for each input but the one that pictures are made "
            f"of. Received: {len(subject.tensors)} inputs without one"
        )
    (input_range,) = ranges(subject, range_of(input_range, parametrization))
    count = filters_of(layer)[2]
    wished = range(count) if filter_indices is None else filter_indices
    indices = check_indices("filter_indices", wished, count, of=f"layer '{layer.name}'")
    check_integer("max_iter", max_iter, least=1)
    show = check_flag("progress", progress)
    batch_size = check_integer("batch_size", _BATCH_SIZE if batch_size is None else batch_size, 1)
    seed = draw_seed() if seed is None else check_integer("seed", seed, least=0)
    layout = _layout(subject, layer, size)
    if fits:
        layout = _fitting(layout, subject, layer)
    if parametrization is None:
        parametrization = Fourier(decay_power=1.5, contrast=1.2) if layout.axes else Pixels()
    parametrization = check_kind("parametrization", parametrization, Parametrization)
    for learnt in fitted_priors(parametrization):
        learnt.check(layout, input_range)
    defaults = defaults_of(parametrization, layout)
    max_iter = defaults.max_iter if max_iter is STEPS else int(max_iter)
    optimizer = defaults.optimizer if optimizer is None else optimizer
    if input_modifiers is None:
        input_modifiers = defaults.input_modifiers
    input_modifiers = check_all("input_modifiers", input_modifiers, InputModifier)
    for modifier in input_modifiers:
        if not is_in_graph(modifier):
            raise TypeError(
                "`input_modifiers` must be `vis.input_modifiers.Transform` objects, which run "
                f"inside the compiled step. Received: {modifier!r}"
            )
    coarse = coarse_layout(layout, subject, layer, input_modifiers)
    stages = stages_of(parametrization, layout, coarse, max_iter)

    draws_classes = _scores_classes(graph, layer)
    wanted = ClassScores if draws_classes else FilterActivations
    slow_above = _UNSEEN if draws_classes else np.inf
    if skip_erosion is EROSION and not draws_classes:
        skip_erosion = _EROSION_OF_CHANNELS
    # What a picture's randomness follows from: seed, filter, how often that one has come before.
    seeds = [(seed, index, indices[:i].count(index)) for i, index in enumerate(indices)]
    # As many as there are processors for each picture of a batch, however many pictures there are,
    # so that their rounding does not depend on that either.
    threads = max(1, device.processors() // _BATCH_SIZE)
    drawings: list[np.ndarray] = []
    weight_cache = WeightCache()
    with tqdm(total=max_iter * len(seeds), disable=not show, unit="step") as bar:
        for start in range(0, len(seeds), batch_size):
            batch = seeds[start : start + batch_size]

            def descend(stage, which, variables, batch=batch):
                """The descent of some pictures of the batch through a stage."""
                optimizing = Optimizer(
                    subject,
                    [(wanted(layer, [batch[i][1] for i in which]), 1)],
                    input_range,
                    parametrization=stage.parametrization,
                    optimizer=annealing(optimizer) if stage.anneals else optimizer,
                    precision=precision,
                    skip_erosion=skip_erosion,
                )
                descent = optimizing.descent(
                    [stage.layout],
                    [batch[i] for i in which],
                    modifiers=input_modifiers,
                    variables=None if variables is None else [variables],
                    threads=threads,
                    weight_cache=weight_cache,
                )
                descent.descend(stage.steps, [_Bar(bar, len(which))])
                return descent

            drawings.extend(run_stages(stages, batch, descend, slow_above))
    pictures = np.stack(drawings)
    if layout.axes:
        pictures = np.moveaxis(pictures, layout.channel_axis, -1)
    return match_range_dtype(pictures, input_range)


def _scores_classes(graph: Graph, layer: Target) -> bool:
    """Whether a layer ends in a softmax, or is the dense one whose logits are a model's output."""
    own = LayerOutput.of(layer).layer
    return has_softmax(own) or (
        isinstance(own, keras.layers.Dense)
        and own.activation is keras.activations.linear
        and any(own is operation_of(output) for output in graph.outputs)
    )


def _layout(subject: ModelInputs, layer: Target, image_size: int | Sequence[int] | None) -> Layout:
    (tensor,) = subject.tensors
    own, layout = layout_of(tensor), layout_of(tensor, image_size)
    if layout != own and not accepts(subject.graph, tensor, layer, layout.shape):
        raise ValueError(
            f"`image_size` must be that of the model's input, {own.spatial_shape}, as the model up "
            f"to layer '{layer.name}' does not take others. Received: image_size={image_size!r}"
        )
    return layout


def _fitting(layout: Layout, subject: ModelInputs, layer: Target) -> Layout:
    """Images in which what one place of a layer sees fits several times over."""
    graph, (tensor,) = subject.graph, subject.tensors
    seen = receptive_field(graph, tensor, layer, layout)
    fitting = np.maximum(_LEAST_FITTING_SIZE, _FIELDS * np.array(seen, int))
    smaller = layout.resized(tuple(np.minimum(layout.spatial_shape, fitting).tolist()))
    return smaller if accepts(graph, tensor, layer, smaller.shape) else layout


@dataclasses.dataclass(eq=False)
class _Bar(OptimizerCallback):
    """Moves a progress bar that several descents share."""

    every_step = False
    bar: tqdm
    pictures: int
    done: int = 0

    def callback(self, i, named_losses, overall_loss, grads, wrt_value):
        self.bar.set_postfix(loss=f"{overall_loss:.4g}", refresh=False)
        steps = (i + 1 - self.done) * self.pictures
        self.bar.total = max(self.bar.total, self.bar.n + steps)
        self.bar.update(steps)
        self.done = i + 1
