"""By partition: its end, how far it is read and committed, and when it was fetched last."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.adapters.kafka.offsets import Offsets, Standing
from streams.core.events import Chunk, Partition

UNFETCHED_S: Final = 60.0
"""A partition that has records and was not fetched for so long is worth a line in the log."""
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    end_offset: int | None
    position: int | None
    """The offset that is read next."""
    committed_offset: int | None
    seconds_since_fetch: float

    @property
    def lag_records(self) -> int:
        """Records beyond what was read last."""
        if self.end_offset is None or self.position is None:
            return 0
        return max(self.end_offset - self.position, 0)

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Standings:
    """Of the partitions that a worker has. For all threads: each field is assigned at once."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.of_consumer: Callable[[], Mapping[Partition, Standing]] = dict
        """What the consumer knows of them now."""
        self._clock_s = clock_s
        self._places: tuple[Partition, ...] = ()
        self._since_s = clock_s()
        self._ends: dict[Partition, int] = {}
        self._read: dict[Partition, int] = {}
        self._committed: dict[Partition, int | None] = {}
        self._said: frozenset[Partition] = frozenset()

    def assigned(self, partitions: Iterable[Partition]) -> None:
        self._places, self._since_s = tuple(sorted(partitions)), self._clock_s()
        self._ends, self._read, self._committed = {}, {}, {}

    def note_chunks(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            place = chunk.source.place
            self._ends[place], self._read[place] = chunk.end_offset, chunk.last_offset + 1

    def note_offsets(self, found: Mapping[Partition, Offsets]) -> None:
        """What the brokers say now, also of partitions that are not being fetched."""
        for place, offsets in found.items():
            self._ends[place], self._committed[place] = offsets.end, offsets.committed

    def figures(self) -> dict[Partition, PartitionFigures]:
        places, known = self._places, self.of_consumer() if self._places else {}
        assigned_s = self._clock_s() - self._since_s
        nothing = Standing(None, None)
        found = {}
        for place in places:
            of_consumer = known.get(place, nothing)
            position, fetched_s = of_consumer.position, of_consumer.fetched_s
            ends = [end for end in (self._ends.get(place), of_consumer.end_offset) if end is not None]
            found[place] = PartitionFigures(
                max(ends, default=None),
                self._read.get(place) if position is None else position,
                self._committed.get(place),
                assigned_s if fetched_s is None else fetched_s,
            )
        return found

    def unfetched(self) -> str | None:
        """A line about partitions that have records and are not fetched, unless it was said before."""
        figures = {
            place: one
            for place, one in self.figures().items()
            if one.lag_records and one.seconds_since_fetch > UNFETCHED_S
        }
        news, self._said = sorted(figures.keys() - self._said), frozenset(figures)
        if not news:
            return None
        named = [f"{name(place)} ({figures[place].lag_records} records)" for place in news[:_NAMED]]
        more = f", and {len(news) - _NAMED} more" if len(news) > _NAMED else ""
        return f"not fetched for {UNFETCHED_S:.0f} s though records wait: {', '.join(named)}{more}"


def name(place: Partition) -> str:
    topic, number = place
    return f"{topic}-{number}"
