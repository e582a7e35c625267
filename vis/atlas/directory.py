"""The directory of an atlas: its manifest, pictures, images and pages."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vis.utils.files import written_whole

_SITE = Path(__file__).with_name("site")
_MANIFEST = "atlas.json"
_FORMAT = 1


class AtlasDirectory:
    """Reads and writes the files of an atlas. Each file is written atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = path / "index.html"

    def is_finished(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder holds the finished atlas of these settings.

        Raises a `ValueError` if the folder holds anything but an atlas of these settings.
        """
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise ValueError(f"`folder` must be a folder. Received: the file {self.path}")
        if not (self.path / _MANIFEST).is_file():
            if any(not path.name.startswith(".") for path in self.path.iterdir()):
                raise ValueError(
                    "`folder` must be new, empty, or the folder of an atlas. "
                    f"Received: {self.path}, which holds other files"
                )
            return False
        manifest = self._read_manifest()
        differences = [
            f"{key} was {_shortened(manifest['settings'].get(key))}, is {_shortened(value)}"
            for key, value in json.loads(json.dumps(settings)).items()
            if manifest["settings"].get(key) != value
        ]
        if differences:
            raise ValueError(
                "`folder` holds an atlas that was drawn with different settings. Give another "
                f"folder, or delete this one. Received: {self.path}, where {'; '.join(differences)}"
            )
        return manifest["finished"]

    def _read_manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.path / _MANIFEST).read_text("utf-8"))
        except ValueError:
            manifest = None
        if (
            not isinstance(manifest, dict)
            or manifest.get("format") != _FORMAT
            or not isinstance(manifest.get("settings"), dict)
            or not isinstance(manifest.get("finished"), bool)
        ):
            raise ValueError(
                "`folder` must hold an atlas of this version of keras3-vis. Give another folder. "
                f"Received: {self.path}, whose {_MANIFEST} has another format"
            )
        return manifest

    def check_writable(self) -> None:
        """Raises a `PermissionError` if files cannot be written here."""
        parents = (self.path, *self.path.absolute().parents)
        existing = next(path for path in parents if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(
                "`folder` must be writable. "
                f"Received: {self.path}, but {existing} is not a writable folder"
            )

    def write_manifest(self, settings: Mapping[str, Any], finished: bool) -> None:
        """Writes what the folder holds the atlas of, which `is_finished` compares."""
        manifest = {"format": _FORMAT, "finished": finished, "settings": settings}
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        _write(self.path / _MANIFEST, text.encode())

    def write_site(self) -> None:
        """Copies the pages and their scripts."""
        for source in sorted(_SITE.rglob("*")):
            if source.is_file():
                _write(self.path / source.relative_to(_SITE), source.read_bytes())

    def picture(self, layer: int, channel: int) -> Path:
        """Path of the picture of a channel."""
        return self.path / f"pictures/{layer:04}/{channel:05}.jpg"

    def write_picture(self, layer: int, channel: int, file: bytes) -> None:
        """Writes the picture of a channel."""
        _write(self.picture(layer, channel), file)

    def write_image(self, number: int, file: bytes) -> None:
        """Writes an image of the user's dataset."""
        _write(self.path / f"images/{number:05}.jpg", file)

    def write_data(self, key: str, value: Any) -> None:
        """Writes data for the pages, as a script.

        Browsers do not let a page that was opened from the disk read JSON files.
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
            f"The atlas cannot be written: {error.strerror}. Finished pictures are kept. Rerun "
            f"the call to resume. Received: {path}"
        ) from error


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
