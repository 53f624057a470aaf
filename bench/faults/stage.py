"""What faults strike, and what is noted of their course."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from confluent_kafka.admin import AdminClient

from bench.faults.case import Span
from bench.faults.fleet import Fleet
from bench.faults.flow import Flow, Place
from bench.faults.schedules import Kind
from bench.faults.servers import Servers
from streams.adapters.kafka.client import LOG, client_config


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault as it really was, by the wall clock."""

    kind: Kind
    begun_us: int
    ended_us: int


@dataclass(slots=True)
class FaultLog:
    """What the judge must know of a schedule's course. Appending is thread-safe."""

    struck: list[Struck] = field(default_factory=list)
    losses: list[tuple[int, int]] = field(default_factory=list)
    """Redis lost its data between these two moments."""
    promoted: list[tuple[int, str]] = field(default_factory=list)
    """When which version was ordered."""
    committed: dict[int, dict[int, int]] = field(default_factory=dict)
    """Life of the topic that ended -> partition -> offset committed just before."""
    topic_ids: list[uuid.UUID] = field(default_factory=list)
    """Of each life of the telemetry topic."""
    deletions: list[Span] = field(default_factory=list)
    """What Kafka deleted although the group had not committed it."""
    deleted: dict[Place, tuple[int, int]] = field(default_factory=dict)
    """All that went with those deletions: serial, and when it had been appended."""
    said_lost: list[Span] = field(default_factory=list)
    """What workers said was deleted before they read it."""
    counted_lost: int = 0
    """By the workers' counters."""
    not_struck: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stage:
    servers: Servers
    fleet: Fleet
    flow: Flow | None
    """None where the telemetry is another's: nothing that changes it strikes then."""
    diary: FaultLog


def now_us() -> int:
    return time.time_ns() // 1000


def admin_of(servers: Servers) -> AdminClient:
    """To be kept while its answers are awaited: they end with it."""
    return AdminClient(client_config(servers.settings), logger=LOG)
