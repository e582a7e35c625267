"""How many pictures of people's own networks another model recognises, with and without examples.

Networks of two kinds are trained on Fashion-MNIST (Debian's `dataset-fashion-mnist`), on
scikit-learn's digits, wines and breast cancers, and on signals and volumes from generators. The
pictures of each are shown to the other kind, those of digits and tables to a random forest.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import small_networks
from keras import ops

from vis import plotting
from vis.input_modifiers import Jitter
from vis.visualization import visualize_activation, visualize_filters

FOREST = ("digits", "wine", "breast_cancer")
SEEDS = {"fashion_mnist": 3, "wine": 3, "breast_cancer": 3}
EXAMPLES = 500


def methods(
    model: keras.Model, data: small_networks.Data, seed: int
) -> dict[str, Callable[[], np.ndarray]]:
    """Functions that draw all classes of a network, by name."""
    classes = list(range(len(data.names)))
    like = data.x[:EXAMPLES]
    input_range = float(data.x.min()), float(data.x.max())

    def keras_vis(**arguments: object) -> Callable:
        arguments = {"input_range": input_range, "seed": seed, **arguments}
        return lambda: np.stack([visualize_activation(model, -1, c, **arguments) for c in classes])

    def filters(**arguments: object) -> Callable:
        arguments = {"input_range": input_range, "seed": seed, "progress": False, **arguments}
        return lambda: visualize_filters(model, -1, classes, **arguments)

    jitter = [Jitter(2)] if data.x.ndim > 2 else []
    found = {
        "keras-vis's algorithm": keras_vis(input_modifiers=jitter),
        "keras-vis's algorithm, like=x": keras_vis(like=like),
        "visualize_filters": filters(),
        "visualize_filters, like=x": filters(like=like),
    }
    if importlib.util.find_spec("tf_keras_vis"):
        found["tf-keras-vis"] = lambda: _tf_keras_vis(model, classes, input_range)
    return found


def _tf_keras_vis(
    model: keras.Model, classes: list[int], input_range: tuple[float, float]
) -> np.ndarray:
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.scores import CategoricalScore

    visualizer = ActivationMaximization(model, clone=False)
    scores = [CategoricalScore(c) for c in classes]
    images = [visualizer(score, steps=200, input_range=input_range)[0] for score in scores]
    return np.clip(np.stack(images), *input_range)


def networks(
    name: str, data: small_networks.Data, seed: int, folder: Path
) -> list[tuple[str, keras.Model, float]]:
    """The networks of one seed: their kinds, themselves and their accuracies."""
    kinds = [small_networks.plain]
    if data.x.ndim > 2:
        kinds.append(small_networks.residual)
    found = []
    for kind in kinds:
        path = folder / f"{name}-{kind.__name__}-{seed}.weights.h5"
        found.append((kind.__name__, *small_networks.trained(kind, data, seed, path)))
    return found


def forest(data: small_networks.Data) -> Callable[[np.ndarray], np.ndarray]:
    """A random forest's probabilities for rows of a table."""
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(300, random_state=0)
    trees.fit(data.x.reshape(len(data.x), -1), data.y)
    return lambda x: trees.predict_proba(x.reshape(len(x), -1))


def opinions_of(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A network's probabilities."""
    return lambda x: ops.convert_to_numpy(ops.softmax(model.predict(x, verbose=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ["fashion_mnist", "digits", "wine", "breast_cancer", "signals", "volumes"]
    parser.add_argument("--data", nargs="*", choices=known, default=known)
    parser.add_argument("--only", nargs="*", help="names of the methods to run")
    parser.add_argument("--output", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    columns = ["data", "network, accuracy", "method", "recognised", "probability"]
    columns += ["values in the data's own range", "s a class"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for name in arguments.data:
        data = getattr(small_networks, name)()
        for seed in range(SEEDS.get(name, 1)):
            found = networks(name, data, seed, arguments.output / "networks")
            for number, (kind, model, accuracy) in enumerate(found):
                judge = forest(data) if name in FOREST else opinions_of(found[1 - number][1])
                for method, draw in methods(model, data, seed).items():
                    if not arguments.only or method in arguments.only:
                        cells = f"| {name} | {kind} {seed}, {accuracy:.0%} | {method} | "
                        path = arguments.output / f"{name}_{kind}_{seed}_{method}.png"
                        print(cells + _row(draw, judge, data, path), flush=True)


def _row(draw: Callable, judge: Callable, data: small_networks.Data, path: Path) -> str:
    classes = np.arange(len(data.names))
    began = time.perf_counter()
    try:
        pictures = draw()
    except Exception as error:  # whatever a peer stumbles over is its result
        return f"fails: {type(error).__name__} | | | |"
    seconds = (time.perf_counter() - began) / len(classes)
    seen = judge(pictures)
    inside = (pictures >= data.x.min(axis=0)) & (pictures <= data.x.max(axis=0))
    if pictures.ndim == 4:
        low, high = data.x.min(), data.x.max()
        shown = np.clip((pictures - low) / (high - low), 0, 1)
        path = path.with_name(path.name.replace("'", "").replace(" ", "_").replace(",", ""))
        plotting.grid(shown, data.names, cols=len(classes), save_to=path)
    recognised, probability = (seen.argmax(1) == classes).mean(), seen[classes, classes].mean()
    return f"{recognised:.0%} | {probability:.2f} | {inside.mean():.0%} | {seconds:.2f} |"


if __name__ == "__main__":
    main()
