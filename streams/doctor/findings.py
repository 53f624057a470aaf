"""What an examination says: one line each, how grave it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, Final


class Level(IntEnum):
    """In the order of gravity."""

    GOOD = 0
    NOTE = 1
    """Nobody need act, but should know."""
    WARNING = 2
    """It works, and will not for ever, or not as meant."""
    BROKEN = 3
    """Events are not judged, or will be lost."""


EXIT_CODES: Final = {Level.GOOD: 0, Level.NOTE: 0, Level.WARNING: 5, Level.BROKEN: 6}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    """What was looked at, such as `topics` or `redis memory`."""
    level: Level
    found: str
    advice: str = ""
    """What to do; empty where there is nothing to do."""


def exit_code(findings: Iterable[Finding]) -> int:
    """That of the gravest finding."""
    return EXIT_CODES[max((finding.level for finding in findings), default=Level.GOOD)]


def as_json(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    worst = max((finding.level for finding in findings), default=Level.GOOD)
    shown = [{**asdict(finding), "level": finding.level.name.lower()} for finding in findings]
    return {"version": version, "worst": worst.name.lower(), "findings": shown}
