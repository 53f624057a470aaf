"""Waiting for what is away: again and again, with back-off, until it is back or the worker stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from streams.errors import Unavailable

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0


class Retry(Protocol):
    """Calls `attempt` until it no longer raises Unavailable; lets that pass in the end when told to stop."""

    def __call__(self, attempt: Callable[[], T]) -> T: ...


class BackOff:
    """Doubles the pause from 0.1 to 5 seconds.

    `wait` sleeps so many seconds and says whether the worker stops meanwhile; `away` is told what is away,
    and None once it is back.
    """

    def __init__(self, wait: Callable[[float], bool], away: Callable[[Unavailable | None], None]) -> None:
        self._wait = wait
        self._away = away

    def __call__(self, attempt: Callable[[], T]) -> T:
        pause_s, was_away = FIRST_PAUSE_S, False
        while True:
            try:
                result = attempt()
            except Unavailable as exc:
                was_away = True
                self._away(exc)
                if self._wait(pause_s):
                    raise
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                if was_away:
                    self._away(None)
                return result
