"""A study as files: report.html, report.json and a PNG for each picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from streams.errors import SettingsError
from streams.evaluation.page import page
from streams.evaluation.pictures import pictures

HTML: Final = "report.html"
JSON: Final = "report.json"


def write(found: Mapping[str, Any], folder: Path) -> Path:
    """The report's HTML file, everything else beside it. Raises SettingsError where it cannot be written."""
    images = pictures(found)
    for name, other in found.get("also", {}).items():
        images |= {f"{name}-{picture}": data for picture, data in pictures(other).items()}
    return write_files(found, folder, images, page(found, images))


def write_files(found: Mapping[str, Any], folder: Path, images: Mapping[str, bytes], html: str) -> Path:
    """Raises SettingsError where they cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in images.items():
            (folder / f"{name}.png").write_bytes(data)
        (folder / JSON).write_text(as_json(found) + "\n", encoding="utf-8")
        (folder / HTML).write_text(html, encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"{folder}: the report cannot be written: {exc.strerror or exc}") from exc
    return folder / HTML


def as_json(found: Mapping[str, Any]) -> str:
    """One line. Never NaN: what is undefined is null."""
    return json.dumps(found, allow_nan=False)
