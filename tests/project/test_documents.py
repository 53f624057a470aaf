"""What the documents show is there: every command line and option of ours, and the transcripts as printed."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
import typer
from typer.core import TyperGroup

from bench.__main__ import app as bench
from docs import transcripts
from streams.cli.commands import app as autodeep

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PROGRAMS: Final = {"autodeep": autodeep, "python -m bench": bench, "bench": bench}
Command = Any  # typer's, or click's: older versions of typer build on click, newer ones bring their own
USAGE_ERROR: Final[type[Exception]] = cast(Any, typer.BadParameter.__bases__[0])
OTHERS: Final = {"--reset-offsets"}
"""Options of other people's programs that a document names by themselves."""


def command_lines() -> Iterator[tuple[str, str, bool]]:
    """(page, text, whether it stands in a block): such a line can be typed as it is, a mention may be cut."""
    for page in PAGES:
        text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
        for line in re.findall(r"^ {4,}(?:\$ )?(?:\w+=\S+ )*((?:autodeep|python -m bench) .*)$", text, re.M):
            yield name, line, True
        for line in re.findall(r"`((?:autodeep|python -m bench|bench) [^`]*)`", text.replace("\n", " ")):
            yield name, line, False


def words_of(line: str) -> tuple[str, list[str]]:
    """The program, and what follows it: without a comment, a pipe or a redirection."""
    program = next(name for name in PROGRAMS if line.startswith(name + " "))
    words = shlex.split(line.removeprefix(program), comments=True)
    ends = [place for place, word in enumerate(words) if word in {"|", ">", "&", "&&", "..."}]
    return program, words[: ends[0]] if ends else words


def flaw(line: str, whole: bool) -> str:
    """What the command line would say of it; empty: nothing."""
    program, words = words_of(line)
    command: Command = typer.main.get_command(PROGRAMS[program])
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        word = words.pop(0)
        if word not in command.commands:
            return f"no command {word}"
        command = command.commands[word]
    known = options_of(command)
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    if unknown:
        return f"no option {unknown[0]}"
    if whole and not isinstance(command, TyperGroup):
        try:
            command.make_context(program, words)
        except USAGE_ERROR as exc:
            return str(exc)
    return ""


def options_of(command: Command) -> set[str]:
    return {"--help"} | {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def all_options(command: Command) -> set[str]:
    below = command.commands.values() if isinstance(command, TyperGroup) else ()
    return options_of(command).union(*(all_options(one) for one in below))


def test_every_command_line_in_the_documents_is_one_that_we_have() -> None:
    lines = list(command_lines())
    assert len(lines) > 100
    flaws = [f"{page}: {line}: {found}" for page, line, whole in lines if (found := flaw(line, whole))]
    assert not flaws


def test_every_option_that_the_documents_name_by_itself_exists() -> None:
    known = OTHERS.union(*(all_options(typer.main.get_command(app)) for app in PROGRAMS.values()))
    for page in PAGES:
        named = re.findall(r"`(--[a-z][a-z0-9-]*)[^`]*`", page.read_text(encoding="utf-8"))
        assert set(named) <= known, page


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("autodeep evaluate kdd99 --release STORE", "no option --release"),
        ("autodeep modls list", "no command modls"),
        ("autodeep explain rows.csv", "row"),
        ("autodeep alerts tail --class dos --json | jq .device_id", ""),
        ("python -m bench faults --schedules many", "integer"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_found(line: str, found: str) -> None:
    assert (found in flaw(line, True)) if found else (flaw(line, True) == "")


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not on the PATH: Debian's package openssl"
)
def test_the_transcripts_are_what_the_commands_print_now() -> None:
    page = transcripts.PAGE.read_text(encoding="utf-8")
    assert len(transcripts.BLOCK.findall(page)) > 5
    assert transcripts.rewritten(page) == page, "make them anew: python -m docs.transcripts"


def test_the_drawn_layers_are_those_that_import_linter_checks() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^    (streams\.\S+(?: \| \S+)*)  ", page.partition("## The layers")[2], re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert drawn == project["tool"]["importlinter"]["contracts"][0]["layers"]


def test_every_module_and_test_that_a_document_names_exists() -> None:
    absent = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in re.findall(
            r"`((?:streams|bench|tests|docs|schemas)/[\w/.-]+\.\w+)", page.read_text("utf-8")
        )
        if not (ROOT / path).exists()
    ]
    assert not absent


def test_every_module_in_the_architecture_exists() -> None:
    packages = "|".join(path.parent.name for path in (ROOT / "streams").glob("*/__init__.py"))
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = set(re.findall(rf"\b((?:{packages})/(?:\w+/)*\w+\.py)\b", page))
    assert len(drawn) > 25
    assert not [path for path in sorted(drawn) if not (ROOT / "streams" / path).exists()]
