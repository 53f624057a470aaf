"""The same stream judged by fleets of several sizes, one of them growing while it flows: the same alerts.

All fleets read the same telemetry topic, one after the other, each as a group of its own on an empty Redis,
and publish to the same topics: so an event has the same alert id in all of them, and what is said can be
compared as it stands.
"""

from __future__ import annotations

import bisect
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import redis

from bench.faults.evidence import read_input
from bench.faults.feed import feed
from bench.faults.figures import longest_stall_s
from bench.faults.fleet import Fleet
from bench.faults.flow import Flow, Place, flowing
from bench.faults.run import EVENTS_PER_S, wait_done
from bench.faults.servers import PARTITIONS, Servers, serving
from bench.faults.setups import SetUp
from bench.faults.stage import FaultLog
from bench.output import appended_us, to_the_end
from streams.adapters.kafka.topics import topic_id
from streams.codec.output.alerts import decode_alert
from streams.core.alerts import Alert

BETWEEN_JOINS_S: Final = 12.0
_FIXED: Final = (1, 2, 3, 4)
_GROWN_TO: Final = 4

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compared:
    """What the fleets said, held against each other."""

    distinct: int  # ids
    missing: int  # ids of which a fleet said nothing
    repeats: int  # said more than once by one fleet: allowed, where a worker joins
    differing: int  # ids with more than one content, the time of detection apart


def measure(data: Path | None, seed: int, say: Say) -> dict[str, Any]:
    """Run every fleet; what they said, and how long each join made the stream wait."""
    events = feed(data, int(_GROWN_TO * BETWEEN_JOINS_S * EVENTS_PER_S), seed)
    with serving(SetUp()) as servers:
        say(f"1 worker, one more each {BETWEEN_JOINS_S:g} s up to {_GROWN_TO}, as {len(events)} events flow")
        flow = Flow(servers.settings, events, EVENTS_PER_S)
        begun_us = [time.time_ns() // 1000]
        joined_us = _grow(_of_group(servers, "growing"), flow)
        for count in _FIXED:
            say(f"the same events again, {count} worker{'s' * (count > 1)} from the start")
            begun_us.append(time.time_ns() // 1000)
            _replay(_of_group(servers, f"fixed-{count}"), count)
        topics = servers.topics
        verdicts = [
            (appended_us(message), decode_alert(message.value(), message.headers()))
            for message in to_the_end(servers, [topics.classified])
        ]
        alerts = [
            decode_alert(message.value(), message.headers())
            for message in to_the_end(servers, topics.all_alerts())
        ]
        found = read_input(servers, flow, FaultLog(topic_ids=[topic_id(servers.settings, topics.telemetry)]))
        appended = {place: at_us for place, (_, at_us) in found.items()}
    of_verdicts = compared([alert for _, alert in verdicts], begun_us)
    of_alerts = compared(alerts, begun_us)
    return {
        "events": len(appended),
        "fleets": ["1 to 4", *map(str, _FIXED)],
        "verdicts": of_verdicts.distinct,
        "alerts": of_alerts.distinct,
        "missing": len(appended) - of_verdicts.distinct + of_verdicts.missing + of_alerts.missing,
        "repeats": of_verdicts.repeats + of_alerts.repeats,
        "differing": of_verdicts.differing + of_alerts.differing,
        "join_pause_s": [round(pause, 2) for pause in join_pauses_s(appended, verdicts, joined_us)],
    }


def compared(said: Sequence[Alert], begun_us: Sequence[int]) -> Compared:
    """`begun_us`: when each fleet began, ascending. Whose an alert is, its time of detection tells."""
    times: dict[str, Counter[int]] = defaultdict(Counter)
    contents: dict[str, set[str]] = defaultdict(set)
    for alert in said:
        times[alert.alert_id][bisect.bisect_right(begun_us, alert.detected_at_us)] += 1
        contents[alert.alert_id].add(repr(replace(alert, detected_at_us=0)))
    return Compared(
        distinct=len(times),
        missing=sum(len(begun_us) - len(by_fleet) for by_fleet in times.values()),
        repeats=sum(by_fleet.total() - len(by_fleet) for by_fleet in times.values()),
        differing=sum(len(content) > 1 for content in contents.values()),
    )


def join_pauses_s(
    appended_us_of: Mapping[Place, int], verdicts: Sequence[tuple[int, Alert]], joined_us: Sequence[int]
) -> list[float]:
    """After each join and before the next: the longest time in which a partition's records waited."""
    first: dict[tuple[int, int], int] = {}
    for at_us, alert in verdicts:
        whose = (alert.partition, alert.offset)
        first[whose] = min(first.get(whose, at_us), at_us)
    pairs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, at_us in appended_us_of.items():
        pairs[place.partition].append((at_us, first[place.partition, place.offset]))
    last_us = max(first.values(), default=0)
    return [
        max(
            longest_stall_s([pair for pair in of_one if begin_us <= pair[1] and pair[0] < end_us])
            for of_one in pairs.values()
        )
        for begin_us, end_us in pairwise([*joined_us, last_us + 1])
    ]


def _of_group(servers: Servers, group: str) -> Servers:
    environment = {**servers.environment, "AUTODEEP_GROUP": group}
    return replace(servers, settings=replace(servers.settings, group=group), environment=environment)


def _grow(servers: Servers, flow: Flow) -> list[int]:
    """When each further worker was started, by the wall clock in microseconds."""
    joined_us = []
    with Fleet(servers.environment, servers.logs) as fleet:
        fleet.start(1, PARTITIONS)
        with flowing(flow):
            for _ in range(_GROWN_TO - 1):
                time.sleep(BETWEEN_JOINS_S)
                joined_us.append(time.time_ns() // 1000)
                fleet.add()
        wait_done(servers)
    return joined_us


def _replay(servers: Servers, count: int) -> None:
    with redis.Redis.from_url(servers.settings.redis_url) as client:
        client.flushall()
    with Fleet(servers.environment, servers.logs) as fleet:
        fleet.start(count, PARTITIONS)
        wait_done(servers)
