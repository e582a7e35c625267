"""Architecture: private names in one module, one-way imports, one graph for each call."""

from __future__ import annotations

import ast
import weakref
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest
from helpers import sequential
from keras import layers

import vis
from vis.backend.graph import Graph
from vis.losses import ActivationMaximization
from vis.optimizer import Optimizer
from vis.visualization import (
    FasterScoreCAM,
    GuidedGradCAM,
    IntegratedGradients,
    Occlusion,
    inputs_of,
    visualize_activation,
    visualize_cam,
    visualize_filters,
    visualize_saliency,
    visualize_saliency_with_losses,
)

ROOT = Path(vis.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# From the bottom up: a subpackage may import those before it.
SUBPACKAGES = ("private", "device", "cache", "tensors", "layers", "graph", "step")
# Private modules of Keras and TensorFlow, which only `private.py` may import.
PRIVATE_MODULES = ("keras.src", "tensorflow.python", "tensorflow.core", "tensorflow.compiler")
PRIVATE_ATTRIBUTES = ("_keras", "_inbound", "_outbound", "_flatten", "_all_reduce", "_dtype_pol")
# Public names that begin with an underscore.
PUBLIC = {"_replace", "_asdict", "_fields", "_make"}


def private_names(tree):
    """Private names that a module uses on objects of other modules."""
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in ("self", "cls")
    }
    own |= {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "raw_ops":
            yield node.attr
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            if not node.attr.startswith("__") and node.attr not in own | PUBLIC:
                yield node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names]
            modules = [node.module] if isinstance(node, ast.ImportFrom) else modules
            yield from (module for module in modules if module.startswith(PRIVATE_MODULES))
        elif isinstance(node, ast.Constant) and str(node.value).startswith(PRIVATE_ATTRIBUTES):
            yield node.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_has_a_docstring_and_is_short(path):
    source = path.read_text()
    if source:
        assert ast.get_docstring(ast.parse(source)), path
    assert source.count("\n") <= 450


def test_private_names_of_keras_and_tensorflow_are_in_one_module():
    used = {
        str(path.relative_to(ROOT)): sorted(set(private_names(ast.parse(path.read_text()))))
        for path in FILES
    }
    assert used.pop("backend/private.py")
    assert not {path: names for path, names in used.items() if names}


def test_private_names_are_detected():
    for code in (
        "x._keras_history",
        "layer._flatten_layers()",
        "from keras.src import backend",
        "import tensorflow.python.framework",
        "tf.raw_ops.Select",
        "vars(x)['_inbound_nodes']",
    ):
        assert list(private_names(ast.parse(code))), code
    for code in ("self._own", "pair._replace(x=1)", "import keras", "tf.gradients"):
        assert not list(private_names(ast.parse(code))), code


def module_of(path):
    return ".".join(("vis", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


def imported_names(node):
    """The names that a statement imports from this library."""
    if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "vis":
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def subpackage(module):
    parts = module.split(".")
    return parts[2] if parts[:2] == ["vis", "backend"] and len(parts) > 2 else None


def test_imports_have_no_cycle():
    """Imports in functions or under `TYPE_CHECKING` count as well."""
    modules = {module_of(path): ast.walk(ast.parse(path.read_text())) for path in FILES}
    imports = {
        module: {
            name if name in modules else name.rpartition(".")[0]
            for node in nodes
            for name in imported_names(node)
        }
        for module, nodes in modules.items()
    }
    TopologicalSorter(imports).prepare()


def test_imports_between_subpackages_of_the_backend_run_one_way():
    for path in (ROOT / "backend").rglob("*.py"):
        own = subpackage(module_of(path))
        if own not in SUBPACKAGES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported_names(node):
                if subpackage(name) in SUBPACKAGES:
                    assert SUBPACKAGES.index(subpackage(name)) <= SUBPACKAGES.index(own), name
                assert name.split(".")[1] in ("backend", "utils"), (path, name)


def tensorflow_uses(tree):
    """Imports of TensorFlow, and uses of the method `numpy` of its tensors."""
    for node in ast.walk(tree):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module]
        yield from (module for module in modules if module.split(".")[0] == "tensorflow")
        if isinstance(node, ast.Attribute) and node.attr == "numpy":
            yield ast.unparse(node)


def test_only_the_backend_uses_tensorflow():
    used = {
        str(path.relative_to(ROOT)): list(tensorflow_uses(ast.parse(path.read_text())))
        for path in FILES
        if ROOT / "backend" not in path.parents
    }
    assert not {path: uses for path, uses in used.items() if uses}


def test_uses_of_tensorflow_are_detected():
    for code in (
        "import tensorflow as tf",
        "from tensorflow.math import log",
        "loss.numpy()",
        "map(lambda t: t.numpy, losses)",
    ):
        assert list(tensorflow_uses(ast.parse(code))), code
    for code in ("import numpy as np", "ops.convert_to_numpy(x)"):
        assert not list(tensorflow_uses(ast.parse(code))), code


def classifier():
    base = sequential((8, 8, 3), layers.Conv2D(4, 3, activation="relu", name="conv"))
    base.name = "base"
    return sequential((8, 8, 3), base, layers.Flatten(), layers.Dense(3, activation="softmax"))


IMAGE = np.random.default_rng(0).uniform(size=(8, 8, 3))
CALLS = {
    "activation": lambda m: visualize_activation(m, -1, 1, max_iter=2),
    "inner": lambda m: visualize_activation(m, "base/conv", 1, max_iter=2),
    "guided": lambda m: visualize_activation(m, -1, 1, max_iter=2, backprop_modifier="guided"),
    "filters": lambda m: visualize_filters(m, -1, [0, 1, 2], batch_size=2, max_iter=4),
    "saliency": lambda m: visualize_saliency(m, -1, 1, IMAGE),
    "guided_saliency": lambda m: visualize_saliency(m, -1, 1, IMAGE, backprop_modifier="guided"),
    "cam": lambda m: visualize_cam(m, -1, 1, IMAGE),
    "guided_cam": lambda m: GuidedGradCAM()(m, IMAGE),
    "score_cam": lambda m: FasterScoreCAM(max_channels=2)(m, IMAGE),
    "occlusion": lambda m: Occlusion()(m, IMAGE),
    "integrated": lambda m: IntegratedGradients(steps=3)(m, IMAGE),
    "with_losses": lambda m: visualize_saliency_with_losses(
        m.inputs[0], [(ActivationMaximization(m.layers[-1], 1), -1)], IMAGE
    ),
    "optimizer": lambda m: Optimizer(
        inputs_of(m), [(ActivationMaximization(m.layers[-1], 1), 1)]
    ).minimize(max_iter=2, verbose=False),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:The score of layer")
def test_each_call_builds_one_graph(name, monkeypatch):
    """One more for the copy of a backprop modifier."""
    built = []
    init = Graph.__init__

    def counting(self, input_structure, model=None, absent=()):
        built.append(input_structure if model is None else model)
        init(self, input_structure, model, absent)

    model = classifier()
    monkeypatch.setattr(Graph, "__init__", counting)
    CALLS[name](model)
    assert len({id(x) for x in built}) == len(built) == (2 if "guided" in name else 1)


def test_graph_is_shared_while_it_is_in_use():
    model = classifier()
    graph = Graph.of(model)
    assert Graph.of(model) is graph
    assert inputs_of(model).graph is graph
    # Added layers need another graph.
    growing = sequential((4,), layers.Dense(3))
    before = Graph.of(growing)
    growing.add(layers.Dense(2, name="new"))
    assert Graph.of(growing) is not before
    assert Graph.of(growing).has(growing.get_layer("new"))


def test_graph_is_released_after_use():
    model = classifier()
    graph = Graph.of(model)
    graph.gradient_flow.has_gradient(graph.inputs[0])
    reference = weakref.ref(graph)
    del graph
    assert reference() is None
