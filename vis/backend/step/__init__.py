"""The compiled step, the loop over steps, and the question that is a step without a descent."""

from vis.backend.step.channel_functions import links_of, maps_of
from vis.backend.step.engine import Engine, engines
from vis.backend.step.fingerprint import VERSIONS, fingerprint_of
from vis.backend.step.forward import of_sample, split_for_scalar_losses
from vis.backend.step.receptive_field import (
    ReceptiveField,
    accepts,
    receptive_field,
    receptive_fields,
)
from vis.backend.step.scores import ScoreOutput, ScoreSpec, compiled_scores, value_of
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
