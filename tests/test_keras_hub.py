"""Networks of KerasHub, small ones, as people call them."""

from __future__ import annotations

import numpy as np
import pytest

from vis.visualization import (
    find_layer,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
)

hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed")

needs_deit = pytest.mark.skipif(
    not hasattr(hub.models, "DeiTBackbone"), reason="early releases of KerasHub have no DeiT"
)
IMAGE = np.random.default_rng(0).uniform(size=(32, 32, 3))


def deit():
    backbone = hub.models.DeiTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
    )
    return hub.models.DeiTImageClassifier(backbone=backbone, num_classes=3)


def vit():
    backbone = hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    return hub.models.ViTImageClassifier(backbone=backbone, num_classes=3)


def resnet():
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )
    return hub.models.ResNetImageClassifier(backbone=backbone, num_classes=3)


@pytest.mark.parametrize("make", [pytest.param(deit, marks=needs_deit), vit, resnet])
def test_image_classifiers(make):
    model = make()
    assert visualize_activation(model, -1, 1, max_iter=2, seed=0).shape == (32, 32, 3)
    for draw in (visualize_saliency, visualize_cam):
        heat = draw(model, -1, 1, IMAGE)
        assert heat.shape == (32, 32)
        assert np.ptp(heat) == 1


def test_filters_of_a_transformer():
    settings = {"input_modifiers": [], "max_iter": 3, "seed": 0, "progress": False}
    assert visualize_filters(vit(), -1, [0, 2], **settings).shape == (2, 32, 32, 3)


@needs_deit
def test_layers_that_return_nothing_among_their_outputs():
    """As attention does in the place of its scores."""
    model = deit()
    attention = find_layer(model, f"{model.backbone.name}/deit_encoder/transformer_block_1")
    heat = visualize_saliency(model, attention, 0, IMAGE)
    assert heat.shape == (32, 32)
    assert np.ptp(heat) == 1


def test_text_classifier():
    backbone = hub.models.BertBackbone(
        vocabulary_size=30,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
    )
    model = hub.models.BertTextClassifier(backbone=backbone, num_classes=2, preprocessor=None)
    words = {
        "token_ids": np.array([[3, 7, 9, 2, 0, 0]]),
        "segment_ids": np.zeros((1, 6), int),
        "padding_mask": np.array([[1, 1, 1, 1, 0, 0]]),
    }
    heat = visualize_saliency(model, -1, 1, words)
    assert heat.shape == (6,)
    # Padding says nothing.
    np.testing.assert_allclose(heat[4:], heat.min(), atol=1e-6)
