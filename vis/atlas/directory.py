"""The folder that an atlas is in: whose it is, what is there already, how it is written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vis.utils.files import written_whole

_SITE = Path(__file__).with_name("site")
_CLAIM = "atlas.json"
_FORMAT = 1


class AtlasDirectory:
    """Where an atlas is written. Every file is there whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The page to open.
        self.index = path / "index.html"

    def is_finished(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder has an atlas of the same settings, with nothing left to draw.

        A `ValueError` says that something else is there.
        """
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise ValueError(f"`output` must be the path of a folder. Received: {self.path}")
        claim = self.path / _CLAIM
        if not claim.is_file():
            if any(not found.name.startswith(".") for found in self.path.iterdir()):
                raise ValueError(
                    "`output` must be a new folder, an empty one, or one that has an atlas. "
                    f"Received: {self.path}, which holds something else"
                )
            return False
        try:
            known = json.loads(claim.read_text("utf-8"))
        except ValueError:
            known = None
        if (
            not isinstance(known, dict)
            or known.get("format") != _FORMAT
            or not isinstance(known.get("settings"), dict)
            or not isinstance(known.get("finished"), bool)
        ):
            raise ValueError(
                f"`output` must have an atlas of this version. Received: {self.path}, whose "
                f"{_CLAIM} is of another, or something else"
            )
        before = known["settings"]
        differing = [
            f"{key} was {_shortly(before.get(key))}, is {_shortly(value)}"
            for key, value in json.loads(json.dumps(settings)).items()
            if before.get(key) != value
        ]
        if differing:
            raise ValueError(
                "`output` must have an atlas of the same model and settings, to go on with it; "
                "give another folder, or remove this one. "
                f"Received: {self.path}, where {'; '.join(differing)}"
            )
        return known["finished"]

    def check_writable(self) -> None:
        """Raises an `OSError` unless files can be written here."""
        there = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(
                "`output` must be the path of a folder that can be written. "
                f"Received: {self.path}, where {there} cannot"
            )

    def claim(self, settings: Mapping[str, Any], finished: bool) -> None:
        """Writes down what the folder has an atlas of, and lays out the pages."""
        claim = {"format": _FORMAT, "finished": finished, "settings": settings}
        text = json.dumps(claim, indent=1, sort_keys=True) + "\n"
        _write(self.path / _CLAIM, text.encode())
        for source in sorted(_SITE.rglob("*")):
            if source.is_file():
                _write(self.path / source.relative_to(_SITE), source.read_bytes())

    def picture(self, layer: int, channel: int) -> Path:
        """The path of the picture of a channel."""
        return self.path / f"pictures/{layer:04}/{channel:05}.jpg"

    def write_picture(self, layer: int, channel: int, file: bytes) -> None:
        """Writes the picture of a channel."""
        _write(self.picture(layer, channel), file)

    def write_photograph(self, number: int, file: bytes) -> None:
        """Writes one of the user's images."""
        _write(self.path / f"photographs/{number:05}.jpg", file)

    def write_data(self, key: str, value: Any) -> None:
        """Writes what JSON can say for the pages, which ask for it by the key.

        A page that is opened from the disk may run a script, and not read a file of data.
        """
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        script = f"atlas.receive({json.dumps(key)},{text});\n"
        _write(self.path / f"data/{key}.js", script.encode())


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise OSError(
            f"The atlas could not be written any further: {error.strerror}. What was drawn is "
            f"kept, and the same call goes on from there. Received: {path}"
        ) from error


def _shortly(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
