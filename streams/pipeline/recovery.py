"""Windows that the store lost are made again from what the partition still keeps of its records.

A mark beside a partition's windows says how far they are complete. Every save moves it on, and only from
where it should stand. So a mark that is not there, or stands before what this worker knows to be saved, says
that data were lost: all of them, or the newest alone, where the store came back from an older copy.

    since        through                          complete          what this worker knows to be saved
      |  complete  |   lost                          |   being delivered   |  this chunk
      ------------------------------------------------------------------------------------> offsets
                        |  read back, at most so many records  |
                      first

Rules: no further than `complete`, for a window that holds an event whose alert is not out yet would lose the
alert in a crash. Where reading begins after `through` + 1, a stored window that ends before the first record
read may lack events of between; its rows do not count any more. Short is allowed here, wrong is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.events import NO_TOPIC_ID, Chunk, Partition, RawRecord, Source
from streams.core.windows import Index, WindowLayout, Windows, begun_anew, emptied, grew, numbered
from streams.pipeline.describing import Intake, advance
from streams.pipeline.ports import ChunkRange, History, Mark, Save, Saved, WindowStore

_NONE: Final[Index] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Recovered:
    """Since the start: how often a partition was read back, and windows that were made or mended by it."""

    rebuilds: int = 0
    windows: int = 0


@dataclass(frozen=True, slots=True)
class RecoveryParts:
    layout: WindowLayout
    store: WindowStore
    history: History
    intake: Intake
    say: Callable[[str], None]
    progressed: Callable[[], None]
    """Told after each piece that was read: a long rebuild is not a worker that stands still."""


class Recovery:
    """Loads windows, and rebuilds a partition's first where some were lost.

    One thread computes (`take_up`, `load`, `drop_partition`), another may deliver (`delivered`).
    """

    def __init__(self, parts: RecoveryParts, most_records: int, idle_us: int) -> None:
        self.figures = Recovered()
        self._parts = parts
        self._most_records = most_records
        self._idle_us = idle_us
        self._last: dict[Source, int] = {}  # the last offset of the chunk taken up last
        self._under_way: dict[Source, list[ChunkRange]] = {}
        self._lock = threading.Lock()

    def take_up(self, chunk: Chunk) -> ChunkRange:
        """A chunk is begun. Offsets may have gaps; nothing lies between one chunk and the next."""
        first, source = chunk.records[0].offset, chunk.source
        reach = ChunkRange(min(self._last.get(source, first - 1), first - 1), chunk.records[-1].offset)
        with self._lock:
            self._last[source] = reach.last
            self._under_way.setdefault(source, []).append(reach)
        return reach

    def delivered(self, source: Source, reach: ChunkRange) -> None:
        """Its alerts are out, and its windows saved."""
        with self._lock:
            under_way = self._under_way.get(source, [])
            if reach in under_way:
                under_way.remove(reach)

    def drop_partition(self, partition: Partition) -> None:
        """It was revoked; whoever has it next begins at a committed offset, before which all is saved."""
        with self._lock:
            for source in [one for one in self._last if one.place == partition]:
                del self._last[source]
                self._under_way.pop(source, None)

    def load(self, chunk: Chunk, devices: Sequence[str]) -> tuple[list[bytes | None], int]:
        """These devices' stored windows (D), for a chunk that was taken up; before which offset none counts.

        Raises Unavailable; the next call goes on with a rebuild where this one ended.
        """
        source = chunk.source
        complete = self._complete(source)
        while True:
            (values,) = self._parts.store.load([(source, devices)])
            mark = self._mark(chunk)  # after the windows: what is lost between is of no account
            if mark is not None and mark.through >= complete:
                return values, mark.since
            self._rebuild(chunk, mark or Mark(0, -1), complete)  # and look again: more may be lost meanwhile

    def _complete(self, source: Source) -> int:
        """The last offset of which all alerts are out: the one before the first chunk under way."""
        with self._lock:
            return min(reach.follows for reach in self._under_way[source])

    def _mark(self, chunk: Chunk) -> Mark | None:
        """Where topics have no id, a mark beyond the partition's end is of another life."""
        mark = self._parts.store.mark(chunk.source)
        if mark is not None and chunk.source.topic_id == NO_TOPIC_ID and mark.through >= chunk.end_offset:
            return None
        return mark

    def _rebuild(self, chunk: Chunk, mark: Mark, complete: int) -> None:
        """Read back what the mark does not cover, as far as is allowed. The mark goes on piece by piece."""
        source, parts = chunk.source, self._parts
        wanted, end = mark.through + 1, complete + 1
        first = min(max(wanted, end - self._most_records, parts.history.first_offset(source)), end)
        since = mark.since if first == wanted else first
        parts.store.put_mark(source, Mark(since, first - 1))
        if first == end:
            return
        place = f"{source.topic}-{source.partition}"
        parts.say(f"windows of {place} are missing or old: reading back offsets {first} to {complete}")
        records, windows, follows = 0, 0, first - 1
        with closing(parts.history.read(source, first, end)) as read:
            for some in read:
                reach = ChunkRange(follows, some[-1].offset, only_with_mark=True)
                touched = self._apply(chunk, some, since, reach, first)
                if touched is None:
                    return
                windows += touched
                records, follows = records + len(some), reach.last
                parts.progressed()
        nobody = parts.layout.blank(0, source)
        parts.store.save([Save(source, [], _NONE, nobody, _NONE, ChunkRange(follows, complete))])
        parts.say(f"{windows} windows of {place} rebuilt from {records} records")
        self.figures = Recovered(self.figures.rebuilds + 1, self.figures.windows + windows)

    def _apply(
        self, chunk: Chunk, records: Sequence[RawRecord], since: int, reach: ChunkRange, first: int
    ) -> int | None:
        """Advance the stored windows by these records, unjudged; how many are touched for the first time.

        None where the mark is gone and nothing was stored. A window knows its last offset, so what is read
        again after a failure is not applied again.
        """
        source, store, layout = chunk.source, self._parts.store, self._parts.layout
        intake = self._parts.intake
        events = intake.decoder.decode(records).events
        devices, device = numbered(events.device_id)
        (values,) = store.load([(source, devices)])
        windows = trusted(layout.unpack(values, source), since)
        based_on = begun_anew(layout, windows, source, chunk.end_offset)
        step = advance(intake.describe, windows, device, events, self._idle_us).advance
        (saved,) = store.save([Save(source, devices, based_on, step.windows, step.added, reach)])
        if (saved == Saved.NO_MARK).any():
            return None
        return int((grew(step.windows, step.added, based_on) & (based_on < first)).sum())


def trusted(windows: Windows, since: int) -> Windows:
    """Nothing counts of a window (D,) that ends before `since`; its offset stands."""
    return emptied(windows, windows["head"]["offset"] < since)
