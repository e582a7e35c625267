"""`Optimizer`: gradient descent on the input of a model."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vis import grad_modifiers
from vis._core.checkpoints import Checkpoint, require_stateless
from vis._core.descent import Descent, NonFiniteError
from vis._core.model_inputs import as_model_inputs
from vis._core.objective import Objective
from vis._core.optimised_inputs import (
    initial_variables,
    make_optimised_inputs,
    resolve_layout,
    resolve_parametrizations,
    resolve_ranges,
)
from vis.backend.graph import TensorRef, check_erosion, check_tensor, warn_of_range
from vis.backend.layers import WeightCache, check_precision, safe_precision
from vis.backend.step import Engine, OptimisedInput, StepInputs, StepSpec, engines
from vis.backend.tensors import draw_seed
from vis.callbacks import OptimizerCallback, Print
from vis.input_modifiers import InputModifier, is_in_graph, modifiers_in_numpy
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
    expect,
    warn,
)

__all__ = ["NonFiniteError", "Optimizer"]


class Optimizer:
    """Gradient descent on a model's input: finds the input that minimises a sum of losses.

    Args:
        input_tensor: The model's input, `model.input` (`model.inputs` of a Sequential model): one
            tensor, or a list or dict of several.
        losses: List of `(Loss, weight)`, or a sum of losses such as `a + 0.5 * b`. A loss with
            weight 0 is left out.
        input_range: Lowest and highest value of the image. For several inputs: a pair for all, a
            list of pairs, or a dict of pairs by name.
        wrt_tensor: Tensor of the model that gradients are taken of; the input by default. The image
            is updated only if this is the input.
        norm_grads: Whether to divide the gradients by their L2 norm.
        parametrization: What is optimised; the image's pixels by default. For several inputs: one
            for all inputs with spatial axes, a list, or a dict by name.
        optimizer: A Keras optimizer; `vis.optimizer.updates.RMSprop` by default.
        fixed_inputs: Values of the inputs that are not optimised, `(samples, ...)` or without the
            batch axis: a dict by name, or a list with None for the other inputs.
        precision: Compute dtype of the network, such as `"bfloat16"`, which is faster on hardware
            that supports it. None is the model's own.
        skip_erosion: Standard deviation of random gains on the skip connections of a residual
            network, different in each step, for all of them together; 0 to 0.5. The images
            transfer better to other networks (Ghost Networks: Li et al., "Learning Transferable
            Adversarial Examples via Ghost Networks", AAAI 2020).

    Attributes:
        losses: List of `(Loss, weight)`.
        input_tensors: The optimised inputs.
        input_ranges: Their ranges.
        input_tensor: The first optimised input.
        wrt_tensor: The tensor that gradients are taken of.
        wrt_tensor_is_input_tensor: Whether it is the input.

    Raises:
        ValueError: If a loss does not belong to the model, or a value is out of range.

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
        self.norm_grads = check_flag("norm_grads", norm_grads)
        self._update = updates.get(optimizer)
        self._inputs = inputs = as_model_inputs(input_tensor, fixed_inputs)
        self.input_tensors = inputs.varying
        self.input_tensor = self.input_tensors[0]
        self._parametrizations = resolve_parametrizations(inputs, parametrization)
        self.input_ranges = resolve_ranges(inputs, input_range, self._parametrizations)
        self._wrt = self._check_wrt(wrt_tensor)
        self.wrt_tensor = self.input_tensor if self._wrt is None else self._wrt
        self.wrt_tensor_is_input_tensor = self._wrt is None
        self._objective = Objective(losses, inputs.graph)
        self.losses = list(zip(self._objective.losses, self._objective.weights, strict=True))
        is_float64 = any(tensor.dtype == "float64" for tensor in self.input_tensors)
        self._dtype = "float64" if is_float64 else "float32"

    def _check_wrt(self, wrt_tensor: Any) -> keras.KerasTensor | None:
        """Returns `wrt_tensor`, or None if it is the only optimised input; or raises."""
        if wrt_tensor is None:
            return None
        tensors = keras.tree.flatten(wrt_tensor)
        tensor = check_tensor(tensors[0] if len(tensors) == 1 else wrt_tensor)
        tensor = self._inputs.graph.counterpart(tensor)
        self._inputs.graph.check_connected(tensor)
        is_input = len(self.input_tensors) == 1 and tensor is self.input_tensor
        return None if is_input else tensor

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
        """Minimises the losses by gradient descent from a seed image.

        Each iteration calls the modifiers' `pre` in order, computes losses and gradients, modifies
        the gradients, calls the callbacks, updates the image, and calls the modifiers' `post` in
        reverse order. A `Transform` other than `Jitter` changes only the model's input, after
        all `pre`. The loop stays in the compiled graph unless a modifier is written in NumPy, or a
        callback needs the image of every iteration.

        Args:
            seed_input: Image to start from, with or without the batch axis, channels at either
                end. The samples of a batch are optimised independently. None starts from noise.
                For several inputs: a list, or a dict by name.
            max_iter: Number of iterations, at least 1.
            input_modifiers: Modifiers of the image, and transforms.
            grad_modifier: A name in `vis.grad_modifiers`, or a function of the gradient array.
            callbacks: Callbacks of the optimisation.
            verbose: Whether to print the losses of each iteration.
            seed: Random seed, a non-negative integer. The same seed gives the same image. The
                default is drawn from NumPy's global random state.
            samples: Number of images to generate from noise, at least 1.
            image_size: Size of images generated from noise: one number for all spatial axes, or one
                per axis. The default is the model's input size.
            checkpoint: Path of a file to resume from. The file is created if it does not exist.
                Rerun the call to resume, with bit for bit the same image, or to continue to a
                larger `max_iter`. Callbacks are called for the remaining iterations only. Modifiers
                in NumPy must not keep state between iterations.
            checkpoint_every: Number of iterations between two writes of the file, at least 1.

        Returns:
            The image with the lowest loss, brought into `input_range`, in the model's data format,
            without batch axis for a single sample; the last gradients; and the last value of
            `wrt_tensor`. For several optimised inputs, each of the three is a list, or a dict by
            name if `input_tensor` is one.

        Raises:
            NonFiniteError: If a loss or gradient is NaN or infinite.
            ValueError: If an argument has a wrong value, or the file is damaged or was written
                with different settings. The file is then left unchanged.
        """
        max_iter = check_integer("max_iter", max_iter, least=1)
        modifiers = check_all("input_modifiers", input_modifiers, InputModifier)
        callbacks = check_all("callbacks", callbacks, OptimizerCallback)
        if check_flag("verbose", verbose):
            callbacks = [*callbacks, Print()]
        modify_grads = grad_modifiers.get(grad_modifier)
        checkpoint_every = check_integer("checkpoint_every", checkpoint_every, least=1)
        file = None if checkpoint is None else Checkpoint(checkpoint, checkpoint_every)
        if file:
            modifiers, modify_grads = require_stateless(modifiers, modify_grads)
        if seed is None:
            seed = file.seed if file and file.seed is not None else draw_seed()
        seed = check_integer("seed", seed, least=0)
        start = self._check_seed_input(seed_input)
        per_input = zip(self.input_tensors, start, strict=True)
        layouts = [resolve_layout(tensor, images, image_size) for tensor, images in per_input]
        seeds = [(seed, i) for i in range(self._number_of_samples(start, samples))]
        descent = self.descent(
            layouts, seeds, start=start, modifiers=modifiers, grad_modifier=modify_grads
        )
        descend = descent.descend
        if file:
            file.resume(descent, seed, max_iter)
            descend = functools.partial(file.descend, descent)
        # Calls every `on_end`, even if another one fails.
        with contextlib.ExitStack() as on_end:
            for callback in reversed(callbacks):
                on_end.callback(callback.on_end)
            try:
                descend(max_iter, callbacks)
            except KeyboardInterrupt:
                warn(
                    f"Interrupted after {descent.step} of {max_iter} iterations; returning the "
                    "best image so far."
                )
        images, grads, values = map(self._inputs.like_structure, descent.result())
        return images, grads, values

    def _check_seed_input(self, seed_input: Any) -> list[np.ndarray | None]:
        """Returns the seed images of each optimised input as batches, or raises."""
        seed_inputs = self._inputs.match("seed_input", seed_input)
        starts: list[np.ndarray | None] = []
        for tensor, images in zip(self.input_tensors, seed_inputs, strict=True):
            if images is not None:
                images = check_images("seed_input", images, tuple(tensor.shape[1:]))
                warn_of_range(tensor, images)
            starts.append(images)
        return starts

    def _number_of_samples(self, start: Sequence[np.ndarray | None], samples: int) -> int:
        """The number of samples of seed images and fixed inputs, or else `samples`."""
        seeds = [images for images in start if images is not None]
        counts = {len(values) for values in (*seeds, *self._inputs.fixed)} - {1}
        expected = "have as many samples as `fixed_inputs`, or one"
        expect(len(counts) <= 1, "seed_input", expected, f"{sorted(counts)} samples")
        samples = check_integer("samples", samples, least=1)
        return counts.pop() if counts else 1 if seeds else samples

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
        """Returns a descent before its first step. Its samples are independent.

        Args:
            layouts: Layout of the images of each optimised input.
            seeds: Random seed of each sample.
            start: Images to start from for each optimised input, or None for noise.
            modifiers: As `input_modifiers` of `minimize`.
            grad_modifier: A function of the gradient array, or None.
            variables: Initial variables, instead of `start`.
            threads: Number of threads per sample on a CPU, or None for all. One thread is fastest
                for many samples. The rounding depends on it.
            weight_cache: Weights derived by earlier descents of the same model.
        """
        self._objective.check_samples(len(seeds))
        self._check_modifiers(modifiers)
        optimised = make_optimised_inputs(
            self._inputs, self._parametrizations, layouts, modifiers, self._objective
        )
        rngs = [np.random.default_rng(seed) for seed in seeds]
        if variables is None:
            variables = initial_variables(optimised, self.input_ranges, start, rngs)
        formula = getattr(grad_modifier, "formula", None)
        spec = self._step_spec(optimised, formula, threads)
        step_inputs = self._step_inputs(rngs)
        axes = next((layout.axes for layout in layouts if layout.axes), ())
        return Descent(
            graph=self._inputs.graph,
            spec=spec,
            engine=self._objective.compiled(engines, spec, lambda: Engine(spec)),
            step_inputs=step_inputs,
            initial_variables=[[v.astype(self._dtype) for v in values] for values in variables],
            loss_names=[str(loss) for loss in self._objective.losses],
            input_ranges=self.input_ranges,
            numpy_modifiers=modifiers_in_numpy(modifiers, step_inputs.seeds, axes),
            numpy_grad_modifier=None if formula else grad_modifier,
            weight_cache=weight_cache or WeightCache(),
        )

    def _check_modifiers(self, modifiers: Sequence[InputModifier]) -> None:
        """Raises a `ValueError` unless modifiers in NumPy have pixels to modify."""
        in_numpy = [m for m in modifiers if not is_in_graph(m)]
        if in_numpy and not all(isinstance(p, Pixels) for p in self._parametrizations):
            raise ValueError(
                "`parametrization` must be `Pixels` for `input_modifiers` in NumPy, which change "
                "pixels. Use `vis.input_modifiers.Transform` objects instead. "
                f"Received: {self._parametrizations!r} and {in_numpy!r}"
            )

    def _step_spec(
        self,
        optimised: tuple[OptimisedInput, ...],
        grad_modifier: Callable | None,
        threads: int | None,
    ) -> StepSpec:
        return StepSpec(
            input_refs=tuple(map(TensorRef.of, self._inputs.tensors)),
            optimised_inputs=optimised,
            terms=self._objective.terms,
            wrt=None if self._wrt is None else TensorRef.of(self._wrt),
            norm_grads=self.norm_grads,
            grad_modifier=grad_modifier,
            update=self._update if self._wrt is None else None,
            activations=self._inputs.graph.activations(),
            precision=self.precision or safe_precision(self._inputs.graph.operations),
            skip_erosion=self.skip_erosion,
            threads=threads,
        )

    def _step_inputs(self, rngs: Sequence[np.random.Generator]) -> StepInputs:
        seeds = [rng.integers(2**31, size=2) for rng in rngs]
        fixed = [
            ops.convert_to_tensor(np.broadcast_to(value, (len(rngs), *value.shape[1:])), t.dtype)
            for t, value in zip(self._inputs.tensors, self._inputs.values, strict=True)
            if value is not None
        ]
        return StepInputs(
            parameters=[
                {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
                for parameters in self._objective.parameters
            ],
            weights=ops.convert_to_tensor(self._objective.weights, self._dtype),
            seeds=ops.convert_to_tensor(seeds, "int32"),
            input_ranges=[ops.convert_to_tensor(ends, self._dtype) for ends in self.input_ranges],
            fixed=fixed,
        )
