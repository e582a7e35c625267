"""The folder that an atlas is in: whose it is, what is there already, how it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vis.utils.files import written_whole

_SITE = Path(__file__).with_name("site")
_CLAIM = "atlas.json"
_FORMAT = 1


class Folder:
    """Where an atlas is written. Every file is there whole, or not at all.

    Args:
        path: Path of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def index(self) -> Path:
        """The page to open."""
        return self.path / "index.html"

    def is_finished(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder has the same atlas, with nothing left to draw.

        Args:
            settings: All that decides what the atlas looks like.

        Raises:
            ValueError: If something else is there.
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
        wanted = json.loads(json.dumps(settings))
        differing = [key for key in wanted if known["settings"].get(key) != wanted[key]]
        if differing:
            told = "; ".join(
                f"{key} was {_shortly(known['settings'].get(key))}, is {_shortly(wanted[key])}"
                for key in differing
            )
            raise ValueError(
                "`output` must have an atlas of the same model and settings, to go on with it; "
                f"give another folder, or remove this one. Received: {self.path}, where {told}"
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
        """Writes down what the folder has an atlas of, and lays out the pages.

        Args:
            settings: As for `is_finished`.
            finished: Whether nothing is left to draw.
        """
        claim = {"format": _FORMAT, "finished": finished, "settings": settings}
        self._write(_CLAIM, (json.dumps(claim, indent=1, sort_keys=True) + "\n").encode())
        for source in sorted(_SITE.rglob("*")):
            if source.is_file():
                self._write(source.relative_to(_SITE).as_posix(), source.read_bytes())

    def has_picture(self, layer: int, channel: int) -> bool:
        """Whether the picture of a channel is there."""
        return self.picture(layer, channel).is_file()

    def picture(self, layer: int, channel: int) -> Path:
        """The path of the picture of a channel."""
        return self.path / f"pictures/{layer:04}/{channel:05}.jpg"

    def write_picture(self, layer: int, channel: int, file: bytes) -> None:
        """Writes the picture of a channel."""
        self._write(self.picture(layer, channel).relative_to(self.path).as_posix(), file)

    def write_photograph(self, number: int, file: bytes) -> None:
        """Writes one of the user's images."""
        self._write(f"photographs/{number:05}.jpg", file)

    def write_data(self, key: str, value: Any) -> None:
        """Writes data for the pages.

        A page that is opened from the disk may run a script, and not read a file of data.

        Args:
            key: What the pages ask for it by.
            value: What JSON can say.
        """
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        self._write(f"data/{key}.js", f"atlas.receive({json.dumps(key)},{text});\n".encode())

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
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
