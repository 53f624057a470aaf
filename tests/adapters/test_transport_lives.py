"""The chunked consumer where a topic is deleted and made again while the same worker goes on reading."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest
from aiokafka.errors import UnknownError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.kafka import consumer_thread
from streams.adapters.kafka.consumer_thread import ChunkedConsumerThread, Wishes
from streams.adapters.kafka.deliveries import Committable, Deliveries
from streams.adapters.kafka.positions import commit_metadata, committed_for
from streams.adapters.kafka.refusals import Refusals
from streams.adapters.kafka.transport import STALLED_S, ChunkedConsumer
from streams.core.events import NO_TOPIC_ID, Chunk, Partition, Source
from streams.errors import BrokerUnavailable

PLACE = TP("t", 0)
FORMER, LIFE = uuid.UUID(int=1), uuid.UUID(int=2)


class Consumed:
    """A consumer of Kafka's end: the real bookkeeping, and Faust's rules of what is dropped and committed."""

    def __init__(self) -> None:
        self.made = bare_consumer()
        self.delivered: list[ConsumerMessage] = []

    def read(
        self, first: int, last: int, life: uuid.UUID = NO_TOPIC_ID, partition: int = 0
    ) -> ConsumerMessage | None:
        """A message as Faust's drain loop takes it: not where its offset was read before."""
        return self.read_chunks(chunk(first, last, life, partition))

    def read_chunks(self, *chunks: Chunk) -> ConsumerMessage | None:
        message = self.made._to_message(chunks)
        before = self.made._read_offset[message.tp]
        if before is not None and message.offset < before:
            return None
        self.made._read_offset[message.tp] = message.offset
        self.made._unacked_messages.add(message)
        self.delivered.append(message)
        return message

    def acknowledge(self, message: ConsumerMessage | None) -> bool:
        """All of it; whether Faust waits for it no longer."""
        assert message is not None, "dropped"
        for one in message.value:
            self.made.acknowledge(one.source, one.last_offset)
        return message.acked and message not in self.made._unacked_messages

    def committable(self) -> int | None:
        """What would be committed now."""
        return self.taken_for_a_commit().get(PLACE)

    def taken_for_a_commit(self) -> dict[TP, int]:
        """As Faust does it before each commit; what it takes counts as committed."""
        found = self.made._filter_committable_offsets(list(self.made._filter_tps_with_pending_acks()))
        self.made._committed_offset.update(found)
        return dict(found)


def bare_consumer() -> Any:
    """One without Kafka: only what tracking offsets needs."""
    made: Any = object.__new__(ChunkedConsumer)
    made.app = SimpleNamespace(consumer_generation_id=1)
    made._deliveries, made._taken, made._room = Deliveries(), {}, asyncio.Event()
    made._held, made._stalled, made._moved_s, made._clock_s = frozenset(), frozenset(), {}, time.monotonic
    made._unacked_messages, made._waiting_for_ack = WeakSet(), None
    made._read_offset, made._committed_offset = defaultdict(lambda: None), defaultdict(lambda: None)
    return made


def chunk(first: int, last: int, life: uuid.UUID = NO_TOPIC_ID, partition: int = 0) -> Chunk:
    records: Any = [SimpleNamespace(offset=offset, timestamp=0) for offset in range(first, last + 1)]
    return Chunk(Source("t", life, partition), records, last + 1)


def test_chunks_of_a_topic_made_again_are_delivered_and_committed_below_the_former_offsets() -> None:
    made = Consumed()
    assert made.acknowledge(made.read(0, 537))
    assert made.committable() == 538
    anew = made.read(0, 9)
    assert anew is not None, "dropped"
    assert made.committable() == 0, "a late commit of the former life is undone"
    assert made.acknowledge(anew)
    assert made.committable() == 10


def test_what_was_under_way_of_the_former_life_is_not_committed_in_the_new_one() -> None:
    made = Consumed()
    former, anew = made.read(0, 537), made.read(0, 9)
    assert made.committable() == 0
    assert made.acknowledge(former)
    assert made.committable() is None
    assert made.acknowledge(anew)
    assert made.committable() == 10
    assert not made.made._unacked_messages


def test_within_one_life_offsets_go_on() -> None:
    made = Consumed()
    first, second = made.read(0, 9), made.read(10, 19)
    assert made.acknowledge(first) and made.acknowledge(second)  # noqa: PT018
    assert made.committable() == 20


def test_another_life_is_known_by_its_id_where_its_offsets_are_no_lower() -> None:
    """A worker that was cut off, while the topic was made again and grew beyond what it had read."""
    made = Consumed()
    former = made.read(0, 99, FORMER)
    anew = made.read(0, 399, LIFE)
    assert anew is not None, "dropped"
    assert made.committable() == 0
    assert made.acknowledge(former)
    assert made.committable() is None
    assert made.acknowledge(anew)
    assert made.committable() == 400


def test_a_message_of_many_partitions_is_waited_for_until_each_is_done_and_each_is_committed() -> None:
    made = Consumed()
    message = made.read_chunks(chunk(0, 9, partition=1), chunk(5, 7, partition=0))
    assert message is not None
    made.made.acknowledge(Source("t", NO_TOPIC_ID, 1), 9)
    assert not message.acked
    assert made.taken_for_a_commit() == {TP("t", 1): 10}
    made.made.give_up(Source("t", NO_TOPIC_ID, 0), 5)
    assert message.acked
    assert made.taken_for_a_commit() == {}, "what was given up is read again"


def test_no_chunk_is_dropped_for_the_offsets_of_another_partition() -> None:
    """Faust looks at one partition of a message, and drops it where its offset was read before."""
    made = Consumed()
    assert made.read_chunks(chunk(100, 109, partition=0), chunk(0, 4, partition=1)) is not None
    assert made.read_chunks(chunk(5, 9, partition=1), chunk(110, 119, partition=0)) is not None
    assert made.read_chunks(chunk(120, 120, partition=0), chunk(10, 10, partition=1)) is not None


@given(offset=st.integers(-1, 2**62), metadata=st.sampled_from(["", None, str(LIFE), str(FORMER), "by hand"]))
def test_an_offset_is_believed_where_it_is_of_this_life_or_does_not_say(
    offset: int, metadata: str | None
) -> None:
    found = committed_for(offset, metadata, LIFE)
    is_of_this = offset >= 0 and metadata in ("", None, str(LIFE))
    assert found == (Committable(offset, LIFE) if is_of_this else None)


@given(st.integers(0, 2**62), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)))
def test_a_commit_carries_the_watermark_where_it_is_kept(offset: int, watermark_ms: int | None) -> None:
    done = Committable(offset, LIFE, watermark_ms)
    assert committed_for(offset, commit_metadata(done), LIFE) == done
    assert committed_for(offset, commit_metadata(done), FORMER) is None


class NeverCommits:
    """The consumer's thread, where a commit ends in time or does not; meanwhile something may happen."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile

    async def commit_with_topic_ids(self, offsets: object, topic_ids: object) -> bool:
        self.told = topic_ids
        self.meanwhile()
        raise TimeoutError


def committed_next(made: Consumed, meanwhile: Callable[[], object]) -> int | None:
    """What the next commit would be of, after one of all that was read has failed."""
    made.acknowledge(made.read(100, 199, FORMER))
    taken = made.taken_for_a_commit()
    assert taken == {PLACE: 200}
    made.made._committed_offset[PLACE] = None
    made.made._thread = thread = NeverCommits(meanwhile)
    assert not asyncio.run(made.made._commit(taken))
    assert thread.told == {PLACE: str(FORMER)}
    return made.committable()


def test_a_commit_of_the_former_life_in_a_rebalance_keeps_none_of_the_new_one_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group has committed nothing of the new life then, so that the seek says nothing of it."""

    async def commits(self: Any, revoked: object) -> None:
        self._committed_offset[PLACE] = 538

    made = Consumed()
    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", commits)
    asyncio.run(made.made.on_partitions_revoked({PLACE}))
    assert made.acknowledge(made.read(0, 9, LIFE))
    assert made.committable() == 10


def test_what_was_not_committed_in_time_is_committed_next() -> None:
    assert committed_next(Consumed(), lambda: None) == 200


def test_what_was_not_committed_in_time_does_not_count_as_committed() -> None:
    """Faust commits nothing that is not beyond what it committed last."""
    made = Consumed()
    made.made.assignment = lambda: {PLACE}
    made.made._thread = NeverCommits(lambda: None)
    made.acknowledge(made.read(100, 199, FORMER))
    taken = made.made._filter_committable_offsets([PLACE])
    assert not asyncio.run(made.made._commit_offsets(taken))
    assert made.committable() == 200


def test_what_was_not_committed_in_time_never_is_of_the_topics_next_life() -> None:
    for life in (LIFE, FORMER):
        made = Consumed()
        assert committed_next(made, lambda made=made, life=life: made.read(0, 9, life)) == 0  # type: ignore[misc]


def test_what_was_not_committed_in_time_is_not_committed_after_a_rebalance() -> None:
    made = Consumed()
    assert committed_next(made, lambda: setattr(made.made.app, "consumer_generation_id", 2)) is None


def test_a_commit_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_thread, "COMMIT_S", 0.0)
    thread: Any = Broker(LIFE).thread

    async def call_thread(method: Callable[[], Awaitable[bool]]) -> bool:
        return await method()

    async def retried_for_ever(offsets: object) -> bool:
        await asyncio.get_running_loop().create_future()
        return True

    thread.call_thread, thread._commit = call_thread, retried_for_ever
    with pytest.raises(TimeoutError):
        asyncio.run(thread.commit_with_topic_ids({PLACE: 1}, {}))


class Broker:
    """A consumer and its thread without Kafka: what was committed before, and where it was sought."""

    def __init__(self, life: uuid.UUID) -> None:
        self.life, self.asked, self.flow_active = life, 0, True
        self.rebalances_when_asked = self.rebalances_when_read = self.is_gone = False
        self.sought: dict[TP, int] = {}
        self._coordinator = self
        self.thread: Any = object.__new__(ChunkedConsumerThread)
        self.thread._topic_ids, self.thread._in_doubt = {}, set()
        self.thread._next_offset, self.thread._read_last_s = {}, time.monotonic()
        self.thread._held = frozenset()
        self.thread._watermark_ms, self.thread._from_start = {}, set()
        positions: Any = SimpleNamespace(changed=lambda *of: {})
        self.thread._read_positions = positions
        pacing: Any = SimpleNamespace(
            hold=lambda places: None, read=lambda count, most: self.reads.append(count)
        )
        self.thread._pacing = pacing
        self.reads: list[int] = []
        self.wanted: list[set[TP]] = []
        self.records: list[Any] = []
        self._closed = False
        self._subscription: Any = SimpleNamespace(subscription=None)
        self.thread._answered_ms = None
        self.thread._refusals = Refusals("g")
        self._fetcher = self._subscriptions = self
        self._max_poll_records = None
        self.thread.consumer = self
        self.thread.app = SimpleNamespace(wishes=Wishes(self.ask), consumer_generation_id=7)

    def ask(self, topic: str, is_over: Callable[[], bool]) -> uuid.UUID:
        self.asked += 1
        self.thread.app.consumer_generation_id += self.rebalances_when_asked
        if self.is_gone:
            assert is_over(), "nobody would ever tell"
            raise BrokerUnavailable(f"no topic {topic}")
        return self.life

    def assignment(self) -> set[TP]:
        return {PLACE}

    async def fetch_committed_offsets(self, places: list[TP]) -> dict[TP, Any]:
        return {place: SimpleNamespace(offset=300, metadata=str(FORMER)) for place in places}

    async def beginning_offsets(self, places: list[TP], timeout_ms: None) -> dict[TP, int]:
        return dict.fromkeys(places, 0)

    def seek(self, place: TP, offset: int) -> None:
        self.sought[place] = offset

    def fetch_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def fetched_records(self, partitions: set[TP], **kwargs: object) -> dict[TP, list[Any]]:
        self.wanted.append(partitions)
        self.thread.app.consumer_generation_id += self.rebalances_when_read
        return {PLACE: self.records} if self.records else {}

    def highwater(self, place: TP) -> int:
        return 0

    def lives_read(self, *offsets: int) -> list[uuid.UUID]:
        """Which life the chunks of these records are said to be of."""
        self.records = [SimpleNamespace(offset=offset, timestamp=0) for offset in offsets]
        found = asyncio.run(self.thread._fetch_records(self, {PLACE}, 0.0, 100))
        return [chunk.source.topic_id for chunk in found.get(PLACE, [])]

    def fetch(self) -> Any:
        return asyncio.run(self.thread._of_present_topics(self, {PLACE: ["record"]}))


def test_what_was_fetched_is_taken_where_the_topic_is_still_the_same() -> None:
    broker = Broker(LIFE)
    assert broker.fetch() == {PLACE: ["record"]}
    broker.thread._in_doubt.add("t")
    assert broker.fetch() == {PLACE: ["record"]}
    assert (broker.asked, broker.sought, broker.thread._in_doubt) == (2, {}, set())


def test_what_was_fetched_of_a_topic_made_again_is_dropped_and_read_from_its_beginning() -> None:
    broker = Broker(FORMER)
    assert broker.fetch() == {PLACE: ["record"]}
    broker.life = LIFE
    assert broker.fetch() == {}
    assert broker.sought == {PLACE: 0}, "the committed offset is of the former life"
    assert broker.fetch() == {PLACE: ["record"]}


def test_nothing_is_delivered_where_a_rebalance_began_while_the_broker_was_asked() -> None:
    broker = Broker(LIFE)
    broker.flow_active = False
    assert broker.fetch() == {}


def test_nothing_is_delivered_where_a_rebalance_passed_while_the_broker_was_asked() -> None:
    """What was fetched before it may lie beyond what was committed and not delivered."""
    broker = Broker(LIFE)
    broker.rebalances_when_asked = True
    assert broker.fetch() == {}


def test_who_had_no_partition_reads_none_that_comes_before_it_was_sought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """aiokafka would begin where the topic's former life was committed."""
    made, could_read = bare_consumer(), []
    made._thread = SimpleNamespace(hold=lambda partitions: None)
    made.can_resume_flow, made.suspend_flow = asyncio.Event(), asyncio.Event()
    made.resume_flow()

    async def shared_out(self: Any, assigned: object, generation_id: int) -> None:
        could_read.append(self.flow_active)

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", shared_out)
    asyncio.run(made.on_partitions_assigned({PLACE}, 8))
    assert could_read == [False]
    assert not made.can_resume_flow.is_set()


def test_a_topic_that_is_gone_is_asked_about_until_a_rebalance_has_passed() -> None:
    """No read waits for it any longer, which holds all topics up; and its id stays in doubt."""
    broker = Broker(LIFE)
    broker.rebalances_when_asked = broker.is_gone = True
    assert broker.lives_read(5, 6) == []
    broker.rebalances_when_asked = broker.is_gone = False
    assert broker.lives_read(5, 6) == [LIFE]
    assert broker.asked == 2


def watched(*, coordinator: Exception | None = None, fetcher: Exception | None = None) -> list[Exception]:
    """What a thread's watch over aiokafka's parts ends it with, where they met these."""

    class Parts:
        def __init__(self) -> None:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if fetcher is not None:
                ended.set_exception(fetcher)
            self._coordinator = self._fetcher = self._client = self
            self._fetch_task, self._sync_task = ended, None

        def check_errors(self) -> None:
            if coordinator is not None:
                raise coordinator

    async def main() -> list[Exception]:
        broker, ended, made = Broker(LIFE), [], Parts()

        async def crash(problem: Exception) -> None:
            ended.append(problem)

        broker.thread._ensure_consumer, broker.thread.crash = lambda: made, crash
        broker.thread._refusals = SimpleNamespace(look=lambda consumer: [])
        watching = asyncio.create_task(broker.thread._watch())
        watching.add_done_callback(broker.thread._watched)
        for _ in range(20):
            await asyncio.sleep(0)
        watching.cancel()
        return ended

    return asyncio.run(main())


def test_what_aiokafkas_parts_met_while_nobody_reads_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its coordinator waits for somebody to ask, and the worker is out of the group for good."""
    monkeypatch.setattr(consumer_thread, "LOOK_S", 0.0)
    problem = UnknownError()
    assert watched() == []
    assert watched(coordinator=problem) == [problem]
    assert watched(fetcher=problem) == [problem]


class Room:
    """A consumer with room for twenty records, of two topics, by a clock that stands still."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.held: list[frozenset[Partition]] = []
        self.made = bare_consumer()
        self.made.flow_active, self.made._most_records = True, 20
        self.made._clock_s = lambda: self.now_s
        self.made._thread = SimpleNamespace(hold=self.held.append)
        self.made.assignment = lambda: {TP("t", 0), TP("u", 0), TP("u", 1)}

    def deliver(self, topic: str, first: int, last: int) -> None:
        self.made._to_message((replace(chunk(first, last), source=Source(topic, NO_TOPIC_ID, 0)),))


def test_a_topic_whose_records_cannot_be_finished_leaves_the_room_to_the_others() -> None:
    room = Room()
    room.deliver("u", 0, 19)
    assert not room.made._has_room()
    room.now_s += STALLED_S + 1
    assert room.made._has_room()
    assert room.held == [{("u", 0), ("u", 1)}], "it is read no more"
    room.deliver("t", 0, 19)
    assert not room.made._has_room(), "of the others as much as ever"
    room.made.acknowledge(Source("t", NO_TOPIC_ID, 0), 9)
    assert room.made._has_room()
    room.made.acknowledge(Source("u", NO_TOPIC_ID, 0), 9)
    assert not room.made._has_room(), "it counts again"
    room.made.acknowledge(Source("t", NO_TOPIC_ID, 0), 19)
    assert room.made._has_room()
    assert room.held[-1] == frozenset()


def test_a_topic_that_goes_on_keeps_its_place_in_the_room_however_slow_it_is() -> None:
    room = Room()
    room.deliver("u", 0, 39)
    for through in range(15):
        room.now_s += STALLED_S - 1
        assert not room.made._has_room()
        room.made.acknowledge(Source("u", NO_TOPIC_ID, 0), through)
    assert room.held == []


def test_a_seek_that_comes_after_the_next_rebalance_moves_nothing() -> None:
    broker = Broker(LIFE)
    broker.rebalances_when_asked = True
    broker.thread._ensure_consumer = lambda: broker
    assert asyncio.run(broker.thread._seek_to_committed()) == {}
    assert broker.sought == {}


def test_what_is_read_as_a_rebalance_passes_is_read_again() -> None:
    """It may have been sought to where it begins by then, and nobody takes it."""
    broker = Broker(LIFE)
    broker.rebalances_when_read = True
    assert broker.lives_read(5, 6) == []
    assert broker.sought == {PLACE: 5}
    broker.rebalances_when_read = False
    assert broker.lives_read(5, 6) == [LIFE]


def test_while_fetches_go_well_nothing_is_asked() -> None:
    broker = Broker(FORMER)
    assert broker.lives_read(0, 1) == [FORMER]
    assert broker.lives_read(2, 3) == [FORMER]
    assert broker.asked == 1


def test_a_topic_made_again_while_nothing_was_read_is_noticed() -> None:
    broker = Broker(FORMER)
    assert broker.lives_read(0, 1) == [FORMER]
    broker.life = LIFE
    broker.thread._read_last_s -= 1
    assert broker.lives_read(2, 3) == [], "of the new life, which had grown beyond these offsets"
    assert broker.sought == {PLACE: 0}
    assert broker.lives_read(0, 1) == [LIFE]


def test_a_topic_made_again_is_noticed_where_aiokafka_began_again_by_itself() -> None:
    broker = Broker(FORMER)
    assert broker.lives_read(50, 51) == [FORMER]
    broker.life = LIFE
    assert broker.lives_read(0, 1) == []
    assert broker.lives_read(0, 1) == [LIFE]


def test_reading_goes_on_only_where_a_broker_answers_or_nothing_is_wanted() -> None:
    """A fetch that brings nothing looks the same without a broker; what is held back is not asked for."""
    broker, notes = Broker(LIFE), []
    state = SimpleNamespace(timestamp=None)
    assignment = SimpleNamespace(state_value=lambda place: state)
    broker._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    broker.thread.app.wishes = Wishes(broker.ask, note_read=lambda: notes.append(state.timestamp))

    def fetch() -> None:
        asyncio.run(broker.thread._fetch_records(broker, {PLACE}, 0.0, 100))

    for state.timestamp in (None, None, 5000, 5000, 5000, 6000):
        fetch()
    assert notes == [5000, 6000]
    broker.thread.hold(frozenset({("t", 0)}))
    fetch()
    assert notes == [5000, 6000, 6000]
    broker.thread.hold(frozenset())
    broker.records = [SimpleNamespace(offset=0, timestamp=0)]
    fetch()
    assert notes == [5000, 6000, 6000, 6000]


def test_what_is_held_back_is_not_asked_for_and_the_others_are() -> None:
    broker, other = Broker(LIFE), TP("t", 1)
    broker.records = [SimpleNamespace(offset=0, timestamp=0)]
    for held, wanted in [({other}, [{PLACE}]), (set(), [{PLACE, other}]), ({PLACE, other}, [])]:
        broker.wanted = []
        broker.thread.hold(frozenset((tp.topic, tp.partition) for tp in held))
        found = asyncio.run(broker.thread._fetch_records(broker, {PLACE, other}, 0.0, 100))
        assert broker.wanted == wanted
        assert found.keys() == ({PLACE} if wanted else set())
