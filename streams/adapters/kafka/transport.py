"""A Faust transport whose unit is a poll: one message per partition, its value all the records fetched.

Stock Faust makes four tasks per record, 125 to 160 us of CPU each. Here a message carries a `Poll` of up to
`broker_max_poll_records` records: one acknowledgement, one offset range, committed as last + 1 when its
processing has ended. Found by the scheme of the broker URL, `chunked://host:port` (entry point
`faust.transports` in pyproject.toml).

Every poll carries the id of the life of the topic that it was read from, and every commit has it as metadata:
a topic that is deleted and made again is read from its beginning, whatever was committed of its former life.

Warning: correct for agents that acknowledge in order, `concurrency=1`, be it by iterating over the stream or
by hand; never with `take()`. Written against faust-streaming 0.15.3 and aiokafka 0.14.0, pinned exactly,
whose private parts it overrides.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from weakref import WeakSet

import aiokafka
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.sensors import Sensor
from faust.serializers.schemas import Schema
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from streams.adapters.kafka.batches import bound_batches
from streams.core.events import NO_TOPIC_ID, RawRecord
from streams.errors import Unavailable

FETCH_MAX_WAIT_MS: Final = 50
"""aiokafka has one fetch in flight per broker: a quiet partition's wait delays a busy one's next records."""
BUFFERED_POLLS: Final = 8
"""Polls read and not yet processed, beyond which nothing more is read; those of one fetch may exceed it."""
QUEUE_NEVER_FULL: Final = 4096
"""For Faust's `stream_buffer_maxsize`: its own back-pressure must not begin. A put that waits for a full
queue survives a rebalance there, and delivers out of order; and while one partition is held back, Faust waits
up to a second for the others, however idle they are."""
UNWATCHED_S: Final = 0.25
"""A topic that was deleted and made again in less, between two fetches, passes unnoticed if it has also
grown beyond where the former one was read."""
COMMIT_S: Final = 5.0
"""How long one commit may take. aiokafka tries for ever, also to commit of partitions that a topic made again
no longer has; and while it does, no rebalance goes on, in which they would be taken away."""
_WAIT_S: Final = 1.0
AskTopicId = Callable[[str], uuid.UUID]
"""`ask_topic_id` of the app: blocks until the broker has told a topic's id. Raises Unavailable at a stop."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Consecutive records of one partition: what an agent on this transport receives."""

    topic: str
    topic_id: uuid.UUID
    partition: int
    records: tuple[RawRecord, ...]
    end_offset: int
    """The partition's high watermark when the records were read: one past its last offset."""


class PollSchema(Schema):  # type: ignore[misc, unused-ignore]
    """Hands the poll through as it is: no bytes, so nothing for Faust to decode."""

    def loads_key(self, *args: Any, **kwargs: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value


class ChunkedConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc, unused-ignore]
    """The thread that owns aiokafka's consumer; Polls are made here, where the assignment cannot change.

    A topic's id is asked for at each assignment, and again, before anything more is delivered, where the
    topic may have been deleted: once aiokafka has met an error, in a fetch or in the connection; where
    nothing was read for a while, so that no fetch could fail; and where offsets go back, for aiokafka begins
    again by itself at a log that is shorter than its position.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._topic_ids: dict[str, uuid.UUID] = {}
        self._in_doubt: set[str] = set()
        self._next_offset: dict[TP, int] = {}
        self._read_last_s = 0.0
        self._committing: Mapping[TP, str] = {}
        super().__init__(*args, **kwargs)

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        bound_batches()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # Faust has 1,500 written down
        consumer.commit = self._with_metadata(consumer.commit)
        update = consumer._client.force_metadata_update

        def after_an_error() -> Any:
            self._in_doubt.update(self._topic_ids)
            return update()

        consumer._client.force_metadata_update = after_an_error
        return consumer

    def _with_metadata(self, commit: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Faust commits without metadata."""

        async def with_metadata(offsets: Mapping[Any, OffsetAndMetadata]) -> None:
            of = self._committing
            await commit({tp: OffsetAndMetadata(at.offset, of.get(tp, "")) for tp, at in offsets.items()})

        return with_metadata

    async def commit_of_lives(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str]) -> bool:
        """Commit, each offset with the id of the topic's life that it is of. Raises TimeoutError."""

        async def commit() -> bool:
            self._committing = topic_ids
            done: bool = await asyncio.wait_for(self._commit(offsets), COMMIT_S)
            return done

        done: bool = await self.call_thread(commit)
        return done

    async def _fetch_records(
        self, consumer: aiokafka.AIOKafkaConsumer, *args: Any, **kwargs: Any
    ) -> RecordMap:
        if time.monotonic() - self._read_last_s > UNWATCHED_S:
            self._in_doubt.update(self._topic_ids)
        fetched: Mapping[TP, list[ConsumerRecord]] = await super()._fetch_records(consumer, *args, **kwargs)
        self._read_last_s = time.monotonic()
        self._note_offsets(fetched)
        if any(tp.topic in self._in_doubt or tp.topic not in self._topic_ids for tp in fetched):
            fetched = await self._of_present_lives(consumer, fetched)
        return {
            tp: polls_of(
                tp,
                self._topic_ids[tp.topic],
                records,
                self._end_offset(consumer, tp),
                consumer._max_poll_records,
            )
            for tp, records in fetched.items()
        }

    def _note_offsets(self, fetched: Mapping[TP, list[ConsumerRecord]]) -> None:
        for tp, records in fetched.items():
            if records[0].offset < self._next_offset.get(tp, 0):
                self._in_doubt.add(tp.topic)
            self._next_offset[tp] = records[-1].offset + 1

    async def _of_present_lives(
        self, consumer: aiokafka.AIOKafkaConsumer, fetched: Mapping[TP, list[ConsumerRecord]]
    ) -> Mapping[TP, list[ConsumerRecord]]:
        """What was fetched, without that of topics which were made again: these are read anew.

        Nothing of it where a rebalance began meanwhile, after which all is read from what was committed.
        """
        topics, generation = {tp.topic for tp in fetched}, self._generation()
        known = {topic: self._topic_ids.get(topic) for topic in topics}
        await self._learn_topic_ids(topics)
        if not self.consumer.flow_active or self._generation() != generation:
            return {}
        changed = {topic for topic in topics if known[topic] not in (None, self._topic_ids[topic])}
        if changed:
            places = {tp for tp in consumer.assignment() if tp.topic in changed}
            await seek_to_committed(consumer, self._topic_ids, places)
        return {tp: records for tp, records in fetched.items() if tp.topic not in changed}

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        committed: Mapping[TP, int | None] = await self.call_thread(self._seek_to_committed)
        return committed

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer = self._ensure_consumer()
        places, generation = consumer.assignment(), self._generation()
        await self._learn_topic_ids({tp.topic for tp in places})
        if self._generation() != generation:
            return {}  # there is another assignment by now, for which this is done again
        return await seek_to_committed(consumer, self._topic_ids, places)

    def _generation(self) -> int:
        """Of the group: it changes with every rebalance."""
        return int(self.app.consumer_generation_id)

    async def _learn_topic_ids(self, topics: Iterable[str]) -> None:
        """Ask the broker. A worker that stops meanwhile keeps what it knew: it begins nothing more."""
        ask: AskTopicId = getattr(self.app, "ask_topic_id", lambda topic: NO_TOPIC_ID)
        for topic in topics:
            self._in_doubt.discard(topic)
            try:
                found = await asyncio.get_running_loop().run_in_executor(None, ask, topic)
            except Unavailable:
                found = self._topic_ids.get(topic, NO_TOPIC_ID)
            self._topic_ids[topic] = found

    def _end_offset(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int:
        return (consumer.highwater(tp) or 0) if tp in consumer.assignment() else 0


async def seek_to_committed(
    consumer: aiokafka.AIOKafkaConsumer, topic_ids: Mapping[str, uuid.UUID], places: Iterable[TP]
) -> Mapping[TP, int | None]:
    """Each of these partitions to its committed offset, or to its beginning; returns what was committed.

    aiokafka leaves a partition of which nothing was committed where it is. That is after the records that
    Faust fetched and dropped because a rebalance was under way.
    """
    places = list(places)
    committed: dict[TP, int | None] = dict.fromkeys(places)  # of which nothing was committed, nothing is told
    found = await consumer._coordinator.fetch_committed_offsets(places)
    for tp, at in found.items():
        committed[tp] = committed_in_life(at.offset, at.metadata, topic_ids[tp.topic])
    for tp in committed.keys() & consumer.assignment():
        consumer.seek(tp, committed[tp] or 0)  # where the log begins later `earliest` helps
    return committed


def committed_in_life(offset: int, metadata: str | None, topic_id: uuid.UUID) -> int | None:
    """An offset as far as it is of this life of the topic: None where it is another's, or none at all.

    Without metadata it is believed: whoever wrote it did not say.
    """
    return offset if offset >= 0 and (metadata or str(topic_id)) == str(topic_id) else None


def polls_of(
    tp: TP, topic_id: uuid.UUID, records: list[ConsumerRecord], end_offset: int, most: int | None
) -> list[Poll]:
    """Records of one partition, in order, as polls of at most so many."""
    size = most or len(records) or 1
    return [
        Poll(
            tp.topic,
            topic_id,
            tp.partition,
            tuple(records[start : start + size]),
            max(end_offset, records[-1].offset + 1),
        )
        for start in range(0, len(records), size)
    ]


class _Processed(Sensor):  # type: ignore[misc, unused-ignore]
    """Tells the consumer of each poll that a stream has acknowledged: Faust's Cython does it past `ack`."""

    def __init__(self, consumer: ChunkedConsumer) -> None:
        super().__init__()
        self._consumer = consumer

    def on_stream_event_out(self, tp: TP, offset: int, stream: Any, event: Any, state: Any = None) -> None:
        self._consumer.note_processed(tp, offset)


class RebalanceBegins(Sensor):  # type: ignore[misc, unused-ignore]
    """Tells of it as early as Faust learns of it, from the consumer's thread: before it waits for streams."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_rebalance_start(self, app: Any) -> dict[str, Any]:
        self._tell()
        began: dict[str, Any] = super().on_rebalance_start(app)
        return began


class ChunkedConsumer(driver.Consumer):  # type: ignore[misc, unused-ignore]
    """Delivers polls, and commits the offset after the last record of the last poll acknowledged."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._under_way: set[tuple[TP, int]] = set()  # polls by their last offset, from delivery to their end
        self._processed = asyncio.Event()
        self._of_former_life: WeakSet[ConsumerMessage] = WeakSet()
        self._life: dict[TP, uuid.UUID] = {}  # of what was delivered last
        super().__init__(*args, **kwargs)
        self._note_read: Callable[[], None] = getattr(self.app, "note_read", lambda: None)
        """Told at least each second while reading goes on, whether there is anything or not."""
        self.app.sensors.add(_Processed(self))

    def _new_consumer_thread(self) -> ChunkedConsumerThread:
        return ChunkedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, poll: Poll) -> ConsumerMessage:
        last = poll.records[-1]
        is_of_another_life = self._life.get(tp, poll.topic_id) != poll.topic_id
        if is_of_another_life or last.offset < (self._read_offset[tp] or 0):
            self._begin_anew(tp, poll.records[0].offset)
        self._life[tp] = poll.topic_id
        self._under_way.add((tp, last.offset))
        return ConsumerMessage(
            poll.topic,
            poll.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            (),
            None,
            poll,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _begin_anew(self, tp: TP, offset: int) -> None:
        """The topic was deleted and made again, or its log was cut: offsets begin at this one.

        Faust would drop every poll up to the offset read last, and would not commit below the last commit.
        What is still under way of the former life is not to be committed in this one; where that has been
        done already, committing the beginning undoes it.
        """
        self._read_offset[tp] = self._committed_offset[tp] = None
        self._acked[tp][:] = [offset - 1]
        self._acked_index[tp].clear()
        self._of_former_life.update(message for message in self._unacked_messages if message.tp == tp)

    def _new_offset(self, tp: TP) -> int | None:
        """Polls are acknowledged in order, so the highest acknowledged offset ends all that is done."""
        acked = self._acked[tp]
        if not acked:
            return None
        last = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return int(last) + 1

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """What was not committed in time is tried again with the next commit, as if acknowledged just now.

        Unless it is no longer to be: after a rebalance, and where the partition began anew meanwhile.
        """
        of = {tp: str(self._life[tp]) for tp in offsets if tp in self._life}
        generation = self.app.consumer_generation_id
        try:
            done: bool = await self._thread.commit_of_lives(offsets, of)
        except TimeoutError:
            if self.app.consumer_generation_id == generation:
                for tp, offset in offsets.items():
                    if of.get(tp) == str(self._life.get(tp)) and offset - 1 <= (self._read_offset[tp] or 0):
                        self._acked[tp].append(offset - 1)
            return False
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing to remember: offsets between two polls are the records within, or gone by compaction."""

    def ack(self, message: ConsumerMessage) -> bool:
        """By hand, from a stream without acknowledgements of its own."""
        if message in self._of_former_life:
            self.give_up(message)
            return False
        done: bool = super().ack(message)
        self.note_processed(message.tp, message.offset)
        return done

    def note_processed(self, tp: TP, last_offset: int) -> None:
        self._under_way.discard((tp, last_offset))
        self._processed.set()

    def give_up(self, message: ConsumerMessage) -> None:
        """Of a message that was not begun, once a rebalance or a stop began: nobody is to wait for it.

        It is not acknowledged, and is read again from the committed offset. Those after it in its partition
        must be given up, too: acknowledging one of them would commit past this one.
        """
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        self.note_processed(message.tp, message.offset)

    async def _wait_next_records(self, timeout: float) -> tuple[RecordMap | None, set[TP] | None]:
        """Read on only where there is room: one agent takes all partitions in turn, so all wait together."""
        if self.flow_active and len(self._under_way) >= BUFFERED_POLLS:
            self._processed.clear()
            await self.wait_first(self._processed.wait(), self.suspend_flow.wait(), timeout=_WAIT_S)
            self._note_read()
            return {}, self._get_active_partitions()
        result: tuple[RecordMap | None, set[TP] | None] = await super()._wait_next_records(timeout)
        self._note_read()
        return result

    async def on_partitions_assigned(self, assigned: Iterable[TP], generation_id: int = 0) -> None:
        """What was delivered and not begun has been dropped, and is read again from the committed offset."""
        self._under_way.clear()
        self._processed.set()
        await super().on_partitions_assigned(assigned, generation_id)


class Transport(driver.Transport):  # type: ignore[misc, unused-ignore]
    """What Faust makes of `chunked://`."""

    Consumer: ClassVar[type[ChunkedConsumer]] = ChunkedConsumer
