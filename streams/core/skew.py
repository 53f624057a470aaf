"""How far event times are from Kafka's timestamps, and which are of a wrong clock or in another unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.clocks import Times
from streams.core.events import Events
from streams.core.spans import Spans, counted

BOUNDS_S: Final = (1, 10, 60, 600, 3600, 86_400, 2_592_000)
"""Events are counted by how far their times are from Kafka's: at most so far, or further than the last."""
FAR_AHEAD_US: Final = 3_600_000_000
"""No event happens so long after Kafka had it: a clock is wrong."""
_LONG_US: Final = 100 * FAR_AHEAD_US
"""Of what is later than this, no time in another unit is within an hour."""
WHY: Final = (
    "",
    "event_time_us looks like nanoseconds",
    "event_time_us looks like milliseconds",
    "event_time_us looks like seconds",
    "event_time_us is more than an hour ahead of Kafka's timestamp",
)
_PER_US: Final = (1e-3, 1e3, 1e6)
"""How many microseconds the units of the first reasons have."""
_NEAR: Final = 0.1
"""A time in another unit is so near to Kafka's, as a share of it: some years since 1970."""


@dataclass(frozen=True, slots=True)
class OddTimes:
    """Event times that are probably wrong for one reason: how many, and one of them."""

    why: str
    count: int
    device_id: str
    event_time_us: int
    kafka_us: int


NONE: Final = Spans.none(BOUNDS_S)


@dataclass(frozen=True, slots=True)
class Skew:
    ahead: Spans = NONE
    """Events whose times are not before Kafka's, by how far they are ahead."""
    behind: Spans = NONE
    odd: tuple[OddTimes, ...] = ()


NO_SKEW: Final = Skew()


def skew_of(events: Events, chosen: Times) -> Skew:
    """Of the events at the places `chosen` (A,), as far as Kafka has a timestamp of them."""
    chosen = chosen[events.kafka_us[chosen] > 0]
    time_us, kafka_us = events.event_time_us[chosen], events.kafka_us[chosen]
    skew_us = time_us - kafka_us
    ahead, behind = skew_us[skew_us >= 0], -skew_us[skew_us < 0]
    spans = counted(BOUNDS_S, ahead), counted(BOUNDS_S, behind)
    if (kafka_us > _LONG_US).all() and (np.abs(skew_us) <= FAR_AHEAD_US).all():
        return Skew(*spans)  # as mostly: no unit makes such a time of another
    kinds = _kinds(time_us, kafka_us)
    odd = []
    for kind in np.unique(kinds[kinds > 0]).tolist():
        places = np.flatnonzero(kinds == kind)
        first = int(places[0])
        device = events.device_id[int(chosen[first])]
        odd.append(OddTimes(WHY[kind], len(places), device, int(time_us[first]), int(kafka_us[first])))
    return Skew(*spans, tuple(odd))


def why_odd(event_time_us: int, kafka_us: int) -> str:
    """What is odd about one event's time; empty where nothing is."""
    return WHY[int(_kinds(np.array([event_time_us]), np.array([kafka_us]))[0])]


def _kinds(time_us: Times, kafka_us: Times) -> Times:
    """(N,) places in WHY."""
    ratio = kafka_us / np.maximum(time_us, 1)
    units = [np.abs(ratio / per_us - 1) < _NEAR for per_us in _PER_US]
    is_known = kafka_us > 0
    kinds = np.select([*units, is_known & (time_us - kafka_us > FAR_AHEAD_US)], range(1, len(WHY)), 0)
    return kinds.astype(np.int64)
