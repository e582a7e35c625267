"""`Objective`: a weighted sum of losses, bound to a graph."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import keras

from vis.backend.cache import WeakCache
from vis.backend.graph import Graph, LayerOutput, TensorRef, output_shape, symbolic_scalar
from vis.backend.layers import has_softmax
from vis.backend.private import node_of
from vis.backend.step import Expression, Formula, Term
from vis.losses import Loss, LossSum, TensorLoss
from vis.utils.validation import check_number, expect, is_iterable, require, warn


class Objective:
    """A weighted sum of losses of one graph. Losses with weight 0 are left out.

    Attributes:
        graph: The graph.
        losses: The losses.
        weights: The weight of each loss.
        terms: What a compiled step needs to know of each loss.
        parameters: For each loss the arrays that its formula is called with, by name.
    """

    def __init__(self, losses: Iterable[tuple[Loss, float]] | Loss | LossSum, graph: Graph) -> None:
        pairs = loss_pairs(losses)
        self.graph = graph
        self.losses = [loss for loss, _ in pairs]
        self.weights = [weight for _, weight in pairs]
        self.terms = tuple(_term_of(loss, graph) for loss in self.losses)
        self.parameters = [dict(getattr(loss, "parameters", {})) for loss in self.losses]
        self._compiled: dict[Hashable, Any] = {}

    def compiled(self, cache: WeakCache, key: Hashable, compile: Callable[[], Any]) -> Any:
        """Returns what `compile` returns for a key, compiled once per model.

        User code in the losses may hold the model; then it is compiled once per objective, so that
        the model can be freed.
        """
        if not any(
            isinstance(term, Expression) or any(callable(value) for _, value in term.settings)
            for term in self.terms
        ):
            return cache.get(self.graph.owner, key, compile)
        if key not in self._compiled:
            self._compiled[key] = compile()
        return self._compiled[key]

    def operations(self) -> list[Any]:
        """The operations of the graph whose outputs the losses are computed from."""
        operations = []
        for term in self.terms:
            if isinstance(term, Formula):
                operations.append(term.target.operation())
                continue
            nodes = [node_of(term.target)]
            for node in nodes:
                if self.graph.in_graph(node.operation):
                    operations.append(node.operation)
                else:
                    nodes.extend(node.parent_nodes)
        return operations

    def check_samples(self, samples: int) -> None:
        """Raises a `ValueError` unless the losses are for that number of samples, or for one."""
        expected = f"be for one image, or for each of the {samples} images"
        for loss, parameters in zip(self.losses, self.parameters, strict=True):
            for value in parameters.values():
                received = f"the loss '{loss}' for {len(value)} images"
                expect(len(value) in (1, samples), "losses", expected, received)


def warn_of_softmax(losses: Iterable[Loss]) -> bool:
    """Warns of losses that are proportional to activations behind a softmax."""
    for loss in losses:
        if not isinstance(loss, TensorLoss) or loss.before_softmax:
            continue
        layer = LayerOutput.of(loss.target).layer
        if has_softmax(layer) and loss.is_proportional():
            warn(
                f"The score of layer '{layer.name}' should be taken before its softmax. Behind it, "
                "a score also rises where other classes fall, and a confident score has hardly any "
                "gradient. Use `model.layers[-1].activation = keras.activations.linear` and `model "
                "= vis.utils.utils.apply_modifications(model)`, or the layer before a separate "
                f"softmax layer. Received: the loss '{loss}' on layer '{layer.name}'"
            )
            return True
    return False


def _term_of(loss: Loss, graph: Graph) -> Term:
    if not isinstance(loss, TensorLoss) or type(loss).build_loss is not TensorLoss.build_loss:
        return Expression(symbolic_scalar(loss.build_loss, graph, str(loss)))
    return Formula(
        function=type(loss).formula,
        target=_target_ref(loss, graph),
        settings=tuple(sorted(loss.settings.items())),
        before_softmax=loss.before_softmax and has_softmax(LayerOutput.of(loss.target).layer),
        couples_samples=loss.couples_samples,
    )


def _target_ref(loss: TensorLoss, graph: Graph) -> TensorRef:
    """The tensor of the graph that a loss is a formula of."""
    target = loss.target
    if isinstance(target, keras.KerasTensor):
        ref = TensorRef.of(graph.counterpart(target))
    else:
        if not graph.has(target):
            raise ValueError(
                "`losses` must be on layers of the model that `input_tensor` belongs to. "
                f"Received: the loss '{loss}' on the layer '{target.name}', which is not "
                f"connected to '{graph.inputs[0].name}'"
            )
        ref = graph.ref_of(target)
        if ref.is_hidden and len(ref.shape) != len(output_shape(target)):
            raise ValueError(
                "`losses` must not be on a layer that another layer runs on each frame. Use the "
                f"layer around it. Received: the loss '{loss}' on the layer '{target.name}'"
            )
    if not ref.is_hidden:
        graph.check_connected(ref.tensor)
    return ref


def loss_pairs(losses: Any) -> list[tuple[Loss, float]]:
    """Returns losses as pairs `(Loss, weight)` of weights other than 0, or raises."""
    if isinstance(losses, (Loss, LossSum)):
        losses = [(losses, 1)]
    expected = "be a list of `(Loss, weight)`"
    require(is_iterable(losses), "losses", expected, losses, TypeError)
    try:
        pairs = [(loss, weight) for loss, weight in losses]
    except (TypeError, ValueError):
        raise TypeError(f"`losses` must {expected}. Received: losses={losses!r}") from None
    for loss, _ in pairs:
        if not isinstance(loss, (Loss, LossSum)):
            received = f"{loss!r} of type {type(loss).__name__} in place of a loss"
            raise TypeError(f"`losses` must {expected}. Received: {received}")
    sums = [loss * weight for loss, weight in pairs]
    pairs = [(loss, check_number("weight", w)) for terms in sums for loss, w in terms.pairs]
    pairs = [(loss, weight) for loss, weight in pairs if weight != 0]
    require(pairs, "losses", "hold a loss with a weight other than 0", losses)
    return pairs
