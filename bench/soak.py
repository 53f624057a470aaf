"""Hours in small: a steady load, a fault each minute, and what becomes of memory and of the events.

First some events flat out, all at once on the broker: what the workers make of them is the `capacity`, on the
servers, through the proxies and with the settings of `bench faults`. Then events flow at a share of that, and
each minute something breaks, kind after kind in drawn order. What ends a worker never takes the first one: it
lives through all of it, and its memory is what shows a leak.

`lost` are events without a verdict on the topic of all verdicts. That windows and verdicts are right under
the same faults is what `bench faults` judges; here are millions of events, and they are counted.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.faults.committed import committed
from bench.faults.course import Strikes
from bench.faults.fleet import Fleet
from bench.faults.run import wait_done
from bench.faults.schedules import Fault, Kind, fault_of
from bench.faults.servers import PARTITIONS, Servers, serving
from bench.faults.setups import SetUp
from bench.faults.stage import FaultLog, Stage
from bench.feed import send
from bench.flow import Flow, flowing
from bench.pipeline import Load, mixed
from bench.reload_figures import percentiles, read_verdicts
from streams.client.replaying import Feed
from streams.errors import Unavailable

WORKERS: Final = 2
LOAD: Final = Load(20_000, 2_000, 0.02)
FLAT_OUT_EVENTS: Final = 200_000
RATED: Final = (0.25, 0.9)
"""Shares of the flat-out events between which the capacity is taken: before are cold windows."""
ENDING: Final = (Kind.KILL, Kind.TERM, Kind.EXCEPTION)
KINDS: Final = (
    *ENDING,
    Kind.ZOMBIE,
    Kind.BROKER,
    Kind.REDIS,
    Kind.REDIS_LOSS,
    Kind.REDIS_CUT,
    Kind.KAFKA_CUT,
    Kind.REDIS_FULL,
    Kind.PROMOTE,
)
"""Not: what adds workers or partitions for good, changes the telemetry topic, or needs three nodes."""
SAMPLE_S: Final = 10.0
WARM_S: Final = 300.0
"""Of each worker's life: its caches fill."""
_SPAN_S: Final = 300.0
_STALLED_S: Final = 120.0
_ASK_S: Final = 0.2

Say = Callable[[str], None]
Samples = Mapping[int, Sequence[tuple[float, float]]]
"""Process id to when (s) and how much memory (MiB)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`share` of the capacity at which events flow; `seed` draws the faults."""

    minutes: int
    share: float
    seed: int


def faults_of(plan: Plan) -> tuple[Fault, ...]:
    """One in each minute, so that what it breaks can be mended before the next."""
    rng = random.Random(f"soak/{plan.seed}")
    kinds: list[Kind] = []
    while len(kinds) < plan.minutes:
        kinds += rng.sample(KINDS, len(KINDS))
    return tuple(
        replace(fault_of(rng, kind), at_s=60.0 * minute + 20.0, which=1 if kind in ENDING else minute)
        for minute, kind in enumerate(kinds[: plan.minutes])
    )


def measure(data: Path, plan: Plan, say: Say) -> dict[str, Any]:
    feed, memory = mixed(data, LOAD), Memory()
    with serving(SetUp()) as servers, Fleet(servers.environment, servers.logs) as fleet:
        fleet.start(WORKERS, PARTITIONS)
        capacity, flat_out = _capacity(servers, feed)
        rate = plan.share * capacity
        say(f"{capacity:,.0f} events a second at most; now {rate:,.0f} a second for {plan.minutes} minutes")
        stage, flow = Stage(servers, fleet, None, FaultLog()), Flow(servers.settings, feed, rate)
        with Strikes(stage) as strikes:
            with memory.sampled(fleet), flowing(flow):
                strikes.begin(faults_of(plan))
                for minute in range(plan.minutes):
                    time.sleep(60.0)
                    flow.check()
                    say(f"minute {minute + 1}: {flow.sent:,} events, {_faults(stage.diary)}")
            ended_s = time.monotonic()
            strikes.wait()
        wait_done(servers)
        settled_s = time.monotonic() - ended_s
        fleet.stop()
        sent = flat_out + flow.sent
        say(f"reading the verdicts on {sent:,} events, which takes minutes")
        verdicts = read_verdicts(servers)
    paced = verdicts.sent_us > flow.since_us
    return {
        "minutes": plan.minutes,
        "workers": WORKERS,
        "capacity": round(capacity),
        "rate": round(rate),
        "events": sent,
        "faults": dict(sorted(Counter(str(one.kind) for one in stage.diary.struck).items())),
        "not_struck": stage.diary.not_struck,
        "lost": sent - len(verdicts),
        "settled_s": round(settled_s, 1),
        "delay_ms": percentiles((verdicts.appended_us - verdicts.sent_us)[paced] / 1000),
        **rss_figures(memory.samples),
    }


def _faults(diary: FaultLog) -> str:
    return f"{len(diary.struck)} faults" + (f", the last: {diary.struck[-1].kind}" if diary.struck else "")


def _capacity(servers: Servers, feed: Feed) -> tuple[float, int]:
    """Events a second that the workers make of a backlog, and how many events that was."""
    sent = 0
    while sent < FLAT_OUT_EVENTS:
        send(servers.settings, feed)
        sent += len(feed)
    begun, ended = (_committed(servers, int(share * sent)) for share in RATED)
    _committed(servers, sent)
    return (ended[1] - begun[1]) / (ended[0] - begun[0]), sent


def _committed(servers: Servers, events: int) -> tuple[float, int]:
    """Wait until so many are committed; when (s), and how many they were then. Raises Unavailable."""
    last, last_s = -1, time.monotonic()
    while True:
        done, now_s = sum(committed(servers.settings, servers.topics.telemetry).values()), time.monotonic()
        if done >= events:
            return now_s, done
        if done > last:
            last, last_s = done, now_s
        if now_s - last_s > _STALLED_S:
            raise Unavailable(f"the workers stand at {done} of {events} events")
        time.sleep(_ASK_S)


class Memory:
    """Samples of what each worker holds, taken in a thread of its own."""

    def __init__(self) -> None:
        self.samples: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._over = threading.Event()

    @contextmanager
    def sampled(self, fleet: Fleet) -> Iterator[None]:
        thread = threading.Thread(target=self._sample, args=(fleet,), name="memory")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _sample(self, fleet: Fleet) -> None:
        while not self._over.wait(SAMPLE_S):
            for worker in fleet.workers:
                kib = worker.figures().get("rss_kib")  # none while it starts, or sleeps
                if kib is not None:
                    self.samples[worker.pid].append((time.monotonic(), kib / 1024))


def rss_figures(samples: Samples) -> dict[str, Any]:
    """Of the worker that lived longest, once warm: growth by least squares, and the MiB of each 5 minutes."""
    if not samples:
        return {"rss_slope_mib_per_hour": None}
    longest = max(samples.values(), key=lambda of_one: of_one[-1][0] - of_one[0][0])
    at_s, mib = np.array(longest).T  # (T,) each
    warm = at_s - at_s[0] >= WARM_S
    if warm.sum() < 2:
        return {"rss_slope_mib_per_hour": None}
    slope = float(np.polyfit(at_s[warm], mib[warm], 1)[0])  # MiB a second
    since_s = at_s[warm] - at_s[warm][0]
    spans = [(since_s >= start) & (since_s < start + _SPAN_S) for start in np.arange(0, since_s[-1], _SPAN_S)]
    return {
        "rss_slope_mib_per_hour": round(slope * 3600, 1),
        "rss_mib": [round(float(np.median(mib[warm][span]))) for span in spans if span.any()],
        "measured_minutes": round(float(since_s[-1]) / 60, 1),
    }
