"""The unit of work: what has arrived on any of a worker's partitions of one topic, up to a bound.

A partition has at most one chunk in a turn. Each chunk is judged by one model, which offsets decide; so a
turn may have several models in it, and the same offsets give the same verdicts, whatever the turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from streams.core.events import Chunk, Events, Partition, RawRecord
from streams.core.windows import Index
from streams.model.detector import Detector


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    chunks: tuple[Chunk, ...]  # C
    judges: tuple[Detector, ...]  # C: the champion at each chunk's offsets
    records: Sequence[RawRecord] = field(init=False)  # N, chunk after chunk
    ends: Index = field(init=False)  # (C,) one past each chunk's last place among the records

    def __post_init__(self) -> None:
        if len(self.chunks) == 1:
            records = self.chunks[0].records
        else:
            records = [record for chunk in self.chunks for record in chunk.records]
        object.__setattr__(self, "records", records)
        object.__setattr__(self, "ends", np.cumsum([len(chunk.records) for chunk in self.chunks]))

    def bounds_of(self, events: Events) -> list[tuple[int, int]]:
        """Of each chunk the first place among the events (N,) and one past the last; these stand in order."""
        ends = np.searchsorted(events.position, self.ends).tolist()
        return list(zip([0, *ends], ends, strict=False))


@dataclass(frozen=True, slots=True)
class Admitted:
    """What may begin of some chunks: of each partition a leading part, judged by one model."""

    chunks: tuple[Chunk, ...]
    judges: tuple[Detector, ...]
    held: dict[Partition, str]
    """Partitions of which nothing may begin now, and why."""


class Admission(Protocol):
    def admit(self, chunks: Sequence[Chunk]) -> Admitted:
        """Called by the thread that computes; does not wait for what only some partitions need."""
        ...
