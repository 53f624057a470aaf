"""When an incident opens, says more, and closes: rules over the standing of one device in one class.

Time is the partition's stream time, the largest of Kafka's timestamps so far (`core/timers.py`); beside it
the device's own, counted as in `core/clocks.py`. No clock of a device decides anything alone.

    alert      10:00  10:01  10:09             10:30           11:20      quiet 15 min, reopen 15 min
    incident   OPEN   x 2           CLOSE      UPDATE, again   OPEN, another
                                    10:24                      (and CLOSE of the first, at 10:45)

Which alerts one incident holds follows from the alerts alone, not from when its end was told: one that
comes within `quiet` and `reopen` of the last, by both clocks, belongs to it, whether it was closed meanwhile
or not.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from streams.core.topics import NOVEL

MASK_BITS: Final = 64
"""Most events over which novel alerts are counted until there are enough."""
MODELS: Final = 8
"""Most models that an incident names: the first ones."""


@dataclass(frozen=True, slots=True)
class IncidentRules:
    """Times in microseconds."""

    quiet_us: int = 900_000_000
    """An incident closes when no alert of it came for longer."""
    update_us: int = 300_000_000
    """The first alert so long after an incident's last revision makes another."""
    reopen_us: int = 900_000_000
    """An alert so soon after the closing belongs to the same incident."""
    novel_least: int = 3
    """Novel alerts among a window's events that open an incident; those before are alerts alone."""

    @property
    def together_us(self) -> int:
        """Two alerts no further apart belong to one incident."""
        return self.quiet_us + self.reopen_us


class Status(IntEnum):
    PENDING = 0
    """Novel alerts, too few so far."""
    OPEN = 1
    CLOSED = 2


class Seen(NamedTuple):
    """An alert as the rules see it."""

    event: int
    """Place of its event: offset and ordinal (`core/events.py`)."""
    event_us: int
    counted_us: int
    """The event's time, at most a minute ahead of Kafka's."""
    stream_us: int
    """The partition's watermark with this record."""
    score: float
    """By which alerts of its class are compared: the class's posterior; of `novel` the novelty."""
    novelty: float
    severity: int
    fill: int
    """Events in the window, this one included."""
    number: int
    """Which event of its device it is, modulo `rounds_of` the windows."""
    rounds: int
    model: str


@dataclass(slots=True)
class Standing:
    """Of one device in one class. Changed in place: a flood is thousands of alerts in a turn."""

    verdict: str
    status: Status = Status.PENDING
    severity: int = 0
    revision: int = 0
    alerts: int = 0
    opened: int = 0
    """Place of the first alert's event; then of the worst's, the first of equals, and of the last's."""
    worst: int = 0
    last: int = 0
    first_us: int = 0
    """The earliest event time; then the latest, as the records have them."""
    last_us: int = 0
    counted_us: int = 0
    """The latest of the counted event times."""
    stream_us: int = 0
    """The stream's time at the last alert."""
    revised_us: int = 0
    """The counted time of the last revision that an alert made."""
    score: float = 0.0
    novelty: float = 0.0
    recent: int = 0
    """While pending: which of the device's last events were alerts of this class, the latest in bit 0."""
    number: int = 0
    """While pending: of the latest of them."""
    models: list[str] = field(default_factory=list)

    def due_us(self, rules: IncidentRules) -> int:
        """Once the stream's time is beyond it, an open one closes, and any other may be forgotten."""
        after_us = rules.together_us if self.status is Status.CLOSED else rules.quiet_us
        return self.stream_us + after_us

    def expires_us(self, rules: IncidentRules) -> int:
        return self.stream_us + rules.quiet_us

    def goes_on(self, seen: Seen, rules: IncidentRules) -> bool:
        """Whether this alert is of the same incident."""
        if self.status is Status.PENDING:
            return seen.stream_us - self.stream_us <= rules.quiet_us
        most_us = rules.together_us
        return seen.stream_us - self.stream_us <= most_us and seen.counted_us - self.counted_us <= most_us


def take(standing: Standing, seen: Seen, rules: IncidentRules) -> bool:
    """An alert that goes on with this standing, or begins it; whether that makes a revision."""
    if standing.status is Status.PENDING:
        if not _enough(standing, seen, rules):
            return False
        _begin(standing, seen)
        return True
    was = standing.severity
    _absorb(standing, seen)
    is_due = seen.counted_us - standing.revised_us >= rules.update_us
    is_power = standing.alerts & (standing.alerts - 1) == 0
    if not (is_power or is_due or standing.severity > was or standing.status is Status.CLOSED):
        return False
    standing.status = Status.OPEN
    standing.revision += 1
    standing.revised_us = max(standing.revised_us, seen.counted_us)
    return True


def untold(standing: Standing) -> int:
    """How many alerts may come to an open one before their number alone is told."""
    return (1 << standing.alerts.bit_length()) - standing.alerts - 1


def close(standing: Standing) -> None:
    standing.status = Status.CLOSED
    standing.revision += 1


def _enough(standing: Standing, seen: Seen, rules: IncidentRules) -> bool:
    """Whether there are as many as it takes among the events that the window holds."""
    if standing.verdict != NOVEL:
        return True
    since = (seen.number - standing.number) % seen.rounds
    before = standing.recent << since if 0 < since < MASK_BITS else 0
    standing.recent = (before | 1) & ((1 << min(seen.fill, MASK_BITS)) - 1)
    standing.number = seen.number
    standing.stream_us = seen.stream_us
    return standing.recent.bit_count() >= rules.novel_least


def _begin(standing: Standing, seen: Seen) -> None:
    standing.status = Status.OPEN
    standing.severity, standing.revision, standing.alerts = seen.severity, 1, 1
    standing.opened = standing.worst = standing.last = seen.event
    standing.first_us = standing.last_us = seen.event_us
    standing.counted_us = standing.revised_us = seen.counted_us
    standing.stream_us = seen.stream_us
    standing.score, standing.novelty = seen.score, seen.novelty
    standing.recent = standing.number = 0
    standing.models = [seen.model]


def _absorb(standing: Standing, seen: Seen) -> None:
    standing.alerts += 1
    standing.last = seen.event
    standing.stream_us = max(standing.stream_us, seen.stream_us)
    if seen.event_us > standing.last_us:
        standing.last_us = seen.event_us
    elif seen.event_us < standing.first_us:
        standing.first_us = seen.event_us
    standing.counted_us = max(standing.counted_us, seen.counted_us)
    if seen.score > standing.score:
        standing.score, standing.worst = seen.score, seen.event
    standing.novelty = max(standing.novelty, seen.novelty)
    standing.severity = max(standing.severity, seen.severity)
    if seen.model not in standing.models and len(standing.models) < MODELS:
        standing.models.append(seen.model)


LAYOUT: Final = 1
"""Of a device's packed standings; those of another layout are not read, and its incidents begin anew."""
_FIXED: Final = struct.Struct("<BBBBIH9q2dQ")
"""How long the verdict is, status, severity, how many models; then the numbers."""
_SIZED: Final = struct.Struct("<H")
_STATUSES: Final = tuple(Status)
_MAKE: Final[Callable[..., Standing]] = Standing


def pack(standings: Iterable[Standing]) -> bytes:
    """One device's: a byte for the layout, then of each 106 bytes and its texts, about 120 in all."""
    parts = [bytes([LAYOUT])]
    for one in standings:
        size, named = _texts(one.verdict, *one.models)
        fixed = _FIXED.pack(
            *(size, one.status, one.severity, len(one.models), one.revision, one.number),
            *(one.alerts, one.opened, one.worst, one.last),
            *(one.first_us, one.last_us, one.counted_us, one.stream_us, one.revised_us),
            *(one.score, one.novelty, one.recent),
        )
        parts += (fixed, named)
    return b"".join(parts)


@functools.lru_cache(maxsize=256)
def _texts(verdict: str, *models: str) -> tuple[int, bytes]:
    """How many bytes the verdict has; it, and each model behind its size."""
    name, others = verdict.encode(), [model.encode() for model in models]
    return len(name), name + b"".join(_SIZED.pack(len(model)) + model for model in others)


def unpack(value: bytes) -> Iterator[Standing]:
    """None of a value of another layout."""
    at = 1 if value[:1] == bytes([LAYOUT]) else len(value)
    while at < len(value):
        size, status, severity, named, revision, number, *rest = _FIXED.unpack_from(value, at)
        *numbers, score, novelty, recent = rest
        at += _FIXED.size + size
        verdict = value[at - size : at].decode()
        models = []
        for _ in range(named):
            (size,) = _SIZED.unpack_from(value, at)
            at += _SIZED.size + size
            models.append(value[at - size : at].decode())
        fields = (_STATUSES[status], severity, revision, *numbers, score, novelty, recent, number, models)
        yield _MAKE(verdict, *fields)
