"""The loop that takes chunks from a transport through a processor, turn by turn. Pure asyncio, no Kafka.

    put ──> queues by partition ──> begin (one thread) ──> deliver (another) ──> acknowledge, in order
                                      turn n + 1             turn n

While one turn is delivered, which is waiting for the network, the next may begin. A turn is acknowledged
when it has been delivered, and turns are delivered in the order in which they began: so an offset that is
acknowledged has everything before it done. This order stands here and nowhere else.

When little arrives, a turn begins at most once each `linger_s`; a full one does not wait. A partition that a
processor holds back keeps its queue, and the others go on. Once a rebalance begins, what has not begun is
given up: it is read again from the committed offset by the partition's next owner.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from streams.core.events import Chunk, Partition, Source

C = TypeVar("C")
T = TypeVar("T")

RETRY_S: Final = 0.05
"""How soon a partition that is held back is offered again; nobody tells when its reason ends."""


@dataclass(frozen=True, slots=True)
class Begun(Generic[C]):
    """What a processor took of the chunks that it was offered."""

    taken: Sequence[Chunk]
    """Of each partition a leading part of what was offered of it; none of those held."""
    computed: C | None
    """To be delivered; None where nothing was taken."""
    held: Mapping[Partition, str] = field(default_factory=dict)
    """Partitions that are to wait, and why."""


class Processor(Protocol[C]):
    """What becomes of one topic's records. Its methods are called one at a time, save `deliver`."""

    @property
    def topic(self) -> str: ...

    @property
    def keeps_time(self) -> bool:
        """Whether each partition's watermark is to be kept with its commits, for timers in stream time."""
        ...

    def begin(self, chunks: Sequence[Chunk]) -> Begun[C]:
        """Compute a turn of some of these chunks, one of each partition. In the thread that computes.

        Raises Unavailable where the worker stops while a part is away: nothing may be acknowledged then.
        """
        ...

    def deliver(self, computed: C) -> None:
        """Publish, then save: when this returns, what was taken is acknowledged. In the other thread."""
        ...

    def assigned(self, partitions: frozenset[Partition]) -> None:
        """What these bring is new. In the event loop, and it must not wait."""
        ...

    def revoked(self, partitions: frozenset[Partition]) -> None:
        """Forget them: the next owner will change their state. In the thread that computes."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """What a conveyor asks of the transport, all from the event loop."""

    acknowledge: Callable[[Source, int, int | None], None]
    """Everything of this partition up to this offset is done; its watermark there, where that is kept."""
    give_up: Callable[[Source, int], None]
    """Nothing of this partition from this offset on will be done."""
    hold: Callable[[frozenset[Partition]], None] = lambda partitions: None
    """Read no more of these for now; it replaces what was said before."""


class Threads:
    """Two threads of a conveyor: one begins turns, the other delivers them."""

    def __init__(self, name: str) -> None:
        self._computing = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-compute")
        self._delivering = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-deliver")

    def compute(self, work: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._computing, work, *arguments)

    def deliver(self, work: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._delivering, work, *arguments)


@dataclass(frozen=True, slots=True)
class Pace:
    """`linger_s`: turns that are not full begin at most once in it. `most_records`: of a turn, in all."""

    linger_s: float
    most_records: int


class Conveyor(Generic[C]):
    """One processor's; everything but the two threads' work happens in one event loop."""

    def __init__(
        self,
        processor: Processor[C],
        ends: Ends,
        pace: Pace,
        threads: Any = None,
        ending: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.processor = processor
        self.under_way = 0
        """Turns that are being begun, or began and are not acknowledged."""
        self.progress_s = clock_s()
        """When a turn was last acknowledged, or was begun with none under way."""
        self.held: Mapping[Partition, str] = {}
        self._ends = ends
        self._pace = pace
        self._threads = threads or Threads(processor.topic)
        self._ending = ending
        self._clock_s = clock_s
        self._queues: dict[Partition, deque[Chunk]] = {}  # the one served longest ago first
        self._waiting_records = 0
        self._changed = asyncio.Event()
        self._leaving = False
        self._stopped = False
        self._is_beginning = False
        self._next_turn_s = -float("inf")

    def put(self, chunks: Iterable[Chunk]) -> None:
        """Take chunks in: those of one partition in the order of their offsets."""
        for chunk in chunks:
            if self._leaving or self._stopped:
                self._ends.give_up(chunk.source, chunk.first_offset)
                continue
            self._queues.setdefault(chunk.source.place, deque()).append(chunk)
            self._waiting_records += len(chunk.records)
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled. A processor's exception passes through `ending`, which ends the process."""
        delivery: asyncio.Future[None] | None = None
        while True:
            offered = await self._offered()
            with self._ending():
                begun = await self._begin(offered)
                if begun.computed is None:
                    continue
                if delivery is not None:
                    await delivery
                delivery = asyncio.ensure_future(self._deliver(begun.computed, begun.taken))

    def rebalance_begins(self) -> None:
        """Give up whatever has not begun, and whatever comes before `assigned`."""
        self._leaving = True
        self._give_up_all()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        self._give_up_all()

    def assigned(self, partitions: frozenset[Partition]) -> None:
        self._leaving = False
        self._queues.clear()
        self._waiting_records = 0
        self._note_held({})
        self.processor.assigned(partitions)

    async def revoked(self, partitions: frozenset[Partition]) -> None:
        await self._threads.compute(self.processor.revoked, partitions)

    async def _begin(self, offered: list[Chunk]) -> Begun[C]:
        if not self.under_way:
            self.progress_s = self._clock_s()
        self._next_turn_s = after(self._next_turn_s, self._clock_s(), self._pace.linger_s)
        self._is_beginning = True
        self.under_way += 1
        begun: Begun[C] = await self._threads.compute(self.processor.begin, offered)
        self.under_way -= begun.computed is None
        self._is_beginning = False
        for chunk in begun.taken:
            self._shorten(chunk)
        self._note_held(begun.held)
        if self._leaving or self._stopped:
            self._give_up_all()
        return begun

    async def _deliver(self, computed: C, taken: Sequence[Chunk]) -> None:
        with self._ending():
            await self._threads.deliver(self.processor.deliver, computed)
            for chunk in taken:
                watermark_ms = chunk.watermark_after_ms if self.processor.keeps_time else None
                self._ends.acknowledge(chunk.source, chunk.last_offset, watermark_ms)
            self.under_way -= 1
            self.progress_s = self._clock_s()

    async def _offered(self) -> list[Chunk]:
        """Wait until a turn may begin; then of each partition what fits into it."""
        while True:
            now_s = self._clock_s()
            is_full = self._waiting_records >= self._pace.most_records and not self.held
            due_s = now_s if is_full else self._next_turn_s
            if self._queues and not self._stopped and now_s >= due_s:
                return self._heads()
            self._changed.clear()
            timeout_s = max(due_s - now_s, 0.0) if self._queues else None
            await _wait(self._changed, timeout_s)

    def _heads(self) -> list[Chunk]:
        """A chunk of each partition, the longest waiting first, at most so many records in all.

        A partition that is held back is asked about with one record. Many of them leave the others half of
        the room.
        """
        heads = []
        held = [place for place in self._queues if place in self.held]
        for place in held[: max(self._pace.most_records // 2, 1)]:
            queue = self._queues.pop(place)
            self._queues[place] = queue
            heads.append(_joined(queue, 1))
        room = self._pace.most_records - len(heads)
        for place in [place for place in self._queues if place not in self.held]:
            if room <= 0:
                break
            queue = self._queues.pop(place)
            self._queues[place] = queue  # to the end: whoever is not reached comes first next time
            heads.append(_joined(queue, room))
            room -= len(heads[-1].records)
        return heads

    def _shorten(self, taken: Chunk) -> None:
        """Take the records that began off their partition's queue."""
        queue = self._queues.get(taken.source.place)
        left = len(taken.records)
        while queue and left and queue[0].source == taken.source:
            head = queue.popleft()
            if head.first_offset > taken.last_offset:  # given up meanwhile, and read again
                queue.appendleft(head)
                break
            done, rest = head.cut(left)
            if rest is not None:
                queue.appendleft(rest)
            left -= len(done.records)
            self._waiting_records -= len(done.records)
        if queue is not None and not queue:
            self._queues.pop(taken.source.place, None)

    def _note_held(self, held: Mapping[Partition, str]) -> None:
        if self.held.keys() != held.keys():
            self._ends.hold(frozenset(held))
        self.held = held
        if held:
            self._next_turn_s = max(self._next_turn_s, self._clock_s() + RETRY_S)

    def _give_up_all(self) -> None:
        if self._is_beginning:
            return  # once it is known what began, the rest is given up
        for queue in self._queues.values():
            for chunk in queue:
                self._ends.give_up(chunk.source, chunk.first_offset)
        self._queues.clear()
        self._waiting_records = 0
        self._changed.set()


def after(due_s: float, begun_s: float, linger_s: float) -> float:
    """When the turn after one that was due and begun then is due.

    A linger after the one before was due, so that one that was late delays none after it; but never sooner
    than half a linger after it was begun.
    """
    return max(due_s + linger_s, begun_s + linger_s / 2)


def _joined(queue: deque[Chunk], room: int) -> Chunk:
    """The longest chunk of one life at the head of a queue that fits; the queue stays as it is."""
    head, rest = queue[0].cut(room)
    for later in () if rest is not None else list(queue)[1:]:
        left = room - len(head.records)
        follows = later.source == head.source and later.first_offset > head.last_offset
        if not left or not follows:
            break
        head = head.joined(later.cut(left)[0])
    return head


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    """Until it is set, for so long at most; afterwards it may be set or not."""
    if timeout_s is None:
        await event.wait()
        return
    alarm = asyncio.get_running_loop().call_later(timeout_s, event.set)
    try:
        await event.wait()
    finally:
        alarm.cancel()
