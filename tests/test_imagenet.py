from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from vis.utils import imagenet
from vis.utils.imagenet import imagenet_class_index, imagenet_classes, lookup_imagenet_labels


def test_class_index_is_that_of_keras_applications():
    # The hash in keras.applications.
    data = resources.files("vis.utils").joinpath("imagenet_class_index.json").read_bytes()
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert digest == "c2c37ea517e94d9795004a39431a14cb"


def test_classes_are_sorted_by_wordnet_id():
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert classes[0] == ("n01440764", "tench")
    assert classes[967] == ("n07920052", "espresso")
    assert [wnid for wnid, _ in classes] == sorted(wnid for wnid, _ in classes)


@pytest.mark.parametrize(
    ("indices", "names"),
    [
        (285, ["Egyptian_cat"]),
        (np.int64(285), ["Egyptian_cat"]),
        (np.array(285), ["Egyptian_cat"]),
        ([20, 967], ["water_ouzel", "espresso"]),
        ((967, 20), ["espresso", "water_ouzel"]),
        (np.array([0, 999]), ["tench", "toilet_tissue"]),
        (iter([134, 517]), ["crane", "crane"]),
        ([], []),
    ],
)
def test_lookup_imagenet_labels(indices, names):
    assert lookup_imagenet_labels(indices) == names


@pytest.mark.parametrize("indices", [1000, -1, [0, 1000]])
def test_lookup_imagenet_labels_out_of_range(indices):
    with pytest.raises(ValueError, match=r"`indices` .*Received: indices="):
        lookup_imagenet_labels(indices)


@pytest.mark.parametrize("indices", [1.0, "20", ["20"], None, True, [0, True], [[1]]])
def test_lookup_imagenet_labels_of_wrong_type(indices):
    with pytest.raises(TypeError, match=r"`indices` .*Received: indices="):
        lookup_imagenet_labels(indices)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("water_ouzel", 20),
        ("Water Ouzel", 20),
        (" water-ouzel ", 20),
        ("hen of the woods", 996),
        ("egyptian_cat", 285),
        ("n01601694", 20),
        # These names differ in case only.
        ("Cardigan", 264),
        ("cardigan", 474),
    ],
)
def test_imagenet_class_index(name, index):
    assert imagenet_class_index(name) == index


def test_imagenet_class_index_of_every_wordnet_id():
    wnids = [wnid for wnid, _ in imagenet_classes()]
    assert [imagenet_class_index(wnid) for wnid in wnids] == list(range(1000))


def test_imagenet_class_index_suggests_close_matches():
    with pytest.raises(ValueError, match=r"close matches: .*water_ouzel.*Received: name='water_o"):
        imagenet_class_index("water_ousel")
    with pytest.raises(ValueError, match=r"ImageNet class\. Received: name='qqqqqq'"):
        imagenet_class_index("qqqqqq")


@pytest.mark.parametrize(
    ("name", "choices"),
    [("crane", (134, 517)), ("maillot", (638, 639)), ("CARDIGAN", (264, 474))],
)
def test_imagenet_class_index_of_names_of_two_classes(name, choices):
    with pytest.raises(ValueError, match="index {}.*index {}".format(*choices)):
        imagenet_class_index(name)


def test_imagenet_class_index_of_wrong_type():
    with pytest.raises(TypeError, match=r"`name` .*Received: name=20"):
        imagenet_class_index(20)


def test_module_does_not_import_tensorflow():
    # As a file, without the imports of the packages that contain it.
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); sys.exit('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, imagenet.__file__], check=False)
    assert run.returncode == 0
