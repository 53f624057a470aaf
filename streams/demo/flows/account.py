"""What somebody's captures and logs held, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.client.flow_verdicts import Told
from streams.core.incidents import Incident
from streams.demo.flows.simulator import CLASSES
from streams.demo.view import View


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the worker is: records of sensors read, records of devices written of them, and taken in."""

    read: int = 0
    written: int = 0
    judged: int = 0
    verdicts: int = 0
    repeats: int = 0
    """Of what another record had told."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Verdicts that do not alert, by why."""


@dataclass(slots=True)
class FileAccount:
    """What a file held."""

    name: str
    records: int = 0
    flows: int = 0
    foreign: int = 0
    """Flows without an end at home."""
    packets: int = 0
    dialects: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    damage: str = ""
    """Why it, or the rest of it, could not be read."""


@dataclass(slots=True)
class Account:
    """What came of all of it."""

    files: list[FileAccount] = field(default_factory=list)
    flows_of: Counter[str] = field(default_factory=Counter)
    """Events by device."""
    alerts: Counter[str] = field(default_factory=Counter)
    """By class."""
    alerts_of: Counter[str] = field(default_factory=Counter)
    """By device."""
    alone: int = 0
    """Alerts of no incident."""
    incidents: dict[str, Incident] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    """Incidents by their alerts: their own records say how many there were at their time."""
    sent: int = 0
    standing: Standing = Standing()
    dead_letters: int = 0
    seconds: float = 0.0
    first_us: int = 0
    last_us: int = 0
    interrupted: bool = False
    view: View = field(default_factory=lambda: View(0.0, 0, (), classes=CLASSES))

    @property
    def lost(self) -> int:
        """Records and flows that came to no end."""
        return self.sent - self.standing.read + self.standing.written - self.standing.judged


def standing_of(figures: Mapping[str, Any]) -> Standing:
    """From a worker's figures."""
    topics = figures.get("flows", {}).values()
    return Standing(
        read=sum(one["records"] for one in topics),
        written=sum(sum(one["flows"].values()) for one in topics),
        judged=figures.get("records", 0),
        verdicts=figures.get("classified", 0),
        repeats=figures.get("duplicates", 0),
        held={name: count for name, count in figures.get("held_back", {}).items() if count},
    )
