"""The directory of an atlas: its manifest, pictures, images and pages."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vis.atlas.plan import LayerPlan
from vis.utils.files import atomic_write
from vis.utils.validation import expect

_SITE = Path(__file__).with_name("site")
_MANIFEST = "atlas.json"
# Of the empty file that an inactive channel has instead of a picture.
_INACTIVE = ".inactive"
# What an atlas consists of, besides its pages.
_CONTENTS = ("pictures", "images", "data")


class Manifest(NamedTuple):
    """What a folder holds the atlas of."""

    settings: Mapping[str, Any]
    channels: Mapping[str, Sequence[int]]  # The channels that were chosen, by layer.
    finished: bool


class AtlasDirectory:
    """Reads and writes the files of an atlas. Each file is written atomically.

    With `overwrite`, an atlas of other settings is replaced.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self.path = path
        self.index = path / "index.html"
        self._overwrite = overwrite

    def manifest(self, settings: Mapping[str, Any]) -> Manifest | None:
        """The manifest of the atlas of these settings, or None if there is none.

        Raises a `ValueError` if the folder holds anything else that must not be replaced.
        """
        if not self.path.exists():
            return None
        expect(self.path.is_dir(), "folder", "be a folder", f"the file {self.path}")
        manifest = self._read_manifest()
        if manifest is None:
            is_empty = all(path.name.startswith(".") for path in self.path.iterdir())
            expected = "be new, empty, or the folder of an atlas"
            expect(is_empty, "folder", expected, f"{self.path}, which holds other files")
            return None
        previous = manifest.settings
        differences = [
            f"{key} was {_shortened(previous.get(key))}, is {_shortened(value)}"
            for key, value in json.loads(json.dumps(settings)).items()
            if previous.get(key) != value
        ]
        if differences and not self._overwrite:
            raise ValueError(
                "`folder` holds an atlas that was drawn with different settings. Pass "
                "`overwrite=True` to replace it, or give another folder. "
                f"Received: {self.path}, where {'; '.join(differences)}"
            )
        return None if differences else manifest

    def _read_manifest(self) -> Manifest | None:
        try:
            values = json.loads((self.path / _MANIFEST).read_text("utf-8"))
            manifest = Manifest(values["settings"], values.get("channels", {}), values["finished"])
        except (KeyError, OSError, TypeError, ValueError):
            return None
        is_atlas = isinstance(manifest.settings, dict) and "made_with" in manifest.settings
        return manifest if is_atlas else None

    def check_writable(self) -> None:
        """Raises a `PermissionError` if files cannot be written here."""
        parents = (self.path, *self.path.absolute().parents)
        existing = next(path for path in parents if path.exists())
        is_writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        received = f"{self.path}, but {existing} is not a writable folder"
        expect(is_writable, "folder", "be writable", received, PermissionError)

    def clear(self) -> None:
        """Deletes the contents of a previous atlas."""
        for name in _CONTENTS:
            shutil.rmtree(self.path / name, ignore_errors=True)

    def write_manifest(
        self, settings: Mapping[str, Any], plans: Sequence[LayerPlan], finished: bool
    ) -> None:
        """Writes what the folder holds the atlas of."""
        manifest = Manifest(settings, {plan.name: plan.filters for plan in plans}, finished)
        text = json.dumps(manifest._asdict(), indent=1, sort_keys=True) + "\n"
        _write(self.path / _MANIFEST, text.encode())

    def write_site(self) -> None:
        """Copies the pages and their scripts."""
        for source in sorted(_SITE.rglob("*")):
            if source.is_file():
                _write(self.path / source.relative_to(_SITE), source.read_bytes())

    def picture(self, layer: int, plan: LayerPlan, channel: int) -> Path:
        """Path of the picture of a channel of the layer at a position."""
        return self.path / f"pictures/{layer:04}/{channel:05}{plan.suffix}"

    def is_inactive(self, layer: int, plan: LayerPlan, channel: int) -> bool:
        """Whether a channel has no picture because no image activates it."""
        return self.picture(layer, plan, channel).with_suffix(_INACTIVE).is_file()

    def missing(self, layer: int, plan: LayerPlan) -> list[int]:
        """The channels of a layer that are still to be drawn."""
        return [
            channel
            for channel in plan.filters
            if not self.picture(layer, plan, channel).is_file()
            and not self.is_inactive(layer, plan, channel)
        ]

    def write_picture(self, layer: int, plan: LayerPlan, channel: int, file: bytes | None) -> None:
        """Writes the picture of a channel, or that it has none because no image activates it."""
        path = self.picture(layer, plan, channel)
        _write(path.with_suffix(_INACTIVE) if file is None else path, file or b"")

    def write_image(self, name: str, file: bytes) -> None:
        """Writes an image of the user's dataset."""
        _write(self.path / "images" / name, file)

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
