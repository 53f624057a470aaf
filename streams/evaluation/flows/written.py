"""A study of flows as files, and in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streams.evaluation.flows import tables
from streams.evaluation.flows.page import html
from streams.evaluation.flows.pictures import DRAWN
from streams.evaluation.pictures import drawn_of
from streams.evaluation.written import write_files

Json = Mapping[str, Any]


def write(found: Json, folder: Path) -> Path:
    """report.html, report.json and a PNG for each picture. Raises SettingsError."""
    images = drawn_of(found, DRAWN)
    return write_files(found, folder, images, html(found, images))


def print_study(console: Console, found: Json) -> None:
    """What one looks at first."""
    for of in (tables.summary(found), tables.alarms(found), tables.compared(found), tables.aims(found)):
        table = Table(
            title=of.title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="dim"
        )
        for place, name in enumerate(of.head):
            table.add_column(name, justify="right" if place else "left")
        for row in of.rows:
            table.add_row(*row)
        console.print(table)
        console.print()
    for sentence in (found["split"]["tuned"], *found["notes"]):
        console.print(f"- {sentence}", highlight=False)
