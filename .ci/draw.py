"""Draws a picture with the installed package; run where nothing of the clone is in reach."""

from importlib import metadata

import numpy as np
from PIL import Image

import vis
from vis.applications import EfficientNetLite0
from vis.utils import utils
from vis.visualization import visualize_filters

assert "site-packages" in vis.__file__, vis.__file__
assert vis.__version__ == metadata.version("keras3-vis")
print(f"vis {vis.__version__} of {vis.__file__}")

model = EfficientNetLite0(weights="imagenet")
(picture,) = visualize_filters(model, "predictions", [20], max_iter=3, seed=0, progress=False)
Image.fromarray(picture).save("picture.png")
assert np.asarray(Image.open("picture.png")).shape == (224, 224, 3)
assert utils.lookup_imagenet_labels(20) == ["water_ouzel"]
