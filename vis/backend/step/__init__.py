"""Compiled functions: the step of activation maximization, scores, receptive fields, channels."""

from vis.backend.step.accepted_shapes import accepts_shape
from vis.backend.step.channel_functions import ActivationMaps, Contributions
from vis.backend.step.engine import Engine, engines
from vis.backend.step.fingerprint import VERSIONS, fingerprint_of
from vis.backend.step.forward import select_sample, split_for_scalar_losses
from vis.backend.step.scores import ScoreOutput, ScoreSpec, compiled_scores, evaluate_tensor
from vis.backend.step.step_spec import (
    Expression,
    Formula,
    OptimisedInput,
    State,
    StepInputs,
    StepOutput,
    StepSpec,
    Term,
)
