"""Warnings where a result shows nothing, or not what was asked for, and silence elsewhere.

Warnings are errors in all tests, so that a call without `pytest.warns` tests silence.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from helpers import sequential
from keras import layers, ops

from vis.losses import (
    ActivationMaximization,
    ClassScores,
    DeepDream,
    Direction,
    Diversity,
    FeatureInversion,
    FilterActivations,
    Neuron,
    OutputScore,
)
from vis.parametrizations import PrincipalComponents
from vis.regularizers import TotalVariation
from vis.visualization import (
    FasterScoreCAM,
    GradCAM,
    GradCAMPlusPlus,
    GradientTimesInput,
    GuidedGradCAM,
    IntegratedGradients,
    LayerCAM,
    Occlusion,
    Saliency,
    ScoreCAM,
    SmoothGrad,
    top_activating_images,
    visualize_activation,
    visualize_cam,
    visualize_cam_with_losses,
    visualize_filters,
    visualize_saliency,
    visualize_saliency_with_losses,
)

SETTINGS = {"max_iter": 2, "seed": 0}
QUIET = {**SETTINGS, "progress": False}
CAMS = [GradCAM(), GradCAMPlusPlus(), LayerCAM(), ScoreCAM(), FasterScoreCAM()]
METHODS = [
    *CAMS,
    Saliency(),
    SmoothGrad(samples=3, seed=0),
    GradientTimesInput(),
    IntegratedGradients(steps=4),
    GuidedGradCAM(),
    Occlusion(patch=2),
]
by_class = pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype("float32")


def network(sign=1.0, activation=None, last=None, units=2):
    """A positive convolution, and a dense layer whose first unit has weights of one sign."""
    model = sequential(
        (6, 6, 1),
        layers.Conv2D(3, 2, activation="relu", name="conv"),
        layers.Flatten(),
        layers.Dense(units, activation, name="classes"),
        *([last] if last else []),
    )
    kernel, _ = model.get_layer("conv").get_weights()
    model.get_layer("conv").set_weights([np.abs(kernel), np.zeros(3)])
    kernel, bias = model.get_layer("classes").get_weights()
    kernel[:, :2] = np.array([sign, 1.0]) * np.abs(kernel[:, :2])
    model.get_layer("classes").set_weights([kernel, bias])
    return model


def warned(record):
    return [str(warning.message) for warning in record]


# Maps that show nothing.


def test_maps_without_positive_weighted_activations_are_counted():
    model = network(-1)
    images = np.stack([noise(6, 6, 1, seed=i) for i in range(3)])
    with pytest.warns(UserWarning, match="maps show nothing") as record:
        maps = visualize_cam(model, -1, 0, images)
    assert not maps.any()
    (text,) = warned(record)
    assert text.startswith("3 of 3 maps show nothing: ")
    assert "all weighted activations of layer 'conv' are negative" in text
    assert "`LayerCAM`" in text
    with pytest.warns(UserWarning, match="^2 of 3 maps show nothing"):
        maps = GradCAM()(model, images, -1, [[0], [1], [0]])
    assert maps.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("method", [GradCAM(), GradCAMPlusPlus()], ids=str)
def test_class_activation_maps_with_negative_sums(method):
    with pytest.warns(UserWarning, match="1 of 1 maps show nothing"):
        assert not method(network(-1), noise(6, 6, 1), filter_indices=0).any()


def test_fused_maps_warn_only_if_no_layer_shows_anything():
    model = network(-1)
    with pytest.warns(UserWarning, match="1 of 1 maps show nothing") as record:
        GradCAM(["conv", "conv"])(model, noise(6, 6, 1), filter_indices=0)
    assert len(record) == 1


@by_class
def test_methods_are_silent_where_there_is_something_to_show(method):
    image = noise(6, 6, 1)
    assert np.ptp(method(network(), image, filter_indices=0)) == 1


@by_class
def test_dead_units(method):
    """The first unit is negative for all images, so that its ReLU is off."""
    model = network(-1, "relu")
    with pytest.warns(UserWarning, match="1 of 1 maps show nothing") as record:
        assert not method(model, noise(6, 6, 1), filter_indices=0).any()
    texts = warned(record)
    reason = "all units on the way to it are inactive"
    if isinstance(method, ScoreCAM):
        reason = "all masked images have the same score"
    if isinstance(method, Occlusion):
        reason = "covering any patch leaves the score as it is"
    assert reason in texts[0]
    assert len(texts) == 1 + isinstance(method, GuidedGradCAM)


def test_a_saturated_sigmoid_is_named_as_the_reason():
    model = network(1000, "sigmoid")
    with pytest.warns(UserWarning, match="the sigmoid of layer 'classes' is saturated"):
        assert not visualize_saliency(model, -1, 0, noise(6, 6, 1)).any()
    # Before saturation, the gradient is small but has the right direction.
    assert np.ptp(visualize_saliency(network(1, "sigmoid"), -1, 0, noise(6, 6, 1))) == 1


def test_occlusion_of_a_nearly_saturated_score_is_rounding():
    """Differences of probabilities of 1 - 1e-7 are multiples of 6e-8."""
    model = sequential((8,), layers.Dense(1, "sigmoid", use_bias=False))
    model.set_weights([np.linspace(1, 3, 8)[:, None]])
    with pytest.warns(UserWarning, match="rounding errors only"):
        Occlusion(patch=1, fill=0.5)(model, np.ones(8))
    assert np.ptp(Occlusion(patch=1, fill=0)(model, 0.1 * np.ones(8))) == 1


def test_values_that_are_all_equal_or_negative():
    model = sequential((3, 3, 1), layers.GlobalAveragePooling2D())
    with pytest.warns(UserWarning, match="1 of 1 maps show nothing: all values of a map are equal"):
        visualize_saliency(model, -1, 0, noise(3, 3, 1))
    with pytest.warns(UserWarning, match="no attribution is positive"):
        visualize_saliency(network(-1), -1, 0, noise(6, 6, 1), grad_modifier="relu")


def test_an_image_that_equals_the_baseline():
    with pytest.warns(UserWarning, match="the image equals the `baseline`"):
        IntegratedGradients(steps=3, baseline=1)(network(), np.ones((6, 6, 1)), filter_indices=0)
    linear = sequential((6, 6, 1), layers.Flatten(), layers.Dense(2))
    with pytest.warns(UserWarning, match="the image is 0"):
        GradientTimesInput()(linear, np.zeros((6, 6, 1)), filter_indices=0)


# Scores behind a softmax.


def with_softmax(kind):
    if kind == "activation":
        return network(activation="softmax", units=3)
    if kind == "layer":
        return network(last=layers.Softmax(), units=3)
    if kind == "activation layer":
        return network(last=layers.Activation("softmax"), units=3)
    model = network(units=3)
    return keras.Model(model.inputs, ops.softmax(model.outputs[0]))


kinds = pytest.mark.parametrize("kind", ["activation", "layer", "activation layer", "operation"])


@kinds
def test_functions_of_keras_vis_warn_of_a_softmax_and_keep_their_results(kind):
    keras.utils.set_random_seed(0)
    model = with_softmax(kind)
    image = noise(6, 6, 1)
    for draw in (visualize_saliency, visualize_cam):
        with pytest.warns(UserWarning, match="should be taken before its softmax") as record:
            heat = draw(model, -1, 0, image)
        assert len(record) == 1
        assert "apply_modifications" in str(record[0].message)
        # Minus the sum of the others has the same gradient behind a softmax.
        others = [(OutputScore(_last(model), lambda p: ops.log(1 / (1 - p[:, 0]))), -1)]
        if draw is visualize_saliency:
            same = visualize_saliency_with_losses(model.inputs[0], others, image)
            np.testing.assert_allclose(heat, same, atol=1e-4)


def _last(model):
    from vis.visualization import find_layer

    return find_layer(model, -1)


@pytest.mark.every(5)
@kinds
@by_class
def test_attribution_classes_skip_a_softmax(kind, method):
    if kind == "operation" and isinstance(method, GuidedGradCAM):
        pytest.skip("Copies have no operations that are not layers.")
    keras.utils.set_random_seed(0)
    model = with_softmax(kind)
    logits = keras.Model(model.inputs, model.get_layer("classes").output)
    image = noise(6, 6, 1)
    if kind == "activation":
        logits = keras.models.clone_model(model)
        logits.set_weights(model.get_weights())
        logits.layers[-1].activation = keras.activations.linear
    expected = method.attributions(logits, image, filter_indices=0)
    losses = [(ActivationMaximization(_last(model), 0), -1)]
    for explained in ({"filter_indices": 0}, {"losses": losses}):
        result = method.attributions(model, image, **explained)
        np.testing.assert_allclose(result, expected, atol=1e-6)


class Unknown(layers.Layer):
    """A softmax that no attribute tells of."""

    def call(self, x):
        return ops.softmax(x)


@pytest.mark.parametrize("last", [Unknown(), layers.Activation(lambda x: ops.softmax(x))])
def test_probabilities_are_known_by_their_sum(last):
    model, image = network(last=last, units=3), noise(6, 6, 1)
    images = np.stack([image] * 3)
    for explain in (
        lambda: visualize_saliency(model, -1, 0, image),
        lambda: visualize_cam(model, -1, 0, images),
        lambda: Saliency()(model, images, filter_indices=0),
        lambda: Occlusion(patch=3)(model, images, filter_indices=0),
        lambda: IntegratedGradients(steps=4)(model, images, filter_indices=0),
    ):
        with pytest.warns(UserWarning, match="should not be probabilities") as record:
            explain()
        assert len(record) == 1
    Saliency()(model, image, "classes", 0)
    # A picture that sums to 1 is none.
    pixels = np.zeros((4, 4, 1))
    pixels[1, 2] = 1
    flat = sequential((4, 4, 1), layers.Flatten())
    assert Occlusion(patch=1, fill=0)(flat, pixels, filter_indices=6).sum() == 1


def test_functions_of_probabilities_warn_if_they_are_proportional_to_these():
    def explain(model, function):
        losses = [(OutputScore(model.layers[-1], function), -1)]
        Saliency()(model, noise(6, 6, 1), losses=losses)

    model = with_softmax("activation")
    with pytest.warns(UserWarning, match="should be taken before its softmax"):
        explain(model, lambda p: p[:, 0] - p[:, 1])
    explain(model, lambda p: ops.log(p[:, 0]))
    explain(network(), lambda p: p[:, 0] - p[:, 1])


def test_activation_maximization_warns_of_a_softmax():
    with pytest.warns(UserWarning, match="should be taken before its softmax"):
        visualize_activation(with_softmax("layer"), -1, 0, input_range=(0.0, 1.0), **SETTINGS)
    visualize_activation(with_softmax("layer"), "classes", 0, **SETTINGS)


def test_a_sigmoid_needs_no_warning():
    model, image = network(activation="sigmoid"), noise(6, 6, 1)
    for draw in (visualize_saliency, visualize_cam):
        assert np.ptp(draw(model, -1, 0, image)) == 1


# Differences of losses.


def difference(model, a, b):
    layer = model.layers[-1]
    return [(ActivationMaximization(layer, a), -1), (ActivationMaximization(layer, b), 1)]


def test_absolute_values_of_a_difference_of_losses():
    model, image = network(units=3), noise(6, 6, 1)
    for draw in (
        lambda losses, **modifier: visualize_saliency_with_losses(
            model.inputs[0], losses, image, **modifier
        ),
        lambda losses, **modifier: Saliency(**modifier)(model, image, losses=losses),
    ):
        maps = []
        for losses in (difference(model, 0, 1), difference(model, 1, 0)):
            with pytest.warns(UserWarning, match="should not be 'absolute' for a difference"):
                maps.append(draw(losses))
        np.testing.assert_array_equal(*maps)
        one, other = (
            draw(difference(model, *pair), grad_modifier="relu") for pair in ((0, 1), (1, 0))
        )
        # A pixel speaks for one class, for the other, or for neither.
        assert not (one * other).any()
        assert one.any()
        assert other.any()
    layer = model.get_layer("conv")
    with pytest.warns(UserWarning, match="should not be 'absolute'"):
        visualize_cam_with_losses(
            model.inputs[0], difference(model, 0, 1), image, layer, grad_modifier="absolute"
        )


def test_signed_attributions_of_a_difference_change_sign_with_its_direction():
    model, image = network(units=3, activation="softmax"), noise(6, 6, 1)
    for method in (Saliency(), IntegratedGradients(steps=8), Occlusion(patch=2)):
        forth, back = (
            method.attributions(model, image, losses=difference(model, *pair))
            for pair in ((0, 1), (1, 0))
        )
        np.testing.assert_allclose(forth, -back, atol=1e-6)
        singly = [method.attributions(model, image, filter_indices=i) for i in (0, 1)]
        np.testing.assert_allclose(forth, singly[0] - singly[1], atol=1e-5)


def test_penalties_and_weights_of_one_sign_are_no_difference():
    model, image = network(), noise(6, 6, 1)
    losses = [
        (ActivationMaximization(model.layers[-1], 0), -1),
        (ActivationMaximization(model.layers[-1], 1), -0.5),
        (TotalVariation(model.inputs[0]), 1),
    ]
    visualize_saliency_with_losses(model.inputs[0], losses, image)
    visualize_saliency_with_losses(model.inputs[0], difference(model, 0, 1), image, None, None)


# Values in another range than the model takes.


def scaling(*last):
    return sequential(
        (6, 6, 1), layers.Rescaling(1 / 255), layers.Conv2D(2, 3, activation="relu"), *last
    )


EXAMPLES = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 1)).astype("float32")
BRIGHT = EXAMPLES[0]


@pytest.mark.every(3)
@pytest.mark.parametrize("scale", [1, 1 / 255])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("like", lambda model, s: visualize_filters(model, -1, 0, like=s * EXAMPLES, **QUIET)),
        (
            "like",
            lambda model, s: visualize_activation(model, -1, 0, like=s * EXAMPLES, **SETTINGS),
        ),
        (
            "examples",
            lambda model, s: visualize_activation(
                model,
                -1,
                0,
                parametrization=PrincipalComponents(s * EXAMPLES),
                input_range=(0, 255 * s),
                **SETTINGS,
            ),
        ),
        (
            "input_range",
            lambda model, s: visualize_filters(model, -1, 0, input_range=(0, 255 * s), **QUIET),
        ),
        (
            "seed_input",
            lambda model, s: visualize_activation(model, -1, 0, seed_input=s * BRIGHT, **SETTINGS),
        ),
        ("image", lambda model, s: FeatureInversion(model.layers[-1], model.inputs[0], s * BRIGHT)),
        (
            "baseline",
            lambda model, s: IntegratedGradients(2, baseline=s * BRIGHT)(model, EXAMPLES[1]),
        ),
    ],
)
def test_other_ranges_than_the_model_takes(name, call, scale):
    """Only the first layer tells the range; a warning is for values from 0 to 1."""
    model = scaling()
    if scale == 1:
        call(model, scale)
        return
    with pytest.warns(UserWarning, match=f"^`{name}` should have values from about 0 to 255"):
        call(model, scale)


@pytest.mark.parametrize("fill", [0, 300, 1000])
def test_fill_of_occlusion(fill):
    model = scaling(layers.GlobalAveragePooling2D())
    occlusion = Occlusion(patch=2, fill=fill)
    if fill < 1000:
        occlusion.attributions(model, BRIGHT)
        return
    with pytest.warns(UserWarning, match="^`fill` should have values from about 0 to 255"):
        occlusion.attributions(model, BRIGHT)


# Optimisations with nothing to show, or that do the opposite.


STEPS = {"max_iter": 24, "seed": 0}


def dead_channel(activation="relu", bias=-1000.0):
    """Channel 1 of the convolution is never active."""
    model = sequential(
        (8, 8, 1), layers.Conv2D(3, 3, activation=activation, name="conv"), layers.Flatten()
    )
    kernel, biases = model.layers[0].get_weights()
    kernel = np.abs(kernel)
    kernel[..., 1] *= -1
    biases[1] = bias
    model.layers[0].set_weights([kernel, biases])
    return model


def test_filters_that_are_never_active():
    model = dead_channel()
    with pytest.warns(UserWarning, match="show nothing") as record:
        visualize_filters(model, "conv", progress=False, **STEPS)
    (text,) = warned(record)
    assert text.startswith("The activation of filters [1] of layer 'conv' should change")
    assert "was 0 in all steps, as no image made it active" in text
    visualize_filters(model, "conv", [0, 2], progress=False, **STEPS)


def test_saturated_filters():
    model = dead_channel("sigmoid", -1e4)
    with pytest.warns(UserWarning, match="as the sigmoid is saturated"):
        visualize_filters(model, "conv", progress=False, **STEPS)


def test_activation_maximization_of_a_filter_that_is_never_active():
    with pytest.warns(UserWarning, match=r"filters \[1\] of layer 'conv' should change"):
        visualize_activation(dead_channel(), "conv", 1, **STEPS)
    visualize_activation(dead_channel(), "conv", 0, **STEPS)


def regression(loss):
    """Outputs y and 3 y, whose difference rises while y falls."""
    model = sequential(
        (8, 8, 1), layers.Flatten(), layers.Dense(1, use_bias=False), layers.Dense(2, name="both")
    )
    model.set_weights([np.full((64, 1), 0.01), np.array([[1.0, 3.0]]), np.zeros(2)])
    if loss:
        model.compile(loss=loss)
    return model


def test_outputs_that_are_no_classes():
    """Score of output 0 relative to output 1, `y - 3 y`, is highest where y is lowest."""
    settings = {**STEPS, "progress": False, "input_range": (-1.0, 1.0)}
    with pytest.warns(UserWarning, match=r"filters \[0\] of layer 'both' should rise") as record:
        picture = visualize_filters(regression(None), -1, 0, **settings)
    assert len(record) == 1
    assert "`loss=vis.losses.FilterActivations`" in str(record[0].message)
    assert picture.mean() < 0
    for model, chosen in [
        (regression("mse"), {}),
        (regression(None), {"loss": FilterActivations}),
        (regression("mse"), {"loss": lambda layer, filters: FilterActivations(layer, filters)}),
    ]:
        assert visualize_filters(model, -1, [0, 1], **chosen, **settings).mean() > 0
    with pytest.warns(UserWarning, match="should rise"):
        visualize_filters(regression("mse"), -1, 0, loss=ClassScores, **settings)


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError(), len])
def test_other_losses_of_filters_are_refused(loss):
    with pytest.raises(TypeError, match="`loss` must be a function that returns a loss"):
        visualize_filters(regression(None), -1, 0, loss=loss)


# Progress of long calls.


@pytest.mark.every(4)
@by_class
def test_progress_bar_of_a_call_that_takes_long(method, monkeypatch, capsys):
    from vis.visualization.attribution import cam, score

    monkeypatch.setattr(score, "tqdm", functools.partial(score.tqdm, mininterval=0))
    monkeypatch.setattr(score, "_DELAY", 1e-3)
    images = np.stack([noise(6, 6, 1, seed=i) for i in range(3)])
    # Nothing is shown of images that are evaluated at once.
    if isinstance(method, Saliency) and not isinstance(method, (SmoothGrad, IntegratedGradients)):
        method(network(), images, filter_indices=0)
        assert "image" not in capsys.readouterr().err
    for module in (cam, score):
        monkeypatch.setattr(module, "MAX_BATCH_SIZE", 1)
    method(network(), images, filter_indices=0)
    printed = capsys.readouterr().err
    assert "1/3" in printed
    assert "3/3" in printed
    assert "image" in printed
    method(network(), images, filter_indices=0, progress=False)
    assert not capsys.readouterr().err


def test_progress_bar_appears_after_two_seconds_only(capsys):
    images = np.stack([noise(6, 6, 1, seed=i) for i in range(40)])
    for draw in (visualize_saliency, visualize_cam):
        draw(network(), -1, 0, images)
        draw(network(), -1, 0, images, progress=False)
    assert not capsys.readouterr().err


def test_channels_that_no_image_activates():
    model = dead_channel()
    images = np.stack([noise(8, 8, 1, seed=i) for i in range(5)])
    with pytest.warns(
        UserWarning, match=r"channels \[1\] of 'conv' have one and the same"
    ) as record:
        found = top_activating_images(model, images, "conv", count=2, progress=False)
    assert len(record) == 1
    assert "5 images with an activation of 0" in str(record[0].message)
    assert found["conv"].inactive == [1]
    top_activating_images(model, images, "conv", [0, 2], progress=False)
    # A single image is always the top image.
    top_activating_images(model, images[:1], "conv", progress=False)


# Arguments.


def test_ranges_of_some_inputs_by_their_examples():
    a, b = keras.Input((6, 6, 1), name="a"), keras.Input((6, 6, 1), name="b")
    joined = layers.Flatten()(layers.Conv2D(2, 3)(layers.concatenate([a, b])))
    model = keras.Model([a, b], layers.Dense(2)(joined))
    like = [EXAMPLES / 255, EXAMPLES - 128]
    settings = {"like": like, "max_iter": 3, "seed": 0}
    low, high = like[1].min(), like[1].max()
    for ranges in ([(0, 2), None], {"a": (0, 2)}):
        one, other = visualize_activation(model, -1, 0, input_range=ranges, **settings)
        assert 0 <= one.min() < one.max() <= 1
        assert other.dtype == np.float32
        assert low <= other.min() < 0 < other.max() <= high


@pytest.mark.parametrize(
    "make",
    [
        lambda tensor: ActivationMaximization(tensor, 0),
        lambda tensor: FilterActivations(tensor, [0]),
        lambda tensor: ClassScores(tensor, [0]),
        lambda tensor: Neuron(tensor, 0),
        lambda tensor: Direction(tensor, [1.0, 0.0]),
        DeepDream,
        Diversity,
        lambda tensor: OutputScore(tensor, lambda scores: scores[:, 0]),
    ],
)
def test_losses_of_layers_refuse_tensors_at_once(make):
    with pytest.raises(TypeError, match="`layer` must be a Keras layer"):
        make(network().outputs[0])


def test_an_unknown_layer_is_the_last_that_a_message_names():
    with pytest.raises(ValueError, match="`layer_idx` must be the name of a layer") as caught:
        visualize_saliency(network(), "convolution", 0, noise(6, 6, 1))
    assert str(caught.value).endswith("Received: layer_idx='convolution'")
    assert "The layers are ['conv'" in str(caught.value)
