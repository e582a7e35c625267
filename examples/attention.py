"""Attribution: compares saliency maps and class activation maps of photographs.

Examples:
    Three photographs of scikit-image, explained by EfficientNet-Lite0 (offline)::

        python examples/attention.py

    Several classes of one photograph::

        python examples/attention.py astronaut --classes crash_helmet space_shuttle flagpole

    Your own photograph, and other methods::

        python examples/attention.py dog.jpg --methods GradCAM LayerCAM SmoothGrad
"""

# Import this first: it imports TensorFlow without its messages on standard error.
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

# Photographs of scikit-image, and the classes to explain instead of the predicted one.
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
# Percentile of clipped outliers, which would make all other pixels black.
BRIGHTEST = 99.5


def main(argv: Sequence[str] | None = None) -> Path:
    """Runs the script.

    Args:
        argv: Command-line arguments without the script's name.

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
    # Without the softmax, which also rewards pixels that lower all other classes.
    model = EfficientNetLite0(classifier_activation=None)
    size = model.input_shape[1]
    rows = []
    for name in args.photographs:
        photograph = _photograph(name, size)
        classes = PHOTOGRAPHS.get(name, []) if args.classes is None else args.classes
        indices = [imagenet_class_index(name) for name in classes]
        if not indices:
            indices = [int(model.predict(photograph[None], verbose=0).argmax())]
        rows += [(photograph, index) for index in indices]

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
    """A photograph of scikit-image or from a file, cropped to a square."""
    if name in PHOTOGRAPHS:
        try:
            from skimage import data
        except ImportError as error:
            raise ImportError(
                f"The photograph '{name}' comes with scikit-image: `pip install scikit-image`, or "
                "pass the path of a file."
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
        help="names of ImageNet classes (default: the predicted class; for the astronaut, whom the "
        "network takes for a bobsled, her helmet and the shuttle)",
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
        help="file for the picture (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
