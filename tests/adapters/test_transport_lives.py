"""The chunked consumer where a topic is deleted and made again while the same worker goes on reading."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.adapters.kafka import transport
from streams.adapters.kafka.transport import ChunkedConsumer, ChunkedConsumerThread, Poll, committed_in_life
from streams.core.events import NO_TOPIC_ID

PLACE = TP("t", 0)
FORMER, LIFE = uuid.UUID(int=1), uuid.UUID(int=2)


def consumer() -> Any:
    """One without Kafka: only what tracking offsets needs."""
    made = object.__new__(ChunkedConsumer)
    made.app = SimpleNamespace(
        consumer_generation_id=1, topics=SimpleNamespace(acks_enabled_for=lambda _: True)
    )
    made._under_way, made._processed = set(), asyncio.Event()
    made._of_former_life, made._unacked_messages = WeakSet(), WeakSet()
    made._read_offset = defaultdict(lambda: None)
    made._committed_offset = defaultdict(lambda: None)
    made._life = {}
    made._acked, made._acked_index = defaultdict(list), defaultdict(set)
    made._n_acked, made._waiting_for_ack = 0, None
    return made


def read(made: Any, first: int, last: int, life: uuid.UUID = NO_TOPIC_ID) -> Any:
    """A poll as the drain loop takes it: delivered where its offset is not below the one read last."""
    records = tuple(SimpleNamespace(offset=offset, timestamp=0) for offset in (first, last))
    message = made._to_message(PLACE, Poll("t", life, 0, records, last + 1))
    before = made._read_offset[PLACE]
    if before is not None and last < before:
        return None
    made._read_offset[PLACE] = last
    made._unacked_messages.add(message)
    return message


def committable(made: Any) -> int | None:
    """What would be committed now."""
    offset = made._new_offset(PLACE)
    if offset is None or not made._should_commit(PLACE, offset):
        return None
    made._committed_offset[PLACE] = offset
    return int(offset)


def test_polls_of_a_topic_made_again_are_delivered_and_committed_below_the_former_offsets() -> None:
    made = consumer()
    assert made.ack(read(made, 0, 537))
    assert committable(made) == 538
    anew = read(made, 0, 9)
    assert anew is not None, "dropped"
    assert committable(made) == 0, "a late commit of the former life is undone"
    assert made.ack(anew)
    assert committable(made) == 10


def test_what_was_under_way_of_the_former_life_is_not_committed_in_the_new_one() -> None:
    made = consumer()
    former = read(made, 0, 537)
    anew = read(made, 0, 9)
    assert committable(made) == 0
    assert not made.ack(former)
    assert committable(made) is None
    assert made.ack(anew)
    assert committable(made) == 10
    assert not made._under_way


def test_within_one_life_offsets_go_on() -> None:
    made = consumer()
    first, second = read(made, 0, 9), read(made, 10, 19)
    assert made.ack(first) and made.ack(second)  # noqa: PT018
    assert committable(made) == 20
    assert not made._of_former_life


def test_another_life_is_known_by_its_id_where_its_offsets_are_no_lower() -> None:
    """A worker that was cut off, while the topic was made again and grew beyond what it had read."""
    made = consumer()
    former = read(made, 0, 99, FORMER)
    anew = read(made, 0, 399, LIFE)
    assert anew is not None, "dropped"
    assert not made.ack(former)
    assert committable(made) == 0
    assert made.ack(anew)
    assert committable(made) == 400
    assert made._life == {PLACE: LIFE}


@given(offset=st.integers(-1, 2**62), metadata=st.sampled_from(["", None, str(LIFE), str(FORMER), "by hand"]))
def test_an_offset_is_believed_where_it_is_of_this_life_or_does_not_say(
    offset: int, metadata: str | None
) -> None:
    found = committed_in_life(offset, metadata, LIFE)
    assert found == (offset if offset >= 0 and metadata in ("", None, str(LIFE)) else None)


class NeverCommits:
    """The consumer's thread, where a commit ends in time or does not; meanwhile something may happen."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.meanwhile = meanwhile

    async def commit_of_lives(self, offsets: object, topic_ids: object) -> bool:
        self.meanwhile()
        raise TimeoutError


def committed_next(made: Any, meanwhile: Callable[[], object]) -> int | None:
    """What the next commit would be of, after one of all that was read has failed."""
    made.ack(read(made, 100, 199, FORMER))
    offset = committable(made)
    assert offset == 200
    made._committed_offset[PLACE] = None
    made._thread = NeverCommits(meanwhile)
    assert not asyncio.run(made._commit({PLACE: offset}))
    return committable(made)


def test_what_was_not_committed_in_time_is_committed_next() -> None:
    assert committed_next(consumer(), lambda: None) == 200


def test_what_was_not_committed_in_time_never_is_of_the_topics_next_life() -> None:
    made = consumer()
    assert committed_next(made, lambda: read(made, 0, 9, LIFE)) == 0
    cut = consumer()
    assert committed_next(cut, lambda: read(cut, 0, 9, FORMER)) == 0


def test_what_was_not_committed_in_time_is_not_committed_after_a_rebalance() -> None:
    made = consumer()
    assert committed_next(made, lambda: setattr(made.app, "consumer_generation_id", 2)) is None


def test_a_commit_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "COMMIT_S", 0.0)
    thread: Any = Broker(LIFE).thread

    async def call_thread(method: Callable[[], Awaitable[bool]]) -> bool:
        return await method()

    async def retried_for_ever(offsets: object) -> bool:
        await asyncio.get_running_loop().create_future()
        return True

    thread.call_thread, thread._commit = call_thread, retried_for_ever
    with pytest.raises(TimeoutError):
        asyncio.run(thread.commit_of_lives({PLACE: 1}, {}))


class Broker:
    """A consumer and its thread without Kafka: what was committed before, and where it was sought."""

    def __init__(self, life: uuid.UUID) -> None:
        self.life, self.asked, self.flow_active = life, 0, True
        self.rebalances_when_asked = False
        self.sought: dict[TP, int] = {}
        self._coordinator = self
        self.thread = object.__new__(ChunkedConsumerThread)
        self.thread._topic_ids, self.thread._in_doubt = {}, set()
        self.thread._next_offset, self.thread._read_last_s = {}, time.monotonic()
        self.records: list[Any] = []
        self._closed = False
        self._fetcher = self._subscriptions = self
        self._max_poll_records = None
        self.thread.consumer = self  # type: ignore[assignment]
        self.thread.app = SimpleNamespace(ask_topic_id=self.ask, consumer_generation_id=7)

    def ask(self, topic: str) -> uuid.UUID:
        self.asked += 1
        self.thread.app.consumer_generation_id += self.rebalances_when_asked
        return self.life

    def assignment(self) -> set[TP]:
        return {PLACE}

    async def fetch_committed_offsets(self, places: list[TP]) -> dict[TP, Any]:
        return {place: SimpleNamespace(offset=300, metadata=str(FORMER)) for place in places}

    def seek(self, place: TP, offset: int) -> None:
        self.sought[place] = offset

    def fetch_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def fetched_records(self, *args: object, **kwargs: object) -> dict[TP, list[Any]]:
        return {PLACE: self.records} if self.records else {}

    def highwater(self, place: TP) -> int:
        return 0

    def lives_read(self, *offsets: int) -> list[uuid.UUID]:
        """Which life the polls of these records are said to be of."""
        self.records = [SimpleNamespace(offset=offset) for offset in offsets]
        found = asyncio.run(self.thread._fetch_records(self, {PLACE}))  # type: ignore[arg-type]
        return [poll.topic_id for poll in found.get(PLACE, [])]

    def fetch(self) -> Any:
        return asyncio.run(self.thread._of_present_lives(self, {PLACE: ["record"]}))


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


def test_a_seek_that_comes_after_the_next_rebalance_moves_nothing() -> None:
    broker = Broker(LIFE)
    broker.rebalances_when_asked = True
    broker.thread._ensure_consumer = lambda: broker
    assert asyncio.run(broker.thread._seek_to_committed()) == {}
    assert broker.sought == {}


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
