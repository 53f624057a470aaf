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
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bench import kill_laws
from bench.flow import Flow, flowing
from bench.kill_schedules import ABSENT, Incident, Kill, Order, Schedule, draw
from bench.model_orders import Orders, alike, promote, rollback
from bench.parts import Parts, started
from bench.reload_figures import percentiles
from bench.slow_store import SlowStore, slow_store
from streams.codec.models import ModelStatus
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable
from streams.gate import standard_rows
from streams.kafka.faust_app import SESSION_TIMEOUT_S
from streams.kafka.model_topics import newest_state
from streams.replaying import Feed

EVENTS_PER_S: Final = 300.0
DEVICES: Final = 100
SLOW_S: Final = 1.0
BEYOND_SESSION_S: Final = SESSION_TIMEOUT_S + 3.0
SETTLED_S: Final = 120.0
_POLL_S: Final = 0.2


@dataclass(slots=True)
class Outcome:
    """What one schedule came to; `broken` are the laws that do not hold."""

    schedule: Schedule
    decisions: Counter[str] = field(default_factory=Counter)
    recovery_s: list[float] = field(default_factory=list)
    ended_by_themselves: int = 0
    lost: int = 0
    broken: list[str] = field(default_factory=list)


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
        group = _Group(own, orders, outcome)
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


class _Group:
    """The workers of one schedule, the orders sent, and the decisions heard of so far."""

    def __init__(self, parts: Parts, orders: Orders, outcome: Outcome) -> None:
        self.parts = parts
        self.workers: list[WorkerProcess] = []
        self.sent: list[str] = []
        self._orders = orders
        self._outcome = outcome
        self._decided: dict[str, ModelStatus] = {}
        self._started = 0

    def start(self, count: int) -> None:
        for _ in range(count):
            self.add()
        for worker in self.workers:
            worker.wait_ready()

    def add(self) -> None:
        self._started += 1
        self.workers.append(self.parts.worker(f"worker-{self._started}"))

    def kill(self, worker: WorkerProcess) -> None:
        worker.signal(signal.SIGKILL)
        worker.stop()
        self.workers.remove(worker)
        self.add()

    def send(self, order: Order) -> str:
        command = promote(order.version) if order.version else rollback()
        self._orders.send(command)
        self.sent.append(command.command_id)
        return command.command_id

    def decided(self, command_id: str, timeout_s: float = SETTLED_S) -> ModelStatus:
        def enough(status: ModelStatus) -> bool:
            self._note(status)
            return command_id in self._decided

        if command_id not in self._decided:
            try:
                self._orders.wait_for(enough, f"a decision about {command_id}", timeout_s)
            except Unavailable as exc:
                raise Unavailable(f"{exc}\n{self.log_tails()}") from exc
        return self._decided[command_id]

    def agent(self) -> WorkerProcess:
        """The worker that decides at the moment."""
        while True:
            name = self.decided(self.send(Order(ABSENT))).worker
            for worker in self.workers:
                if f"-{worker.pid}-" in name:
                    return worker

    def settle(self, paused: WorkerProcess | None = None) -> None:
        """Return once all that was sent is decided, and every worker but the paused serves what is agreed."""
        deadline_s = time.monotonic() + SETTLED_S
        for command_id in self.sent:
            self.decided(command_id)
        while not self._agree([worker for worker in self.workers if worker is not paused]):
            if time.monotonic() > deadline_s:
                raise Unavailable(f"the workers do not agree after {SETTLED_S:g} s:\n{self.log_tails()}")
            time.sleep(_POLL_S)

    def wait_judged(self, events: int) -> None:
        """Return once nothing is left of the telemetry, or nothing is done about it any more."""
        last, last_s = -1, time.monotonic()
        while time.monotonic() - last_s < 30.0:
            judged = len(kill_laws.read(self.parts).judged)
            if judged >= events:
                return
            if judged > last:
                last, last_s = judged, time.monotonic()
            self._replace_ended()
            time.sleep(1.0)

    def log_tails(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{''.join(log.open(errors='replace').readlines()[-25:])}"
            for log in sorted(self.parts.logs.iterdir())
        )

    def _agree(self, workers: Sequence[WorkerProcess]) -> bool:
        self._replace_ended()
        served = [worker.figures().get("model", {}) for worker in workers]
        if len({(one.get("revision"), one.get("digest"), one.get("problem")) for one in served}) != 1:
            return False
        state = newest_state(self.parts.settings)
        wanted = 0 if state is None else state.revision
        return served[0].get("revision") == wanted and served[0].get("problem") is None

    def _replace_ended(self) -> None:
        for worker in [worker for worker in self.workers if worker.exit_code is not None]:
            self._outcome.ended_by_themselves += 1
            print(f"a worker ended by itself:\n{worker.log_tail()}", file=sys.stderr)
            self.workers.remove(worker)
            self.add()

    def _note(self, status: ModelStatus) -> None:
        if status.kind == "decision":
            self._decided[status.command_id] = status

    def recovered(self, seconds: float) -> None:
        self._outcome.recovery_s.append(seconds)


class _Strike:
    """Does to a group what an incident says, and waits until it has recovered."""

    def __init__(self, group: _Group, store: SlowStore) -> None:
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
    rows = standard_rows(20 * DEVICES)
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
