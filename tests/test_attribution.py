"""Attribution methods, compared with their formulas computed independently."""

import functools
import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import nodes, sequential
from keras import layers

from vis.losses import ActivationMaximization, FilterActivations, Loss, OutputScore
from vis.regularizers import LPNorm
from vis.visualization import (
    Attribution,
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
    visualize_cam,
    visualize_saliency,
)
from vis.visualization.attribution.maps import resize_maps

METHODS = {
    "Saliency": Saliency(),
    "guided": Saliency(backprop_modifier="guided"),
    "GradientTimesInput": GradientTimesInput(),
    "SmoothGrad": SmoothGrad(samples=5, seed=0),
    "IntegratedGradients": IntegratedGradients(steps=20),
    "GradCAM": GradCAM(),
    "GradCAMPlusPlus": GradCAMPlusPlus(),
    "LayerCAM": LayerCAM(),
    "ScoreCAM": ScoreCAM(),
    "FasterScoreCAM": FasterScoreCAM(max_channels=2),
    "GuidedGradCAM": GuidedGradCAM(),
    "Occlusion": Occlusion(),
}
# Some models below end in a softplus, which guided backpropagation leaves as it is.
pytestmark = pytest.mark.filterwarnings("ignore:'guided' is defined for rectifiers")
CONVOLUTIONS = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def convnet(*shape, classes=3, data_format="channels_last"):
    """A convolution followed by a dense layer over all positions."""
    if data_format == "channels_first":
        shape = (shape[-1], *shape[:-1])
    convolution = CONVOLUTIONS[len(shape) - 1]
    return sequential(
        shape,
        convolution(4, 3, padding="same", activation="relu", name="conv", data_format=data_format),
        layers.Flatten(data_format=data_format),
        layers.Dense(classes, "softplus"),
    )


# For tests that do not change the model: they share its compiled functions.
shared_convnet = functools.cache(convnet)


def pooled(*shape, classes=3):
    """A network whose gradients with respect to its feature maps are its last weights."""
    return sequential(
        shape,
        layers.Conv2D(4, 3, name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(classes),
    )


def features(model, images):
    return keras.ops.convert_to_numpy(model.get_layer("conv")(images))


def scaled(array):
    return (array - array.min()) / (array.max() - array.min())


class Calls(layers.Layer):
    """Counts how often it is traced."""

    count = 0

    def call(self, x):
        type(self).count += 1
        return x


# All methods.


@pytest.mark.every(5)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(12, 2), (9, 8, 3), (5, 6, 7, 1)])
def test_map_has_the_image_size_and_range_0_to_1(name, shape):
    heat = METHODS[name](shared_convnet(*shape), noise(*shape))
    assert heat.shape == shape[:-1]
    assert heat.min() == 0
    assert heat.max() == 1


SHAPES = {  # A model's input, and one of these with a channel axis of size 1.
    "sequence": ((12, 2), (12, 1), "channels_last"),
    "grey image": ((9, 8, 1), (9, 8, 1), "channels_last"),
    "image": ((9, 8, 3), (9, 8, 1), "channels_last"),
    "channels first": ((3, 9, 8), (1, 9, 8), "channels_first"),
    "volume": ((5, 6, 7, 2), (5, 6, 7, 1), "channels_last"),
}


@pytest.mark.every(7)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", SHAPES)
def test_attributions_have_the_axes_of_the_images(name, kind):
    shape, one_channel, data_format = SHAPES[kind]
    last = (*shape[1:], shape[0]) if data_format == "channels_first" else shape
    model = shared_convnet(*last, data_format=data_format)
    has_channels = isinstance(METHODS[name], Saliency)
    attributions = METHODS[name].attributions(model, noise(2, *shape), filter_indices=1)
    assert attributions.shape == (2, *(shape if has_channels else one_channel))


@pytest.mark.every(5)
@pytest.mark.parametrize("name", METHODS)
def test_attributions_of_vectors_and_grey_images_without_a_channel_axis(name):
    convolution = [
        layers.Reshape((9, 8, 1)),
        layers.Conv2D(2, 3, activation="relu"),
        layers.Flatten(),
    ]
    model = sequential((9, 8), *convolution, layers.Dense(2))
    assert METHODS[name].attributions(model, noise(2, 9, 8)).shape == (2, 9, 8)
    assert METHODS[name](model, noise(2, 9, 8)).shape == (2, 9, 8)
    if not hasattr(METHODS[name], "penultimate_layer_idx"):
        model = sequential((4,), layers.Dense(2, "relu"))
        assert METHODS[name].attributions(model, noise(2, 4)).shape == (2, 4)


@pytest.mark.parametrize("name", METHODS)
def test_batch_equals_single_images(name):
    model = shared_convnet(9, 8, 3)
    images = noise(3, 9, 8, 3) * np.array([1, 9, 0.1]).reshape(3, 1, 1, 1)
    method = METHODS[name]
    if name == "SmoothGrad":  # Each image of a batch has its own noise.
        method = SmoothGrad(samples=5, noise=0, seed=0)
    maps = method(model, images)
    assert maps.shape == (3, 9, 8)
    for image, heat in zip(images, maps, strict=True):
        np.testing.assert_allclose(heat, method(model, image), atol=1e-4)
        np.testing.assert_allclose(heat, method(model, image[None]), atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_channels_first(name):
    if name == "SmoothGrad":
        pytest.skip("the noise has another axis order")
    last, first = shared_convnet(9, 8, 3), shared_convnet(9, 8, 3, data_format="channels_first")
    kernel, bias = last.layers[-1].get_weights()
    # `Flatten` uses the same order for both data formats.
    first.set_weights([*last.layers[0].get_weights(), kernel, bias])
    image = noise(9, 8, 3)
    expected = METHODS[name](last, image, filter_indices=1)
    heat = METHODS[name](first, np.moveaxis(image, -1, 0), filter_indices=1)
    np.testing.assert_allclose(heat, expected, atol=1e-4)
    np.testing.assert_allclose(METHODS[name](first, image, filter_indices=1), expected, atol=1e-4)


@pytest.mark.every(3)
@pytest.mark.parametrize("name", METHODS)
def test_no_filter_indices_explains_the_top_class_of_each_image(name):
    model = shared_convnet(9, 8, 3)
    images = noise(6, 9, 8, 3, seed=1) * 3
    first = model.predict(images, verbose=0).argmax(axis=1)
    assert len(set(first)) > 1
    maps = METHODS[name].attributions(model, images)
    several = {i: int(np.flatnonzero(first == i)[0]) for i in set(first)}
    for index, number in several.items():
        alone = METHODS[name].attributions(model, images, filter_indices=int(index))
        np.testing.assert_allclose(maps[number], alone[number], rtol=1e-3, atol=1e-5)


@pytest.mark.every(4)
@pytest.mark.parametrize("name", METHODS)
def test_one_trace_and_an_unchanged_model_that_is_freed(name):
    model = sequential(
        (8, 8, 1),
        Calls(),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(3),
    )
    before, weights = nodes(model), model.get_weights()
    METHODS[name](model, noise(8, 8, 1))
    METHODS[name](model, noise(3, 8, 8, 1))
    calls = Calls.count
    for i in range(3):
        METHODS[name](model, noise(8, 8, 1, seed=i), filter_indices=[i, 0])
        METHODS[name](model, noise(i + 2, 8, 8, 1, seed=i), filter_indices=None)
    assert Calls.count == calls
    assert nodes(model) == before
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    reference = weakref.ref(model)
    del model
    gc.collect()
    gc.collect()
    assert reference() is None


def test_open_sizes_share_a_trace():
    model = sequential(
        (None, None, 1), Calls(), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()
    )
    GradCAM()(model, noise(8, 8, 1), filter_indices=0)
    calls = Calls.count
    assert GradCAM()(model, noise(11, 9, 1), filter_indices=2).shape == (11, 9)
    # The geometry of a custom layer is measured once for each size.
    assert Calls.count <= calls + 1


def test_changed_weights_are_used():
    model = pooled(8, 8, 1)
    image = noise(8, 8, 1)
    before = Saliency().attributions(model, image, filter_indices=0)
    model.layers[-1].set_weights([2 * w for w in model.layers[-1].get_weights()])
    after = Saliency().attributions(model, image, filter_indices=0)
    np.testing.assert_allclose(after, 2 * before, rtol=1e-5)


def test_layers_inside_a_nested_model():
    base = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="inner"), layers.ReLU(name="relu")]
    )
    model = sequential((8, 8, 3), base, layers.GlobalAveragePooling2D(), layers.Dense(3))
    flat = sequential((8, 8, 3), *base.layers, *model.layers[1:])
    image = noise(8, 8, 3)
    for method in (GradCAM, LayerCAM, ScoreCAM):
        expected = method("relu")(flat, image)
        np.testing.assert_allclose(
            method(base.get_layer("relu"))(model, image), expected, atol=1e-5
        )
        # The default is the nearest convolution, inside the nested model.
        np.testing.assert_allclose(method()(model, image), method("inner")(flat, image), atol=1e-5)
    np.testing.assert_allclose(Saliency()(model, image), Saliency()(flat, image), atol=1e-5)


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = convnet(8, 8, 3)
    finally:
        keras.config.set_dtype_policy("float32")
    for method in METHODS.values():
        heat = method(model, noise(8, 8, 3))
        assert heat.max() == 1
        assert np.isfinite(heat).all()


def test_custom_method():
    class Deviation(Attribution):
        def measure(self, score, images):
            return np.abs(images - images.mean(axis=(1, 2), keepdims=True)).sum(axis=-1)

    image = noise(8, 8, 3)
    expected = scaled(np.abs(image - image.mean(axis=(0, 1))).sum(axis=-1))
    model = convnet(8, 8, 3)
    np.testing.assert_allclose(Deviation()(model, image), expected, rtol=1e-5)
    assert Deviation().attributions(model, image).shape == (1, 8, 8, 1)

    class Wrong(Attribution):
        def measure(self, score, images):
            return images[:, 1:]

    with pytest.raises(ValueError, match=r"`measure` must(.|\n)*Received: .*\(1, 7, 8, 3\)"):
        Wrong()(model, image)


# Gradients.


def softplus_dense(weights):
    model = sequential((len(weights),), layers.Dense(1, "softplus", use_bias=False))
    model.set_weights([np.array(weights, "float32")[:, None]])
    return model


def test_gradient_times_input():
    image, weights = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.2, -1.0])
    slope = 1 / (1 + np.exp(-image @ weights))
    expected = image * weights * slope
    attributions = GradientTimesInput().attributions(softplus_dense(weights), image)
    np.testing.assert_allclose(attributions, expected[None], rtol=1e-5)


def test_integrated_gradients_of_a_known_integral():
    image, weights, baseline = np.array([1.0, -2.0, 4.0]), np.array([3, 2, -1]), np.ones(3)
    # The gradient is proportional to the weights at every point.
    rise = np.logaddexp(0, image @ weights) - np.logaddexp(0, baseline @ weights)
    expected = (image - baseline) * weights / ((image - baseline) @ weights) * rise
    method = IntegratedGradients(steps=64, baseline=1)
    attributions = method.attributions(softplus_dense(weights), image)
    np.testing.assert_allclose(attributions, expected[None], rtol=1e-3)
    method = IntegratedGradients(steps=64, baseline=baseline)
    np.testing.assert_array_equal(method.attributions(softplus_dense(weights), image), attributions)


def test_integrated_gradients_with_a_kink():
    # relu(x - 0.9 y) from (0, 1) to (1, 0): the gradient is 0 before the kink, (1, -0.9) after.
    model = sequential((2,), layers.Dense(1, "relu", use_bias=False))
    model.set_weights([np.array([[1.0], [-0.9]], "float32")])
    image = np.array([1.0, 0.0])
    method = IntegratedGradients(steps=20, baseline=np.array([0.0, 1.0]))
    attributions = method.attributions(model, image)
    share = 1 - 0.9 / 1.9
    np.testing.assert_allclose(attributions, [[share, 0.9 * share]], rtol=1e-5)
    assert method.completeness_error(attributions, model, image) < 1e-5


def test_completeness_error():
    model = softplus_dense([1.0, 2.0])
    method, images = IntegratedGradients(), np.array([[1.0, 2.0], [3.0, 4.0]])
    attributions = method.attributions(model, images)
    assert (method.completeness_error(attributions, model, images) < 1e-3).all()
    attributions[1] *= 1.25
    errors = method.completeness_error(attributions, model, images)
    np.testing.assert_allclose(errors, [0, 0.25], atol=1e-3)
    with pytest.raises(ValueError, match=r"`attributions`(.|\n)*Received: "):
        method.completeness_error(attributions[0], model, images)


def test_smooth_grad_is_the_mean_of_gradients_of_noisy_images():
    image = np.array([0.0, 4.0])
    model = softplus_dense([1.0, -0.5])
    smooth = SmoothGrad(samples=4000, noise=0.25, seed=3, batch_size=1000)
    attributions = smooth.attributions(model, image)
    # Noise of 0.25 x (4 - 0) in each value; the input of the unit is normally distributed.
    at = image @ [1, -0.5] + np.sqrt(1 + 0.25) * np.linspace(-6, 6, 2001)
    density = np.exp(-(np.linspace(-6, 6, 2001) ** 2) / 2)
    slope = (density / (1 + np.exp(-at))).sum() / density.sum()
    np.testing.assert_allclose(attributions, [[slope, -0.5 * slope]], rtol=0.05)


def test_smooth_grad_seed():
    model, image = convnet(8, 8, 1), noise(8, 8, 1)
    maps = [SmoothGrad(samples=3, seed=seed)(model, image) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 1e-3
    maps = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        maps.append(SmoothGrad(samples=3)(model, image))
    np.testing.assert_array_equal(*maps)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    SmoothGrad(samples=3, seed=0)(model, image)
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_guided_grad_cam_is_guided_times_grad_cam():
    model, image = convnet(8, 8, 3), noise(8, 8, 3)
    guided = Saliency(backprop_modifier="guided").attributions(model, image)
    cam = GradCAM().attributions(model, image)
    expected = guided * cam
    np.testing.assert_allclose(GuidedGradCAM().attributions(model, image), expected, rtol=1e-5)
    expected = scaled(np.abs(expected[0]).max(axis=-1))
    np.testing.assert_allclose(GuidedGradCAM()(model, image), expected, atol=1e-5)


# Class activation maps.


def test_grad_cam_of_known_gradients():
    model, image = pooled(10, 10, 3), noise(10, 10, 3)
    maps = features(model, image[None])[0]
    weights = model.layers[-1].get_weights()[0][:, 1]
    expected = np.maximum(maps @ weights, 0) / 64
    cam = GradCAM().attributions(model, image, filter_indices=1)
    np.testing.assert_allclose(cam[..., 0], resize_maps(expected[None], (10, 10)), atol=1e-6)


def test_layer_cam_of_known_gradients():
    model, image = pooled(10, 10, 3), noise(10, 10, 3)
    maps = features(model, image[None])[0]
    weights = np.maximum(model.layers[-1].get_weights()[0][:, 1], 0)
    expected = np.maximum(maps @ weights, 0) / 64
    cam = LayerCAM().attributions(model, image, filter_indices=1)
    np.testing.assert_allclose(cam[..., 0], resize_maps(expected[None], (10, 10)), atol=1e-6)


def test_grad_cam_plus_plus_formula_of_the_paper():
    rng = np.random.default_rng(0)
    values, grads = np.abs(rng.normal(size=(2, 4, 5, 3))), rng.normal(size=(2, 4, 5, 3))
    weights = GradCAMPlusPlus().weights(values, grads)
    for n, k in itertools.product(range(2), range(3)):
        expected = 0
        for i, j in itertools.product(range(4), range(5)):
            # Equation 19; the higher derivatives of exp(score) are powers of the gradient.
            g = grads[n, i, j, k]
            total = sum(values[n, a, b, k] for a in range(4) for b in range(5))
            expected += g**2 / (2 * g**2 + total * g**3) * max(g, 0)
        # The weights are scaled by the largest gradient of the image.
        ratio = weights[n, 0, 0, k] / expected
        assert ratio == pytest.approx(1 / np.abs(grads[n]).max())


def test_grad_cam_plus_plus_of_tiny_gradients():
    rng = np.random.default_rng(0)
    values = np.abs(rng.normal(size=(1, 4, 5, 3))).astype("float32")
    grads = rng.normal(size=(1, 4, 5, 3)).astype("float32") * np.float32(1e-20)
    weights = GradCAMPlusPlus().weights(values, grads)
    assert np.isfinite(weights).all()
    assert (weights > 0).any()


def test_score_cam_formula():
    model, image = pooled(10, 10, 3, classes=2), noise(10, 10, 3)
    maps = features(model, image[None])[0]
    scores = []
    for k in range(4):
        mask = scaled(resize_maps(maps[None, ..., k], (10, 10)))[0]
        masked = image * mask[..., None]
        scores.append(float(model.predict(masked[None], verbose=0)[0, 1]))
    weights = np.exp(scores) / np.exp(scores).sum()
    expected = resize_maps(np.maximum(maps @ weights, 0)[None], (10, 10))
    cam = ScoreCAM(batch_size=3).attributions(model, image, filter_indices=1)
    np.testing.assert_allclose(cam[..., 0], expected, rtol=1e-4, atol=1e-5)

    varied = np.argsort(-maps.std(axis=(0, 1)))[:2]
    weights = np.exp(np.array(scores)[varied]) / np.exp(np.array(scores)[varied]).sum()
    expected = resize_maps(np.maximum(maps[..., varied] @ weights, 0)[None], (10, 10))
    cam = FasterScoreCAM(max_channels=2).attributions(model, image, filter_indices=1)
    np.testing.assert_allclose(cam[..., 0], expected, rtol=1e-4, atol=1e-5)


def test_score_cam_and_occlusion_without_gradients():
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(4, 3, name="conv"),
        layers.Lambda(keras.ops.round),
        layers.Flatten(),
        layers.Dense(2),
    )
    image = noise(8, 8, 1) * 5
    for method in (ScoreCAM(), FasterScoreCAM(), Occlusion()):
        assert method(model, image).max() == 1
    with pytest.raises(ValueError, match="No gradient flows"):
        GradCAM()(model, image)


def test_maps_of_several_layers_are_fused():
    model = sequential(
        (8, 8, 1),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.Conv2D(4, 3, activation="relu", name="second"),
        layers.Flatten(),
        layers.Dense(2),
    )
    image = noise(8, 8, 1)
    maps = [LayerCAM(name)(model, image) for name in ("first", "second")]
    for indices in (["first", "second"], [0, model.layers[1]]):
        fused = LayerCAM(indices)(model, image)
        np.testing.assert_allclose(fused, scaled(sum(maps)), atol=1e-5)


def test_resize_maps_interpolates_between_cell_centres():
    heat = resize_maps(np.array([[0.0, 1.0], [2.0, 3.0]])[None], (4, 2))[0]
    np.testing.assert_allclose(heat, [[0, 1], [0.5, 1.5], [1.5, 2.5], [2, 3]])


# Occlusion.


def test_occlusion_formula():
    model = sequential((5, 1), layers.Flatten(), layers.Dense(1, use_bias=False))
    weights = np.array([1.0, 2.0, -3.0, 4.0, 5.0])
    model.set_weights([weights[:, None]])
    image = np.array([1.0, 1.0, 1.0, 2.0, 1.0])[:, None]
    drop = weights * image[:, 0]
    # Patches at 0-1, 2-3 and, to cover the end, 3-4.
    expected = [drop[0] + drop[1]] * 2 + [drop[2] + drop[3]]
    expected += [(drop[2] + 2 * drop[3] + drop[4]) / 2, drop[3] + drop[4]]
    method = Occlusion(patch=2, stride=2, fill=0, batch_size=2)
    found = method.attributions(model, image)[..., 0]
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    # The default fill is the image's mean.
    attributions = Occlusion(patch=5).attributions(model, image)[..., 0]
    np.testing.assert_allclose(attributions, [[drop.sum() - 1.2 * weights.sum()] * 5], rtol=1e-4)


def test_occlusion_map_has_positive_values_only():
    model = sequential((4, 1), layers.Flatten(), layers.Dense(1, use_bias=False))
    model.set_weights([np.array([[1.0], [-2.0], [0.0], [4.0]])])
    heat = Occlusion(patch=1, fill=0)(model, np.ones((4, 1)))
    np.testing.assert_allclose(heat, [0.25, 0, 0, 1], rtol=1e-5)


def test_occlusion_of_a_vector():
    model = sequential((4,), layers.Dense(1, use_bias=False))
    model.set_weights([np.array([[1.0], [2.0], [3.0], [4.0]])])
    attributions = Occlusion(patch=1, fill=0).attributions(model, np.ones(4))
    np.testing.assert_allclose(attributions, [[1, 2, 3, 4]], rtol=1e-5)


# Sanity check: Adebayo et al., "Sanity Checks for Saliency Maps", 2018.


@pytest.mark.filterwarnings("ignore:. of . maps show nothing")
def test_randomised_last_layers_change_the_map():
    from skimage import data

    from vis.applications import EfficientNetLite0

    image = data.chelsea()[:, 75:375][::2, ::2]
    model = EfficientNetLite0(classifier_activation=None, input_shape=(*image.shape[:2], 3))
    methods, cat = [GradCAM(), Saliency(), LayerCAM()], 285
    before = [method(model, image, -1, cat) for method in methods]
    for method, heat in zip(methods, before, strict=True):
        np.testing.assert_array_equal(method(model, image, -1, cat), heat)
    rng = np.random.default_rng(0)
    for layer in [layer for layer in model.layers if layer.weights][-6:]:
        if not isinstance(layer, layers.BatchNormalization):
            layer.set_weights(
                [rng.permuted(w.ravel()).reshape(w.shape) for w in layer.get_weights()]
            )
    for method, heat in zip(methods, before, strict=True):
        after = method(model, image, -1, cat)
        # An empty map is not similar.
        assert after.std() == 0 or np.corrcoef(heat.ravel(), after.ravel())[0, 1] < 0.8, method


# Invalid arguments.


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"seed_input": np.zeros((8, 8))}, ValueError, "`seed_input` must be of shape"),
        ({"seed_input": np.zeros((9, 8, 3))}, ValueError, "`seed_input` must be of shape"),
        ({"seed_input": np.zeros((0, 8, 8, 3))}, ValueError, "at least one image"),
        ({"seed_input": np.full((8, 8, 3), np.nan)}, ValueError, "must be finite"),
        ({"seed_input": np.full((8, 8, 3), "a")}, TypeError, "array of numbers"),
        ({"seed_input": [np.zeros((8, 8, 3)), np.zeros((4, 8, 3))]}, ValueError, "one shape"),
        ({"seed_input": None}, TypeError, "array of numbers"),
        ({"seed_input": np.zeros((8, 8, 3), complex)}, TypeError, "array of numbers"),
        ({"layer_idx": 7}, ValueError, "`layer_idx` is out of range"),
        ({"layer_idx": "no such"}, ValueError, "`layer_idx` must be the name"),
        ({"layer_idx": layers.Dense(2)}, ValueError, "`layer_idx` must be a layer of the model"),
        ({"layer_idx": 1.5}, TypeError, "`layer_idx`"),
        ({"filter_indices": 3}, ValueError, "`filter_indices` is out of range"),
        ({"filter_indices": []}, ValueError, "`filter_indices` must hold"),
        ({"filter_indices": 0.5}, TypeError, "`filter_indices`"),
        ({"model": "resnet"}, TypeError, "`model` must be a Keras 3 model"),
    ],
)
@pytest.mark.parametrize("visualize", [visualize_saliency, visualize_cam])
def test_wrong_arguments(visualize, wrong, error, message):
    right = {
        "model": shared_convnet(8, 8, 3),
        "layer_idx": -1,
        "filter_indices": 0,
        "seed_input": np.zeros((8, 8, 3)),
    }
    with pytest.raises(error, match=message) as caught:
        visualize(**{**right, **wrong})
    assert "Received: " in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SmoothGrad(samples=0), ValueError, "`samples`"),
        (lambda: SmoothGrad(noise=-1), ValueError, "`noise`"),
        (lambda: IntegratedGradients(steps=1), ValueError, "`steps`"),
        (lambda: Occlusion(patch=0), ValueError, "`patch`"),
        (lambda: Occlusion(stride="a"), TypeError, "`stride`"),
        (lambda: ScoreCAM(batch_size=0), ValueError, "`batch_size`"),
        (lambda: FasterScoreCAM(max_channels=0), ValueError, "`max_channels`"),
    ],
)
def test_wrong_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (IntegratedGradients(baseline=np.zeros((3, 3))), "`baseline`"),
        (IntegratedGradients(baseline=np.nan), "`baseline` must be finite"),
        (Occlusion(patch=(2, 2, 2)), "`patch`"),
        (Occlusion(patch=2, stride=3), "`stride`"),
        (GradCAM([]), "`penultimate_layer_idx` must hold"),
        (Saliency(grad_modifier="no such"), "grad_modifier"),
        (Saliency(grad_modifier=lambda grads: grads[0]), "`grad_modifier`"),
        (Saliency(backprop_modifier="no such"), "backprop_modifier"),
    ],
)
def test_settings_that_do_not_fit_the_image(method, message):
    with pytest.raises(ValueError, match=message):
        method(convnet(8, 8, 3), noise(8, 8, 3))


@pytest.mark.parametrize(
    ("first", "image", "expected"),
    [
        (layers.Rescaling(1 / 255), np.linspace(0, 1, 64), "from about 0 to 255"),
        (layers.Rescaling(1 / 127.5, offset=-1), np.linspace(-1, 1, 64), "from about 0 to 255"),
        (layers.Rescaling(2, offset=-1), np.linspace(0, 255, 64), "from about 0 to 1"),
        (layers.Normalization(mean=120, variance=3600), np.linspace(0, 1, 64), "0 to 240"),
    ],
)
def test_unexpected_input_range_warns(recwarn, first, image, expected):
    model = sequential((8, 8, 1), layers.RandomFlip(), first, layers.Conv2D(2, 3), layers.Flatten())
    image = image.reshape(8, 8, 1)
    with pytest.warns(UserWarning, match=expected):
        visualize_saliency(model, -1, 0, image)
    low, high = {"from about 0 to 255": (0, 255), "from about 0 to 1": (0, 1)}.get(
        expected, (0, 240)
    )
    recwarn.clear()
    visualize_saliency(model, -1, 0, low + (high - low) * scaled(image))
    visualize_saliency(model, -1, 0, np.zeros((8, 8, 1)))
    assert not recwarn.list


def test_model_without_rescaling_takes_any_range(recwarn):
    visualize_saliency(pooled(8, 8, 1), -1, 0, 1e4 * noise(8, 8, 1))
    assert not recwarn.list


def test_custom_loss_with_a_batch():
    from vis.visualization import visualize_saliency_with_losses

    class SquareOfFirst(Loss):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def build_loss(self):
            return keras.ops.mean(keras.ops.square(self.layer.output[:, 0]))

    model = convnet(8, 8, 3)
    before = nodes(model)
    losses = [(SquareOfFirst(model.layers[-1]), 1)]
    images = noise(2, 8, 8, 3)
    maps = visualize_saliency_with_losses(model.inputs[0], losses, images)
    # The softplus output is positive: its square has the same sign of the gradient.
    np.testing.assert_allclose(maps, visualize_saliency(model, -1, 0, images), atol=1e-4)
    assert nodes(model) == before


def test_integrated_gradients_with_masking():
    """Masked frames have no attribution; the baseline applies to the others."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((5, 2)), keras.layers.Masking(), keras.layers.LSTM(3), keras.layers.Dense(2)]
    )
    frames = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    frames[3:] = 0
    method = IntegratedGradients(steps=200)
    attributions = method.attributions(model, frames, -1, 1)[0]
    assert np.isfinite(attributions).all()
    np.testing.assert_array_equal(attributions[3:], 0)

    def score(x):
        lstm, dense = model.layers[1:]
        return keras.ops.convert_to_numpy(dense(lstm(x[None, :3])))[0, 1]

    difference = score(frames) - score(np.zeros_like(frames))
    np.testing.assert_allclose(attributions.sum(), difference, rtol=1e-3)
    assert method.completeness_error(attributions[None], model, frames, -1, 1) < 1e-3


# Losses in place of a layer and filters.


def two_heads():
    """A network with two heads, each with a convolution of its own."""
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(3, 3, activation="tanh", name="shared")(inputs)
    heads = [
        layers.Dense(3, name=name)(
            layers.Flatten()(layers.Conv2D(2, 3, activation="tanh", name=f"conv_{name}")(x))
        )
        for name in "ab"
    ]
    return keras.Model(inputs, heads)


def tape_gradient(function, value):
    with tf.GradientTape() as tape:
        tape.watch(value := tf.convert_to_tensor(value))
        score = function(value)
    return tape.gradient(score, value).numpy()


def activation(model, layer, index, weight=-1):
    return ActivationMaximization(model.get_layer(layer), index), weight


@pytest.mark.parametrize("name", METHODS)
def test_loss_of_a_filter_equals_filter_indices(name):
    model, images = shared_convnet(9, 8, 3), noise(2, 9, 8, 3)
    method = SmoothGrad(samples=5, noise=0, seed=0) if name == "SmoothGrad" else METHODS[name]
    losses = [(ActivationMaximization(model.layers[-1], 1), -1)]
    np.testing.assert_array_equal(
        method(model, images, losses=losses), method(model, images, filter_indices=1)
    )


def test_weighted_losses_of_two_heads():
    model, images = two_heads(), noise(2, 8, 8, 2)

    def score(x):
        a, b = model(x)
        return tf.reduce_sum(a[:, 1] - 0.5 * b[:, 2])

    losses = [activation(model, "a", 1), activation(model, "b", 2, 0.5)]
    expected = tape_gradient(score, images)
    attributions = Saliency().attributions(model, images, losses=losses)
    np.testing.assert_allclose(attributions, expected, atol=1e-6)
    # A sum of losses has their weights; a loss alone has weight 1.
    total = -1 * losses[0][0] + 0.5 * losses[1][0]
    np.testing.assert_array_equal(
        Saliency().attributions(model, images, losses=total), attributions
    )
    np.testing.assert_array_equal(
        Saliency().attributions(model, images, losses=losses[0][0]),
        -Saliency().attributions(model, images, "a", 1),
    )


def test_grad_cam_of_losses_uses_the_nearest_layer_before_all_of_them():
    model, image = two_heads(), noise(8, 8, 2)
    shared, *_ = model.layers[1:]

    def score(x):
        a, b = (
            model.get_layer(name)(layers.Flatten()(model.get_layer(f"conv_{name}")(x)))
            for name in "ab"
        )
        return tf.reduce_sum(a[:, 1] - b[:, 2])

    values = shared(image[None])
    weights = tape_gradient(score, values).mean(axis=(1, 2), keepdims=True)
    expected = resize_maps(np.maximum((values * weights).numpy().sum(axis=-1), 0), (8, 8))
    both = [activation(model, "a", 1), activation(model, "b", 2, 1)]
    np.testing.assert_allclose(
        GradCAM().attributions(model, image, losses=both)[..., 0], expected, atol=1e-6
    )
    # A penalty on the image does not change the layer.
    alone = [activation(model, "a", 1), (LPNorm(model.inputs[0]), 1)]
    np.testing.assert_allclose(
        GradCAM().attributions(model, image, losses=alone),
        GradCAM("conv_a").attributions(model, image, "a", 1),
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="must be a layer before 'a', which is explained"):
        GradCAM("conv_b")(model, image, losses=alone)


class Margin(Loss):
    """A loss with an expression: minus the difference of two outputs."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def build_loss(self):
        return keras.ops.mean(self.layer.output[:, 1] - self.layer.output[:, 0])


@pytest.mark.parametrize("name", ["Saliency", "guided", "GradCAM", "GuidedGradCAM", "ScoreCAM"])
def test_custom_loss_equals_output_score(name):
    model, images = shared_convnet(9, 8, 3), noise(2, 9, 8, 3)
    margin = OutputScore(model.layers[-1], lambda output: output[:, 1] - output[:, 0])
    expected = METHODS[name].attributions(model, images, losses=[(margin, -1)])
    before = nodes(model)
    attributions = METHODS[name].attributions(model, images, losses=[(Margin(model.layers[-1]), 1)])
    largest = np.abs(expected).max()
    np.testing.assert_allclose(attributions, expected, atol=1e-4 * largest)
    assert largest > 0
    assert nodes(model) == before


def test_integrated_gradients_of_losses_are_complete():
    model, images = shared_convnet(9, 8, 3), noise(2, 9, 8, 3)
    losses = [(OutputScore(model.layers[-1], lambda output: output[:, 1] ** 2), -1)]
    method = IntegratedGradients()
    attributions = method.attributions(model, images, losses=losses)
    scores = [model(x).numpy()[:, 1] ** 2 for x in (images, np.zeros_like(images))]
    difference = scores[0] - scores[1]
    np.testing.assert_allclose(attributions.sum(axis=(1, 2, 3)), difference, rtol=0.01)
    assert (method.completeness_error(attributions, model, images, losses=losses) < 0.01).all()


def test_losses_with_a_target_for_each_image():
    model, images = shared_convnet(9, 8, 3), noise(2, 9, 8, 3)
    losses = [(FilterActivations(model.layers[-1], [0, 2]), -1)]
    maps = [Saliency()(model, x, filter_indices=i) for x, i in zip(images, [0, 2], strict=True)]
    np.testing.assert_allclose(Saliency()(model, images, losses=losses), maps, atol=1e-5)
    with pytest.raises(ValueError, match="`losses` must be for one image, or for each of the 3"):
        Saliency()(model, noise(3, 9, 8, 3), losses=losses)


def test_invalid_losses():
    model, image = convnet(8, 8, 3), noise(8, 8, 3)
    losses = [(ActivationMaximization(model.layers[-1], 1), -1)]
    for given in ({"filter_indices": 1}, {"layer_idx": 0}, {"layer_idx": model.layers[-1]}):
        with pytest.raises(ValueError, match="must be given without `layer_idx`"):
            Saliency()(model, image, **given, losses=losses)
    # The documented defaults change nothing.
    heat = Saliency()(model, image, -1, None, losses=losses, input_name=None)
    np.testing.assert_array_equal(heat, Saliency()(model, image, losses=losses))
    with pytest.raises(TypeError, match="`losses` must be a list"):
        Saliency()(model, image, losses=1)
    with pytest.raises(ValueError, match="`losses` must be on layers"):
        Saliency()(convnet(8, 8, 3), image, losses=losses)


# The input to explain.


def two_images():
    """A network of two images and a vector, which it adds up."""
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((6, 6, 1), name="right")
    numbers = keras.Input((4,), name="numbers")
    a = layers.Conv2D(2, 3, activation="tanh", name="conv_left")(left)
    b = layers.Conv2D(2, 3, activation="tanh", name="conv_right")(right)
    x = layers.Concatenate()([layers.Flatten()(a), layers.Flatten()(b), numbers])
    return keras.Model([left, right, numbers], layers.Dense(2, "softplus")(x))


@pytest.mark.parametrize("name", ["left", "right", "numbers"])
def test_input_name(name):
    model = two_images()
    values = {"left": noise(8, 8, 3), "right": noise(6, 6, 1), "numbers": noise(4)}
    position = list(values).index(name)

    def score(x):
        inputs = [tf.convert_to_tensor(v)[None] for v in values.values()]
        inputs[position] = x
        return model(inputs)[0, 1]

    expected = tape_gradient(score, values[name][None])
    for input_name in (name, position, position - 3):
        attributions = Saliency().attributions(model, values, -1, 1, input_name=input_name)
        np.testing.assert_allclose(attributions, expected, atol=1e-6)
    heat = Saliency()(model, values, -1, 1, input_name=name)
    expected = np.abs(expected[0])
    expected = expected if name == "numbers" else expected.max(axis=-1)
    np.testing.assert_allclose(heat, scaled(expected), atol=1e-5)


@pytest.mark.every(4)
@pytest.mark.parametrize(
    ("name", "side"), [("GradCAM", "left"), *((name, "right") for name in METHODS)]
)
def test_input_name_equals_a_model_of_this_input(name, side):
    model, method = two_images(), METHODS[name]
    values = {"left": noise(8, 8, 3), "right": noise(6, 6, 1), "numbers": noise(4)}
    # The contributions of the other inputs are part of the bias.
    kernel, bias = model.layers[-1].get_weights()
    parts = np.split(kernel, [72, 104])
    others = [
        np.ravel(model.get_layer(f"conv_{key}")(values[key][None]))
        if key != "numbers"
        else values[key]
        for key in values
    ]
    weights = dict(zip(values, parts, strict=True))
    for key, features in zip(values, others, strict=True):
        if key != side:
            bias = bias + features @ weights[key]
    convolution = model.get_layer(f"conv_{side}")
    alone = sequential(
        values[side].shape,
        layers.Conv2D(2, 3, activation="tanh"),
        layers.Flatten(),
        layers.Dense(2, "softplus"),
    )
    alone.set_weights([*convolution.get_weights(), weights[side], bias])
    heat = method(model, values, filter_indices=1, input_name=side)
    expected = method(alone, values[side], filter_indices=1)
    np.testing.assert_allclose(heat, expected, atol=1e-4)


def test_input_name_of_token_ids():
    ids, image = keras.Input((3,), dtype="int32", name="ids"), keras.Input((8, 8, 3), name="image")
    embedding = layers.Embedding(7, 2)
    x = layers.Concatenate()([layers.Flatten()(embedding(ids)), layers.Flatten()(image)])
    model = keras.Model([ids, image], layers.Dense(2)(x))
    values = {"ids": np.array([1, 5, 2]), "image": noise(8, 8, 3)}
    expected = model.layers[-1].get_weights()[0][:6, 1].reshape(1, 3, 2)
    attributions = Saliency().attributions(model, values, -1, 1, input_name="ids")
    np.testing.assert_allclose(attributions, expected, rtol=1e-5)
    assert Saliency()(model, values, -1, 1).shape == (8, 8)


def test_invalid_input_name():
    model = two_images()
    values = [noise(8, 8, 3), noise(6, 6, 1), noise(4)]
    with pytest.raises(ValueError, match="'left', 'right', 'numbers'; did you mean 'right'"):
        Saliency()(model, values, input_name="rigt")
    with pytest.raises(ValueError, match="`input_name` must be the name or index"):
        Saliency()(model, values, input_name=3)
    with pytest.raises(TypeError, match="`input_name` must be the name or index"):
        Saliency()(model, values, input_name=0.5)
    with pytest.raises(ValueError, match="with the spatial axes of the input"):
        GradCAM("conv_left")(model, values, input_name="numbers")


# One filter for each image.


@pytest.mark.parametrize("name", METHODS)
def test_filter_indices_for_each_image(recwarn, name):
    indices = np.array([[2], [0], [1]]) if name == "Saliency" else [[2], [0], [-2]]
    model, images = shared_convnet(9, 8, 3), noise(3, 9, 8, 3)
    method = SmoothGrad(samples=5, noise=0, seed=0) if name == "SmoothGrad" else METHODS[name]
    maps = method(model, images, filter_indices=indices)
    for heat, image, index in zip(maps, images, [2, 0, 1], strict=True):
        np.testing.assert_allclose(heat, method(model, image, filter_indices=index), atol=1e-4)
    assert not [w for w in recwarn if "filter_indices" in str(w.message)]


@pytest.mark.parametrize("visualize", [visualize_saliency, visualize_cam])
def test_lists_of_filter_indices_of_different_lengths(visualize):
    model, images = shared_convnet(9, 8, 3), noise(2, 9, 8, 3)
    first, second = visualize(model, -1, [[0, 2], (1,)], images)
    np.testing.assert_allclose(first, visualize(model, -1, [0, 2], images[0]), atol=1e-5)
    np.testing.assert_allclose(second, visualize(model, -1, 1, images[1]), atol=1e-5)
    heat = visualize(model, -1, [[1]], images[1])
    np.testing.assert_allclose(second, heat, atol=1e-5)


@pytest.mark.parametrize("visualize", [visualize_saliency, visualize_cam])
def test_as_many_filter_indices_as_images_warn(recwarn, visualize):
    model, images = shared_convnet(9, 8, 3), noise(2, 9, 8, 3)
    with pytest.warns(UserWarning, match=r"array of shape `\(samples, 1\)`"):
        maps = visualize(model, -1, [0, 2], images)
    recwarn.clear()
    np.testing.assert_array_equal(maps, visualize(model, -1, [[0, 2]] * 2, images))
    visualize(model, -1, [0, 1, 2], images)
    visualize(model, -1, [1], images[0])
    assert not recwarn.list


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([[0], [1], [2]], ValueError, "one list of indices for each of the 2 images"),
        ([[0], 1], ValueError, "one list of indices for each of the 2 images"),
        ([[0], []], ValueError, "`filter_indices` must hold"),
        ([[0], [3]], ValueError, "`filter_indices` is out of range"),
        ([[0], [0.5]], TypeError, "`filter_indices` must be an integer"),
        ([[[0]], [[1]]], TypeError, "`filter_indices` must be an integer"),
    ],
)
def test_invalid_filter_indices_for_each_image(indices, error, message):
    with pytest.raises(error, match=message) as caught:
        Saliency()(convnet(8, 8, 3), noise(2, 8, 8, 3), filter_indices=indices)
    assert "Received: " in str(caught.value)
