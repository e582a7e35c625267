"""Shows what in a photograph a network's answer rests on, by one method beside the other.

Examples:
    What EfficientNet-Lite0 sees in three photographs of scikit-image (offline)::

        python examples/attention.py

    Several questions about one photograph::

        python examples/attention.py astronaut --classes crash_helmet space_shuttle flagpole

    A photograph of your own, and other methods::

        python examples/attention.py dog.jpg --methods GradCAM LayerCAM SmoothGrad
"""

from __future__ import annotations

# First, as it imports TensorFlow without its greetings on standard error.
import vis  # noqa: F401

# isort: split
import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageOps

from vis import plotting
from vis.applications import EfficientNetLite0
from vis.utils.imagenet import imagenet_class_index, lookup_imagenet_labels
from vis.visualization import (
    CAM,
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
)

# Photographs of scikit-image, and classes to ask for in place of the one that is put first.
PHOTOGRAPHS = {"coffee": [], "chelsea": [], "astronaut": ["crash_helmet", "space_shuttle"]}
METHODS = {
    "Saliency": Saliency(),
    "Guided": Saliency(backprop_modifier="guided"),
    "Rectified": Saliency(backprop_modifier="rectified"),
    "GradientTimesInput": GradientTimesInput(),
    "SmoothGrad": SmoothGrad(seed=0),
    "IntegratedGradients": IntegratedGradients(),
    "GradCAM": GradCAM(),
    "GradCAMPlusPlus": GradCAMPlusPlus("head_relu"),
    "LayerCAM": LayerCAM(["block11_add", "head_relu"]),
    "ScoreCAM": ScoreCAM("head_relu"),
    "FasterScoreCAM": FasterScoreCAM("head_relu"),
    "GuidedGradCAM": GuidedGradCAM(),
    "Occlusion": Occlusion(),
}
DEFAULT_METHODS = ("Saliency", "Guided", "IntegratedGradients", "GradCAM", "LayerCAM")
# The few strongest pixels would leave all others black.
BRIGHTEST = 99.5


def main(argv: Sequence[str] | None = None) -> Path:
    """Runs the script.

    Args:
        argv: Arguments of the command line, without the name of the script.

    Returns:
        Path of the picture.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return _draw(args)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))


def _draw(args: argparse.Namespace) -> Path:
    output = Path(args.output)
    if output.suffix.lower() != ".png":
        raise ValueError(f"`--output` must be the path of a .png file. Received: {args.output}")
    output.parent.mkdir(parents=True, exist_ok=True)
    # Without its softmax: a class wins there just as well when all others lose.
    model = EfficientNetLite0(classifier_activation=None)
    size = model.input_shape[1]
    rows = []
    for name in args.photographs:
        photograph = _photograph(name, size)
        classes = PHOTOGRAPHS.get(name, []) if args.classes is None else args.classes
        wanted = [imagenet_class_index(each) for each in classes]
        if not wanted:
            wanted = [int(model.predict(photograph[None], verbose=0).argmax())]
        rows += [(photograph, index) for index in wanted]

    columns = len(args.methods) + 1
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(2.2 * columns, 2.4 * len(rows)),
        layout="constrained",
        squeeze=False,
    )
    for (photograph, index), cells in zip(rows, axes, strict=True):
        plotting.picture(photograph, title=lookup_imagenet_labels(index)[0], ax=cells[0])
        for name, cell in zip(args.methods, cells[1:], strict=True):
            heat = METHODS[name](model, photograph, filter_indices=index)
            if isinstance(METHODS[name], CAM | Occlusion):
                plotting.heatmap(photograph, heat, title=name, ax=cell)
            else:
                heat = np.clip(heat / (np.percentile(heat, BRIGHTEST) or 1), 0, 1)
                plotting.picture(plt.colormaps["inferno"](heat)[..., :3], title=name, ax=cell)
    figure.savefig(output, dpi=100)
    plt.close(figure)
    print(output)
    return output


def _photograph(name: str, size: int) -> np.ndarray:
    """A photograph of scikit-image, or of a file, cropped to a square."""
    if name in PHOTOGRAPHS:
        try:
            from skimage import data
        except ImportError as error:
            raise ImportError(
                f"The photograph '{name}' comes with scikit-image: `pip install scikit-image`, or "
                "give the path of one of your own."
            ) from error
        image = Image.fromarray(getattr(data, name)())
    elif Path(name).is_file():
        image = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
    else:
        raise ValueError(
            f"A photograph must be one of {', '.join(PHOTOGRAPHS)}, or the path of a file that "
            f"exists. Received: {name}"
        )
    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))


def _parser() -> argparse.ArgumentParser:
    summary, examples = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=examples.replace("::", ":"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "photographs",
        nargs="*",
        default=list(PHOTOGRAPHS),
        metavar="PHOTOGRAPH",
        help=f"{', '.join(PHOTOGRAPHS)} (default: all three), or the path of a file",
    )
    add(
        "--classes",
        nargs="+",
        metavar="CLASS",
        help="names of ImageNet classes (default: the one that the network puts first; for the "
        "astronaut, of whom it makes a bobsled, her helmet and the shuttle)",
    )
    add(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=list(DEFAULT_METHODS),
        metavar="METHOD",
        help=f"any of {', '.join(METHODS)} (default: {', '.join(DEFAULT_METHODS)})",
    )
    add(
        "--output",
        default="results/attention.png",
        metavar="PNG",
        help="where to write the picture (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
