"""Draws an atlas of a network: a folder of web pages to walk through, from classes to edges.

Examples:
    The layers of EfficientNet-Lite0 that matter, with the photographs of a folder (offline)::

        python examples/atlas.py --images photographs --output atlas

    Some layers, 24 channels of each, of a network of your own::

        python examples/atlas.py --model mine.keras --layers conv1 conv2 dense --filters 24

    By two processes, or by a cluster (pip install 'keras3-vis[cluster]')::

        python examples/atlas.py --workers 2
        python examples/atlas.py --scheduler tcp://10.0.0.1:8786

    After Ctrl-C, or whatever else has stopped it, the same command goes on where it was.
"""

from __future__ import annotations

# First, as it imports TensorFlow without its greetings on standard error.
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

FILTERS = 16


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the script.

    Args:
        argv: Arguments of the command line, without the name of the script.

    Returns:
        The exit code: 0, 1 where something of the atlas could not be drawn, or 130 after Ctrl-C.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        atlas = _draw(args)
    except KeyboardInterrupt:
        told = f"{parser.prog}: stopped; the same command goes on from here."
        print(told, file=sys.stderr, flush=True)
        if not (args.workers or args.scheduler):
            # All that is done is on the disk; Python would wait for what its threads have at hand.
            os._exit(130)
        return 130
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")
    for layer, reason in atlas.failed.items():
        print(f"{parser.prog}: {layer}: {reason}", file=sys.stderr)
    print(atlas.index)
    return 1 if atlas.failed else 0


def _draw(args: argparse.Namespace) -> Atlas:
    if args.workers and args.scheduler:
        raise ValueError("Give `--workers` or `--scheduler`. Received: both")
    model = from_pixels(*_loaded(args.model, args.allow_code))
    layers = args.layers and [index_or_name(layer) for layer in args.layers]
    if layers is None:
        layers = default_layers(model)
        print("Layers (choose others by --layers):", " ".join(layers))
    labels = args.labels and Path(args.labels).read_text("utf-8").splitlines()
    return draw_atlas(
        model,
        args.output,
        layers=layers,
        filters=args.filters,
        classes=args.filters if args.classes is None else args.classes,
        image_size=args.size,
        max_iter=args.max_iter,
        seed=args.seed,
        images=args.images,
        like=args.like,
        input_range=tuple(args.input_range),
        labels=labels,
        executor=args.scheduler or args.workers,
        allow_code=args.allow_code,
    )


def _loaded(name: str, allow_code: bool) -> tuple[keras.Model, Callable]:
    if Path(name).suffix == ".h5" and not allow_code:
        raise ValueError(
            "`--model` must be a .keras file: older versions of Keras run code that an .h5 file "
            f"brings along. Where you trust it, add --allow-code. Received: {name}"
        )
    return load(name, allow_code)


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
    add(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="names, paths or indices of the layers (default: those that matter)",
    )
    add(
        "--filters",
        type=at_least(1),
        default=FILTERS,
        metavar="N",
        help="how many channels of each layer, the first ones (default: %(default)s)",
    )
    add(
        "--classes",
        type=at_least(1),
        metavar="N",
        help="how many of the model's classes (default: as many as channels)",
    )
    add(
        "--size",
        type=at_least(1),
        metavar="PIXELS",
        help="height and width of the pictures of channels (default: at most 128)",
    )
    add("--max-iter", type=at_least(1), metavar="N", help="number of steps (default: 120)")
    add(
        "--seed",
        type=at_least(0),
        default=0,
        help="the same seed gives the same atlas (default: %(default)s)",
    )
    add("--images", metavar="FOLDER", help="photographs to look for strong examples in")
    add("--like", metavar="FOLDER", help="examples of what the model is used on, to draw like")
    add(
        "--input-range",
        type=float,
        nargs=2,
        default=(0.0, 255.0),
        metavar=("LOW", "HIGH"),
        help="range of the values that the model of a file takes (default: 0 255)",
    )
    add("--labels", metavar="FILE", help="the names of the model's classes, one a line")
    add("--output", default="atlas", metavar="FOLDER", help="where to (default: %(default)s)")
    add("--workers", type=at_least(1), metavar="N", help="draw in so many processes")
    add("--scheduler", metavar="ADDRESS", help="draw on a Dask cluster, such as tcp://host:8786")
    add(
        "--allow-code",
        action="store_true",
        help="run code that the model's file brings along, here and on workers",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
