"""The directory of an atlas: its manifest, pictures, images and pages."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vis.atlas.plan import LayerPlan
from vis.utils.files import atomic_write
from vis.utils.validation import expect

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
        expect(self.path.is_dir(), "folder", "be a folder", f"the file {self.path}")
        if not (self.path / _MANIFEST).is_file():
            is_empty = all(path.name.startswith(".") for path in self.path.iterdir())
            expected = "be new, empty, or the folder of an atlas"
            expect(is_empty, "folder", expected, f"{self.path}, which holds other files")
            return False
        manifest = self._read_manifest()
        previous = manifest["settings"]
        differences = [
            f"{key} was {_shortened(previous.get(key))}, is {_shortened(value)}"
            for key, value in json.loads(json.dumps(settings)).items()
            if previous.get(key) != value
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
        is_valid = (
            isinstance(manifest, dict)
            and manifest.get("format") == _FORMAT
            and isinstance(manifest.get("settings"), dict)
            and isinstance(manifest.get("finished"), bool)
        )
        expected = "hold an atlas of this version of keras3-vis; give another folder"
        expect(is_valid, "folder", expected, f"{self.path}, whose {_MANIFEST} has another format")
        return manifest

    def check_writable(self) -> None:
        """Raises a `PermissionError` if files cannot be written here."""
        parents = (self.path, *self.path.absolute().parents)
        existing = next(path for path in parents if path.exists())
        is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        received = f"{self.path}, but {existing} is not a writable folder"
        expect(is_writable, "folder", "be writable", received, PermissionError)

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

    def has_pictures(self, plans: Sequence[LayerPlan]) -> bool:
        """Whether there are pictures of all channels of these layers."""
        channels = ((i, channel) for i, plan in enumerate(plans) for channel in plan.filters)
        return all(self.picture(*channel).is_file() for channel in channels)

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
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise OSError(
            f"The atlas cannot be written: {error.strerror}. Finished pictures are kept. Rerun "
            f"the call to resume. Received: {path}"
        ) from error


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
