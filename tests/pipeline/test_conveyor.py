"""The order of things: what is offered when, what is acknowledged, and what a rebalance leaves. No sleeping.

Time is the loop's, which moves only while everything waits. A turn takes as long to compute and to deliver as
the test says.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.adapters.kafka.deliveries import Deliveries
from streams.core.events import Chunk, Partition, Source
from streams.pipeline.conveyor import RETRY_S, Begun, Conveyor, Ends, Pace
from tests.belt import Acknowledged, ending, run

LINGER_S = 0.05
LIFE = uuid.UUID(int=1)

Turn = tuple[Chunk, ...]


def source(partition: int = 0, life: uuid.UUID = LIFE) -> Source:
    return Source("t", life, partition)


def chunk(offsets: Iterable[int], partition: int = 0, life: uuid.UUID = LIFE) -> Chunk:
    records: Any = [SimpleNamespace(offset=offset, timestamp=0) for offset in offsets]
    return Chunk(source(partition, life), records, 10**6)


def offsets_of(chunks: Iterable[Chunk]) -> dict[int, list[int]]:
    return {one.source.partition: [record.offset for record in one.records] for one in chunks}


@dataclass
class Steps:
    """A processor that notes what happens when, and takes what it is told to take."""

    clock_s: Callable[[], float]
    topic: str = "t"
    keeps_time: bool = False
    held: set[int] = field(default_factory=set)
    """Partitions of which nothing begins."""
    part: Callable[[int], int] = lambda records: records
    """How many records of a chunk of so many are taken."""
    offered: list[tuple[float, Turn]] = field(default_factory=list)
    begun: list[tuple[float, Turn]] = field(default_factory=list)
    delivered: list[tuple[float, Turn]] = field(default_factory=list)
    fails: str = ""

    def begin(self, chunks: Sequence[Chunk]) -> Begun[Turn]:
        if self.fails == "begin":
            raise RuntimeError("cannot begin")
        self.offered.append((self.clock_s(), tuple(chunks)))
        why = {one.source.place: "a reason" for one in chunks if one.source.partition in self.held}
        free = [one for one in chunks if one.source.place not in why]
        parts = [(one, self.part(len(one.records))) for one in free]
        taken = tuple(one.cut(part)[0] for one, part in parts if part)
        if taken:
            self.begun.append((self.clock_s(), taken))
        return Begun(taken, taken or None, why)

    def deliver(self, computed: Turn) -> None:
        if self.fails == "deliver":
            raise RuntimeError("cannot deliver")
        self.delivered.append((self.clock_s(), computed))

    def assigned(self, partitions: frozenset[Partition]) -> None:
        pass

    def revoked(self, partitions: frozenset[Partition]) -> None:
        pass

    @property
    def begun_s(self) -> list[float]:
        return [round(at_s, 6) for at_s, _ in self.begun]


@dataclass
class Taking:
    """Threads in which the work ends after so many seconds of the loop's."""

    compute_s: float = 0.0
    deliver_s: float = 0.0
    running: Counter[str] = field(default_factory=Counter)

    async def compute(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await self._in("compute", self.compute_s, work, arguments)

    async def deliver(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await self._in("deliver", self.deliver_s, work, arguments)

    async def _in(self, name: str, takes_s: float, work: Callable[..., Any], arguments: Any) -> Any:
        self.running[name] += 1
        assert self.running[name] == 1, f"two pieces of work in the {name} thread"
        await asyncio.sleep(takes_s)
        found = work(*arguments)
        self.running[name] -= 1
        return found


@dataclass
class Belt:
    conveyor: Conveyor[Turn]
    steps: Steps
    threads: Taking
    told: Acknowledged
    ended: list[BaseException]

    def put(self, *chunks: Chunk) -> None:
        self.conveyor.put(chunks)

    async def drained(self, seconds: float = 60.0) -> None:
        """So long, in which everything that can begin has been delivered."""
        await asyncio.sleep(seconds)

    @property
    def processed(self) -> dict[int, list[int]]:
        """The offsets that were delivered, by partition and in this order."""
        found: dict[int, list[int]] = {}
        for _, turn in self.steps.delivered:
            for partition, offsets in offsets_of(turn).items():
                found.setdefault(partition, []).extend(offsets)
        return found


@asynccontextmanager
async def running(most_records: int = 100, ends: Ends | None = None, **takes_s: Any) -> AsyncIterator[Belt]:
    clock_s = asyncio.get_running_loop().time
    told, steps, threads = Acknowledged(), Steps(clock_s), Taking(**takes_s)
    ended: list[BaseException] = []

    ends, pace = ends or told.ends(), Pace(LINGER_S, most_records)
    conveyor = Conveyor(steps, ends, pace, threads, partial(ending, ended.append), clock_s)
    conveyor.assigned(frozenset())
    task = asyncio.ensure_future(conveyor.run())
    try:
        yield Belt(conveyor, steps, threads, told, ended)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test in a loop whose clock never makes anybody wait."""

    def whole(**arguments: Any) -> None:
        run(test(**arguments))

    whole.__name__, whole.__doc__ = test.__name__, test.__doc__
    return whole


# When a turn begins.


@virtually
async def test_a_lone_chunk_begins_at_once_and_what_follows_soon_after_waits_for_company() -> None:
    """After a pause half a linger at least, from then on a whole one.

    put   0 0.01 0.02       0.03 0.04       0.3
    begin 0           0.025           0.075 0.3
    """
    async with running() as belt:
        belt.put(chunk([0]))
        for offset in range(1, 5):
            await asyncio.sleep(0.01)
            belt.put(chunk([offset]))
        await asyncio.sleep(0.26)
        belt.put(chunk([5]))
        await belt.drained()
        assert belt.steps.begun_s == pytest.approx([0.0, LINGER_S / 2, 1.5 * LINGER_S, 0.3])
        offsets = [offsets_of(turn) for _, turn in belt.steps.begun]
        assert offsets == [{0: [0]}, {0: [1, 2]}, {0: [3, 4]}, {0: [5]}]


@virtually
async def test_a_turn_that_was_late_delays_none_after_it() -> None:
    """Fetches come a linger apart; one that is late by less than half of it shifts the others no further."""
    async with running() as belt:
        for at_s in (0.0, 0.05, 0.1, 0.17, 0.2, 0.25):
            await asyncio.sleep(at_s - asyncio.get_running_loop().time() % 1000)
            belt.put(chunk([round(at_s * 100)]))
        await belt.drained()
        assert belt.steps.begun_s[-2:] == [pytest.approx(0.2, abs=1e-3), pytest.approx(0.25, abs=1e-3)]


@virtually
async def test_the_linger_bounds_the_turns_of_a_second_when_little_arrives() -> None:
    async with running() as belt:
        for offset in range(1000):
            belt.put(chunk([offset], partition=offset % 7))
            await asyncio.sleep(0.001)
        assert 18 <= len(belt.steps.begun) <= 1 / LINGER_S + 2
        assert all(later - earlier >= LINGER_S / 2 - 1e-6 for earlier, later in pairwise(belt.steps.begun_s))


@virtually
async def test_a_full_turn_does_not_wait() -> None:
    async with running(most_records=10) as belt:
        belt.put(chunk(range(35)), chunk(range(5), 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert [sum(len(one.records) for one in turn) for _, turn in belt.steps.begun] == [10, 10, 10, 10]
        belt.put(chunk(range(35, 44)))
        await asyncio.sleep(0.001)
        assert len(belt.steps.begun) == 4, "a turn that is not full waits"
        belt.put(chunk(range(44, 46)))
        await asyncio.sleep(0.001)
        assert len(belt.steps.begun) == 5


@virtually
async def test_chunks_of_a_partition_that_came_one_after_the_other_are_one() -> None:
    async with running() as belt:
        belt.put(chunk([0, 1]), chunk([2, 5]), chunk([0], 1), chunk([6]))
        await belt.drained()
        assert [offsets_of(turn) for _, turn in belt.steps.begun] == [{0: [0, 1, 2, 5, 6], 1: [0]}]


# What is offered.


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=6), st.integers(1, 12))
def test_a_turn_has_at_most_so_many_records_and_the_longest_waiting_partition_comes_first(
    sizes: list[list[int]], most: int
) -> None:
    @virtually
    async def laws() -> None:
        async with running(most_records=most) as belt:
            ends = [0] * len(sizes)
            for partition, of_partition in enumerate(sizes):
                for size in of_partition:
                    belt.put(chunk(range(ends[partition], ends[partition] + size), partition))
                    ends[partition] += size
            await belt.drained()
            served: list[int] = []
            for _, turn in belt.steps.offered:
                partitions = [one.source.partition for one in turn]
                assert sum(len(one.records) for one in turn) <= most
                assert len(set(partitions)) == len(partitions)
                served += partitions
            for partition in set(served):
                places = [place for place, one in enumerate(served) if one == partition]
                for before, after in pairwise(places):
                    still_waiting = set(served[after:]) - {partition}
                    assert still_waiting <= set(served[before:after]), "served twice while another waited"
            expected = {partition: list(range(end)) for partition, end in enumerate(ends) if end}
            assert belt.processed == expected

    laws()


@virtually
async def test_a_partition_that_is_held_back_holds_no_other_up_and_goes_on_when_it_is_released() -> None:
    async with running(most_records=10) as belt:
        belt.steps.held = {0}
        belt.put(chunk(range(30)), chunk(range(30), 1))
        await asyncio.sleep(1.0)
        assert belt.processed == {1: list(range(30))}
        assert belt.told.held == [frozenset(), frozenset({("t", 0)})][-len(belt.told.held) :]
        assert belt.conveyor.held == {("t", 0): "a reason"}
        asked = [offsets_of(turn) for _, turn in belt.steps.offered]
        assert all(offered[0] == [0] for offered in asked[1:]), "asked about with one record"
        assert [len(offered.get(1, ())) for offered in asked[1:5]] == [9, 9, 9, 3]
        gaps_s = [later - earlier for (earlier, _), (later, _) in pairwise(belt.steps.offered)]
        assert min(gaps_s) >= RETRY_S - 1e-6
        belt.steps.held = set()
        await belt.drained()
        assert belt.processed == {0: list(range(30)), 1: list(range(30))}
        assert belt.told.held[-1] == frozenset()
        assert belt.told.through == {source(0): 29, source(1): 29}


@virtually
async def test_more_held_partitions_than_a_turn_has_records_leave_the_others_room() -> None:
    async with running(most_records=4) as belt:
        belt.steps.held = set(range(10))
        belt.put(*(chunk(range(3), partition) for partition in range(11)))
        await asyncio.sleep(1)
        assert belt.told.through == {chunk([0], 10).source: 2}
        assert all(sum(len(one.records) for one in turn) <= 4 for _, turn in belt.steps.begun)
        belt.steps.held = set()
        await belt.drained()
        assert len(belt.told.through) == 11, "each is asked about in its turn"


@virtually
async def test_while_all_are_held_back_they_are_asked_about_now_and_then_and_it_is_told_once() -> None:
    async with running() as belt:
        belt.steps.held = {0, 1}
        belt.put(chunk(range(200)), chunk([0], 1))
        await asyncio.sleep(10.0)
        assert belt.steps.begun == []
        assert len(belt.steps.offered) <= 10.0 / RETRY_S + 1
        assert belt.told.held.count(frozenset({("t", 0), ("t", 1)})) == 1
        assert belt.conveyor.under_way == 0, "what is held back is no turn"


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 12),
    st.lists(st.integers(0, 9), max_size=20),
)
def test_whatever_leading_part_is_taken_the_rest_stays_in_order(
    sizes: list[int], most: int, parts: list[int]
) -> None:
    @virtually
    async def laws() -> None:
        async with running(most_records=most) as belt:
            left = list(parts)
            belt.steps.part = lambda records: min(records, left.pop()) if left else records
            first = 0
            for size in sizes:
                belt.put(chunk(range(first, first + size)))
                first += size
            await belt.drained()
            assert belt.processed == {0: list(range(first))}
            assert belt.told.through == {source(): first - 1}

    laws()


@virtually
async def test_two_lives_of_a_partition_never_share_a_chunk_nor_do_offsets_that_go_back() -> None:
    ends = Ends(lambda of, through, watermark_ms: None, lambda of, first: None)
    async with running(ends=ends) as belt:
        belt.put(chunk([8, 9]), chunk([4, 5]), chunk([6], life=uuid.UUID(int=2)), chunk([7], life=LIFE))
        await belt.drained()
        lives = [[(one.source.topic_id.int, offsets_of([one])[0]) for one in t] for _, t in belt.steps.begun]
        assert lives == [[(1, [8, 9])], [(1, [4, 5])], [(2, [6])], [(1, [7])]]


# The order of delivering and acknowledging.


@virtually
async def test_the_next_turn_is_begun_while_one_is_delivered_and_they_are_delivered_one_by_one() -> None:
    """begin   |-1-|-2-|         |-3-|
    deliver     |-----1-----|-----2-----|-----3-----|"""
    async with running(most_records=10, compute_s=1.0, deliver_s=3.0) as belt:
        belt.put(chunk(range(30)))
        await belt.drained()
        assert belt.steps.begun_s == [1.0, 2.0, 5.0]
        assert [at_s for at_s, _ in belt.steps.delivered] == pytest.approx([4.0, 7.0, 10.0])
        assert belt.processed == {0: list(range(30))}


@virtually
async def test_nothing_is_acknowledged_before_it_is_delivered() -> None:
    acknowledged: list[tuple[float, int]] = []
    loop = asyncio.get_running_loop()

    def acknowledge(of: Source, through: int, watermark_ms: int | None) -> None:
        acknowledged.append((loop.time(), through))

    ends = Ends(acknowledge, lambda of, first: None)
    async with running(most_records=10, ends=ends, compute_s=1.0, deliver_s=3.0) as belt:
        belt.put(chunk(range(25)))
        await asyncio.sleep(3.9)
        assert (acknowledged, belt.conveyor.under_way) == ([], 2)
        await belt.drained()
        assert acknowledged == [(pytest.approx(at_s), last) for at_s, last in [(4, 9), (7, 19), (10, 24)]]
        assert belt.conveyor.under_way == 0
        assert belt.conveyor.progress_s == pytest.approx(10.0)
        belt.put(chunk(range(25, 30)))
        await asyncio.sleep(0.5)
        assert belt.conveyor.progress_s == pytest.approx(63.9), "a rest is no standstill"


@pytest.mark.parametrize("what", ["begin", "deliver"])
def test_what_fails_is_not_acknowledged_and_neither_is_what_comes_after_it(what: str) -> None:
    @virtually
    async def laws() -> None:
        async with running(most_records=10) as belt:
            belt.put(chunk(range(10)))
            await belt.drained()
            belt.steps.fails = what
            belt.put(chunk(range(10, 40)))
            await belt.drained()
            assert [str(exc) for exc in belt.ended] == [f"cannot {what}"]
            assert belt.told.through == {source(): 9}

    laws()


# A rebalance, and a stop.


@virtually
async def test_a_rebalance_gives_up_what_has_not_begun_and_keeps_what_is_being_begun() -> None:
    async with running(most_records=10, compute_s=1.0, deliver_s=2.0) as belt:
        belt.put(chunk(range(15)), chunk(range(15, 20)), chunk([0, 1], 1))
        await asyncio.sleep(0.5)
        belt.conveyor.rebalance_begins()
        assert belt.told.given_up == [], "what of it begins is not known yet"
        belt.put(chunk(range(20, 25)))
        assert belt.told.given_up == [(source(), 20)]
        await belt.drained()
        assert belt.processed == {0: list(range(10))}
        assert belt.told.calls == [(source(), 9)]
        assert belt.told.given_up[1:] == [(source(1), 0), (source(), 10), (source(), 15)]
        belt.conveyor.assigned(frozenset({("t", 0)}))
        belt.put(chunk(range(10, 12)))
        await belt.drained()
        assert belt.processed == {0: list(range(12))}


@virtually
async def test_a_rebalance_between_turns_gives_everything_up_at_once_also_what_is_held_back() -> None:
    async with running() as belt:
        belt.steps.held = {0}
        belt.put(chunk(range(5)), chunk(range(3), 1))
        await asyncio.sleep(0.01)
        belt.put(chunk(range(3, 6), 1))
        belt.conveyor.rebalance_begins()
        assert belt.told.given_up == [(source(), 0), (source(1), 3)]
        asked = len(belt.steps.offered)
        await belt.drained()
        assert len(belt.steps.offered) == asked
        belt.conveyor.assigned(frozenset())
        assert belt.conveyor.held == {}
        assert belt.told.held[-1] == frozenset(), "it may be read again"


@virtually
async def test_after_a_stop_nothing_begins_and_everything_is_given_up_for_good() -> None:
    async with running(most_records=10, compute_s=1.0) as belt:
        belt.put(chunk(range(15)))
        await asyncio.sleep(0.5)
        belt.conveyor.stop()
        belt.put(chunk(range(15, 20)))
        await belt.drained()
        belt.conveyor.assigned(frozenset())
        belt.put(chunk(range(3), 1))
        await belt.drained()
        assert belt.processed == {0: list(range(10))}
        assert belt.told.given_up == [(source(), 15), (source(), 10), (source(1), 0)]


@virtually
async def test_what_is_revoked_is_forgotten_in_the_thread_that_computes() -> None:
    async with running(compute_s=1.0) as belt:
        forgotten: list[tuple[float, frozenset[Partition]]] = []
        loop = asyncio.get_running_loop()
        belt.steps.revoked = lambda partitions: forgotten.append((loop.time(), partitions))  # type: ignore[method-assign]
        await belt.conveyor.revoked(frozenset({("t", 0)}))
        assert forgotten == [(pytest.approx(1.0), frozenset({("t", 0)}))]


# All of it together, with the transport's bookkeeping.


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "put", "wait", "hold", "release", "rebalance", "take part"]),
        st.integers(0, 2),
        st.integers(1, 12),
    ),
    max_size=40,
)


class Fed:
    """A belt between the transport's bookkeeping and a broker that keeps what was committed."""

    def __init__(self) -> None:
        self.made: Deliveries[int] = Deliveries()
        self.waiting: set[int] = set()
        """Messages that Faust waits for."""
        self.done_to: Counter[int] = Counter()
        self.read_to: Counter[int] = Counter()
        self.ends = Ends(self._acknowledge, self._give_up)

    def _acknowledge(self, of: Source, through: int, watermark_ms: int | None) -> None:
        self.waiting.difference_update(self.made.acknowledge(of, through))
        self.done_to[of.partition] = through + 1

    def _give_up(self, of: Source, first: int) -> None:
        self.waiting.difference_update(self.made.give_up(of, first))

    def read(self, belt: Belt, number: int, partition: int, size: int) -> None:
        one = chunk(range(self.read_to[partition], self.read_to[partition] + size), partition)
        self.read_to[partition] += size
        self.waiting.add(number)
        self.made.deliver(number, [one])
        belt.put(one)

    async def rebalance(self, belt: Belt, longest_s: float) -> None:
        """It waits for the messages under way, as Faust does, and reads on from what was acknowledged."""
        belt.conveyor.rebalance_begins()
        await asyncio.sleep(longest_s)
        assert not self.waiting, "never done"
        assert self.made.records_under_way() == 0
        self.made.revoke([("t", partition) for partition in range(3)])
        belt.conveyor.assigned(frozenset())
        self.read_to = Counter(self.done_to)


@settings(deadline=None, max_examples=200)
@given(STEPS, st.integers(2, 15), st.sampled_from([0.0, 0.01, 0.1]), st.sampled_from([0.0, 0.03, 0.2]))
def test_whatever_happens_a_rebalance_ends_and_each_record_is_done_once_and_in_order(
    steps: list[tuple[str, int, int]], most: int, compute_s: float, deliver_s: float
) -> None:
    @virtually
    async def laws() -> None:
        fed = Fed()
        async with running(most, fed.ends, compute_s=compute_s, deliver_s=deliver_s) as belt:
            for number, (what, partition, size) in enumerate(steps):
                match what:
                    case "put":
                        fed.read(belt, number, partition, size)
                    case "wait":
                        await asyncio.sleep(size / 100)
                    case "rebalance":
                        await fed.rebalance(belt, 3 * (compute_s + deliver_s) + 0.001)
                    case "take part":
                        belt.steps.part = lambda records, size=size: min(records, size)  # type: ignore[misc]
                    case "hold":
                        belt.steps.held.add(partition)
                    case "release":
                        belt.steps.held.discard(partition)
            belt.steps.held = set()
            await belt.drained()
            assert not fed.waiting
            assert belt.processed == {place: list(range(end)) for place, end in fed.read_to.items() if end}

    laws()
