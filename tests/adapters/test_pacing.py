"""When aiokafka's fetcher fetches: its own rules, and ours around them, by a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.kafka.pacing import pace
from tests.belt import run

LINGER_S = 0.05
MOST_RECORDS = 100
PLACES = [TopicPartition("t", number) for number in range(4)]  # those of even numbers on node 0


class Consumer:
    """As much of aiokafka's fetcher as decides what to fetch: the method is its own."""

    _fetch_max_wait_ms, _fetch_min_bytes, _fetch_max_bytes = 500, 1, 1 << 20
    _max_partition_fetch_bytes, _isolation_level, _client_rack = 1 << 18, 0, ""
    _fetcher_timeout = 0.2
    _prefetch_backoff = 0.1
    _get_actions_per_node: Any = Fetcher._get_actions_per_node
    _notify: Any = Fetcher._notify
    _set_error: Any = Fetcher._set_error
    _wait_consume_future = None

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._pending_tasks: set[Any] = set()
        self._fetch_waiters: set[Any] = set()
        self._records: dict[TopicPartition, Any] = {}
        self._in_flight: set[int] = set()
        self._client = SimpleNamespace()
        self._subscriptions = SimpleNamespace()
        self.assign(PLACES)
        self.pacing = pace(self, LINGER_S, lambda: self.now_s)
        self.begun: list[tuple[float, int, set[int]]] = []  # when, on which node, of which partitions
        self.timeout_s = 0.0
        self.answers: list[list[TopicPartition]] = []  # of node 0

    def _select_read_replica(self, place: TopicPartition) -> int:
        return int(place.partition) % 2

    def assign(self, places: list[TopicPartition]) -> None:
        self.assignment = Assignment(places)
        for place in places:
            self.assignment.state_value(place).seek(0)
        self._subscriptions.subscription = SimpleNamespace(assignment=self.assignment)

    def look(self) -> list[int]:
        """What the fetcher's loop does each time around; on which nodes a fetch began."""
        requests, _, self.timeout_s, _, _ = self._get_actions_per_node(self.assignment)
        for node, request in requests:
            self._note_begun(node, request)
            self._in_flight.add(node)
        return sorted(node for node, _ in requests)

    def _note_begun(self, node: int, request: Any) -> None:
        partitions = {partition for _, of in request.topics for partition, _, _ in of}
        self.begun.append((self.now_s, node, partitions))

    async def _proc_fetch_request(self, assignment: Assignment, node: int, request: Any) -> bool:
        """For aiokafka's own loop around `look`: each fetch is answered at once, as `answers` has it."""
        self._note_begun(node, request)
        if node == 0:
            self.arrive(*self.answers.pop(0), node=node)
        else:
            await asyncio.Event().wait()
        return True

    def arrive(self, *places: TopicPartition, node: int = 0) -> None:
        """The fetch on this node has ended, with records of these."""
        self._in_flight.discard(node)
        for place in places:
            found = FetchResult(
                place, assignment=self.assignment, partition_records=None, backoff=self._prefetch_backoff
            )
            self._records[place] = found

    def read(self, records: int) -> None:
        """Everything that has arrived was read."""
        self._records.clear()
        self.pacing.read(records, MOST_RECORDS)


def in_a_loop(test: Any) -> Any:
    """Futures of aiokafka's need a loop."""

    def in_loop() -> None:
        async def main() -> None:
            test()

        run(main())

    in_loop.__name__ = test.__name__
    return in_loop


@in_a_loop
def test_a_fetch_asks_for_every_partition_of_a_node_and_the_next_one_comes_a_linger_later() -> None:
    made = Consumer()
    assert made.look() == [0, 1]
    assert sorted(sorted(partitions) for _, _, partitions in made.begun) == [[0, 2], [1, 3]]
    made.arrive(PLACES[0])
    made.read(1)
    made.now_s += 0.02
    assert made.look() == []
    assert abs(made.timeout_s - 0.03) < 1e-6, "the fetcher looks again when it is due"
    made.now_s += 0.03
    assert made.look() == [0]


@in_a_loop
def test_no_fetch_begins_while_what_arrived_waits_to_be_read() -> None:
    """However long that takes: a fetch that began without it would hold the busy partition up."""
    made = Consumer()
    made.look()
    made.arrive(PLACES[0])
    made.now_s += 10.0
    made._records[PLACES[0]]._created -= 10.0  # by aiokafka's clock, which is the system's
    assert made.look() == []
    made.read(1)
    assert made.look() == [0]
    assert made.begun[-1][2] == {0, 2}


@in_a_loop
def test_a_big_read_takes_the_linger_away_and_a_small_one_does_not() -> None:
    made = Consumer()
    for records, begins in [(MOST_RECORDS // 2 - 1, []), (MOST_RECORDS // 2, [0]), (MOST_RECORDS, [0])]:
        made.now_s += 1.0
        assert made.look() in ([0], [0, 1])
        made.arrive(PLACES[0])
        made.read(records)
        assert made.look() == begins
        made.arrive()


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.03), st.booleans(), st.sampled_from(["ends", "read", "nothing"])),
        max_size=60,
    )
)
def test_each_node_has_at_most_one_fetch_a_linger(
    steps: list[tuple[float, bool, str]],
) -> None:
    @in_a_loop
    def laws() -> None:
        made = Consumer()
        for pause_s, is_second, what in steps:
            made.look()
            made.now_s += min(pause_s, made.timeout_s)
            node = int(is_second)
            if what == "ends" and node in made._in_flight:
                made.arrive(PLACES[node], node=node)
            elif what == "read":
                made.read(len(made._records))
        for node in (0, 1):
            times_s = [at_s for at_s, on, _ in made.begun if on == node]
            gaps_s = [later - earlier for earlier, later in pairwise(times_s)]
            assert all(gap_s >= LINGER_S - 1e-9 for gap_s in gaps_s)

    laws()


@in_a_loop
def test_held_partitions_are_paused_what_arrived_of_them_is_dropped_and_they_are_resumed() -> None:
    made = Consumer()
    made.look()
    made.arrive(PLACES[0], PLACES[2])
    made.pacing.hold({PLACES[0]})
    assert [made.assignment.state_value(place).paused for place in PLACES] == [True, False, False, False]
    assert list(made._records) == [PLACES[2]], "of the others it stays"
    made.read(1)
    made.now_s += 1.0
    assert made.look() == [0]
    assert made.begun[-1][2] == {2}
    made.arrive()
    made.pacing.hold({PLACES[2]})
    made.now_s += 1.0
    made.look()
    assert made.begun[-1][2] == {0}
    made.arrive()
    made.pacing.hold(frozenset())
    made.now_s += 1.0
    made.look()
    assert made.begun[-1][2] == {0, 2}
    assert not any(made.assignment.state_value(place).paused for place in PLACES)


@in_a_loop
def test_what_a_fetch_under_way_brings_of_a_held_partition_holds_the_others_not_up() -> None:
    """Nobody reads it, and while anything waits to be read no fetch begins on its node."""
    made = Consumer()
    made.look()
    made.pacing.hold({PLACES[0]})
    made.arrive(PLACES[0])
    made.now_s += 1.0
    assert made.look() == [0]
    assert made.begun[-1][2] == {2}
    assert made.assignment.state_value(PLACES[0]).position == 0, "it is read again"


def test_a_fetcher_that_waits_until_something_is_read_learns_that_it_was_dropped() -> None:
    """As where a topic is refused: the error of one partition is read, and the topic then left alone."""

    async def main() -> None:
        made = Consumer()
        made.answers = [[PLACES[0], PLACES[2]], [], []]
        fetching = asyncio.create_task(Fetcher._fetch_requests_routine(made))
        await settled()
        made.now_s += 1.0
        del made._records[PLACES[0]]
        made._notify(made._wait_consume_future)
        await settled()
        assert [partitions for _, node, partitions in made.begun if node == 0] == [{0, 2}]
        made.pacing.hold({PLACES[0], PLACES[2]})
        await settled()
        made.pacing.hold(frozenset())
        await settled()
        assert [partitions for _, node, partitions in made.begun if node == 0] == [{0, 2}, {0, 2}]
        fetching.cancel()

    async def settled() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    run(main())


class TwoBrokers:
    """Each answers a fetch once it is told to, with a refusal of the topic."""

    _metadata_max_age_ms = 10_000

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.leader = 1
        self.cluster = SimpleNamespace(leader_for_partition=lambda place: self.leader)
        self.answers = {1: asyncio.Event(), 2: asyncio.Event()}
        self.asked: list[int] = []

    async def send(self, node: int, request: Any) -> Any:
        self.asked.append(node)
        await self.answers[node].wait()
        code = TopicAuthorizationFailedError.errno
        return SimpleNamespace(API_VERSION=4, topics=[("t", [(0, code, -1, -1, [], b"")])])


def test_the_fetcher_outlives_two_brokers_that_refuse_one_partition() -> None:
    """Its leader moves while a fetch waits for records; nobody reads meanwhile, for there is no room."""

    async def main() -> bool:
        brokers, subscriptions = TwoBrokers(), SubscriptionState()
        subscriptions.assign_from_user([PLACES[0]])
        subscriptions.seek(PLACES[0], 0)
        fetcher = Fetcher(brokers, subscriptions, auto_offset_reset="none", fetcher_timeout=0)
        pace(fetcher, 0.0)
        await until(lambda: brokers.asked == [1])
        brokers.leader = 2
        await until(lambda: brokers.asked == [1, 2])
        brokers.answers[2].set()
        await until(lambda: bool(fetcher._records))
        brokers.answers[1].set()
        await until(lambda: fetcher._fetch_task.done() or fetcher._in_flight == set())
        ended = fetcher._fetch_task.done()
        await fetcher.close()
        return ended

    async def until(is_so: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if is_so():
                return
            await asyncio.sleep(0)
        raise AssertionError

    assert not asyncio.run(main())


@in_a_loop
def test_what_is_held_stays_held_in_the_next_assignment() -> None:
    """Where the same is asked for again before the fetcher heard that it was not."""
    made = Consumer()
    made.pacing.hold({PLACES[0]})
    made.assign(PLACES)
    made.pacing.hold({PLACES[0]})
    made.look()
    assert {2} in [partitions for _, _, partitions in made.begun]


@in_a_loop
def test_a_hold_without_an_assignment_waits_for_one() -> None:
    made = Consumer()
    made._subscriptions.subscription = None
    made.pacing.hold({PLACES[0]})
    made.assign(PLACES)
    made.pacing.hold({PLACES[0]})
    assert made.assignment.state_value(PLACES[0]).paused
