"""What commands print for people: no control characters of others', and whole off a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from streams.legible import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table

_WIDE = 1000
"""Columns of what has no width: a table is as wide as what stands in it."""


def say(text: str) -> None:
    typer.echo(lines(text))


def echo_each(texts: Iterable[str], most: int) -> None:
    """Each line as it comes, at most so many (0: all). Ctrl-C ends with 130, a reader that is gone with 0."""
    import itertools

    from streams.starting import ReaderGone

    try:
        for line in itertools.islice(texts, most or None):
            typer.echo(line)  # which flushes
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ReaderGone:
        raise typer.Exit from None


def console() -> Console:
    """As wide as the terminal, or COLUMNS; else as wide as what is printed."""
    import os

    from rich.console import Console

    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)


def add_row(table: Table, *cells: str) -> None:
    """A row whose cells are text as it is, no markup. What is too long for a terminal is folded, not cut."""
    from rich.text import Text

    table.add_row(*(Text(one_line(cell), overflow="fold") for cell in cells))


def finite(value: Any) -> Any:
    """The same with null for each number that JSON does not have."""
    import math

    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value
