"""The workers of one schedule of kills: started, replaced, asked what they decided and what they serve."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench import kill_laws
from bench.kill_schedules import ABSENT, Order, Schedule
from bench.model_orders import NAME, Orders, promote, rollback
from bench.parts import Parts
from streams.adapters.kafka.model_topics import newest_state
from streams.codec.models import ModelStatus
from streams.embedded.workers import WorkerProcess
from streams.errors import Unavailable

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


class Group:
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
        state = newest_state(self.parts.settings, NAME)
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
