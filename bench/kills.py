"""Workers and Kafka killed while models change: what is agreed afterwards, what is lost, how soon all serve.

Each schedule has topics and workers of its own on one Kafka and one Redis; events flow all the while. Before
an incident a promote that must be refused tells which worker decides at the moment. A worker that was killed,
or that ended by itself, is replaced, as a supervisor would. When all is quiet the laws of `kill_laws` are
asked: one agreed version that every live worker serves, revisions that count up by one, one decision for
each command, a verdict for each event, by a model that once was agreed.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from bench import kill_laws
from bench.flow import Flow, flowing
from bench.kill_group import Group, Outcome
from bench.kill_schedules import Incident, Kill, Schedule, draw
from bench.model_orders import Orders, alike
from bench.parts import Parts, started
from bench.reload_figures import percentiles
from bench.slow_store import SlowStore, slow_store
from streams.client.replaying import Feed
from streams.core.kdd99 import KDD99
from streams.embedded.workers import WorkerProcess
from streams.model.gate import standard_rows
from streams.settings import Settings

EVENTS_PER_S: Final = 300.0
DEVICES: Final = 100
SLOW_S: Final = 1.0
BEYOND_SESSION_S: Final = Settings().kafka_session_timeout_s + 3.0


def measure(numbers: Sequence[int], seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the schedules of these numbers, counted from 1, one after another; `say` is told of each."""
    return _summary(run_all([draw(seed, number) for number in numbers], say), seed)


def run_all(schedules: Sequence[Schedule], say: Callable[[str], None]) -> list[Outcome]:
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="autodeep-bench-store-") as folder, slow_store(folder) as store:
        digests = alike(folder, 3)
        with started(model_store=store.url, publish_classified="true", network_timeout_s="5") as parts:
            for schedule in schedules:
                say(f"schedule {schedule.number}: {schedule}")
                outcome = run(parts, store, schedule, digests[0])
                outcomes.append(outcome)
                say(f"schedule {schedule.number}: {_in_words(outcome)}")
    return outcomes


def run(parts: Parts, store: SlowStore, schedule: Schedule, first_digest: str) -> Outcome:
    """One schedule from its start until all is quiet and judged."""
    outcome = Outcome(schedule)
    with parts.apart(f"kill{schedule.number}") as own, Orders(own) as orders:
        group = Group(own, orders, outcome)
        group.start(schedule.workers)
        with flowing(Flow(own.settings, _feed(), EVENTS_PER_S)) as flow:
            for incident in schedule.incidents:
                _Strike(group, store).strike(incident)
        group.settle()
        group.wait_judged(flow.sent)
        serving = [worker.figures().get("model", {}) for worker in group.workers]
        told = kill_laws.read(own)
        outcome.lost = flow.sent - len(told.judged)
        outcome.decisions.update(decision.outcome for decision in told.decisions)
        outcome.broken = kill_laws.broken_laws(told, group.sent, first_digest, serving, flow.sent)
        if outcome.broken:
            print(group.log_tails(), file=sys.stderr)
        for worker in group.workers:
            worker.signal(signal.SIGTERM)  # all at once; their context waits for one after the other
    return outcome


class _Strike:
    """Does to a group what an incident says, and waits until it has recovered."""

    def __init__(self, group: Group, store: SlowStore) -> None:
        self._group = group
        self._store = store

    def strike(self, incident: Incident) -> None:
        for order in incident.before:
            self._group.send(order)
        kinds = {
            Kill.AGENT: self._kill_agent,
            Kill.LOADING: self._kill_loading,
            Kill.BROKER: self._kill_broker,
            Kill.PAUSE: self._pause_agent,
        }
        begun_s = kinds[incident.kill](incident)
        self._group.settle()
        if incident.kill is not Kill.PAUSE:
            self._group.recovered(time.monotonic() - begun_s)

    def _kill_agent(self, incident: Incident) -> float:
        agent = self._group.agent()
        self._group.send(incident.during)
        time.sleep(incident.after_s)
        return self._kill(agent, incident)

    def _kill_loading(self, incident: Incident) -> float:
        """All workers ask the slow store once it is decided; the last started is killed meanwhile."""
        agent = self._group.agent()
        self._store.delay_s = SLOW_S
        try:
            self._group.decided(self._group.send(incident.during))
            time.sleep(incident.after_s)
            victims = [worker for worker in self._group.workers if worker is not agent]
            return self._kill(victims[-1], incident)
        finally:
            self._store.delay_s = 0.0

    def _kill_broker(self, incident: Incident) -> float:
        self._group.agent()
        self._group.send(incident.during)
        time.sleep(incident.after_s)
        begun_s = time.monotonic()
        self._group.parts.kafka.kill()
        time.sleep(incident.down_s)
        self._group.parts.kafka.restart()
        for order in incident.then:
            self._group.send(order)
        return begun_s

    def _pause_agent(self, incident: Incident) -> float:
        """Another decides while it stands still; then it wakes in the middle of its own decision."""
        agent = self._group.agent()
        self._group.send(incident.during)
        time.sleep(incident.after_s)
        begun_s = time.monotonic()
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            for order in incident.then:
                self._group.send(order)
            self._group.settle(paused=agent)
            self._group.recovered(time.monotonic() - begun_s)
            time.sleep(max(0.0, begun_s + BEYOND_SESSION_S - time.monotonic()))
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        self._group.send(incident.during)
        return begun_s

    def _kill(self, worker: WorkerProcess, incident: Incident) -> float:
        begun_s = time.monotonic()
        self._group.kill(worker)
        for order in incident.then:
            self._group.send(order)
        return begun_s


def _feed() -> Feed:
    rows = standard_rows(KDD99, 20 * DEVICES)
    return Feed(rows, np.arange(len(rows)) % DEVICES, np.zeros(len(rows), np.int64))


def _in_words(outcome: Outcome) -> str:
    recovered = ", ".join(f"{seconds:.1f} s" for seconds in outcome.recovery_s)
    said = "; ".join(outcome.broken) or "all laws hold"
    decided = ", ".join(f"{count} {name}" for name, count in sorted(outcome.decisions.items()))
    return f"{said}; {decided}; recovered after {recovered}"


def _summary(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    decisions = sum((outcome.decisions for outcome in outcomes), Counter[str]())
    kills = Counter(str(one.kill) for outcome in outcomes for one in outcome.schedule.incidents)
    recovery_s = [seconds for outcome in outcomes for seconds in outcome.recovery_s]
    failed = [outcome.schedule.number for outcome in outcomes if outcome.broken]
    return {
        "seed": seed,
        "schedules": len(outcomes),
        "promotes": decisions["promoted"],
        "rollbacks": decisions["rolled_back"],
        "refused": decisions["refused"],
        "kills": dict(sorted(kills.items())),
        "ended_by_themselves": sum(outcome.ended_by_themselves for outcome in outcomes),
        "disagreeing": len(failed),
        "failed": failed,
        "broken": [f"{one.schedule.number}: {law}" for one in outcomes for law in one.broken],
        "lost": sum(outcome.lost for outcome in outcomes),
        "recovery_s": {**percentiles(recovery_s), "max": round(max(recovery_s), 1)} if recovery_s else {},
    }
