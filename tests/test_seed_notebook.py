"""Runs the cells of keras-vis's notebook on activation maximization."""

import json
import sys

import keras
import numpy as np
import pytest

from vis.optimizer import Optimizer
from vis.utils.imagenet import imagenet_classes

# Two changes: random weights, because tests download nothing, and an indexed dictionary.
CELLS = [
    """
import numpy as np
np.random.seed(500)
""",
    """
from keras.applications import VGG16
from vis.utils import utils
from keras import activations

# Build the VGG16 network with ImageNet weights
model = VGG16(weights=None, include_top=True)

# Utility to search for layer index by name.
# Alternatively we can specify this as -1 since it corresponds to the last layer.
layer_idx = utils.find_layer_idx(model, 'predictions')

# Swap softmax with linear
model.layers[layer_idx].activation = activations.linear
model = utils.apply_modifications(model)
""",
    """
from vis.visualization import visualize_activation

from matplotlib import pyplot as plt
%matplotlib inline
plt.rcParams['figure.figsize'] = (18, 6)
""",
    """
help(visualize_activation)
""",
    """
%%time
# 20 is the imagenet category for 'ouzel'
img = visualize_activation(model, layer_idx, filter_indices=20)
plt.imshow(img)
""",
    """
# 20 is the imagenet category for 'ouzel'
img = visualize_activation(model, layer_idx, filter_indices=20, max_iter=300, verbose=False)
plt.imshow(img)
""",
    """
from vis.input_modifiers import Jitter

# 20 is the imagenet category for 'ouzel'
# Jitter 16 pixels along all dimensions during the optimization process.
img = visualize_activation(model, layer_idx, filter_indices=20, max_iter=500, input_modifiers=[Jitter(16)])
plt.imshow(img)
""",
    """
import json
""",
    """
with open("./imagenet_labelmap.json", "r") as f:
    labelmap = json.load(f)
""",
    """
import numpy as np
categories = np.random.permutation(1000)[:16]

vis_images = []
image_modifiers = [Jitter(16)]
for idx in categories:
    img = visualize_activation(model, layer_idx, filter_indices=idx, max_iter=500, input_modifiers=image_modifiers)

    # Reverse lookup index to imagenet label and overlay it on the image.
    img = utils.draw_text(img, labelmap[str(idx)])
    vis_images.append(img)

plt.rcParams['figure.figsize'] = (50, 50)
stitched = utils.stitch_images(vis_images, cols=4)
plt.axis('off')
plt.imshow(stitched)
plt.show()
""",
    """
%%time
layer_idx = utils.find_layer_idx(model, 'predictions')

# Swap linear back with softmax
model.layers[layer_idx].activation = activations.softmax
model = utils.apply_modifications(model)

img = visualize_activation(model, layer_idx, filter_indices=20, input_modifiers=[Jitter(16)])
plt.rcParams['figure.figsize'] = (18, 6)
plt.imshow(img)
""",
]


@pytest.fixture
def requested(monkeypatch):
    """Stops all descents after one step; returns the requested numbers of steps."""
    numbers = []
    minimize = Optimizer.minimize

    def one_step(self, *args, max_iter=200, **kwargs):
        numbers.append(max_iter)
        return minimize(self, *args, max_iter=1, **kwargs)

    monkeypatch.setattr(Optimizer, "minimize", one_step)
    return numbers


def small(weights, include_top):
    """A small network with the input and output of VGG16."""
    assert weights is None
    assert include_top
    return keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            keras.layers.Conv2D(8, 3, strides=4, activation="relu"),
            keras.layers.MaxPooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dense(1000, activation="softmax", name="predictions"),
        ]
    )


@pytest.mark.filterwarnings("ignore:Font")
@pytest.mark.filterwarnings("ignore:The score of layer")  # The last cell is about this.
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(small, id="small"),
        pytest.param(keras.applications.VGG16, id="VGG16", marks=pytest.mark.long),
    ],
)
def test_cells_run_as_they_stand(network, tmp_path, monkeypatch, capsys, requested):
    from matplotlib import pyplot as plt

    monkeypatch.setattr(keras.applications, "VGG16", network)

    monkeypatch.chdir(tmp_path)
    labels = {str(i): name for i, (_, name) in enumerate(imagenet_classes())}
    (tmp_path / "imagenet_labelmap.json").write_text(json.dumps(labels))
    monkeypatch.setattr(plt, "show", lambda: None)
    # Without a terminal, `help` opens no pager.
    monkeypatch.setattr(sys, "stdin", None)

    names, pictures = {"__name__": "__main__"}, []
    with plt.rc_context():
        for cell in CELLS:
            lines = [line for line in cell.splitlines() if not line.startswith("%")]
            exec("\n".join(lines), names)
            pictures.append(names.get("img"))
        plt.close("all")

    assert "filter_indices" in capsys.readouterr().out
    assert requested == [200, 300, 500, *[500] * 16, 200]
    assert all(p.shape == (224, 224, 3) and p.dtype == np.uint8 for p in pictures if p is not None)
    assert names["stitched"].shape == (4 * 224 + 3 * 5, 4 * 224 + 3 * 5, 3)
    # NumPy's seed decides the random numbers.
    np.random.seed(500)  # noqa: NPY002
    seeds = [np.random.randint(2**31) for _ in range(3)]  # noqa: NPY002
    assert len(set(seeds)) == 3
    assert names["model"].layers[-1].activation is keras.activations.softmax
    assert np.array_equal(names["categories"], np.random.permutation(1000)[:16])  # noqa: NPY002
