"""A device's clock against Kafka's: when a window begins anew.

Devices write event times, and their clocks may be wrong; Kafka's timestamps are the broker's, or a
producer's. A window therefore begins anew only after a gap in both: what comes late, out of a buffer say,
joins it, and no clock that jumps can empty it. Both are part of the record, so a replay agrees.

    event time      10:00   10:01   08:02   10:02   14:00            14:05
    Kafka's         10:00   10:01   10:01   10:02   10:03            14:05
    idle time 1 h           joins   late    joins   a wrong clock    begins anew

A gap is measured from the latest time of the window, not from the event before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T", int, Times)

LAST_US: Final = 253_402_300_799_999_000
"""The last millisecond of the year 9999."""
AHEAD_US: Final = 60_000_000
"""An event's time counts as at most so far beyond Kafka's: one wrong clock must not hide all later gaps."""


def kafka_time_us(timestamps_ms: Times) -> Times:
    """Microseconds of 1970 to 9999; Kafka takes any number as a timestamp, and -1 for none."""
    return np.clip(timestamps_ms, 0, LAST_US // 1000) * 1000


def counted_time_us(event_time_us: T, kafka_us: T) -> T:
    """What an event's time counts as where gaps are measured."""
    counted: T = np.minimum(event_time_us, kafka_us + AHEAD_US)
    return counted


def begins_anew(since_time_us: Times | int, since_kafka_us: Times | int, idle_us: int) -> Mask:
    """Whether a window does at an event, by the time since its latest one: the counted time, and Kafka's."""
    return np.asarray((since_time_us > idle_us) & (since_kafka_us > idle_us))


@dataclass(frozen=True, slots=True, eq=False)
class Latest:
    """Times of events (A,), and the latest of their devices before each and with it."""

    times: Times
    before: Times
    after: Times

    @property
    def since(self) -> Times:
        return self.times - self.before


def latest_of(held: Times, device: Times, times: Times) -> Latest:
    """Of events (A,) that stand device by device; `held` (D,) is the latest of each device so far."""
    is_first = np.append(True, device[1:] != device[:-1])[: len(device)]  # (A,)
    number = np.cumsum(is_first)  # (A,) 1, 2, ... of the devices that have any
    at = np.arange(len(device)) + number  # (A,) each device's events stand behind what it holds
    heads = at[is_first] - 1
    line = np.empty(len(at) + len(heads), np.int64)
    line[at], line[heads] = times, held[device[is_first]]
    values, rank = np.unique(line, return_inverse=True)
    rank[at] += number * len(values)  # so that a device's ranks are above all of those before it
    rank[heads] += number[is_first] * len(values)
    latest = values[np.maximum.accumulate(rank) % len(values)] if len(line) else line
    return Latest(times, latest[at - 1], latest[at])
