"""Where a command shows how far it is: a live view on a terminal, else a line every few seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from streams.demo.view import View

_A_LINE_EVERY_S: Final = 3.0
_WIDTH: Final = 130
"""What reads it has no width."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Screen:
    console: Console
    live: bool
    command: str

    @classmethod
    def of(cls, command: str, *, as_json: bool) -> Screen:
        """On stderr where an object of JSON is to stand alone on stdout."""
        import sys

        from rich.console import Console

        live = sys.stdout.isatty() and not as_json
        console = Console(stderr=as_json)
        if not live:
            console.width = _WIDTH
        return cls(console, live, command)

    def say(self, what: str) -> None:
        self.console.print(f"[dim]{what}[/dim]" if self.live else f"{self.command}: {what}", highlight=False)

    @contextlib.contextmanager
    def watching(self, view: Callable[[T], View], line: Callable[[T], str]) -> Iterator[Callable[[T], None]]:
        """Gives what shows it, to be called as often as there is news."""
        if not self.live:
            yield self._lines(line)
            return
        from rich.live import Live

        from streams.demo.view import render

        with Live(console=self.console, refresh_per_second=8, transient=True) as shown:
            yield lambda what: shown.update(render(view(what), self.console.height))

    def _lines(self, line: Callable[[T], str]) -> Callable[[T], None]:
        shown_s = time.monotonic()

        def show(what: T) -> None:
            nonlocal shown_s
            if time.monotonic() - shown_s >= _A_LINE_EVERY_S:
                shown_s = time.monotonic()
                print(line(what), file=self.console.file, flush=True)

        return show
