"""Schedules of overlapping faults while devices speak, and what the judge says of each.

Every schedule has a Kafka, a Redis, proxies, topics and workers of its own, so that a failing number
replays alone. Events flow for FLOW_S at EVENTS_PER_S; each fault begins at its drawn moment, whatever the
others do. A worker that ends is replaced, as a supervisor would. When all faults are over and the group has
committed everything, or stands still, the workers are stopped and the judge reads the topics and Redis.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.faults.case import Law
from bench.faults.committed import committed, ends
from bench.faults.course import Strikes
from bench.faults.evidence import gather
from bench.faults.feed import feed
from bench.faults.figures import Outcome, longest_stall_s, recovery_s, times
from bench.faults.fleet import Fleet
from bench.faults.flow import Flow, flowing
from bench.faults.judge import judge
from bench.faults.schedules import Kind, Schedule
from bench.faults.sensors import Sensors, judge_sensors
from bench.faults.servers import PARTITIONS, Servers, serving
from bench.faults.stage import FaultLog, Stage, Struck
from streams.adapters.kafka.topics import topic_id
from streams.errors import BrokerUnavailable

EVENTS_PER_S: Final = 200.0
STANDSTILL_S: Final = 90.0
"""So long without a commit, the faults being over: what is not judged by then is lost."""
_ASK_S: Final = 0.5

Say = Callable[[str], None]


def run_all(
    schedules: Sequence[Schedule], data: Path | None, say: Say, *, rebuild: bool = False
) -> list[Outcome]:
    outcomes = []
    for schedule in schedules:
        say(f"schedule {schedule.number} (seed {schedule.seed}): {schedule}")
        outcomes.append(run(schedule, data, rebuild=rebuild))
        say(f"schedule {schedule.number}: {in_words(outcomes[-1])}")
    return outcomes


def run(schedule: Schedule, data: Path | None, *, rebuild: bool = False) -> Outcome:
    """One schedule, from its servers' start to its judgement."""
    events = feed(data, int(schedule.flow_s * EVENTS_PER_S), schedule.seed * 1000 + schedule.number)
    with (
        serving(schedule.setup, rebuild=rebuild, sensors=True) as servers,
        Fleet(servers.environment, servers.logs) as fleet,
    ):
        fleet.start(schedule.workers, len(_judged_topics(servers)) * PARTITIONS)
        sensors = Sensors(servers.settings, servers.topics.sensors, schedule.flow_s, schedule.seed)
        flow = Flow(servers.settings, events, EVENTS_PER_S)
        stage = Stage(servers, fleet, flow, FaultLog())
        stage.diary.topic_ids.append(topic_id(servers.settings, servers.topics.telemetry))
        with Strikes(stage) as strikes:
            with flowing(flow), sensors.sending():
                strikes.begin(schedule.faults)
            strikes.wait()
        flow.finish()  # poison that came after the last event
        wait_done(servers)
        fleet.stop()
        return _judged(schedule, stage, flow, sensors)


def _judged_topics(servers: Servers) -> tuple[str, ...]:
    """What goes through the hop comes after it."""
    topics = servers.topics
    return topics.telemetry, topics.sensors, topics.flows


def wait_done(servers: Servers) -> None:
    """Return once the group has committed all of the topics, or has not moved for STANDSTILL_S."""
    topics = _judged_topics(servers)
    last, last_s = list[dict[int, int]](), time.monotonic()
    while time.monotonic() - last_s < STANDSTILL_S:
        try:
            done = [committed(servers.settings, topic) for topic in topics]
            if done == [ends(servers.settings, topic) for topic in topics]:
                return
        except BrokerUnavailable:
            done = last
        if done != last:
            last, last_s = done, time.monotonic()
        time.sleep(_ASK_S)


def _judged(schedule: Schedule, stage: Stage, flow: Flow, sensors: Sensors) -> Outcome:
    diary, fleet = stage.diary, stage.fleet
    case = gather(stage.servers, flow, diary)
    judgement = judge(case)
    begins_anew = bool(diary.losses) and not case.rebuilds
    of_sensors = judge_sensors(stage.servers, sensors.sent, may_begin_anew=begins_anew)
    judgement = replace(judgement, broken=[*judgement.broken, *of_sensors])
    by_partition = times(case, judgement)
    pairs = [pair for of_one in by_partition.values() for pair in of_one]
    for broken in judgement.broken:
        print(f"{broken.law}: {broken.line}", file=sys.stderr)
    if judgement.broken:
        print(fleet.log_tails(), file=sys.stderr)
    struck = _met(diary, [one.at_us for one in fleet.ended if "Unforeseen" in one.log_tail])
    return Outcome(
        schedule,
        len(case.events) + len(case.poison),
        struck,
        judgement.repeats,
        judgement.cold,
        judgement.broken,
        max(map(longest_stall_s, by_partition.values()), default=0.0),
        [(str(one.kind), recovery_s(pairs, one.ended_us)) for one in struck],
        len(fleet.ended),
        diary.not_struck,
    )


def _met(diary: FaultLog, raised_us: Sequence[int]) -> list[Struck]:
    """An exception strikes when it is raised, not when its worker is started; and perhaps never."""
    others = [one for one in diary.struck if one.kind is not Kind.EXCEPTION]
    flawed = [one for one in diary.struck if one.kind is Kind.EXCEPTION]
    met = [replace(one, ended_us=at_us) for one, at_us in zip(flawed, raised_us, strict=False)]
    diary.not_struck += [f"{one.kind}: its worker did not come so far" for one in flawed[len(met) :]]
    return [*others, *met]


def in_words(outcome: Outcome) -> str:
    broken = Counter(one.law for one in outcome.broken)
    laws = ", ".join(f"{broken[law]} {law}" for law in Law if broken[law]) or "all laws hold"
    recovered = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in outcome.recovery_s)
    return (
        f"{laws}; {outcome.events} events, {outcome.repeats} repeats, {outcome.cold} cold; longest stall "
        f"{outcome.longest_stall_s:.1f} s; recovered: {recovered}"
    )
