"""Tells the fleet of this worker, by a record every few seconds and at changes, from a thread of its own.

Nobody needs these records but people: where they cannot be written a worker says so once, counts it, and goes
on.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, Protocol

from streams import __version__
from streams.adapters.kafka.client import WORKER
from streams.adapters.kafka.worker_topic import WorkerTopic
from streams.core.latency import BOUNDS_S
from streams.core.spans import Spans
from streams.core.workers import LEFT, ServedModel, WorkerFigures
from streams.errors import AutodeepError
from streams.settings import Settings
from streams.worker.health import FAILED, TOLD, Health
from streams.worker.process import start_thread
from streams.worker.served import Served

log: Final = logging.getLogger("autodeep")

EVERY_S: Final = 15.0
EXPIRES_S: Final = 3 * EVERY_S
LOOK_S: Final = 1.0
"""How soon a change is told."""
AGAIN_S: Final = 60.0
"""After a record that could not be written."""
RECENT_S: Final = 60.0
"""What rates and latencies are of."""
_JOIN_S: Final = 5.0


class Topic(Protocol):
    def tell(self, figures: WorkerFigures) -> None:
        """Raises AutodeepError where it cannot be written."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    events: int
    latency: Spans


class Recent:
    """Totals as they were, so that rates can be of the last minute."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._seen: deque[_Seen] = deque([_Seen(clock_s(), 0, Spans.none(BOUNDS_S))])

    def __call__(self, events: int, latency: Spans) -> tuple[float, Spans]:
        """Events a second, and the latencies, since the last look that is a minute old, or the first."""
        now = _Seen(self._clock_s(), events, latency)
        self._seen.append(now)
        while len(self._seen) > 2 and self._seen[1].at_s <= now.at_s - RECENT_S:
            self._seen.popleft()
        before = self._seen[0]
        passed_s = max(now.at_s - before.at_s, 1e-3)
        return (events - before.events) / passed_s, latency.since(before.latency)


class Telling:
    """What this worker says of itself: `run` in a thread, then `leave`."""

    def __init__(
        self,
        topic: Topic,
        health: Health,
        models: Callable[[], Sequence[ServedModel]],
        group: str,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = topic
        self._health = health
        self._models = models
        self._group = group
        self._clock_s = clock_s
        self._started_at_us = _now_us()
        self._recent = Recent(clock_s)
        self._due_s = clock_s()
        self._told: object = None
        self._last: WorkerFigures | None = None
        self._problem = ""

    def run(self) -> None:
        """Until the worker stops."""
        self.look()
        while not self._health.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Tell, where it is time to or something has changed."""
        health, now_s = self._health, self._clock_s()
        state = (health.role, health.partitions, health.unready is None)
        if now_s < self._due_s and (state == self._told or self._problem):
            return
        self._tell(self.figures())
        self._told = state
        self._due_s = now_s + (AGAIN_S if self._problem else EVERY_S)

    def leave(self) -> None:
        """Once nothing is judged any more. Where nobody took the last record, nobody is told."""
        last = self._last
        if last is not None and not self._problem:
            at_us = _now_us()
            self._tell(
                replace(
                    last, at_us=at_us, expires_at_us=at_us + int(EXPIRES_S * 1e6), role=LEFT, ready=False,
                    why_not="it has left", partitions={}, events_per_s=0.0, lag_records=0,
                )
            )  # fmt: skip
        self._topic.close()

    def figures(self) -> WorkerFigures:
        health, totals = self._health, self._health.totals
        events_per_s, latency = self._recent(totals.records, totals.latency)
        at_us, unready = _now_us(), health.unready
        return WorkerFigures(
            worker=WORKER,
            host=socket.gethostname(),
            version=__version__,
            group=self._group,
            started_at_us=self._started_at_us,
            at_us=at_us,
            expires_at_us=at_us + int(EXPIRES_S * 1e6),
            role=str(health.role),
            ready=unready is None,
            why_not=unready or "",
            partitions=_by_topic(health.partitions),
            models=self._models(),
            events_per_s=round(events_per_s, 3),
            lag_records=sum(one.lag_records for one in health.standings.figures().values()),
            latency_p50_s=latency.quantile_s(0.5, BOUNDS_S),
            latency_p99_s=latency.quantile_s(0.99, BOUNDS_S),
            servers={probe.server: probe.problem or "" for probe in health.probes},
        )

    def _tell(self, figures: WorkerFigures) -> None:
        self._last = figures
        try:
            self._topic.tell(figures)
        except AutodeepError as exc:
            self._health.tellings[FAILED] += 1
            if not self._problem:
                log.warning("`autodeep status` does not see this worker: %s", exc)
            self._problem = str(exc)
            return
        self._health.tellings[TOLD] += 1
        if self._problem:
            log.info("`autodeep status` sees this worker again")
        self._problem = ""


def start_telling(settings: Settings, health: Health, served: Sequence[Served], parts: ExitStack) -> None:
    """From now on; `parts` ends it with a last record."""
    telling = Telling(WorkerTopic(settings), health, lambda: [_model(one) for one in served], settings.group)
    thread = start_thread("telling", telling.run)

    def leave() -> None:
        thread.join(_JOIN_S)
        if not thread.is_alive():
            telling.leave()

    parts.callback(leave)


def _model(served: Served) -> ServedModel:
    ref, models = served.admission.ref, served.models
    generation = 0 if models is None else models.follower.revision
    challenger = None if models is None else models.follower.challenger
    beside = "" if challenger is None else challenger.version
    return ServedModel(ref.name, ref.version, ref.digest, generation, beside)


def _by_topic(partitions: frozenset[tuple[str, int]]) -> Mapping[str, Sequence[int]]:
    found: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        found.setdefault(topic, []).append(number)
    return found


def _now_us() -> int:
    return time.time_ns() // 1000
