"""The directive `gallery`: cards made from the saved cells of `examples/gallery.ipynb`.

Each cell with the tag `gallery` gives a card, with the heading above it and its first picture.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from docutils import nodes
from docutils.parsers.rst import Directive

NOTEBOOK = Path(__file__).parents[2] / "examples" / "gallery.ipynb"
TYPES = {"image/jpeg": "jpg", "image/png": "png"}


class Card(NamedTuple):
    """One card of the gallery."""

    title: str
    code: str
    suffix: str
    picture: bytes

    @property
    def name(self) -> str:
        """The heading's anchor, and the stem of the picture's file."""
        return nodes.make_id(self.title)


def cards(path: Path = NOTEBOOK) -> Iterator[Card]:
    """The cards of a notebook, in its order."""
    title = ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown" and (heading := re.match(r"#+ (.+)", cell.source)):
            title = heading[1]
        if "gallery" in cell.metadata.get("tags", []):
            pictures = [
                (suffix, base64.b64decode(output["data"][kind]))
                for output in cell.outputs
                for kind, suffix in TYPES.items()
                if kind in output.get("data", {})
            ]
            if not pictures:
                raise ValueError(f"The cell under {title!r} was saved without a picture.")
            yield Card(title, cell.source, *pictures[0])


class Gallery(Directive):
    """A grid of cards: picture, title with a link to the notebook, and code."""

    def run(self) -> list[nodes.Node]:
        env = self.state.document.settings.env
        env.note_dependency(str(NOTEBOOK))
        folder = Path(env.srcdir, "gallery")
        folder.mkdir(exist_ok=True)
        grid = nodes.container(classes=["gallery"])
        for card in cards():
            file = folder / f"{card.name}.{card.suffix}"
            file.write_bytes(card.picture)
            picture = nodes.image(uri=f"gallery/{file.name}", alt=card.title)
            code = nodes.literal_block(card.code, card.code, language="python")
            address = env.app.builder.get_relative_uri(env.docname, "notebooks/gallery")
            link = nodes.reference("", card.title, refuri=f"{address}#{card.name}", internal=True)
            titled = nodes.container("", nodes.paragraph("", "", link))
            grid += nodes.container("", picture, titled, code, classes=["gallery-card"])
        return [grid]


def setup(app):
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "version": "1"}
