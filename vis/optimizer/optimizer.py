"""Composes weighted losses and descends along their gradient."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import grad_modifiers
from vis._core import optimised_inputs
from vis._core.checkpoints import Checkpoint, without_memory
from vis._core.descent import Descent, NonFiniteError
from vis._core.model_inputs import as_model_inputs
from vis._core.objective import Objective
from vis.backend.graph import TensorRef, check_erosion, check_tensor
from vis.backend.layers import WeightCache, check_precision
from vis.backend.step import Engine, StepInputs, StepSpec, engines
from vis.backend.tensors import draw_seed
from vis.callbacks import OptimizerCallback, Print
from vis.input_modifiers import InputModifier, in_order, is_in_graph
from vis.losses import Loss, LossSum
from vis.optimizer import updates
from vis.parametrizations import Parametrization, Pixels
from vis.utils.layout import Layout
from vis.utils.validation import (
    check_all,
    check_backend,
    check_flag,
    check_images,
    check_integer,
)

__all__ = ["NonFiniteError", "Optimizer"]


class Optimizer:
    """Finds the input that minimises a weighted sum of losses.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs` of a Sequential model): one
            tensor, or a list or dict of several.
        losses: List of `(Loss, weight)`, or a sum of losses such as `a + 0.5 * b`. A loss with
            weight 0 is left out.
        input_range: Lowest and highest value of the image; of several inputs a list of such pairs,
            or a dict by name, where all are not in the same range.
        wrt_tensor: The tensor that gradients are taken of, any tensor of the model; the input by
            default. The image is only updated when it is the input.
        norm_grads: Whether gradients are divided by their L2 norm.
        parametrization: What is optimised; the image's pixels by default. Of several inputs those
            without spatial axes stay with their values; or a list, or a dict by name.
        optimizer: A Keras optimizer; `vis.optimizer.updates.RMSprop` by default.
        fixed_inputs: Values of inputs that are not optimised, `(samples, ...)` or without the
            samples' axis: a dict by name, or a list with None for all others.
        precision: `"bfloat16"` to run the network in that type, which is quicker on hardware that
            has it; None for the model's own.
        skip_erosion: How much random gains change what the skip connections of a residual network
            carry, from step to step: their standard deviation, all together; 0 to 0.5. An image
            for all these networks is more often one for networks that took no part (Li et al.,
            "Learning Transferable Adversarial Examples via Ghost Networks", AAAI 2020).

    Attributes:
        inputs: All that the model is fed: its inputs, and what stands in the place of words.
        input_tensors: Those of them that are optimised.
        input_tensor: The first of these.
        input_ranges: Their ranges.
        network: The graph of the inputs.
        terms: What a compiled step is to know of each loss.
        wrt_tensor: The tensor that gradients are taken of.
        wrt_tensor_is_input_tensor: Whether that is the input.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a loss does not belong to `input_tensor`'s model, or a value is out of
            range.

    Example:
        >>> from vis.losses import ActivationMaximization
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
        >>> loss = ActivationMaximization(model.layers[-1], filter_indices=1)
        >>> optimizer = Optimizer(model.inputs[0], [(loss, 1)], input_range=(0.0, 1.0))
        >>> image, grads, _ = optimizer.minimize(max_iter=5, seed=0, verbose=False)
        >>> image.shape, grads.shape
        ((8,), (1, 8))
    """

    def __init__(
        self,
        input_tensor: keras.KerasTensor | Any,
        losses: Iterable[tuple[Loss, float]] | Loss | LossSum,
        input_range: tuple[float, float] = (0, 255),
        wrt_tensor: keras.KerasTensor | None = None,
        norm_grads: bool = True,
        *,
        parametrization: Parametrization | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        fixed_inputs: Any = None,
        precision: str | None = None,
        skip_erosion: float = 0.0,
    ) -> None:
        check_backend()
        self.precision = check_precision(precision)
        self.skip_erosion = check_erosion(skip_erosion)
        self._update = updates.get(optimizer)
        self._subject = subject = as_model_inputs(input_tensor, fixed_inputs)
        self.network = subject.graph
        self.inputs = list(subject.tensors)
        self.input_tensors = subject.varying
        self.input_tensor = self.input_tensors[0]
        self.input_ranges = optimised_inputs.ranges(subject, input_range)
        self._parametrizations = optimised_inputs.parametrizations(subject, parametrization)
        self.norm_grads = check_flag("norm_grads", norm_grads)
        if wrt_tensor is not None:
            tensors = keras.tree.flatten(wrt_tensor)
            wrt_tensor = check_tensor(tensors[0] if len(tensors) == 1 else wrt_tensor)
            self.network.check_connected(wrt_tensor)
        is_input = len(self.input_tensors) == 1 and wrt_tensor is self.input_tensor
        self._wrt = None if is_input else wrt_tensor
        self.wrt_tensor = self.input_tensor if self._wrt is None else self._wrt
        self.wrt_tensor_is_input_tensor = self._wrt is None
        self._objective = objective = Objective(losses, subject.graph)
        self.losses = list(zip(objective.losses, objective.weights, strict=True))
        self.terms = list(objective.terms)

    def minimize(
        self,
        seed_input: np.ndarray | None = None,
        max_iter: int = 200,
        input_modifiers: Sequence[InputModifier] | None = None,
        grad_modifier: str | Callable | None = None,
        callbacks: Sequence[OptimizerCallback] | None = None,
        verbose: bool = True,
        *,
        seed: int | None = None,
        samples: int = 1,
        image_size: int | Sequence[int] | None = None,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int = 50,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Descends from a seed image.

        In each iteration the modifiers' `pre` are called in order, losses and gradients are
        computed, the gradients modified, callbacks called and the image updated; then come the
        modifiers' `post`, in reverse order. A `Transform` that is not a plain move of pixels, as
        `Jitter` is, changes nothing but what the model sees, after all `pre`. Without callbacks
        and modifiers in NumPy the loop stays in the compiled graph.

        Args:
            seed_input: Image to start from, with or without the batch axis, channels at either
                end; several samples are optimised independently. None starts from noise. Of
                several inputs a list, or a dict by name.
            max_iter: Number of iterations, at least 1.
            input_modifiers: What happens to the image before and after each step.
            grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
            callbacks: Who is called in each iteration.
            verbose: Whether to print the losses of each iteration.
            seed: Whole number that all randomness follows from. The same seed gives the same
                image. Without one it follows from NumPy's global random state.
            samples: Number of images to make of noise. A `seed_input` has its own.
            image_size: Size of an image made of noise along each spatial axis, one number for all
                or one for each, where the model takes others than its own, or leaves it open.
            checkpoint: Path of a file from which the same call goes on after an interruption, to
                the same picture bit for bit. It is made when there is none, and stays when the
                run is over, so that a later one may go on to a larger `max_iter`. Callbacks then
                see only the iterations that were left. Modifiers in NumPy must not remember
                anything from step to step. None keeps no such file.
            checkpoint_every: Number of iterations between two writes of the file, at least 1.

        Returns:
            The image with the lowest loss, brought into `input_range`; the last gradients; and
            the last value of `wrt_tensor`. The image of a single sample has no batch axis. It has
            its channels where the model has them. Where several inputs are optimised, each of
            the three is a list, or a dict by name if `input_tensor` is one.

        Raises:
            NonFiniteError: If a loss or gradient turns NaN or infinite. It carries the best image
                until then.
            TypeError: If an argument is of the wrong kind.
            ValueError: If an argument has a wrong value, or the file is damaged or of a run of
                another model or with other arguments. It is then left alone.
        """
        max_iter = check_integer("max_iter", max_iter, least=1)
        modifiers = check_all("input_modifiers", input_modifiers, InputModifier)
        watchers = check_all("callbacks", callbacks, OptimizerCallback)
        if check_flag("verbose", verbose):
            watchers = [*watchers, Print()]
        every = check_integer("checkpoint_every", checkpoint_every, least=1)
        record = None if checkpoint is None else Checkpoint(checkpoint, every)
        if seed is None:
            seed = record.seed if record and record.seed is not None else draw_seed()
        seed = check_integer("seed", seed, least=0)
        given = self._subject.match("seed_input", seed_input)
        start = [
            None if images is None else check_images("seed_input", images, tuple(t.shape[1:]))
            for t, images in zip(self.input_tensors, given, strict=True)
        ]
        samples = self._samples(start, samples)
        layouts = [
            optimised_inputs.layout(tensor, images, image_size)
            for tensor, images in zip(self.input_tensors, start, strict=True)
        ]
        modify = grad_modifiers.get(grad_modifier)
        if record:
            modifiers, modify = without_memory(modifiers, modify)
        seeds = [(seed, i) for i in range(samples)]
        run = self.descent(layouts, seeds, start=start, modifiers=modifiers, grad_modifier=modify)
        descend = record.begin(run, seed, max_iter) if record else run.descend
        # Each is told of the end, even when another's `on_end` fails.
        with contextlib.ExitStack() as watched:
            for watcher in reversed(watchers):
                watched.callback(watcher.on_end)
            try:
                descend(max_iter, watchers)
            except KeyboardInterrupt:
                warnings.warn(
                    f"Interrupted after {run.step} of {max_iter} iterations; this is the best "
                    "image so far.",
                    stacklevel=2,
                )
        images, grads, values = map(self._subject.like_structure, run.result())
        return images, grads, values

    def _samples(self, start: Sequence[np.ndarray | None], samples: int) -> int:
        """How many images are made, from the seeds, the fixed inputs or what the user says."""
        given = [images for images in start if images is not None]
        counts = {len(values) for values in (*given, *self._subject.fixed)} - {1}
        if len(counts) > 1:
            raise ValueError(
                "`seed_input` and `fixed_inputs` must have as many samples as each other, or one. "
                f"Received: {sorted(counts)} samples"
            )
        if counts:
            return counts.pop()
        samples = check_integer("samples", samples, least=1)
        return 1 if given else samples

    def descent(
        self,
        layouts: Sequence[Layout],
        seeds: Sequence[tuple[int, ...]],
        *,
        start: Sequence[np.ndarray | None] | None = None,
        modifiers: Sequence[InputModifier] = (),
        grad_modifier: Callable | None = None,
        variables: list[list[np.ndarray]] | None = None,
        threads: int | None = None,
        weight_cache: WeightCache | None = None,
    ) -> Descent:
        """A descent that has not begun yet.

        Args:
            layouts: For each input that is optimised the shape of an image.
            seeds: For each sample what its randomness follows from.
            start: For each input the images to start from, or None for noise.
            modifiers: As in `minimize`.
            grad_modifier: A function of the gradient array, or None.
            variables: Initial values of what is optimised, in place of `start`.
            threads: How many threads share the work on one sample where each descends by itself,
                as on a CPU; None for all. A single one has the most done where there are many
                samples, but the rounding depends on it.
            weight_cache: Tensors that other descents have derived from the same weights.

        Returns:
            The descent, whose samples do not depend on one another.
        """
        subject, objective = self._subject, self._objective
        by_hand = [m for m in modifiers if not is_in_graph(m)]
        objective.check_samples(len(seeds))
        if by_hand and not all(isinstance(p, Pixels) for p in self._parametrizations):
            raise ValueError(
                "`input_modifiers` in NumPy change pixels, so that `parametrization` must be "
                f"`Pixels`. Received: {self._parametrizations!r} and {by_hand!r}"
            )
        drawn_on = optimised_inputs.all_of(
            subject, self._parametrizations, layouts, modifiers, objective
        )
        formula = getattr(grad_modifier, "formula", None)
        problem = StepSpec(
            input_refs=tuple(map(TensorRef.of, subject.tensors)),
            optimised_inputs=drawn_on,
            terms=objective.terms,
            wrt=None if self._wrt is None else TensorRef.of(self._wrt),
            norm_grads=self.norm_grads,
            grad_modifier=formula,
            update=self._update if self._wrt is None else None,
            activations=subject.graph.activations(),
            precision=self.precision,
            skip_erosion=self.skip_erosion,
            threads=threads,
        )
        dtype = "float64" if any(t.dtype == "float64" for t in self.input_tensors) else "float32"
        rngs = [np.random.default_rng(seed) for seed in seeds]
        if variables is None:
            variables = optimised_inputs.initial_variables(drawn_on, self.input_ranges, start, rngs)
        given = StepInputs(
            parameters=[
                {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
                for parameters in objective.parameters
            ],
            weights=ops.convert_to_tensor(objective.weights, dtype),
            seeds=ops.convert_to_tensor([rng.integers(2**31, size=2) for rng in rngs], "int32"),
            input_ranges=[ops.convert_to_tensor(r, dtype) for r in self.input_ranges],
            fixed=[
                ops.convert_to_tensor(np.broadcast_to(v, (len(seeds), *v.shape[1:])), t.dtype)
                for t, v in zip(subject.tensors, subject.values, strict=True)
                if v is not None
            ],
        )
        if by_hand:
            axes = next((layout.axes for layout in layouts if layout.axes), ())
            by_hand = in_order(modifiers, given.seeds, axes)
        return Descent(
            subject.graph,
            problem,
            objective.compiled(engines, problem, lambda: Engine(problem)),
            given,
            [[value.astype(dtype) for value in values] for values in variables],
            [str(loss) for loss in objective.losses],
            self.input_ranges,
            by_hand,
            None if formula else grad_modifier,
            weight_cache or WeightCache(),
        )
