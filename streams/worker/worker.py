"""One worker's threads and figures: chunks go through in order, reports add up, health follows from both.

What computes runs here, off the event loop: Faust's commits, timers and web server need that loop.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from streams.core.events import Chunk
from streams.errors import Unavailable
from streams.pipeline.cache import CacheFigures
from streams.pipeline.detection import Computed, Pipeline, Report
from streams.pipeline.recovery import Recovered
from streams.rollout.entry import Entry
from streams.rollout.turnstile import Turnstile

A = TypeVar("A")
T = TypeVar("T")

STUCK_AFTER_S: Final = 120.0
"""So long a standstill, and the worker calls itself dead on its page of health."""


TURN_S: Final = 1.0
"""How often the event loop says that it turns."""

SIZE_BOUNDS: Final = (1, 4, 16, 64, 256, 1024, 4096)
"""Chunks are counted by their records: at most so many, or more than the last."""


@dataclass(slots=True)
class Totals:
    """Sums over all chunks since the start."""

    chunks: int = 0
    records: int = 0
    classified: int = 0
    repeats: int = 0
    new_devices: int = 0
    fenced: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    cpu_ns: Counter[str] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=lambda: [0] * (len(SIZE_BOUNDS) + 1))
    """Chunks by their records, the place being that of the least bound that holds them."""

    def add(self, report: Report) -> None:
        self.chunks += 1
        self.records += report.records
        self.classified += report.classified
        self.repeats += report.repeats
        self.new_devices += report.new_devices
        self.fenced += report.fenced
        self.verdicts.update(report.verdicts)
        self.dead_letters.update(report.dead_letters)
        self.cpu_ns.update(report.cpu_ns)
        self.sizes[bisect.bisect_left(SIZE_BOUNDS, report.records)] += 1


class Worker:
    """Runs a pipeline: one thread computes, one delivers. `away` says what is not there, while it is not."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.totals = Totals()
        self.partitions: frozenset[int] = frozenset()
        self.lag: dict[int, int] = {}
        """Records of each partition beyond the chunk that was taken up last."""
        self.away: str | None = None
        self.stopping = threading.Event()
        self.turnstile = Turnstile()
        self._clock_s = clock_s
        self._computing = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._delivering = ThreadPoolExecutor(1, thread_name_prefix="deliver")
        self._pipeline: Pipeline | None = None
        self._entry: Entry | None = None
        self._under_way = 0
        self._progress_s = clock_s()
        self._turned_s: float | None = None
        self._read_s = clock_s()

    def serve(self, pipeline: Pipeline, entry: Entry | None = None) -> None:
        """`entry` is None where changes of model are not followed."""
        self._pipeline = pipeline
        self._entry = entry

    def stop_soon(self) -> None:
        """End the waiting for what is away, and begin nothing more."""
        self.stopping.set()
        self.turnstile.stop()

    async def parts(self, chunk: Chunk) -> list[Chunk] | None:
        """The chunk in parts to be computed one after the other, once it may begin. None: give it up."""
        return [chunk] if self._entry is None else await self._in(self._computing, self._entry.parts, chunk)

    async def compute(self, chunk: Chunk) -> Computed | None:
        """A chunk's verdicts, computed in a thread while the chunk before may still be on its way out.

        None where it is to be given up: its model was waited for when a rebalance began.
        """
        if self._entry is not None and not await self._in(self._computing, self._entry.ready, chunk):
            return None
        self.take_up(chunk)
        return await self._in(self._computing, self._running().compute, chunk)

    def take_up(self, chunk: Chunk) -> None:
        """A chunk is begun: from now on its end is progress, and the lag is what lies beyond it."""
        if not self._under_way:
            self._progress_s = self._clock_s()
        self._under_way += 1
        self.lag[chunk.source.partition] = chunk.end_offset - chunk.records[-1].offset - 1

    async def deliver(self, computed: Computed) -> None:
        """Publish and save; afterwards the chunk may be acknowledged. One at a time, in computed order."""
        pipeline = self._running()
        report, fenced = await self._in(self._delivering, pipeline.deliver, computed)
        if fenced:
            forget = functools.partial(pipeline.forget, computed.source.partition)
            await self._in(self._computing, forget, fenced)
        self._under_way -= 1
        self._progress_s = self._clock_s()
        self.totals.add(report)

    def assigned(self, partitions: frozenset[int]) -> None:
        self.partitions = partitions
        self.note_read()
        self.lag = dict.fromkeys(sorted(partitions), 0)
        if self._entry is not None:
            self._entry.assigned()

    async def revoked(self) -> None:
        """Forget every window: until a partition comes back, another worker may have changed them."""
        if self._pipeline is not None:
            for partition in self.partitions:
                await self._in(self._computing, self._pipeline.drop_partition, partition)
        self.partitions = frozenset()
        self.lag = {}

    def progressed(self) -> None:
        """Of a chunk that takes long."""
        self._progress_s = self._clock_s()

    def note_away(self, problem: Unavailable | None) -> None:
        self.away = None if problem is None else str(problem)
        self._progress_s = self._read_s = self._clock_s()  # every attempt that fails tells of it anew

    def note_read(self) -> None:
        """Its partitions were asked for records, and there were some or none."""
        self._read_s = self._clock_s()

    async def turn(self) -> None:
        """For the event loop: while it turns, this says so."""
        while True:
            self.note_turn()
            await asyncio.sleep(TURN_S)

    def note_turn(self) -> None:
        self._turned_s = self._clock_s()

    def wait(self, pause_s: float) -> bool:
        """Sleep, unless the worker stops; says whether it does."""
        return self.stopping.wait(pause_s)

    @property
    def standstill_s(self) -> float:
        """For how long nothing has moved.

        Chunks are under way and none is done; or partitions are held and nobody asks for their records; or
        the event loop hangs.

        To wait for what is away is no standstill as long as it is tried again; to wait for an answer that
        never comes is one. A chunk that is held back, or waits for its model, is not under way yet.
        """
        now_s = self._clock_s()
        chunks_s = now_s - self._progress_s if self._under_way else 0.0
        read_s = now_s - self._read_s if self.partitions else 0.0
        loop_s = now_s - self._turned_s if self._turned_s is not None else 0.0
        return max(chunks_s, read_s, loop_s)

    @property
    def under_way(self) -> int:
        """Chunks whose computing has begun, and whose end has not come."""
        return self._under_way

    @property
    def live(self) -> bool:
        """Progress, not existence."""
        return self.standstill_s <= STUCK_AFTER_S

    @property
    def unready(self) -> str | None:
        """Why no events are being classified here, None when they are."""
        if self._pipeline is None:
            return "the model is not loaded yet"
        if self.away is not None:
            return self.away
        if self._entry is not None and self._entry.why_not is not None:
            return self._entry.why_not
        return None if self.partitions else "no partitions are assigned"

    @property
    def cache(self) -> CacheFigures:
        return self._pipeline.cache_figures if self._pipeline is not None else CacheFigures(0, 0, 0, 0)

    @property
    def recovered(self) -> Recovered:
        return self._pipeline.recovered if self._pipeline is not None else Recovered()

    def figures(self) -> dict[str, object]:
        """The totals and what the process has used, as one JSON object."""
        rss_kib, peak_rss_kib = _memory_kib()
        totals = self.totals
        return {
            "chunks": totals.chunks,
            "records": totals.records,
            "classified": totals.classified,
            "repeats": totals.repeats,
            "new_devices": totals.new_devices,
            "fenced": totals.fenced,
            "rebuilt_windows": self.recovered.windows,
            "verdicts": dict(totals.verdicts),
            "dead_letters": dict(totals.dead_letters),
            "partitions": sorted(self.partitions),
            "away": self.away,
            "cpu_ns": dict(totals.cpu_ns),
            "process_cpu_ns": time.process_time_ns(),
            "lag": self.lag,
            "cached_devices": self.cache.devices,
            "cache_capacity": self.cache.capacity,
            "rss_kib": rss_kib,
            "peak_rss_kib": peak_rss_kib,
        }

    def _running(self) -> Pipeline:
        if self._pipeline is None:
            raise RuntimeError("a chunk came before the worker was set up")
        return self._pipeline

    async def _in(self, thread: Executor, work: Callable[[A], T], argument: A) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, work, argument)


def _memory_kib() -> tuple[int, int]:
    """Resident memory now and at its peak. (getrusage's peak would be the parent's, if that was larger.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    now, peak = (re.search(rf"^{name}:\s+(\d+) kB", status, re.M) for name in ("VmRSS", "VmHWM"))
    return int(now[1]) if now else 0, int(peak[1]) if peak else 0
