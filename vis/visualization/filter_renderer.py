"""Renders pictures of the filters of one layer, in compiled batches."""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from vis._core.descent import Descent
from vis.backend import device
from vis.backend.graph import Graph, LayerOutput, ModelInputs, Target, geometry_of, layout_of
from vis.backend.layers import WeightCache, has_softmax
from vis.backend.private import operation_of
from vis.backend.step import accepts_shape
from vis.callbacks import OptimizerCallback
from vis.input_modifiers import InputModifier, is_in_graph
from vis.losses import ClassScores, FilterActivations, Loss, LossSum
from vis.optimizer import Optimizer
from vis.parametrizations import Fourier, Parametrization, Pixels
from vis.utils.image import match_range_dtype
from vis.utils.layout import Layout
from vis.utils.validation import check_all, check_kind, require
from vis.visualization.data_prior import fitted_priors
from vis.visualization.defaults import defaults_of
from vis.visualization.score_check import ActivationCurve
from vis.visualization.stages import PictureSeed, Stage, coarse_layout, run_stages, stages_of

BATCH_SIZE = 16
# An image that fits a receptive field is this many times as large.
_FIELDS = 3
_LEAST_FITTING_SIZE = 32
# Classes are shared with other networks; inner channels are not.
_EROSION_OF_CLASSES, _EROSION_OF_CHANNELS = 0.5, 0.2
# A class with a higher loss of `ClassScores` has a probability of less than about a third.
_SLOW_ABOVE = 0.0


@dataclass(frozen=True)
class RenderSettings:
    """Settings of `visualize_filters` for all layers; those that are None depend on the layer."""

    input_range: tuple[float, float]
    batch_size: int
    image_size: Any
    fit_receptive_field: bool  # Whether images are only as large as filters need.
    parametrization: Parametrization | None
    input_modifiers: Sequence[InputModifier] | None
    max_iter: int | None
    optimizer: Any
    precision: str | None
    skip_erosion: float | None
    loss: Any  # A function of a layer and the filter of each picture.


class FilterRenderer:
    """Renders pictures of the filters of one layer. Its constructor checks the settings."""

    def __init__(
        self,
        inputs: ModelInputs,
        layer: Target,
        settings: RenderSettings,
        weight_cache: WeightCache,
    ) -> None:
        self._inputs, self._layer, self._settings = inputs, layer, settings
        self._weight_cache = weight_cache
        self._layout = _picture_layout(inputs, layer, settings)
        parametrization = self._parametrization()
        defaults = defaults_of(parametrization, self._layout)
        modifiers = settings.input_modifiers
        self._transforms = _check_transforms(
            defaults.input_modifiers if modifiers is None else modifiers
        )
        self.max_iter = defaults.max_iter if settings.max_iter is None else settings.max_iter
        optimizer, last_optimizer = settings.optimizer, settings.optimizer
        if optimizer is None:
            optimizer, last_optimizer = defaults.optimizer, defaults.last_optimizer
        coarse = coarse_layout(self._layout, inputs, layer, self._transforms)
        self._stages = stages_of(
            parametrization, self._layout, coarse, self.max_iter, optimizer, last_optimizer
        )
        self._loss = _check_loss(settings.loss, layer)
        if self._loss is None:
            draws_classes = _draws_classes(inputs.graph, layer)
            self._loss = ClassScores if draws_classes else FilterActivations
        self._draws_classes = self._loss is ClassScores
        # Of each picture, the activations of its filter in the steps of each stage.
        self._activations: dict[PictureSeed, list[np.ndarray]] = defaultdict(list)
        erosion = _EROSION_OF_CLASSES if self._draws_classes else _EROSION_OF_CHANNELS
        self._skip_erosion = erosion if settings.skip_erosion is None else settings.skip_erosion

    def render(self, indices: Sequence[int], seed: int, bar: tqdm) -> np.ndarray:
        """Pictures of some filters, `(filters, image dims..., channels)`."""
        seeds = [PictureSeed(seed, i, indices[:n].count(i)) for n, i in enumerate(indices)]
        descend = functools.partial(self._descend, bar)
        slow_above = _SLOW_ABOVE if self._draws_classes else np.inf
        pictures: list[np.ndarray] = []
        for start in range(0, len(seeds), self._settings.batch_size):
            batch = seeds[start : start + self._settings.batch_size]
            pictures += run_stages(self._stages, batch, descend, slow_above)
        images = np.stack(pictures)
        if self._layout.axes:
            images = self._layout.to_channels_last(images)
        return match_range_dtype(images, self._settings.input_range)

    def _descend(
        self,
        bar: tqdm,
        stage: Stage,
        seeds: Sequence[PictureSeed],
        variables: list[np.ndarray] | None,
    ) -> Descent:
        """Runs a stage for some pictures."""
        optimizer = Optimizer(
            self._inputs,
            self._loss(self._layer, [seed.filter for seed in seeds]),
            self._settings.input_range,
            parametrization=stage.parametrization,
            optimizer=stage.optimizer,
            precision=self._settings.precision,
            skip_erosion=self._skip_erosion,
        )
        descent = optimizer.descent(
            [stage.layout],
            seeds,
            modifiers=self._transforms,
            variables=None if variables is None else [variables],
            # Independent of the number of pictures, as the rounding depends on it.
            threads=max(1, device.num_threads() // BATCH_SIZE),
            weight_cache=self._weight_cache,
        )
        descent.descend(stage.steps, [_StepProgress(bar, len(seeds))])
        for index, (loss, weight) in enumerate(optimizer.losses):
            if isinstance(loss, FilterActivations):
                for seed, losses in zip(seeds, descent.losses[:, index].T, strict=True):
                    self._activations[seed].append(-losses / weight)
        return descent

    def activation_curves(self) -> list[ActivationCurve]:
        """The activations of the filters of all pictures, if the loss has such a term."""
        return [
            ActivationCurve(self._layer, seed.filter, np.concatenate(parts), before_softmax=True)
            for seed, parts in self._activations.items()
        ]

    def _parametrization(self) -> Parametrization:
        chosen = self._settings.parametrization
        if chosen is None:
            return Fourier(decay_power=1.5, contrast=1.2) if self._layout.axes else Pixels()
        check_kind("parametrization", chosen, Parametrization)
        for prior in fitted_priors(chosen):
            prior.check(self._layout, self._settings.input_range)
        return chosen


def _check_transforms(input_modifiers: Any) -> list[Any]:
    """Returns input modifiers as a list, or raises unless all run inside the compiled step."""
    modifiers = check_all("input_modifiers", input_modifiers, InputModifier)
    for modifier in modifiers:
        if not is_in_graph(modifier):
            raise TypeError(
                "`input_modifiers` must be `vis.input_modifiers.Transform` objects, which run "
                f"inside the compiled step. Received: {modifier!r}"
            )
    return modifiers


def _check_loss(loss: Any, layer: Target) -> Any:
    """Returns a function of a layer and filter indices to a loss, or None, or raises."""
    if loss is not None:
        is_loss = False
        with contextlib.suppress(TypeError, ValueError):
            is_loss = isinstance(loss(layer, [0]), (Loss, LossSum))
        expected = (
            "be a function that returns a loss of a layer and a filter index for each picture, "
            "such as `vis.losses.FilterActivations`"
        )
        require(is_loss, "loss", expected, loss, TypeError)
    return loss


def _draws_classes(graph: Graph, layer: Target) -> bool:
    """Whether a layer ends in a softmax, or is the dense layer of a model's output logits.

    The outputs of a model that is compiled with another loss than a cross-entropy are no logits.
    """
    own = LayerOutput.of(layer).layer
    return has_softmax(own) or (
        isinstance(own, keras.layers.Dense)
        and own.activation is keras.activations.linear
        and any(own is graph.find(-1) or own is operation_of(o) for o in graph.outputs)
        and _may_be_classifier(graph.model)
    )


def _may_be_classifier(model: keras.Model) -> bool:
    losses = keras.tree.flatten(getattr(model, "loss", None)) if model.compiled else []
    names = [getattr(loss, "name", getattr(loss, "__name__", str(loss))) for loss in losses]
    return all("crossentropy" in name.replace("_", "").lower() for name in names if name != "None")


def _picture_layout(inputs: ModelInputs, layer: Target, settings: RenderSettings) -> Layout:
    """The layout of the pictures of a layer, or an error if the model does not take their size."""
    graph, (tensor,) = inputs.graph, inputs.varying
    own, layout = layout_of(tensor), layout_of(tensor, settings.image_size)
    if layout != own and not accepts_shape(graph, tensor, layer, layout.shape):
        raise ValueError(
            f"`image_size` must be that of the model's input, {own.spatial_shape}, as the model up "
            f"to layer '{layer.name}' takes no other. Received: image_size={settings.image_size!r}"
        )
    if not settings.fit_receptive_field:
        return layout
    field = geometry_of(inputs, layer, layout.shape).receptive_field(
        dict(zip(layout.axes, layout.spatial_shape, strict=True))
    )
    fitting = np.maximum(_LEAST_FITTING_SIZE, _FIELDS * np.array(field, int))
    smaller = layout.resized(tuple(np.minimum(layout.spatial_shape, fitting).tolist()))
    return smaller if accepts_shape(graph, tensor, layer, smaller.shape) else layout


@dataclass(eq=False)
class _StepProgress(OptimizerCallback):
    """Advances a progress bar that several descents share."""

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
