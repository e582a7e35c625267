"""The compiled step, the loop over steps, and the question that is a step without a descent."""

from vis.backend.step.channels import links_of, maps_of
from vis.backend.step.engine import Engine, engines
from vis.backend.step.fingerprint import VERSIONS, fingerprint_of
from vis.backend.step.look import at_once, of_sample
from vis.backend.step.problem import (
    Canvas,
    Expression,
    Formula,
    Given,
    Observation,
    Problem,
    State,
    Term,
)
from vis.backend.step.question import Answer, Question, inquiries, value_of
from vis.backend.step.sizes import Sight, accepts, receptive_field, sights
