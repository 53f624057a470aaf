"""Every command, whatever its standard streams are: one clear line, never a traceback."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer import Typer
from typer.models import OptionInfo

from streams.__main__ import main
from streams.cli import commands
from streams.cli.output import add_row, console, say

AUTODEEP = f"{sys.executable} -m streams"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("words", ["--help", "models list", "data fetch nonsense"])
@pytest.mark.parametrize(
    ("where", "code", "says"),
    [
        (">/dev/full", 74, "autodeep: standard output cannot be written: No space left on device"),
        (">&-", 74, "autodeep: standard output cannot be written: Bad file descriptor"),
        ("<&- >&- 2>&-", 74, None),
        ("| true; exit ${PIPESTATUS[0]}", 141, None),
    ],
)
def test_output_that_cannot_be_written_is_one_line(
    words: str, where: str, code: int, says: str | None
) -> None:
    """What writes nothing there ends as ever."""
    prints = words != "data fetch nonsense"
    done = shell(f"{AUTODEEP} {words} {where}")
    if prints:
        assert (done.returncode, done.stderr) == (code, "" if says is None else f"{says}\n")
    else:
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == (0 if "2>&-" in where else 1)


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2>/dev/null"])
def test_what_cannot_be_told_on_the_way_ends_no_command(where: str) -> None:
    """As the doctor tells what it is looking at."""
    program = (
        "import sys; from streams.starting import checked_streams\n"
        "with checked_streams(RuntimeError):\n"
        "    print('x' * 20_000, file=sys.stderr); print('done')"
    )
    done = shell(f'{sys.executable} -c "{program}" {where}')
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("worker --log-level LOUD", "--log-level LOUD: give one of DEBUG, INFO"),
        ("data fetch kdd99 --from /nowhere --to /proc/x", "kddcup.data_10_percent.gz is neither in"),
        ("evaluate kdd99 --data /proc/version", "/proc/version"),
        ("models list --store s3://key:secret@bucket", "model store s3://bucket: "),
        ("models verify kdd99/8 --trust-key /proc", "/proc: cannot be read"),
        ("models add /proc --store /proc/x", "/proc/manifest.json: cannot be read"),
        ("replay /dev/null --rate 1e-300", "--rate 1e-300: give 0, or at least 0.001 events a second"),
        ("alerts tail --since soon", "since 'soon': expected now"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2_or_3(words: str, says: str) -> None:
    done = shell(f"{AUTODEEP} {words}")
    assert done.returncode in (2, 3), done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert says in done.stderr


def makes_a_folder() -> None:
    Path("/proc/x").mkdir()


def needs_a_cache() -> None:
    raise OSError("Matplotlib requires access to a writable cache directory")


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (makes_a_folder, "/proc/x: No such file or directory"),
        (needs_a_cache, "Matplotlib requires access to a writable cache directory"),
    ],
)
def test_a_folder_that_cannot_be_written_is_one_line(
    fails: Callable[[], None],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever command meets it."""
    monkeypatch.setattr(commands, "run", fails)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"autodeep: {says}\n"


def test_letters_that_the_terminal_lacks_are_escaped() -> None:
    code = "from streams.starting import *\nwith checked_streams(ValueError): print('Größe')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "iso-8859-5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("Gr\\xf6\\xdfe\n", "")


def test_a_table_off_a_terminal_is_not_cut_and_its_cells_are_text_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.table import Table

    monkeypatch.delenv("COLUMNS", raising=False)
    cells = ("ids.models.disagreements", "retention.ms " * 9, "[/bold] [red]", "a\x1b[2J\nb", "x" * 300)
    table = Table("a", "b", "c", "d", "e", box=None)
    add_row(table, *cells)
    console().print(table)
    say("one\x1b[2J\ntwo")
    _, row, *said = capsys.readouterr().out.splitlines()
    assert all(cell.strip() in row for cell in (*cells[:3], cells[4]))
    assert "a\ufffd[2J\ufffdb" in row
    assert said == ["one\ufffd[2J", "two"]


def test_a_table_on_a_narrow_terminal_is_folded_and_keeps_every_letter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.table import Table

    monkeypatch.setenv("COLUMNS", "20")
    table = Table("a", "b", box=None)
    add_row(table, "0123456789" * 3, "abcdefghij" * 3)
    console().print(table)
    found = capsys.readouterr().out
    assert sum(letter in "0123456789" for letter in found) == 30
    assert max(map(len, found.splitlines())) <= 20


def number_options(group: Typer, name: str = "") -> Iterator[tuple[str, OptionInfo]]:
    """Of every command: its name with the parameter's, and the option."""
    for command in group.registered_commands:
        assert command.callback is not None
        parameters = inspect.signature(command.callback).parameters.values()
        for parameter in parameters:
            kinds = set(re.findall(r"\w+", str(parameter.annotation)))
            if isinstance(parameter.default, OptionInfo) and kinds & {"int", "float"}:
                yield f"{name} {command.callback.__name__} {parameter.name}".strip(), parameter.default
    for one in group.registered_groups:
        assert one.typer_instance is not None
        yield from number_options(one.typer_instance, f"{name} {one.name}".strip())


CHECKED = {"models canary share", "replay attack_share", "explain row"}
"""By the commands themselves, which say more."""


def test_every_number_that_a_command_takes_has_an_upper_bound() -> None:
    """Else one that a library cannot hold, or infinity, ends it with a traceback."""
    found = dict(number_options(commands.app))
    assert {name for name, option in found.items() if option.max is None} == CHECKED
    assert {"topics create partitions", "replay rate", "doctor seconds"} <= found.keys()
