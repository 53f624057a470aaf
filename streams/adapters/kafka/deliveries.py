"""What was delivered and is not done yet, and which offsets may be committed. Plain bookkeeping, no Faust.

A fetch brings chunks of several partitions, and Faust sees one message of it: the message is done when each
of its chunks was acknowledged or given up. Acknowledging is by partition and offset, in order; part of a
chunk will do. What was delivered of a former life of a topic is never committed in this one.
"""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from streams.core.events import Chunk, Partition, RawRecord, Source

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Committable:
    """One past the last offset that is done, and the life of the topic that it is of."""

    offset: int
    topic_id: uuid.UUID
    watermark_ms: int | None = None
    """The partition's in stream time at that offset; None where nobody asked for it to be kept."""


@dataclass(slots=True, eq=False)
class _Message(Generic[M]):
    message: M
    chunks: int = 0
    """Of it that are neither acknowledged nor given up."""


@dataclass(slots=True, eq=False)
class _Delivered(Generic[M]):
    source: Source
    records: Sequence[RawRecord]
    """Neither acknowledged nor given up."""
    of: _Message[M]
    beginning: int
    """Which of the partition's: what is of an earlier one commits nothing."""

    def place_of(self, offset: int) -> int:
        """How many records come before it; there are gaps where a topic is compacted."""
        return bisect_left(self.records, offset, key=lambda record: record.offset)


@dataclass(slots=True, eq=False)
class _State(Generic[M]):
    """One partition's."""

    life: uuid.UUID
    read_through: int
    """Up to here all was delivered."""
    beginning: int = 0
    """How often it began anew."""
    under_way: deque[_Delivered[M]] = field(default_factory=deque)
    committable: Committable | None = None
    position: Committable | None = None
    """Where reading stands, beyond the last record: committable once nothing is under way."""
    is_complete: bool = True
    """Nothing was given up, so that all before the position is done or under way."""

    def begin_anew(self, life: uuid.UUID, at: Committable) -> None:
        self.life, self.committable, self.position = life, at, None
        self.beginning += 1

    def settle(self) -> None:
        """Offsets after the last record hold none to read (control batches, aborted records): done, too."""
        at, done = self.position, self.committable
        if at is None or self.under_way or not self.is_complete:
            return
        if done is None or at.offset > done.offset:
            self.committable = at
        self.position = None


class Deliveries(Generic[M]):
    """For one thread: the event loop's."""

    def __init__(self) -> None:
        self._states: dict[Partition, _State[M]] = {}

    def deliver(self, message: M, chunks: Sequence[Chunk]) -> list[Partition]:
        """Note what goes out; which partitions begin anew with it, in another life or at an earlier offset.

        Of those, nothing that was delivered before can be committed any more. What was committed of the
        former life is undone: their beginning is committable.
        """
        of = _Message(message)
        anew = []
        for chunk in chunks:
            place, life = chunk.source.place, chunk.source.topic_id
            state = self._states.get(place)
            if state is None:
                state = self._states[place] = _State(life, chunk.first_offset - 1)
            elif life != state.life or chunk.last_offset < state.read_through:
                state.begin_anew(life, Committable(chunk.first_offset, life))
                anew.append(place)
            state.read_through = chunk.last_offset
            state.under_way.append(_Delivered(chunk.source, chunk.records, of, state.beginning))
            of.chunks += 1
        return anew

    def stand(self, place: Partition, at: Committable) -> bool:
        """Reading stands here: all before it was delivered. Whether the partition begins anew with it.

        So a partition without records has a committed offset, too, and one whose last offsets hold no record
        (the end of a transaction, or one that was aborted) is not behind for ever.
        """
        state = self._states.get(place)
        if state is None:
            self._states[place] = _State(at.topic_id, at.offset - 1, committable=at)
            return False
        if at.topic_id != state.life:
            state.begin_anew(at.topic_id, at)
            state.read_through = at.offset - 1
            return True
        if at.offset > state.read_through:
            state.position, state.read_through = at, at.offset - 1
            state.settle()
        return False

    def acknowledge(self, source: Source, through: int, watermark_ms: int | None = None) -> list[M]:
        """Everything of this partition up to this offset is done; the messages that are done with it."""
        state = self._states.get(source.place)
        oldest = state.under_way[0] if state is not None and state.under_way else None
        if state is None or oldest is None:
            return []  # of a delivery that was revoked or given up
        if oldest.source != source or through < oldest.records[0].offset:
            return []
        if oldest.beginning == state.beginning:
            state.committable = Committable(through + 1, source.topic_id, watermark_ms)
        for delivered in state.under_way:
            if delivered.beginning == oldest.beginning:
                delivered.records = delivered.records[delivered.place_of(through + 1) :]
        done = self._drop_done(state)
        state.settle()
        return done

    def give_up(self, source: Source, first: int) -> list[M]:
        """Nothing from this offset on will be done; the messages that nobody waits for any more."""
        state = self._states.get(source.place)
        if state is None:
            return []
        state.is_complete = False
        for delivered in state.under_way:
            if delivered.source == source:  # what began of it is still to be acknowledged
                delivered.records = delivered.records[: delivered.place_of(first)]
        return self._drop_done(state)

    def committable(self, place: Partition) -> Committable | None:
        """Taken: it is not told again unless `restore` says that it was not committed."""
        state = self._states.get(place)
        if state is None:
            return None
        taken, state.committable = state.committable, None
        return taken

    def pending(self) -> list[Partition]:
        return [place for place, state in self._states.items() if state.committable is not None]

    def restore(self, place: Partition, taken: Committable) -> None:
        """It was not committed; unless a later one is known, or the partition began anew."""
        state = self._states.get(place)
        if state is not None and state.committable is None and state.life == taken.topic_id:
            state.committable = taken

    def revoke(self, places: Iterable[Partition]) -> None:
        """Forget them; what comes of them next is read from what was committed."""
        for place in places:
            self._states.pop(place, None)

    def records_under_way(self, without: frozenset[Partition] = frozenset()) -> int:
        """That were delivered and are neither acknowledged nor given up."""
        return sum(
            len(delivered.records)
            for place, state in self._states.items()
            if place not in without
            for delivered in state.under_way
        )

    def places_under_way(self) -> list[Partition]:
        """Of which something was delivered that is not done."""
        return [place for place, state in self._states.items() if state.under_way]

    def _drop_done(self, state: _State[M]) -> list[M]:
        done: list[M] = []
        for delivered in state.under_way:
            if not delivered.records:
                delivered.of.chunks -= 1
                if not delivered.of.chunks:
                    done.append(delivered.of.message)
        state.under_way = deque(delivered for delivered in state.under_way if delivered.records)
        return done
