"""One worker's thread and figures: chunks go in one at a time, reports add up, health follows from both.

What computes runs here, off the event loop: Faust's commits, timers and web server need that loop.
"""

from __future__ import annotations

import asyncio
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from streams.core.events import Chunk
from streams.errors import Unavailable
from streams.pipeline import Pipeline, Report

A = TypeVar("A")
T = TypeVar("T")

STUCK_AFTER_S: Final = 120.0
"""A chunk that takes longer, with nothing away, is no progress any more."""


@dataclass(slots=True)
class Totals:
    """Sums over all chunks since the start."""

    chunks: int = 0
    records: int = 0
    classified: int = 0
    repeats: int = 0
    fenced: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    cpu_ns: Counter[str] = field(default_factory=Counter)

    def add(self, report: Report) -> None:
        self.chunks += 1
        self.records += report.records
        self.classified += report.classified
        self.repeats += report.repeats
        self.fenced += report.fenced
        self.verdicts.update(report.verdicts)
        self.dead_letters.update(report.dead_letters)
        self.cpu_ns.update(report.cpu_ns)


class Worker:
    """Runs a pipeline in one thread of its own. `away` tells what is not there, while something is not."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.totals = Totals()
        self.partitions: frozenset[int] = frozenset()
        self.away: str | None = None
        self.stopping = threading.Event()
        self._clock_s = clock_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classify")
        self._pipeline: Pipeline | None = None
        self._busy_since_s: float | None = None

    def serve(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def classify(self, chunk: Chunk) -> Report:
        """Process one chunk in the worker's thread; afterwards it may be acknowledged."""
        if self._pipeline is None:
            raise RuntimeError("a chunk came before the worker was set up")
        self._busy_since_s = self._clock_s()
        try:
            report = await self._in_thread(self._pipeline.process, chunk)
        finally:
            self._busy_since_s = None
        self.totals.add(report)
        return report

    def assigned(self, partitions: frozenset[int]) -> None:
        self.partitions = partitions

    async def revoked(self) -> None:
        """Forget every window: until a partition comes back, another worker may have changed them."""
        if self._pipeline is not None:
            for partition in self.partitions:
                await self._in_thread(self._pipeline.drop_partition, partition)
        self.partitions = frozenset()

    def note_away(self, problem: Unavailable | None) -> None:
        self.away = None if problem is None else str(problem)

    def wait(self, pause_s: float) -> bool:
        """Sleep, unless the worker stops; says whether it does."""
        return self.stopping.wait(pause_s)

    @property
    def live(self) -> bool:
        """Progress, not existence: a chunk in work for too long, with nothing away, says no."""
        busy_since_s = self._busy_since_s
        return busy_since_s is None or bool(self.away) or self._clock_s() - busy_since_s < STUCK_AFTER_S

    @property
    def unready(self) -> str | None:
        """Why no events are being classified here, None when they are."""
        if self._pipeline is None:
            return "the model is not loaded yet"
        if self.away is not None:
            return self.away
        return None if self.partitions else "no partitions are assigned"

    def figures(self) -> dict[str, object]:
        """The totals and what the process has used, as one JSON object."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        totals = self.totals
        return {
            "chunks": totals.chunks,
            "records": totals.records,
            "classified": totals.classified,
            "repeats": totals.repeats,
            "fenced": totals.fenced,
            "verdicts": dict(totals.verdicts),
            "dead_letters": dict(totals.dead_letters),
            "partitions": sorted(self.partitions),
            "away": self.away,
            "cpu_ns": dict(totals.cpu_ns),
            "process_cpu_ns": time.process_time_ns(),
            "cached_devices": self._pipeline.cached_devices if self._pipeline else 0,
            "cache_capacity": self._pipeline.cache_capacity if self._pipeline else 0,
            "rss_kib": _rss_kib(),
            "peak_rss_kib": usage.ru_maxrss,
        }

    async def _in_thread(self, work: Callable[[A], T], argument: A) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, argument)


def _rss_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * (resource.getpagesize() // 1024)
