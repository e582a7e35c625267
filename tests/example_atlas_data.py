"""Generates the data of an atlas without a network, to test its pages with any names."""

import base64
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SITE = Path(__file__).parent.parent / "vis" / "atlas" / "site"
# Number of different pictures. The others are links to the same files.
PICTURES = 8


def layer(name, filter_count=4, predecessors=(), labels=None, class_name="Conv2D", **others):
    """The data of a layer in `data/atlas.js`; `others` override defaults."""
    return {
        "name": name,
        "class_name": class_name,
        "output_shape": [28, 28, filter_count] if labels is None else [filter_count],
        "filter_count": filter_count,
        "filters": list(range(filter_count)),
        "by_relevance": False,
        "labels": labels,
        "is_classes": labels is not None,
        "picture_size": [32, 32],
        "suffix": ".png",
        "receptive_field": [11, 11] if labels is None else None,
        "predecessors": list(predecessors),
        "inactive": [],
        "error": None,
        "warning": None,
        **others,
    }


def noise(generator, size, detail):
    """A picture of soft colors, upsampled from `detail` pixels along each side."""
    coarse = generator.integers(0, 256, (detail, detail, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def heatmap(generator, rows=7, columns=7):
    y, x = np.mgrid[:rows, :columns]
    top, left = generator.uniform(0, (rows, columns))
    values = np.exp(-((y - top) ** 2 + (x - left) ** 2) / 6) * 255
    encoded = base64.b64encode(values.astype(np.uint8).tobytes()).decode()
    return {"rows": rows, "columns": columns, "values": encoded}


def top_images(generator, images, size, is_classes):
    """The top-activating images of a channel, each with a box, or of a class."""
    entries = []
    for rank, number in enumerate(generator.permutation(images)[:9]):
        top, left = (int(i) for i in generator.integers(0, size * 2 // 3, 2))
        box, map_ = [top, left, top + size // 3, left + size // 3], heatmap(generator)
        if is_classes:
            box, map_ = [0, 0, size, size], heatmap(generator, 1, 1)
        value = round(9.0 / (rank + 1), 3)
        entries.append({"image": int(number), "value": value, "box": box, "heatmap": map_})
    return entries


def links(generator, layers, positions):
    """Links to channels of the layers at these positions, the strongest first."""
    targets = [(i, index) for i in positions for index in layers[i]["filters"][:8]]
    generator.shuffle(targets)
    return [[i, index, round(5.0 / (rank + 1), 3)] for rank, (i, index) in enumerate(targets[:8])]


def channel(generator, layers, position, index, images, error):
    successors = [i for i, other in enumerate(layers) if position in other["predecessors"]]
    entries = top_images(generator, len(images), 96, layers[position]["is_classes"])
    counts = [int(n) for n in generator.integers(0, 9, 20)]
    histogram = {"low": -1.2, "high": 8.4, "counts": counts}
    return {
        "index": index,
        "error": error,
        "top_images": [] if error or index in layers[position]["inactive"] else entries,
        "histogram": histogram if entries and not error else None,
        "excited_by": links(generator, layers, layers[position]["predecessors"]),
        "excites": links(generator, layers, successors),
    }


def write_data(folder, key, value):
    path = folder / "data" / f"{key}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"atlas.receive({json.dumps(key)}, {json.dumps(value)});\n", "utf-8")


def write_atlas(
    folder, layers, images=(), errors=None, model="a_network", title=None, finished=True
):
    """Writes an atlas.

    Args:
        folder: A folder that does not exist yet.
        layers: Data of the layers, from the input to the classes, as `layer` returns them.
        images: Names of the user's images, each with its true and its predicted label.
        errors: Error messages of channels, by (position, index).
        model: Name of the network.
        title: Title of the pages; by default the name of the network.
        finished: Whether the atlas is finished.
    """
    folder, errors = Path(folder), errors or {}
    shutil.copytree(SITE, folder)
    generator = np.random.default_rng(0)
    originals = [folder / f"original{i}.png" for i in range(PICTURES)]
    for path in originals:
        noise(generator, 32, 6).save(path)
    cycle = itertools.cycle(originals)
    for position, data in enumerate(layers):
        pictures = folder / "pictures" / f"{position:04}"
        pictures.mkdir(parents=True)
        for index in data["filters"]:
            if (position, index) not in errors:
                os.link(next(cycle), pictures / f"{index:05}.png")
        channels = [
            channel(generator, layers, position, index, images, errors.get((position, index)))
            for index in data["filters"]
        ]
        write_data(folder, f"layers/{position:04}", {"channels": channels})
    for path in originals:
        path.unlink()
    image_data = {}
    for number, (name, label, predicted) in enumerate(images):
        file = f"{number:05}.jpg"
        (folder / "images").mkdir(exist_ok=True)
        noise(generator, 96, 9).save(folder / "images" / file)
        texts = {"name": name, "label": label, "predicted": predicted}
        image_data[number] = {"file": file, "width": 96, "height": 96, **texts}
    write_data(folder, "images", image_data)
    atlas = {
        "title": title or model,
        "model": model,
        "made_with": "keras3-vis 0.2.0",
        "settings": {"steps": "120", "seed": "0"},
        "finished": finished,
        "images": len(images),
        "layers": layers,
    }
    write_data(folder, "atlas", atlas)
    return folder
