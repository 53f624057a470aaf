"""What is asked of a deployment, as values. Nothing here asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Broker:
    number: int
    address: str
    problem: str = ""
    """Why nobody can connect to the address that it tells its clients; empty where one can."""


@dataclass(frozen=True, slots=True)
class Member:
    """One worker of the group, by its client id, and the telemetry partitions that it owns."""

    worker: str
    partitions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition of a topic that workers read stands at one moment."""

    partition: int
    first: int
    """The oldest offset that the broker still has."""
    end: int
    committed: int | None


@dataclass(frozen=True, slots=True)
class Latest:
    """The last record of a partition. `event_time_us` is None where it cannot be read."""

    partition: int
    appended_ms: int
    event_time_us: int | None
    problem: str = ""
    by_broker: bool = True
    """Whether `appended_ms` is a broker's clock and not a producer's."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """One server that serves; a figure that it does not tell is missing."""

    info: Mapping[str, str]
    clock_us: int | None
    asked_us: int
    """Our clock when it was asked for its own."""
