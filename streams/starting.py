"""What a process does before it imports anything large: signals, and standard streams.

Process 1 of a container has no default action for a signal: one that comes before a handler is installed is
lost. And libraries catch what is raised in the middle of their import, so that a signal ends the process at
once there; elsewhere it is raised, and what is open is closed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

_IMPORTS: Final = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C ends with 130, SIGTERM with 143, also while something is imported; unless they are ignored."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, action in before.items():
        if action is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _end(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename in _IMPORTS:
            os._exit(128 + number)
        frame = frame.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def tell(problem: str) -> None:
    """Why the command ends, on standard error, which may be full, too."""
    with suppress(OSError):
        print("autodeep: " + problem.replace("\n", "\n  "), file=sys.stderr)


class ReaderGone(SystemExit):
    """The reader of the pipe has seen enough."""


@contextmanager
def checked_streams(cannot_write: Callable[[str], Exception]) -> Iterator[None]:
    """What cannot be written to standard output is raised: ReaderGone for a pipe, else `cannot_write` of why.

    A stream that is closed is opened, lest the next file or connection take its number: reading gives
    nothing, writing standard output fails, and what goes to standard error is lost, as what a full one does
    not take. Letters that the terminal's encoding lacks are escaped.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        _open_if_closed(number, mode)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the process
    elif sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        encoding = sys.stderr.encoding
        sys.stderr = _Told(sys.stderr.detach(), encoding, "backslashreplace", line_buffering=True)
    before = sys.stdout
    if before is None:
        sys.stdout = _Output(cannot_write, open(1, "wb", closefd=False))  # noqa: SIM115
    elif before is sys.__stdout__ and isinstance(before, io.TextIOWrapper):
        sys.stdout = _Output(cannot_write, before.detach(), before.encoding, before.line_buffering)
    try:
        yield
    finally:
        if isinstance(sys.stdout, _Output):
            sys.stdout.flush()


class _Told(io.TextIOWrapper):
    """How it goes matters less than what is done: a log on a full disk ends no command."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


class _Output(io.TextIOWrapper):
    def __init__(
        self,
        cannot_write: Callable[[str], Exception],
        buffer: io.BufferedIOBase,
        encoding: str = "utf-8",
        line_buffering: bool = False,
    ) -> None:
        super().__init__(buffer, encoding, "backslashreplace", line_buffering=line_buffering)  # type: ignore[arg-type]
        self._cannot_write = cannot_write

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as exc:
            raise self._given_up(exc) from exc

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as exc:
            raise self._given_up(exc) from exc

    def _given_up(self, problem: OSError) -> BaseException:
        """What is left in the buffer must not fail again at the very end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        if isinstance(problem, BrokenPipeError):
            return ReaderGone(128 + signal.SIGPIPE)
        return self._cannot_write(f"standard output cannot be written: {problem.strerror}")


def _open_if_closed(number: int, mode: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, mode)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
