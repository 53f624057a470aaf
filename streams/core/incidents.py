"""What an incident says: all alerts of one class about one device, until they stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from streams.core.alerts import Explanation
from streams.core.severity import Severity


class Activity(StrEnum):
    """What a revision of an incident tells."""

    OPEN = "open"
    UPDATE = "update"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Incident:
    """A full snapshot, never a difference. Published twice it has the same id and revision and says the same.

    Times are microseconds since 1970-01-01 UTC. A revision belongs to the telemetry record at `topic`,
    `partition` and `offset`: the alert that opened or changed the incident, or the record that moved the
    partition's watermark past the incident's end.
    """

    incident_id: str
    """UUIDv5 of topic id, partition and offset of the event that opened it, and of the class."""
    revision: int
    """From 1, without gaps."""
    activity: Activity
    device_id: str
    verdict: str
    """The class of all its alerts, or `novel`."""
    severity: Severity
    """The highest of its alerts'."""
    alerts: int
    """How many so far, exactly."""
    first_event_us: int
    last_event_us: int
    """The earliest and the latest event time among its alerts."""
    changed_at_us: int
    """The stream's time at this revision: the partition's watermark."""
    expires_at_us: int
    """When it closes, unless an alert comes before: for consumers of a partition that falls silent."""
    worst_score: float
    """The highest posterior of the class among its alerts; of `novel` alerts the highest novelty."""
    worst_novelty: float
    first_alert_id: str
    worst_alert_id: str
    last_alert_id: str
    models: tuple[str, ...]
    """Name/version of the models whose alerts are in it, in the order in which they came."""
    topic: str
    topic_id: str
    partition: int
    offset: int
    closed_because: str | None = None
    """Why it closed: `quiet`; None while it is open."""
    explanation: Explanation | None = None
    """What drove the worst alert's verdict."""
    context: Mapping[str, str] | None = None
    """What the worst alert's event carried beside its features."""
    reasons: tuple[str, ...] = ()
    """What drove the worst alert's verdict, in words; of flows."""


class IncidentDraft:
    """An incident in the making: the same slots, but they can still be set (see `core/alerts.py`)."""

    __slots__ = Incident.__slots__
