"""What the path needs of the world: where windows are kept, and where messages go."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.core.events import Decoded, Message, RawRecord, Source
from streams.core.windows import Index, Windows


class Saved(IntEnum):
    """What became of one device's window in a save."""

    DONE = 0
    NEWER_STORED = 1
    """A later window stands there, or one of another life: another worker owns the device by now."""
    NO_MARK = 3
    """Nothing was written, as the reach asks for a mark: the partition's windows were lost meanwhile."""
    LOST = 4
    """Of incidents: nothing of them was written, as what they stood on is there no more."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a partition's stored windows are complete; it stands beside them, and is lost with them.

    A stored window whose last offset is `since` or later lacks none of its device's events up to the offset
    `through` that came after the window's own first. What one that ends before `since` lacks nobody knows.
    """

    since: int
    through: int


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """A chunk among the chunks of its partition: it goes on after the offset `follows`, to `last`."""

    follows: int
    last: int
    only_with_mark: bool = False
    """A rebuild's piece: without those before it, its windows would be short and look whole."""


@dataclass(frozen=True, slots=True, eq=False)
class IncidentSave:
    """What a turn changed in one partition's incidents (`core/incident_book.py`)."""

    follows: int
    """The offset up to which they were kept before; -1: nothing was."""
    through: int
    changed: Mapping[str, bytes | None]
    """By device; None where nothing is to be kept."""
    reasons: Mapping[str, bytes | None]
    """By `reason_key`."""
    whole: bool = False
    """All there are: whatever stood there is void."""


def reason_key(verdict: str, device_id: str) -> str:
    """Under which it is kept why the worst alert of an incident was raised."""
    return f"{verdict}:{device_id}"


@dataclass(frozen=True, slots=True, eq=False)
class Save:
    """Windows (D,) of one partition's devices, of which the last `added` (D,) rows are new."""

    source: Source
    devices: Sequence[str]  # D
    based_on: Index  # (D,) what each grew from, as `windows.begun_anew` has it
    windows: Windows  # (D,)
    added: Index  # (D,)
    reach: ChunkRange | None = None
    incidents: IncidentSave | None = None


class WindowStore(Protocol):
    """Packed windows by device. Raises WindowStoreUnavailable; every call may be repeated."""

    def load(self, wanted: Sequence[tuple[Source, Sequence[str]]]) -> list[list[bytes | None]]:
        """The values of these devices, a list of each partition; all in one round trip or few."""
        ...

    def save(self, saves: Sequence[Save]) -> list[npt.NDArray[np.uint8]]:
        """Store windows; answers Saved (D,) of each partition. All in one round trip, or few.

        A stored window of this life of the topic with a later offset than the given one stays as it is. So
        does one of another life that the save does not stand on: a worker of a former life may wake up. With
        a `reach` the mark goes on to the chunk's end in the same step, if it stood where the chunk goes on.
        Where that is asked for and it did not, nothing is stored and every answer is NO_MARK.

        Incidents are stored in the same step, and one more answer (D + 1,) is theirs: NEWER_STORED where they
        are kept beyond `through`, LOST where not as far as `follows`. Nothing of them is stored then.
        """
        ...

    def incidents(self, source: Source) -> tuple[int, Iterable[tuple[str, bytes]]]:
        """Up to which offset this partition's incidents are kept, -1 where none are; and of each device what.

        The devices are read while they are taken, some at a time.
        """
        ...

    def reached(self, sources: Sequence[Source]) -> list[int]:
        """Up to which offset each partition's incidents are kept; all in one round trip or few."""
        ...

    def reasons(self, wanted: Sequence[tuple[Source, str]]) -> list[bytes | None]:
        """What is kept under these keys of `IncidentSave.reasons`; all in one round trip or few."""
        ...

    def mark(self, source: Source) -> Mark | None:
        """None where there is none of this life of the partition and this layout of windows."""
        ...

    def put_mark(self, source: Source, mark: Mark) -> None:
        """Whatever stood there before; it does not expire."""
        ...


class Publisher(Protocol):
    """Returns when every message is on the broker; raises BrokerUnavailable. May be repeated."""

    def publish(self, messages: Sequence[Message]) -> None: ...


class Decoder(Protocol):
    def decode(self, records: Sequence[RawRecord]) -> Decoded: ...


class History(Protocol):
    """What a partition still keeps of its past. Raises BrokerUnavailable; every call may be repeated."""

    def first_offset(self, source: Source) -> int:
        """The first offset still kept; beyond every offset where this life of the topic is over."""
        ...

    def read(self, source: Source, first: int, end: int) -> Generator[Sequence[RawRecord], None, None]:
        """The records of offsets `first` <= offset < `end`, ascending, some at a time."""
        ...
