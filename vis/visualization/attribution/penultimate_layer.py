"""Which layer's feature maps a class activation map is drawn from."""

import itertools
from collections.abc import Sequence

import keras
from keras import layers

from vis._core.model_inputs import explained_tensor
from vis.backend.graph import Graph, LayerOutput, Target, channel_axis
from vis.utils.validation import expect, require

_CONVOLUTION_OR_POOLING = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
    *(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
)

LayerIdx = int | str | Target
PenultimateLayers = LayerIdx | Sequence[LayerIdx] | None


def find_penultimate_layers(
    graph: Graph, layer: Target, penultimate_layer_idx: PenultimateLayers
) -> list[Target]:
    """The layers whose feature maps are looked at.

    None stands for the nearest convolution or pooling layer before the one that is explained, in
    nested models and wrappers too, of those whose maps have several places where there are any.
    """
    inputs_to_explain = LayerOutput.of(layer).layer
    if penultimate_layer_idx is None:
        return [_nearest(graph, inputs_to_explain)]
    wanted = penultimate_layer_idx
    # A `LayerOutput` is a tuple, too.
    if isinstance(wanted, LayerOutput) or not isinstance(wanted, list | tuple):
        wanted = [wanted]
    require(wanted, "penultimate_layer_idx", "hold at least one layer", penultimate_layer_idx)
    found = [graph.find(index, "penultimate_layer_idx") for index in wanted]
    before = graph.upstream(inputs_to_explain)
    expected = f"be a layer that lies before '{layer.name}', the layer of `layer_idx`"
    for candidate in found:
        lies_before = id(LayerOutput.of(candidate).layer) in before
        expect(lies_before, "penultimate_layer_idx", expected, f"layer '{candidate.name}'")
    return found


def _nearest(graph: Graph, layer: keras.Layer) -> keras.Layer:
    tensor = explained_tensor(graph)
    rank = len(tensor.shape)
    # What runs inside layers is only known to lie before others once it has been looked for.
    candidates = graph.layers()
    before = graph.upstream(layer)
    found, with_places = [], []
    for candidate in itertools.takewhile(lambda other: other is not layer, candidates):
        inner = candidate
        while isinstance(inner, layers.Wrapper):
            inner = inner.layer
        if id(candidate) not in before or not isinstance(inner, _CONVOLUTION_OR_POOLING):
            continue
        shape = graph.ref_of(candidate).shape
        if len(shape) == rank:
            found.append(candidate)
            no_place = 0, channel_axis(candidate, rank)
            if any(size != 1 for i, size in enumerate(shape) if i not in no_place):
                with_places.append(candidate)
    if not found:
        raise ValueError(
            "`penultimate_layer_idx` must be given, as there is no convolution or pooling layer "
            f"with {rank - 2} spatial axes, those of the input, before '{layer.name}', the layer "
            f"of `layer_idx`. Received: penultimate_layer_idx=None, and the model "
            f"'{graph.owner.name}' with an input of shape {tensor.shape}"
        )
    # Maps of a single place, as MobileNet's last convolution has them, show nothing.
    return (with_places or found)[-1]
