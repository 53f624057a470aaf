"""Sums over all turns since the start, and what the process has used."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streams.core.skew import NONE, OneWay
from streams.pipeline.detection import Report

SIZE_BOUNDS: Final = (1, 4, 16, 64, 256, 1024, 4096)
"""Turns are counted by their records: at most so many, or more than the last."""


@dataclass(slots=True)
class Totals:
    turns: int = 0
    records: int = 0
    classified: int = 0
    repeats: int = 0
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
    ahead: OneWay = NONE
    """Events whose times are not before Kafka's timestamps, by how far they are ahead."""
    behind: OneWay = NONE

    def note_lost(self, reason: str, records: int) -> None:
        self.lost[reason] += records

    def add(self, report: Report) -> None:
        self.turns += 1
        self.records += report.records
        self.classified += report.classified
        self.repeats += report.repeats
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
        self.sizes[bisect.bisect_left(SIZE_BOUNDS, report.records)] += 1


def memory_kib() -> tuple[int, int]:
    """Resident memory now and at its peak. (getrusage's peak would be the parent's, if that was larger.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    now, peak = (re.search(rf"^{name}:\s+(\d+) kB", status, re.M) for name in ("VmRSS", "VmHWM"))
    return int(now[1]) if now else 0, int(peak[1]) if peak else 0
