"""Draws an atlas of a network: web pages with its layers, channels and classes.

Examples:
    EfficientNet-Lite0, with the images of a folder (offline)::

        python examples/atlas.py --images photographs --folder atlas

    Up to 24 channels of some layers of your own network::

        python examples/atlas.py --model mine.keras --layers conv1 conv2 dense --max-filters 24

    With two processes, or on a Dask cluster (pip install 'keras3-vis[cluster]')::

        python examples/atlas.py --workers 2
        python examples/atlas.py --scheduler tcp://10.0.0.1:8786

    Rerun an interrupted command to resume it.
"""

# First, because it imports TensorFlow without messages on standard error.
import vis  # noqa: F401

# isort: split
import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
from arguments import at_least, index_or_name
from networks import DEFAULT_MODEL, from_pixels, load

from vis.atlas import Atlas, default_layers, draw_atlas

MAX_FILTERS, MAX_CLASSES = 32, 16


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the script.

    Args:
        argv: Arguments of the command line, without the name of the script.

    Returns:
        The exit code: 0, 1 if a part of the atlas could not be drawn, or 130 after Ctrl-C.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        atlas = _draw(args)
    except KeyboardInterrupt:
        message = f"{parser.prog}: stopped. Rerun the command to resume."
        print(message, file=sys.stderr, flush=True)
        if not (args.workers or args.scheduler):
            # Finished pictures are written. Python would wait for the tasks that threads run.
            os._exit(130)
        return 130
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")
    for layer, error in atlas.failed.items():
        print(f"{parser.prog}: {layer}: {error}", file=sys.stderr)
    print(atlas.index)
    return 1 if atlas.failed else 0


def _draw(args: argparse.Namespace) -> Atlas:
    if args.workers and args.scheduler:
        raise ValueError("Give `--workers` or `--scheduler`, not both.")
    model = from_pixels(*_load(args.model, args.safe_mode))
    layers = args.layers and [index_or_name(layer) for layer in args.layers]
    if layers is None:
        layers = default_layers(model)
        print("Layers (choose others with --layers):", " ".join(layers))
    labels = args.labels and Path(args.labels).read_text("utf-8").splitlines()
    return draw_atlas(
        model,
        args.folder,
        layers=layers,
        max_filters=args.max_filters,
        filters=args.filters,
        max_classes=args.max_classes,
        classes=args.classes,
        image_size=args.image_size,
        max_iter=args.max_iter,
        seed=args.seed,
        images=args.images,
        like=args.like,
        input_range=tuple(args.input_range),
        labels=labels,
        title=args.title,
        overwrite=args.overwrite,
        executor=args.scheduler or args.workers,
        safe_mode=args.safe_mode,
    )


def _load(name: str, safe_mode: bool) -> tuple[keras.Model, Callable]:
    if Path(name).suffix == ".h5" and safe_mode:
        raise ValueError(
            "`--model` must be a .keras file, because older versions of Keras run code in an .h5 "
            f"file. If you trust the file, add --no-safe-mode. Received: {name}"
        )
    return load(name, safe_mode)


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
        help=f"{DEFAULT_MODEL} (default, offline), the name of a network in keras.applications, "
        "or the path of a .keras or .h5 file",
    )
    add("--folder", default="atlas", help="folder of the atlas (default: %(default)s)")
    add(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="names, paths or indices of layers (default: convolutions or blocks, and classes)",
    )
    add(
        "--max-filters",
        type=at_least(1),
        default=MAX_FILTERS,
        metavar="N",
        help="maximum number of channels of each layer, those that the classes depend on most "
        "(default: %(default)s)",
    )
    add(
        "--filters",
        type=at_least(0),
        nargs="+",
        metavar="INDEX",
        help="indices of channels instead, for all layers",
    )
    add(
        "--max-classes",
        type=at_least(1),
        default=MAX_CLASSES,
        metavar="N",
        help="maximum number of classes, the first ones (default: %(default)s)",
    )
    add(
        "--classes",
        type=at_least(0),
        nargs="+",
        metavar="INDEX",
        help="indices of classes instead",
    )
    add(
        "--image-size",
        type=at_least(1),
        metavar="PIXELS",
        help="height and width of the pictures of channels (default: at most 128)",
    )
    add("--max-iter", type=at_least(1), metavar="N", help="number of steps (default: 120)")
    add("--seed", type=at_least(0), default=0, help="random seed (default: %(default)s)")
    add("--images", metavar="FOLDER", help="images in which to find top-activating ones")
    add("--like", metavar="FOLDER", help="examples of the model's data; pictures look like these")
    add(
        "--input-range",
        type=float,
        nargs=2,
        default=(0.0, 255.0),
        metavar=("LOW", "HIGH"),
        help="value range of the input of a model from a file (default: 0 255)",
    )
    add("--labels", metavar="FILE", help="names of the model's classes, one per line")
    add("--title", metavar="TEXT", help="title of the pages (default: the model's name)")
    add("--overwrite", action="store_true", help="replace an atlas that has other settings")
    add("--workers", type=at_least(1), metavar="N", help="number of worker processes")
    add("--scheduler", metavar="ADDRESS", help="Dask scheduler, such as tcp://host:8786")
    add(
        "--safe-mode",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse to run code in the model's file, here and on workers (default: on)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
