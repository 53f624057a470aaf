"""Latency and CPU of one worker at a few rates, its cost at rest, and how it comes out of a burst.

The capacity is taken first, flat out: all events wait on the broker, and the rate counts between the first
tenth and the last. Then events come evenly spaced, from a process of their own (`bench/steady.py`), at each
rate for some seconds after a warm-up.

Latency is from the sending of an event to the broker's append of its alert. So it holds what our producers
wait for company, 5 ms at most. There are as many attacks among the events as give p99 a thousand alerts
(`attack_share`); no other verdict is published. `cpu_cores` is the process's CPU time over wall time.

With `--beside loop` a plain loop (`bench/loop.py`) does the same on the same Kafka and Redis, with topics of
its own. The two take turns: while one gets events the other one is idle. `behind` names the figures in which
the worker is the worse one.

The burst is ten times half of the capacity for 10 s, before and after which there is half of the capacity.
`at_capacity_s` is how long the backlog at its end takes at the capacity while that goes on to come;
`drained_s` and `recovered_s` count from that moment, too.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from bench import latency_figures as figures
from bench.feed import STEP_US, send
from bench.latency_side import KafkaSide, Side
from bench.parts import Parts, started
from bench.pipeline import WARM, wait_for
from bench.steady import Phase, write_pool
from streams.client.replaying import RUN, Feed, mix
from streams.codec.ingest.kdd import read_rows
from streams.core.kdd99 import KDD99
from streams.core.topics import NORMAL
from streams.embedded.workers import WorkerProcess

RATES: Final = (100, 500, 1000, 5000)
LOOP: Final = ("-m", "bench.loop")
FLAT_SHARE: Final = 0.02
WARM_S: Final = 3.0
IDLE_S: Final = 15.0
_SETTLED_S: Final = 2.0
BURST_S: Final = 10.0
BURST_TIMES: Final = 10
_DRAINED_WITHIN_S: Final = 300.0
_AFTER_S: Final = 20.0
"""How long events go on to come once the backlog is gone."""


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: float
    devices: int
    flat_out: int
    beside_loop: bool
    burst: bool


class Pools(Protocol):
    def pool(self, share: float, events: float) -> Path: ...


class Traffic:
    """The file's rows as the events of a fleet, a share of them attacks."""

    def __init__(self, data: Path, devices: int, folder: Path) -> None:
        self._file = read_rows(data, KDD99)
        self._is_attack = np.array([label != NORMAL for label in self._file.labels])[self._file.label]
        self._devices = devices
        self._folder = folder

    def feed(self, share: float) -> Feed:
        """A run of rows of each device, the devices in turn; event times begin now."""
        row, device = mix(self._is_attack, RUN * self._devices, self._devices, share, seed=1)
        times_us = time.time_ns() // 1000 + STEP_US * np.arange(len(row))
        return Feed(self._file.rows[row], device, times_us)

    def pool(self, share: float, events: float) -> Path:
        """A file for senders of so many events: the feed, or its beginning where that is enough."""
        path = self._folder / f"{share}-{events:.0f}"
        if not path.exists():
            write_pool(path, self.feed(share).first(max(math.ceil(events), 1)))
        return path


def measure(data: Path, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    say("reading the data")
    with tempfile.TemporaryDirectory(prefix="autodeep-bench-pools-") as folder:
        traffic = Traffic(data, plan.devices, Path(folder))
        with started({"log.message.timestamp.type": "LogAppendTime"}) as parts:
            if not plan.beside_loop:
                return _measure(plan, traffic, parts, None, say)
            with parts.apart("loop") as apart:
                return _measure(plan, traffic, parts, apart, say)


def _measure(
    plan: Plan, traffic: Traffic, parts: Parts, apart: Parts | None, say: Callable[[str], None]
) -> dict[str, Any]:
    sides: list[Side] = []
    capacity: dict[str, float] = {}
    for name, where in (("worker", parts), ("loop", apart)):
        if where is not None:
            say(f"capacity of the {name}, {plan.flat_out:,} events")
            side, capacity[name] = _flat_out(name, where, traffic, plan.flat_out)
            sides.append(side)
    half = capacity["worker"] / 2
    rates = []
    for rate in (*RATES, half):
        rates.append(at_rate(sides, traffic, rate, plan.seconds, say))
    say(f"idle, {IDLE_S:g} s")
    idle = _idle(sides)
    burst = None
    if plan.burst:
        say(f"burst of {BURST_TIMES * half:,.0f} events a second for {BURST_S:g} s")
        burst = _burst(sides[0], traffic, capacity["worker"])
    return {
        "sides": [side.name for side in sides],
        "seconds": plan.seconds,
        "devices": plan.devices,
        "partitions": parts.telemetry_partitions,
        "capacity": _by_side({name: round(rate) for name, rate in capacity.items()}),
        "rates": rates,
        "idle_cpu_cores": _by_side(idle),
        "burst": burst,
    }


def _by_side(values: dict[str, Any]) -> Any:
    """The worker's alone where nothing ran beside it."""
    return values if len(values) > 1 else values["worker"]


def _flat_out(name: str, parts: Parts, traffic: Traffic, events: int) -> tuple[KafkaSide, float]:
    """Start this side on a backlog; events a second that it makes of it, its first tenth left out."""
    feed, sent = traffic.feed(FLAT_SHARE), 0
    while sent < events:
        some = feed.first(events - sent)
        send(parts.settings, some)
        sent += len(some)
    process = _started(name, parts)
    process.wait_ready()
    begun, ended = wait_for(process, int(sent * WARM)), wait_for(process, sent)
    rate = (ended["records"] - begun["records"]) / (ended["at_s"] - begun["at_s"])
    return KafkaSide(name, parts, process, sent), rate


def _started(name: str, parts: Parts) -> WorkerProcess:
    if name == "worker":
        return parts.worker(name)
    return parts.stack.enter_context(WorkerProcess(parts.environment, parts.logs / f"{name}.log", LOOP))


def at_rate(
    sides: Sequence[Side], traffic: Pools, rate: float, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    share = figures.attack_share(rate * seconds)
    pool, found = traffic.pool(share, rate * (WARM_S + seconds)), {}
    for side in sides:
        say(f"{rate:,.0f} events a second to the {side.name}, {share:.1%} attacks, {seconds:g} s")
        found[side.name] = _paced(side, pool, rate, seconds)
        say("  " + ", ".join(f"{name} {value}" for name, value in found[side.name].items()))
    head = {"rate": round(rate), "attack_share": share}
    if len(sides) == 1:
        return {**head, **found["worker"]}
    return {**head, **found, "behind": figures.behind(found["worker"], found["loop"])}


def _paced(side: Side, pool: Path, rate: float, seconds: float) -> dict[str, Any]:
    phases = [Phase(rate, WARM_S), Phase(rate, seconds)]
    with side.sending(pool, phases) as sender:
        sender.mark()
        begun, before = sender.mark(), side.figures()
        ended, after = sender.mark(), side.figures()
        side.sent += ended.sent
        sender.finish()
    side.all_done()
    sent_us, appended_us = side.alerts(begun.at_us, ended.at_us)
    return {**figures.latencies(sent_us, appended_us), **figures.usage(before, after)}


def _idle(sides: Sequence[Side]) -> dict[str, Any]:
    time.sleep(_SETTLED_S)
    before = [side.figures() for side in sides]
    time.sleep(IDLE_S)
    return {
        side.name: figures.usage(first, side.figures())["cpu_cores"]
        for side, first in zip(sides, before, strict=True)
    }


def _burst(side: Side, traffic: Traffic, capacity: float) -> dict[str, Any]:
    half, before = capacity / 2, side.all_done()
    longest_s = _DRAINED_WITHIN_S + _AFTER_S + 10
    phases = [Phase(half, WARM_S), Phase(BURST_TIMES * half, BURST_S), Phase(half, longest_s)]
    pool = traffic.pool(FLAT_SHARE, BURST_TIMES * half * BURST_S)
    with side.sending(pool, phases) as sender:
        first, begun, ended = sender.mark(), sender.mark(), sender.mark()
        backlog = side.sent + ended.sent - side.figures()["records"]
        _wait_until_drained(side, side.sent + ended.sent, half)
        time.sleep(_AFTER_S)
        sender.stop()
        sent = sender.mark().sent
        sender.finish()
    side.sent += sent
    done = side.all_done()
    sent_us, appended_us = side.alerts(first.at_us, time.time_ns() // 1000)
    return {
        "rate": round(BURST_TIMES * half),
        "sent_per_s": round((ended.sent - begun.sent) / (ended.at_us - begun.at_us) * 1e6),
        "events": sent,
        "backlog": backlog,
        "at_capacity_s": round(backlog / (capacity - half), 1),
        "drained_s": figures.drained_s(sent_us, appended_us, ended.at_us),
        "recovered_s": figures.recovered_s(sent_us, appended_us, ended.at_us),
        "lost": sent - min(done["classified"] - before["classified"], sent - side.uncommitted()),
    }


def _wait_until_drained(side: Side, sent: int, events_per_s: float) -> None:
    """Return once less than a second's events wait, or after a long time."""
    begun_s = time.monotonic()
    while (waited_s := time.monotonic() - begun_s) < _DRAINED_WITHIN_S:
        if sent + waited_s * events_per_s - side.figures()["records"] < events_per_s:
            return
        time.sleep(0.5)
