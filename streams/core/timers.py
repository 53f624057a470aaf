"""Timers in stream time: they fire when a partition's watermark passes a moment, never by a clock.

A partition's watermark is the largest Kafka timestamp seen so far, in offset order. What a timer causes
belongs to the offset whose record moved the watermark, so that reading the same records again causes the
same at the same offsets, whatever the turns:

    offset      7     8     9     10          a timer at 1,500 ms fires with offset 9,
    timestamp   1000  900   1600  1200        before what the record itself causes
    watermark   1000  1000  1600  1600

A quiet partition has no time: its timers wait for its next record.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

NO_WATERMARK: Final = -(2**63)
"""Before the first record of a partition: below every timestamp."""


@dataclass(frozen=True, slots=True, order=True)
class Fired:
    """A timer whose moment has come."""

    offset: int
    """Of the record that moved the watermark to or beyond it."""
    at_ms: int
    key: str


class Timers:
    """One partition's. A key has at most one timer; the one asked for last counts.

    Where the watermark stands is the transport's to remember (`Chunk.watermark_ms`), and which timers are
    wanted is the processor's state: after a restart it asks for them again.
    """

    def __init__(self, watermark_ms: int = NO_WATERMARK) -> None:
        self.watermark_ms = watermark_ms
        self._wanted: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []

    def ask(self, key: str, at_ms: int) -> None:
        """Fire once the watermark is `at_ms` or later: with the next record, where it is so already."""
        self._wanted[key] = at_ms
        heapq.heappush(self._queue, (at_ms, key))

    def cancel(self, key: str) -> None:
        self._wanted.pop(key, None)

    def advance(self, offset: int, timestamp_ms: int) -> list[Fired]:
        """A record is next; the timers that fire with it, by moment and key, before it has its own effect."""
        self.watermark_ms = max(self.watermark_ms, timestamp_ms)
        fired = []
        while self._queue and self._queue[0][0] <= self.watermark_ms:
            at_ms, key = heapq.heappop(self._queue)
            if self._wanted.get(key) == at_ms:
                del self._wanted[key]
                fired.append(Fired(offset, at_ms, key))
        return fired

    def __len__(self) -> int:
        return len(self._wanted)


def watermark_after(watermark_ms: int, timestamps_ms: Iterable[int]) -> int:
    """Of a partition after records with these timestamps."""
    return max(watermark_ms, max(timestamps_ms, default=NO_WATERMARK))
