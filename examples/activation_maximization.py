"""Activation maximization: draws a labelled grid of pictures of filters or classes.

Examples:
    Four ImageNet classes of EfficientNet-Lite0 (offline)::

        python examples/activation_maximization.py

    Other classes, by name or by index::

        python examples/activation_maximization.py --filters espresso "Egyptian cat" 323

    Channels of an inner layer::

        python examples/activation_maximization.py --layer block8_expand --filters 0 1 2 3

    A network of `keras.applications` (downloads its weights), or your own::

        python examples/activation_maximization.py --model ResNet50V2
        python examples/activation_maximization.py --model mnist.keras --input-range 0 1

    keras-vis's algorithm, with an animation for each picture::

        python examples/activation_maximization.py --method keras-vis --gif results/drawn.gif
"""

# Import this first: it imports TensorFlow without its messages on standard error.
import vis  # noqa: F401

# isort: split
import argparse
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from arguments import at_least, index_or_name
from networks import DEFAULT_MODEL, from_pixels, load

from vis import plotting
from vis.backend.graph import channel_axis_of, resolve_layer
from vis.callbacks import GifGenerator, Progress
from vis.input_modifiers import Jitter
from vis.optimizer import NonFiniteError
from vis.utils.imagenet import imagenet_class_index, imagenet_classes, lookup_imagenet_labels
from vis.utils.utils import apply_modifications
from vis.visualization import get_num_filters, visualize_activation, visualize_filters

DEFAULT_CLASSES = ["snail", "daisy", "balloon", "castle"]
KERAS_VIS, KERAS_VIS_STEPS, KERAS_VIS_JITTER = "keras-vis", 200, 16
MOST_DEFAULT_FILTERS = 4
COLUMNS = 4


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
    except NonFiniteError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.error(str(error))


def _draw(args: argparse.Namespace) -> Path:
    if args.gif and args.method != KERAS_VIS:
        raise ValueError(
            f"`--gif` needs `--method {KERAS_VIS}`, which draws one picture at a time. "
            f"Received: --method {args.method}"
        )
    output = _writable("--output", args.output, ".png")
    gif = args.gif and _writable("--gif", args.gif, ".gif")
    network, preprocess = load(args.model)
    if args.method == KERAS_VIS:
        network, layer = _with_linear_activation(network, args.layer)
    else:
        layer = resolve_layer(network, index_or_name(args.layer))
    model = from_pixels(network, preprocess)
    _check_image_model(model)
    classifies_imagenet = tuple(layer.output.shape) == (None, len(imagenet_classes()))
    filters = _filter_indices(args.filters, layer, classifies_imagenet)
    labels = [
        lookup_imagenet_labels(index)[0] if classifies_imagenet else f"filter {index}"
        for index in filters
    ]
    if args.method == KERAS_VIS:
        pictures = _with_keras_vis(model, layer, filters, labels, gif, args)
    else:
        pictures = _with_visualize_filters(model, layer, filters, args)
    pictures = [_in_unit_range(picture, args.input_range) for picture in pictures]
    plotting.grid(pictures, labels, cols=COLUMNS, save_to=output)
    print(output)
    return output


def _with_visualize_filters(
    model: keras.Model,
    layer: keras.Layer,
    filters: list[int],
    args: argparse.Namespace,
) -> np.ndarray:
    """Pictures of all filters by `visualize_filters`."""
    return visualize_filters(
        model,
        layer,
        filters,
        max_iter=args.max_iter,
        input_modifiers=None if args.jitter is None else [Jitter(args.jitter)],
        input_range=args.input_range,
        seed=args.seed,
    )


def _with_keras_vis(
    model: keras.Model,
    layer: keras.Layer,
    filters: list[int],
    labels: list[str],
    gif: Path | None,
    args: argparse.Namespace,
) -> list[np.ndarray]:
    """Pictures of the filters by keras-vis's algorithm, one at a time.

    Ctrl-C ends the current picture early and continues with the next one.
    """
    max_iter = args.max_iter or KERAS_VIS_STEPS
    pictures = []
    for index, label in zip(filters, labels, strict=True):
        callbacks = [Progress(max_iter, desc=f"{label:>16}")]
        if gif:
            path = gif if len(filters) == 1 else gif.with_stem(f"{gif.stem}_{index}")
            callbacks.append(GifGenerator(path, args.input_range))
        picture = visualize_activation(
            model,
            layer,
            index,
            input_range=args.input_range,
            max_iter=max_iter,
            input_modifiers=[Jitter(KERAS_VIS_JITTER if args.jitter is None else args.jitter)],
            callbacks=callbacks,
            seed=args.seed,
        )
        pictures.append(picture)
        if gif:
            print(path)
    return pictures


def _with_linear_activation(
    network: keras.Model, layer_name: str
) -> tuple[keras.Model, keras.Layer]:
    """The network and the layer, with the layer's softmax replaced by the identity."""
    layer_idx = index_or_name(layer_name)
    layer = resolve_layer(network, layer_idx)
    if isinstance(layer, keras.layers.Softmax):
        raise ValueError(
            "`--layer` must not be a Softmax layer: an image can increase one class there by "
            f"lowering all others. Use the layer before it. Received: {layer.name}"
        )
    if getattr(layer, "activation", None) is keras.activations.softmax:
        layer.activation = keras.activations.linear
        network = apply_modifications(network)
        layer = resolve_layer(network, layer_idx)
    return network, layer


def _check_image_model(model: keras.Model) -> None:
    shape = tuple(model.inputs[0].shape[1:])
    channel_axis = channel_axis_of(model.inputs[0])
    channels = None if channel_axis is None else shape[channel_axis - 1]
    if len(shape) != 3 or None in shape or channels not in (1, 3):
        raise ValueError(
            "`--model` must take images of a fixed size with 1 or 3 channels. "
            f"Received: a model with inputs of shape {shape}"
        )


def _filter_indices(names: list[str] | None, layer: keras.Layer, imagenet: bool) -> list[int]:
    """The indices given by `--filters`."""
    count = get_num_filters(layer)
    if names is None:
        names = DEFAULT_CLASSES if imagenet else range(min(count, MOST_DEFAULT_FILTERS))
    indices = []
    for name in map(str, names):
        if name.isdecimal():
            index = int(name)
        elif imagenet:
            try:
                index = imagenet_class_index(name)
            except ValueError as error:
                raise ValueError(f"`--filters`: {error}") from None
        else:
            raise ValueError(
                "`--filters` must be indices for this layer: names need one with the "
                f"{len(imagenet_classes())} classes of ImageNet. Received: {name}, for the layer "
                f"{layer.name} with outputs of shape {tuple(layer.output.shape)}"
            )
        if index >= count:
            raise ValueError(
                f"`--filters` is out of range: the layer {layer.name} has {count} filters, 0 to "
                f"{count - 1}. Received: {index}"
            )
        indices.append(index)
    return indices


def _in_unit_range(picture: np.ndarray, input_range: tuple[float, float]) -> np.ndarray:
    low, high = input_range
    return (picture - low) / (high - low)


def _writable(option: str, name: str, suffix: str) -> Path:
    """The path of a file to write; creates its folder."""
    path = Path(name)
    if path.suffix.lower() != suffix or path.is_dir():
        raise ValueError(f"`{option}` must be the path of a {suffix} file. Received: {name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _parser() -> argparse.ArgumentParser:
    summary, examples = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=examples.replace("::", ":"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--model",
        default=DEFAULT_MODEL,
        help=f"{DEFAULT_MODEL} (default, needs no download), the name of a network in "
        "keras.applications, or the path of a .keras or .h5 file",
    )
    add("--layer", default="-1", help="name or index of the layer (default: the last)")
    add(
        "--filters",
        nargs="+",
        metavar="FILTER",
        help="filter indices, or names of ImageNet classes such as water_ouzel "
        f"(default: {', '.join(DEFAULT_CLASSES)}; for other layers the first "
        f"{MOST_DEFAULT_FILTERS} filters)",
    )
    add(
        "--method",
        choices=("filters", KERAS_VIS),
        default="filters",
        help="`filters` is visualize_filters; `keras-vis` is the algorithm of keras-vis "
        "(default: %(default)s)",
    )
    add(
        "--max-iter",
        type=at_least(1),
        metavar="N",
        help=f"number of iterations (default: 120; {KERAS_VIS_STEPS} for keras-vis)",
    )
    add(
        "--jitter",
        type=float,
        metavar="PIXELS",
        help="maximum roll of the image per iteration in pixels; below 1, a fraction of its size "
        f"(default: jitter, rotation and scaling; {KERAS_VIS_JITTER} for keras-vis)",
    )
    add(
        "--input-range",
        type=float,
        nargs=2,
        default=(0.0, 255.0),
        metavar=("LOW", "HIGH"),
        help="range of the model's input values (default: 0 255)",
    )
    add(
        "--seed",
        type=at_least(0),
        default=0,
        help="random seed (default: 0)",
    )
    add(
        "--output",
        default="results/activation_maximization.png",
        metavar="PNG",
        help="file for the grid (default: %(default)s)",
    )
    add(
        "--gif",
        metavar="GIF",
        help="file for an animation of the optimisation; with several filters, one file each, with "
        "the index in its name",
    )
    return parser


if __name__ == "__main__":
    main()
