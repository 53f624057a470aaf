"""The challenger's verdicts on what the champion has judged: in the background, and first to give way."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.codec.models import Disagreement, ModelStatus, Opinion
from streams.core.alerts import record_id
from streams.errors import Unavailable
from streams.model.comparison import Comparison, beyond_training
from streams.model.detector import Detector, Verdicts
from streams.model.inference import infer_from_rows
from streams.pipeline.reports import Observed
from streams.rollout.challenge import Challenge, Running
from streams.rollout.loading import UNRUNNABLE, ref_of

log: Final = logging.getLogger("autodeep.models")

WAITING_TURNS: Final = 2
LAG_RECORDS: Final = 20_000
"""A partition further behind than that needs its worker for the champion alone."""
SAVED_CPU_S: Final = 2.0
"""Unused CPU time that may be saved up, in seconds of the whole share."""
REPORT_EVERY_S: Final = 5.0
REPORT_SHARE: Final = 0.01
REPORT_LONGEST_S: Final = 300.0
"""Every 5 s, then every hundredth of the time so far, at last every 5 minutes: a challenge may last weeks,
and whoever takes over the decisions reads the topic of statuses from its beginning."""
DISAGREEMENTS_PER_S: Final = 50
_IDLE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class ShadowPorts:
    """`disagree` and `report` publish, and raise Unavailable; the clocks are in seconds."""

    disagree: Callable[[Sequence[Disagreement]], None]
    report: Callable[[ModelStatus], None]
    clock_s: Callable[[], float] = time.monotonic
    cpu_s: Callable[[], float] = time.thread_time


class Allowance:
    """So much of one core: what is not used is saved up for a while, what was overdrawn is waited for."""

    def __init__(self, share: float, clock_s: Callable[[], float]) -> None:
        self._share = share
        self._clock_s = clock_s
        self._saved_s = 0.0
        self._at_s = clock_s()

    def is_left(self) -> bool:
        now_s = self._clock_s()
        self._saved_s = min(self._saved_s + self._share * (now_s - self._at_s), self._share * SAVED_CPU_S)
        self._at_s = now_s
        return self._saved_s > 0

    def spend(self, cpu_s: float) -> None:
        self._saved_s -= cpu_s


class Shadow:
    """`watch` is called by the thread that computes and never waits; `run` is the body of the scorer's."""

    def __init__(self, worker: str, challenge: Challenge, share: float, ports: ShadowPorts) -> None:
        self._worker = worker
        self._challenge = challenge
        self._ports = ports
        self._allowance = Allowance(share, ports.clock_s)
        self._waiting: queue.Queue[Observed | None] = queue.Queue(WAITING_TURNS)
        self._stopped = threading.Event()
        self._told_s = self._since_s = ports.clock_s()
        self._telling: Comparison | None = None  # whose figures were told last, and how many it had seen
        self._told_seen = 0
        self._failure = ""
        self._second = (0, 0)  # the second, and the disagreements published in it

    def watch(self, observed: Observed) -> None:
        """Take a turn up for comparison, or count why not."""
        events = len(observed.classified.step.applied)
        running = self._challenge.anew(observed.classified.detector.identity.digest)
        if running is None or not events:
            return
        running.comparison.seen += events
        reason = self._too_busy(observed)
        if reason is None:
            try:
                self._waiting.put_nowait(observed)
            except queue.Full:
                reason = "busy"
        if reason is not None:
            running.comparison.dropped[reason] += events

    def run(self) -> None:
        """Until `stop`: compare what waits, and tell every few seconds."""
        while not self._stopped.is_set():
            try:
                observed = self._waiting.get(timeout=_IDLE_S)
            except queue.Empty:
                observed = None
            if observed is not None:
                self.compare(observed)
            if self._ports.clock_s() >= self.due_s:
                self.tell()
        self.tell()

    def stop(self) -> None:
        self._stopped.set()

    def compare(self, observed: Observed) -> None:
        """The challenger's verdicts on one turn, beside the champion's."""
        running = self._challenge.running
        classified = observed.classified
        if running is None or running.comparison.champion != classified.detector.identity.digest:
            return
        begun_s = self._ports.cpu_s()
        detector = running.detector
        rows = classified.events.rows
        try:
            found = infer_from_rows(detector, observed.windows, classified.step, rows)
        except UNRUNNABLE as exc:
            self._note_failure(running, len(classified.step.applied), f"{type(exc).__name__}: {exc}")
            self._allowance.spend(self._ports.cpu_s() - begun_s)
            return
        champion, challenger = classified.names, [detector.verdicts[i] for i in found.verdict.tolist()]
        spent_s = self._ports.cpu_s() - begun_s
        self._allowance.spend(spent_s)
        running.comparison.add(
            list(zip(champion, challenger, strict=True)),
            (classified.verdicts.novelty, found.novelty),
            beyond_training(detector, rows[classified.step.applied]),
            (observed.cpu_ns, int(spent_s * 1e9)),
        )
        differing = [i for i, (a, b) in enumerate(zip(champion, challenger, strict=True)) if a != b]
        if differing:
            self._publish(running, observed, found, differing)

    @property
    def due_s(self) -> float:
        """When the figures are to be told again."""
        age_s = self._told_s - self._since_s
        return self._told_s + max(REPORT_EVERY_S, min(REPORT_LONGEST_S, REPORT_SHARE * age_s))

    def tell(self) -> None:
        """Publish the running figures, if there is a challenger and it has seen more since."""
        self._told_s = self._ports.clock_s()
        running = self._challenge.running
        if running is None:
            return
        comparison = running.comparison
        if comparison is not self._telling:
            self._telling, self._since_s, self._told_seen = comparison, self._told_s, 0
        if comparison.seen == self._told_seen:
            return
        seen = comparison.seen
        ref = ref_of(running.detector)
        status = ModelStatus(
            kind="challenge",
            worker=self._worker,
            command_id="",
            revision=running.revision,
            name=ref.name,
            version=ref.version,
            digest=ref.digest,
            outcome="compared",
            detail="",
            load_s=0.0,
            at_us=time.time_ns() // 1000,
            figures=running.comparison.figures(),
        )
        with contextlib.suppress(Unavailable):  # the next ones tell all of it again
            self._ports.report(status)
            self._told_seen = seen

    def _note_failure(self, running: Running, events: int, problem: str) -> None:
        """The same problem is logged once; the thread goes on, and so does the champion."""
        running.comparison.failed += events
        if problem != self._failure:
            log.warning("the challenger cannot be run: %s", problem)
        self._failure = problem

    def _too_busy(self, observed: Observed) -> str | None:
        if observed.lag_records > LAG_RECORDS:
            return "lag"
        return None if self._allowance.is_left() else "cpu"

    def _publish(
        self, running: Running, observed: Observed, found: Verdicts, differing: Sequence[int]
    ) -> None:
        room = self._room(len(differing))
        told = [_disagreement(observed, running.detector, found, place) for place in differing[:room]]
        try:
            if told:
                self._ports.disagree(told)
        except Unavailable:
            room = 0
        running.comparison.unpublished += len(differing) - min(room, len(differing))

    def _room(self, wanted: int) -> int:
        """How many of these may be published in this second."""
        second = int(self._ports.clock_s())
        used = self._second[1] if self._second[0] == second else 0
        room = min(wanted, DISAGREEMENTS_PER_S - used)
        self._second = (second, used + room)
        return room


def _disagreement(observed: Observed, challenger: Detector, found: Verdicts, place: int) -> Disagreement:
    classified = observed.classified
    source, events = classified.source_of(place), classified.events
    at = int(classified.step.applied[place])
    offset = int(events.offset[at])
    return Disagreement(
        alert_id=record_id(source, offset),
        device_id=events.device_id[at],
        event_time_us=int(events.event_time_us[at]),
        topic=source.topic,
        partition=source.partition,
        offset=offset,
        champion=_opinion(classified.detector, classified.verdicts, place),
        challenger=_opinion(challenger, found, place),
    )


def _opinion(detector: Detector, verdicts: Verdicts, place: int) -> Opinion:
    identity = detector.identity
    return Opinion(
        identity.name,
        identity.version,
        identity.digest,
        detector.verdicts[int(verdicts.verdict[place])],
        round(float(np.float64(verdicts.posterior[place, verdicts.closest[place]])), 4),
        round(float(verdicts.novelty[place]), 4),
    )
