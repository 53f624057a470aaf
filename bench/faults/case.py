"""What the judge is told: the input, the outputs, what Redis holds, and the course of the schedule."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.faults.feed import Record
from bench.faults.flow import Place
from bench.faults.offline import Event
from bench.parity import Said
from streams.core.alerts import Alert
from streams.core.incident_rules import IncidentRules
from streams.core.incidents import Incident

ID_NAMESPACE: Final = uuid.UUID("6f3b6c53-9b64-5c7d-8e0b-2f6f1c7f2a10")
"""Written here again: ids are part of the contract, and must not change with the code."""


class Law(StrEnum):
    LOST = "lost"
    EXTRA = "extra"
    DIFFERING = "differing_duplicates"
    WRONG_VERDICT = "wrong_verdicts"
    WRONG_WINDOW = "wrong_windows"
    OUT_OF_ORDER = "out_of_order"
    MISCOUNTED = "miscounted_losses"
    WRONG_INCIDENT = "wrong_incidents"


@dataclass(frozen=True, slots=True)
class Broken:
    law: Law
    line: str


@dataclass(frozen=True, slots=True)
class Polled:
    """An alert or a verdict, and where it stood in the output."""

    topic: str
    partition: int
    offset: int
    appended_us: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `place` is None where its headers name no place of a telemetry topic of ours."""

    place: Place | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    appended_us: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A window in Redis, unrolled: oldest row first."""

    topic_id: str
    partition: int
    offset: int
    time_us: int
    rows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets from `first` to before `end` of a partition, in one life of the telemetry topic."""

    life: int
    partition: int
    first: int
    end: int

    def __contains__(self, place: Place) -> bool:
        is_here = (place.life, place.partition) == (self.life, self.partition)
        return is_here and self.first <= place.offset < self.end


@dataclass(frozen=True, slots=True)
class Case:
    events: Sequence[Event]
    width: int
    """How many of a window's events a verdict looks at, at most."""
    poison: Mapping[Place, tuple[Record, int]]
    expected: Callable[[Sequence[tuple[int, int]]], Sequence[Said]]
    """(event, fill) to what must be said."""
    row: Callable[[Event], bytes]
    """The feature row of an event, packed."""
    lives: Sequence[str]
    """The telemetry topic's ids, the present one last."""
    committed: Mapping[int, Mapping[int, int]]
    losses: Sequence[tuple[int, int]]
    models: Mapping[str, int]
    """Digest to the moment from which it may judge."""
    classified: Sequence[Polled]
    alerts: Sequence[Polled]
    letters: Sequence[Letter]
    stored: Mapping[tuple[int, str], Stored | None]
    """Partition and device to the window under their key."""
    alert_topic: Callable[[str], str]
    gone: Collection[Place] = ()
    """Deleted before it was committed, and not judged; not among the events, nor the poison."""
    deletions: Sequence[Span] = ()
    """What was deleted before it was committed."""
    said_lost: Sequence[Span] = ()
    """What workers said was deleted before they read it."""
    counted_lost: int = 0
    """How many offsets they counted so."""
    incidents: Sequence[Incident] = ()
    """Every revision, as published."""
    incident_rules: IncidentRules | None = None
    """None: incidents are off."""
    rebuilds: bool = False
    """Whether workers rebuild windows after a loss, from all that the topic holds."""

    def seen(self, event: Event) -> int:
        """How many events the verdict on this one looks at, with its whole window there."""
        return min(len(event.history), self.width)

    def is_rebuilt(self, event: Event) -> bool:
        """Of a topic that is gone, or what was deleted, nothing can be read back."""
        return self.rebuilds and event.place.life == len(self.lives) - 1 and not self.deletions

    def is_to_be_judged(self, place: Place) -> bool:
        """What was not committed when its topic was deleted may be judged or not, or in part."""
        done = self.committed.get(place.life, {}).get(place.partition, 0)
        return place.life == len(self.lives) - 1 or place.offset < done

    def id_of(self, place: Place) -> str:
        name = f"{self.lives[place.life]}/{place.partition}/{place.offset}"
        return str(uuid.uuid5(ID_NAMESPACE, name))

    def place_of(self, topic_id: str, partition: int, offset: int) -> Place | None:
        if topic_id not in self.lives:
            return None
        return Place(self.lives.index(topic_id), partition, offset)
