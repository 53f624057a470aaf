"""The transcripts in docs/models.md, made by running what they show: `python -m docs.transcripts`.

A transcript stands between `<!-- transcript -->` and `<!-- /transcript -->`, indented, each command after a
`$`. The commands run in order in one scratch folder, and what they print replaces what stood below them. With
`head=N` in the marker only the first N lines of each command are shown. `--check` changes nothing and exits
with 1 where the page is out of date.

What needs Kafka is not run: those blocks have no markers.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from unittest import mock

from streams.__main__ import main as autodeep

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "models.md"
BLOCK: Final = re.compile(
    r"(<!-- transcript(?: head=(\d+))? -->\n\n)(.*?)(\n<!-- /transcript -->)", re.DOTALL
)
INDENT: Final = "    "
SHOWN_FOLDER: Final = "/srv"
"""Stands in the page for the scratch folder."""
ENVIRONMENT: Final = {
    "COLUMNS": "100",
    "AUTODEEP_KAFKA_SERVERS": "localhost:1",  # nobody listens there
    "AUTODEEP_NETWORK_TIMEOUT_S": "0.5",
}


def rewritten(page: str) -> str:
    """The page with every transcript made anew."""
    with _scratch() as folder:
        return BLOCK.sub(lambda block: block[1] + _transcript(block[3], folder, block[2]) + block[4], page)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder with the store `models`, which has kdd99/8 and its aliases, and kdd99/9 in `trained`."""
    outside = {name: text for name, text in os.environ.items() if not name.startswith("AUTODEEP_")}
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.chdir(name),
        mock.patch.dict(os.environ, outside | ENVIRONMENT, clear=True),
    ):
        folder = Path(name).resolve()
        shipped = ROOT / "model_store" / "kdd99"
        shutil.copytree(shipped / "8", folder / "models" / "kdd99" / "8")
        shutil.copy(shipped / "aliases.json", folder / "models" / "kdd99")
        shutil.copytree(shipped / "9", folder / "trained" / "kdd99" / "9")
        yield folder


def _transcript(text: str, folder: Path, head: str | None) -> str:
    lines: list[str] = []
    commands = [
        line.removeprefix(INDENT + "$ ") for line in text.splitlines() if line.startswith(INDENT + "$ ")
    ]
    for command in commands:
        printed = _output(command).replace(str(folder), SHOWN_FOLDER).rstrip().splitlines()
        if head and len(printed) > int(head):
            printed = [*printed[: int(head)], "..."]
        lines += [*([""] if lines else []), f"$ {command}", *printed]
    return "".join(f"{INDENT}{line}".rstrip() + "\n" for line in lines)


def _output(command: str) -> str:
    """Both streams, as a terminal shows them. `autodeep` runs in this process, which has torch loaded."""
    if not command.startswith("autodeep "):
        done = subprocess.run(
            command, shell=True, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.stdout
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        mock.patch.object(sys, "argv", shlex.split(command)),
        contextlib.suppress(SystemExit),
    ):
        autodeep()
    return printed.getvalue()


def main() -> None:
    before = PAGE.read_text(encoding="utf-8")
    after = rewritten(before)
    if "--check" in sys.argv[1:]:
        sys.stdout.writelines(
            difflib.unified_diff(before.splitlines(True), after.splitlines(True), "page", "now")
        )
        sys.exit(before != after)
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
