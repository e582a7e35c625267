"""Writes what the pages of an atlas show: images and data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vis.atlas.directory import AtlasDirectory
from vis.atlas.image_files import encode_image, suffix_of
from vis.atlas.images import DatasetScan
from vis.atlas.labels import Labels
from vis.atlas.page_data import atlas_data, layer_data
from vis.atlas.run import AtlasRun
from vis.backend.graph import Graph, layout_of


class Pages:
    """The images and data of an atlas, with its labels."""

    def __init__(
        self,
        directory: AtlasDirectory,
        model: str,
        graph: Graph,
        labels: Labels,
        settings: Mapping[str, Any],
        scan: DatasetScan,
    ) -> None:
        self._directory, self._model = directory, model
        self._labels, self._settings = labels, settings
        layout = layout_of(graph.inputs[0])
        self._images = {
            number: np.moveaxis(layout.to_channels_first(image[None])[0], 0, -1)
            for number, image in sorted(scan.images.items())
        }
        texts = labels.of_images(graph, scan)
        self._image_data = {
            number: {
                "name": f"image {number}" if scan.names is None else scan.names[number],
                "file": f"{number:05}{suffix_of(*image.shape[:2])}",
                "height": image.shape[0],
                "width": image.shape[1],
                **texts[number],
            }
            for number, image in self._images.items()
        }

    def write(self, run: AtlasRun, finished: bool) -> None:
        """Writes the data of all pages."""
        for position in range(len(run.plans)):
            self._directory.write_data(f"layers/{position:04}", layer_data(position, run))
        self.write_labels(run, finished)

    def write_labels(self, run: AtlasRun, finished: bool) -> None:
        """Writes the data with labels in them."""
        data = atlas_data(self._model, self._labels, self._settings, run, finished)
        self._directory.write_data("images", self._image_data)
        self._directory.write_data("atlas", data)

    def write_images(self) -> None:
        """Writes the top-activating images."""
        for number, image in self._images.items():
            file = encode_image(image, self._settings["input_range"])
            self._directory.write_image(self._image_data[number]["file"], file)
