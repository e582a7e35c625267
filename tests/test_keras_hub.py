"""Networks of KerasHub, small ones, as people call them."""

from __future__ import annotations

import numpy as np
import pytest

from vis.visualization import (
    Saliency,
    find_layer,
    top_activating_images,
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


@pytest.mark.every(3)
@pytest.mark.filterwarnings("ignore:.*maps show nothing")
@pytest.mark.parametrize("make", [pytest.param(deit, marks=needs_deit), vit, resnet])
def test_image_classifiers(make):
    model = make()
    assert visualize_activation(model, -1, 1, max_iter=2, seed=0).shape == (32, 32, 3)
    for draw in (visualize_saliency, visualize_cam):
        # Random tokens are much alike, so that those of a class may all be negative.
        heats = [draw(model, -1, filter_index, IMAGE) for filter_index in range(3)]
        assert {heat.shape for heat in heats} == {(32, 32)}
        assert np.ptp(heats, axis=(1, 2)).max() == 1


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


# Preprocessors: `predict` applies them, so explanations do.


def with_image_preprocessor(scale):
    backbone = resnet().backbone
    converter = hub.layers.ResNetImageConverter(image_size=(32, 32), scale=scale)
    preprocessor = hub.models.ResNetImageClassifierPreprocessor(image_converter=converter)
    return hub.models.ResNetImageClassifier(
        backbone=backbone, num_classes=3, preprocessor=preprocessor
    )


def with_text_preprocessor():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sat", "ran"]
    tokenizer = hub.tokenizers.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    backbone = hub.models.BertBackbone(
        vocabulary_size=10,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
    )
    return hub.models.BertTextClassifier(
        backbone=backbone,
        num_classes=2,
        preprocessor=hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=6),
    )


class Explained(Saliency):
    """Records the score that it explains."""

    def measure(self, score, images):
        type(self).scores = score.values(images)
        return super().measure(score, images)


@pytest.mark.every(3)
@pytest.mark.parametrize("shape", [(32, 32, 3), (48, 64, 3), (2, 40, 24, 3)])
def test_images_are_preprocessed_as_in_predict(shape):
    model = with_image_preprocessor(1 / 255)
    images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    logits = model.predict(images.reshape(-1, *shape[-3:]), verbose=0)
    heat = Explained()(model, images)
    assert heat.shape == (*shape[:-3], 32, 32)
    np.testing.assert_allclose(Explained.scores, logits.max(axis=1), atol=1e-5)
    ready = model.preprocessor(images).numpy()
    by_hand = hub.models.ResNetImageClassifier(
        backbone=model.backbone, num_classes=3, preprocessor=None
    )
    by_hand.set_weights(model.get_weights())
    for draw in (visualize_saliency, visualize_cam):
        expected = draw(by_hand, -1, 1, ready)
        np.testing.assert_allclose(draw(model, -1, 1, images), expected, atol=1e-5)
    guided = visualize_saliency(model, -1, 1, images, backprop_modifier="guided")
    expected = visualize_saliency(by_hand, -1, 1, ready, backprop_modifier="guided")
    np.testing.assert_allclose(guided, expected, atol=1e-5)


def test_ranges_of_a_model_with_a_preprocessor():
    model = with_image_preprocessor(1 / 255)
    with pytest.warns(UserWarning, match="`seed_input` should have .* 0 to 255, .*preprocessor"):
        visualize_saliency(model, -1, 1, IMAGE)
    settings = {"max_iter": 2, "seed": 0}
    # Pictures are drawn in the range that the preprocessor returns.
    picture = visualize_activation(model, -1, 1, **settings)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() < picture.max() <= 1
    with pytest.warns(UserWarning, match="`input_range` should have .* 0 to 1, .*preprocessor"):
        visualize_activation(model, -1, 1, input_range=(0, 255), **settings)
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3))
    found = top_activating_images(model, images, -1, progress=False)
    logits = model.predict(images, verbose=0)
    np.testing.assert_allclose(found["predictions"].activations, logits, atol=1e-5)
    with pytest.warns(UserWarning, match="`images` should have .* 0 to 255, .*preprocessor"):
        top_activating_images(model, images / 255, -1, progress=False)
    prior = {"like": images, "max_iter": 2, "seed": 0}
    picture = visualize_activation(model, -1, 1, **prior)
    assert 0 <= picture.min() < picture.max() <= 1
    with pytest.warns(UserWarning, match="`like` should have .* 0 to 255, .*preprocessor"):
        visualize_activation(model, -1, 1, **{**prior, "like": images / 255})


@pytest.mark.every(2)
@pytest.mark.parametrize("texts", ["the cat sat", ["the cat sat", "the dog ran"]])
def test_texts_are_preprocessed_as_in_predict(texts):
    model = with_text_preprocessor()
    logits = model.predict(np.atleast_1d(texts).tolist(), verbose=0)
    heat = Explained()(model, texts)
    assert heat.shape == (*np.shape(texts), 6)
    np.testing.assert_allclose(Explained.scores, logits.max(axis=1), atol=1e-5)
    # Token ids are taken as they are.
    ready = {name: np.asarray(v) for name, v in model.preprocessor(texts).items()}
    np.testing.assert_allclose(Explained()(model, ready), heat, atol=1e-6)
    # Three words between [CLS] and [SEP], and padding.
    np.testing.assert_allclose(np.atleast_2d(heat)[:, 5], 0, atol=1e-6)
