"""An atlas that no network is behind, for the tests of its pages: any layers, any names."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SITE = Path(__file__).parent.parent / "vis" / "atlas" / "site"
PROTOTYPES = 8  # As many pictures are drawn; the others are the same files once more.


def layer(name, channels=4, before=(), labels=None, kind="Conv2D", **others):
    """What `data/atlas.js` says of one layer; `others` take the place of what is usual."""
    return {
        "name": name,
        "kind": kind,
        "shape": [28, 28, channels] if labels is None else [channels],
        "channels": channels,
        "drawn": list(range(channels)),
        "labels": labels,
        "is_classes": labels is not None,
        "size": [32, 32],
        "sees": [11, 11] if labels is None else None,
        "before": list(before),
        "failed": None,
        "lacks": None,
        **others,
    }


def noise(generator, size, detail):
    """A picture of soft colours with shapes of a `detail`-th of its size."""
    coarse = generator.integers(0, 256, (detail, detail, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def heat(generator, rows=7, columns=7):
    y, x = np.mgrid[:rows, :columns]
    top, left = generator.uniform(0, (rows, columns))
    values = np.exp(-((y - top) ** 2 + (x - left) ** 2) / 6) * 255
    encoded = base64.b64encode(values.astype(np.uint8).tobytes()).decode()
    return {"rows": rows, "columns": columns, "values": encoded}


def strongest(generator, photographs, size):
    """The photographs that excite one channel most, each with the place where they do."""
    found = []
    for rank, number in enumerate(generator.permutation(photographs)[:9]):
        top, left = (int(at) for at in generator.integers(0, size * 2 // 3, 2))
        box = [top, left, top + size // 3, left + size // 3]
        value = round(9.0 / (rank + 1), 3)
        entry = {"photograph": int(number), "value": value, "box": box, "heat": heat(generator)}
        found.append(entry)
    return found


def linked(generator, layers, positions):
    """Links to channels of the layers at these positions, the strongest first."""
    places = [(at, index) for at in positions for index in layers[at]["drawn"][:8]]
    generator.shuffle(places)
    return [[at, index, round(5.0 / (rank + 1), 3)] for rank, (at, index) in enumerate(places[:8])]


def channel(generator, layers, position, index, photographs, failed):
    behind = [at for at, other in enumerate(layers) if position in other["before"]]
    seen = strongest(generator, len(photographs), 96)
    counts = [int(n) for n in generator.integers(0, 9, 20)]
    return {
        "index": index,
        "failed": failed,
        "strongest": [] if failed else seen,
        "spread": {"low": -1.2, "high": 8.4, "counts": counts} if seen and not failed else None,
        "excited_by": linked(generator, layers, layers[position]["before"]),
        "speaks_to": linked(generator, layers, behind),
    }


def script(path, key, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"atlas.receive({json.dumps(key)}, {json.dumps(value)});\n", "utf-8")


def write(folder, layers, photographs=(), failed=None, model="a_network", finished=True):
    """Writes an atlas.

    Args:
        folder: Where to; must not exist.
        layers: What `layer` returns, from the input to the classes.
        photographs: The names of the user's images; may be hostile.
        failed: The message of each channel that could not be drawn, by (position, index).
        model: The network's name.
        finished: Whether nothing remains to be drawn.
    """
    folder, failed = Path(folder), failed or {}
    shutil.copytree(SITE, folder)
    generator = np.random.default_rng(0)
    prototypes = [folder / f"prototype{n}.jpg" for n in range(PROTOTYPES)]
    for path in prototypes:
        noise(generator, 32, 6).save(path)
    which = itertools.cycle(prototypes)
    for position, one in enumerate(layers):
        pictures = folder / "pictures" / f"{position:04}"
        pictures.mkdir(parents=True)
        for index in one["drawn"]:
            if (position, index) not in failed:
                os.link(next(which), pictures / f"{index:05}.jpg")
        channels = [
            channel(generator, layers, position, index, photographs, failed.get((position, index)))
            for index in one["drawn"]
        ]
        shown = {
            str(number): {"name": name, "width": 96, "height": 96}
            for number, name in enumerate(photographs)
        }
        value = {"channels": channels, "photographs": shown}
        script(folder / "data" / "layers" / f"{position:04}.js", f"layers/{position:04}", value)
    for path in prototypes:
        path.unlink()
    for number in range(len(photographs)):
        path = folder / "photographs" / f"{number:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        noise(generator, 96, 9).save(path)
    described = {
        "model": model,
        "made_with": "keras3-vis 0.2.0",
        "settings": {"steps": "120", "seed": "0"},
        "finished": finished,
        "photographs": len(photographs),
        "layers": layers,
    }
    script(folder / "data" / "atlas.js", "atlas", described)
    return folder
