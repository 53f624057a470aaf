"""Sums over all turns since the start, and what the process has used."""

from __future__ import annotations

import bisect
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streams.core.latency import NO_LATENCY
from streams.core.skew import NONE
from streams.core.spans import Spans
from streams.pipeline.rekeying import FlowReport
from streams.pipeline.reports import Report

SIZE_BOUNDS: Final = (1, 4, 16, 64, 256, 1024, 4096)
"""Turns are counted by their records: at most so many, or more than the last."""


@dataclass(slots=True)
class Totals:
    """Of all that a worker judges; each topic is delivered by a thread of its own."""

    turns: int = 0
    records: int = 0
    classified: int = 0
    repeats: int = 0
    duplicates: int = 0
    """Records that said what another one had said."""
    held: Counter[str] = field(default_factory=Counter)
    """Verdicts on flows that did not alert, by why."""
    new_devices: int = 0
    fenced: int = 0
    window_resets: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    revisions: Counter[str] = field(default_factory=Counter)
    """Of incidents, by activity."""
    dead_letters: Counter[str] = field(default_factory=Counter)
    shortened: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    """Offsets that were gone before they were read, by reason."""
    cpu_ns: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=lambda: [0] * (len(SIZE_BOUNDS) + 1))
    """Turns by their records, the place being that of the least bound that holds them."""
    ahead: Spans = NONE
    """Events whose times are not before Kafka's timestamps, by how far they are ahead."""
    behind: Spans = NONE
    latency: Spans = NO_LATENCY
    """Alerts, by the time from Kafka's timestamp of their event to the broker's acknowledgement."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def note_lost(self, reason: str, records: int) -> None:
        self.lost[reason] += records

    def add(self, report: Report) -> None:
        with self._lock:
            self._add(report)

    def _add(self, report: Report) -> None:
        self.turns += 1
        self.records += report.records
        self.classified += report.classified
        self.repeats += report.repeats
        self.duplicates += report.duplicates
        self.held.update(report.held)
        self.new_devices += report.new_devices
        self.fenced += report.fenced
        self.window_resets += report.window_resets
        self.verdicts.update(report.verdicts)
        self.revisions.update(report.revisions)
        self.dead_letters.update(report.dead_letters)
        self.shortened.update(report.shortened)
        self.cpu_ns.update(report.cpu_ns)
        self.ahead += report.skew.ahead
        self.behind += report.skew.behind
        self.latency += report.latency
        self.sizes[bisect.bisect_left(SIZE_BOUNDS, report.records)] += 1


@dataclass(slots=True)
class FlowTotals:
    """Of one topic of sensors since the start. One thread adds."""

    records: int = 0
    foreign: int = 0
    flows: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    cpu_ns: int = 0

    def add(self, report: FlowReport) -> None:
        self.records += report.records
        self.foreign += report.foreign
        self.cpu_ns += report.cpu_ns
        self.flows.update(report.flows)
        self.skipped.update(report.skipped)
        self.dead_letters.update(report.dead_letters)

    def as_json(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "flows": dict(self.flows),
            "foreign": self.foreign,
            "skipped": dict(self.skipped),
            "dead_letters": dict(self.dead_letters),
            "cpu_ns": self.cpu_ns,
        }

    @property
    def foreign_share(self) -> float:
        """Of the flows, those without an end in a home network."""
        return self.foreign / max(self.foreign + self.flows.total(), 1)


def memory_kib() -> tuple[int, int]:
    """Resident memory now and at its peak. (getrusage's peak would be the parent's, if that was larger.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    now, peak = (re.search(rf"^{name}:\s+(\d+) kB", status, re.M) for name in ("VmRSS", "VmHWM"))
    return int(now[1]) if now else 0, int(peak[1]) if peak else 0
