"""Labels of an atlas: its title, names of classes, and labels of images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from vis.atlas.images import DatasetScan, predict_classes
from vis.atlas.plan import class_layer_of
from vis.backend.graph import Graph, filters_of
from vis.utils.imagenet import imagenet_classes
from vis.utils.validation import as_integer, check_all, expect, is_iterable, require


class Labels(NamedTuple):
    """Texts on the pages, which may change without drawing anything again."""

    title: str
    classes: Sequence[str] | None  # Names of all classes.
    images: Sequence[str] | None  # The true label of each image.

    @classmethod
    def check(cls, graph: Graph, title: Any, labels: Any, image_labels: Any) -> "Labels":
        """The labels that these arguments of `draw_atlas` give, or an error."""
        require(isinstance(title, str), "title", "be text", title, TypeError)
        count = _class_count(graph)
        classes = _class_names(count, labels)
        if image_labels is None:
            return cls(title, classes, None)
        expected = "be a list of names or indices of classes, one for each image"
        require(is_iterable(image_labels), "image_labels", expected, image_labels, TypeError)
        images = []
        for label in image_labels:
            index = None if isinstance(label, str) else as_integer(label)
            is_label = isinstance(label, str) or index is not None
            require(is_label, "image_labels", expected, label, TypeError)
            is_class = index is None or 0 <= index < count
            require(is_class, "image_labels", f"be from 0 to {count - 1}, or names", label)
            images.append(label if index is None else _name_of(classes, index))
        return cls(title, classes, images)

    def check_count(self, total: int) -> None:
        """Raises a `ValueError` unless all of `total` images have a label."""
        if self.images is not None:
            received = f"{len(self.images)} labels"
            is_complete = len(self.images) == total
            expect(is_complete, "image_labels", f"have one for each of {total} images", received)

    def of_images(self, graph: Graph, scan: DatasetScan) -> dict[int, dict[str, str | None]]:
        """The true and the predicted label of each top-activating image."""
        count = _class_count(graph)
        predicted: dict[int, int] = {}
        # A single output is no class, and without names or labels outputs may be any numbers.
        if count > 1 and (self.classes or self.images or scan.labels):
            layer = class_layer_of(graph)
            predicted = predict_classes(graph, layer, range(count), scan.images)
        true = self._true_labels(scan, count)
        return {
            number: {
                "label": true[number],
                "predicted": _name_of(self.classes, predicted[number]) if predicted else None,
            }
            for number in scan.images
        }

    def _true_labels(self, scan: DatasetScan, count: int) -> Sequence[str | None]:
        if self.images is not None:
            return self.images
        folders = [name.partition("/")[0] for name in scan.names or ()]
        known = {*folders} & {*(self.classes or ())}
        if known:
            return [folder if folder in known else None for folder in folders]
        # Indices of folders are those of classes only if there is a folder for each class.
        indices = {*(scan.labels or ())}
        is_other = max(indices, default=count) >= count or (folders and len(indices) < count)
        if scan.labels is None or is_other:
            return [None] * scan.total
        return [_name_of(self.classes, index) for index in scan.labels]


def _class_count(graph: Graph) -> int:
    layer = class_layer_of(graph)
    return 0 if layer is None else filters_of(layer)[2]


def _class_names(count: int, labels: Any) -> list[str] | None:
    if labels is None:
        known = [name.replace("_", " ") for _, name in imagenet_classes()]
        return known if count == len(known) else None
    names = check_all("labels", labels, str)
    expected = f"have a name for each of the {count} classes"
    expect(len(names) == count, "labels", expected, f"{len(names)} names")
    return names


def _name_of(classes: Sequence[str] | None, index: int) -> str:
    return f"class {index}" if classes is None else classes[index]
