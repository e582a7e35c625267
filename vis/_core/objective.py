"""Weighted losses, bound to a graph."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import keras

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, LayerOutput, TensorRef, output_shape, symbolic_scalar
from vis.backend.layers import has_softmax
from vis.backend.step import Expression, Formula, Term
from vis.losses import Loss, LossSum, TensorLoss
from vis.utils.validation import check_number, expect, is_iterable, require


class Objective:
    """A weighted sum of losses of one graph, of which those with weight 0 are left out.

    Losses that do not belong to the graph are refused, and so is a sum of nothing.
    """

    def __init__(self, losses: Iterable[tuple[Loss, float]] | Loss | LossSum, graph: Graph) -> None:
        pairs = _checked(losses)
        self.graph = graph
        self.losses = [loss for loss, _ in pairs]
        self.weights = [weight for _, weight in pairs]
        # What a compiled step is to know of each loss.
        self.terms = tuple(_term(loss, graph) for loss in self.losses)
        # For each loss the arrays that its formula is called with, by name.
        self.parameters = [dict(getattr(loss, "parameters", {})) for loss in self.losses]
        self._own: dict[Hashable, Any] = {}

    def compiled(self, cache: WeakCache, key: Hashable, make: Callable[[], Any]) -> Any:
        """What has been compiled for a key: for as long as the model lives, for all who ask.

        A user's own expression or function may hold on to the model. What is compiled of one dies
        with this.
        """
        if not any(
            isinstance(term, Expression) or any(callable(value) for _, value in term.settings)
            for term in self.terms
        ):
            return cache.get(self.graph.owner, key, make)
        if key not in self._own:
            self._own[key] = make()
        return self._own[key]

    def check_samples(self, samples: int) -> None:
        """Raises a `ValueError` unless the losses are made for that number of images."""
        expected = f"be for one image, or for as many as are optimised, {samples}"
        for loss, parameters in zip(self.losses, self.parameters, strict=True):
            for value in parameters.values():
                received = f"the loss '{loss}', which is for {len(value)}"
                expect(len(value) in (1, samples), "losses", expected, received)


def _term(loss: Loss, graph: Graph) -> Term:
    if not isinstance(loss, TensorLoss) or type(loss).build_loss is not TensorLoss.build_loss:
        return Expression(symbolic_scalar(loss.build_loss, graph, str(loss)))
    target = loss.target
    before_softmax = loss.before_softmax and has_softmax(LayerOutput.of(target).layer)
    if isinstance(target, keras.KerasTensor):
        place = TensorRef.of(target)
    else:
        if not graph.has(target):
            raise ValueError(
                "`losses` must be on layers of the model that `input_tensor` belongs to. "
                f"Received: the loss '{loss}' on the layer '{target.name}', which is not "
                f"connected to '{graph.inputs[0].name}'"
            )
        place = graph.ref_of(target)
        if place.is_hidden and len(place.shape) != len(output_shape(target)):
            raise ValueError(
                f"The layer '{target.name}' cannot be looked at on its own, as the layer around it "
                "runs it on each frame. Look at the layer around it instead. "
                f"Received: layer '{target.name}'"
            )
    if not place.is_hidden:
        graph.check_connected(place.tensor)
    settings = tuple(sorted(loss.settings.items()))
    function = type(loss).formula
    return Formula(function, place, settings, before_softmax, loss.couples_samples)


def _checked(losses: Any) -> list[tuple[Loss, float]]:
    if isinstance(losses, (Loss, LossSum)):
        losses = [(losses, 1)]
    expected = "be a list of `(Loss, weight)`"
    require(is_iterable(losses), "losses", expected, losses, TypeError)
    try:
        given = [(loss, weight) for loss, weight in losses]
    except (TypeError, ValueError):
        raise TypeError(f"`losses` must {expected}. Received: losses={losses!r}") from None
    for loss, _ in given:
        if not isinstance(loss, (Loss, LossSum)):
            raise TypeError(
                "`losses` must be a list of `(Loss, weight)`. "
                f"Received: {loss!r} of type {type(loss).__name__} in the place of a loss"
            )
    sums = [loss * weight for loss, weight in given]
    pairs = [(loss, check_number("weight", w)) for added in sums for loss, w in added.pairs]
    pairs = [(loss, weight) for loss, weight in pairs if weight != 0]
    require(pairs, "losses", "hold a loss with a weight other than 0", losses)
    return pairs
