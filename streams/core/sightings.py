"""A chunk as incidents see it: the stream's time with each record, and its alerts as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.clocks import Times, kafka_time_us
from streams.core.events import Chunk
from streams.core.incident_rules import Seen

Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """A chunk's records (N,): their offsets, and the stream's time with each, microseconds."""

    offset: Times
    stream_us: Times

    @classmethod
    def of(cls, chunk: Chunk) -> Moments:
        times_ms = np.array([record.timestamp for record in chunk.records], np.int64)
        watermark_ms = np.maximum(np.maximum.accumulate(times_ms), chunk.watermark_ms)
        offsets = np.array([record.offset for record in chunk.records], np.int64)
        return cls(offsets, kafka_time_us(watermark_ms))


@dataclass(frozen=True, eq=False)
class Sightings:
    """A chunk's alerts (M,) in the order of offsets, as the rules look at them (`Seen`)."""

    place: Index
    """Of the alert's record among the chunk's."""
    device_id: Sequence[str]
    verdict: Sequence[str]
    model: Sequence[str]
    event: Index
    """Place of its event: offset and ordinal (`core/events.py`)."""
    event_us: Times
    counted_us: Times
    stream_us: Times
    score: Floats
    novelty: Floats
    severity: Index
    fill: Index
    number: Index
    rounds: int

    def __len__(self) -> int:
        return len(self.device_id)

    def seen(self, i: int) -> Seen:
        return Seen._make(self._rows[i])

    @cached_property
    def _rows(self) -> list[tuple[Any, ...]]:
        """All of them at once: a number of an array costs ten times what one of a list does."""
        times = (self.event, self.event_us, self.counted_us, self.stream_us)
        rest = (self.score, self.novelty, self.severity, self.fill, self.number)
        columns = [column.tolist() for column in (*times, *rest)]
        return list(zip(*columns, repeat(self.rounds), self.model, strict=False))

    def in_order(self, order: Index) -> Sightings:
        return self._of(lambda column: column[order], lambda names: [names[i] for i in order.tolist()])

    def of_chunk(self, first: int, end: int, moments: Moments) -> Sightings:
        """Those of a turn's from one place to before another, by the stream's time of their chunk."""
        columns: dict[str, Any] = {name: getattr(self, name)[first:end] for name in (*_COLUMNS, *_NAMES)}
        columns["stream_us"] = moments.stream_us[columns["place"]]
        return Sightings(**columns, rounds=self.rounds)

    def joined(self, other: Sightings) -> Sightings:
        """With those of another model, behind."""
        theirs = (getattr(other, name) for name in (*_COLUMNS, *_NAMES))
        return self._of(
            lambda column: np.concatenate((column, next(theirs))), lambda names: [*names, *next(theirs)]
        )

    def _of(self, column: Callable[[Any], Any], names: Callable[[Any], Any]) -> Sightings:
        """Each column made anew, then each list of names."""
        columns: dict[str, Any] = {name: column(getattr(self, name)) for name in _COLUMNS}
        return replace(self, **columns, **{name: names(getattr(self, name)) for name in _NAMES})


_COLUMNS: Final = (
    *("place", "event", "event_us", "counted_us", "stream_us"),
    *("score", "novelty", "severity", "fill", "number"),
)
_NAMES: Final = ("device_id", "verdict", "model")
