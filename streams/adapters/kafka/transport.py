"""A Faust transport whose unit is a fetch: one message of a topic, its value all the chunks that arrived.

Stock Faust makes four tasks per record, 125 to 160 us of CPU each. Here a message carries the chunks of every
partition that a fetch brought something of, up to `broker_max_poll_records` records in all. What is done is
told by partition and offset (`acknowledge`), and the offset after it is committed. Found by the scheme of the
broker URL, `chunked://host:port` (entry point `faust.transports` in pyproject.toml).

Every chunk carries the id of the life of the topic that it was read from, and every commit has it as
metadata: a topic that is deleted and made again is read from its beginning, whatever was committed of its
former life.

Warning: for agents that hand the message's chunks on and acknowledge by hand (`stream.noack()`); never with
`take()`. Written against faust-streaming 0.15.3 and aiokafka 0.14.0, pinned exactly, whose private parts it
overrides. The two classes that override them, of the thread and of the loop, stand beside each other: that
is why this module is longer than others.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import aiokafka
import faust
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.sensors import Sensor
from faust.serializers.schemas import Schema
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from streams.adapters.kafka.batches import bound_batches
from streams.adapters.kafka.deliveries import Committable, Deliveries
from streams.adapters.kafka.offsets import Standing, standings_of
from streams.adapters.kafka.pacing import pace
from streams.adapters.kafka.positions import commit_metadata, seek_to_committed
from streams.core.events import NO_TOPIC_ID, Chunk, Partition, Source
from streams.core.timers import NO_WATERMARK
from streams.errors import Unavailable

BUFFERED_TURNS: Final = 2
"""Records read and not yet done, as a multiple of those of a poll, beyond which nothing more is read."""
QUEUE_NEVER_FULL: Final = 4096
"""For Faust's `stream_buffer_maxsize`: its own back-pressure must not begin. A put that waits for a full
queue survives a rebalance there, and delivers out of order."""
UNWATCHED_S: Final = 0.25
"""A topic that was deleted and made again in less, between two fetches, passes unnoticed if it has also
grown beyond where the former one was read."""
COMMIT_S: Final = 5.0
"""How long one commit may take. aiokafka tries for ever, also to commit of partitions that a topic made again
no longer has; and while it does, no rebalance goes on, in which they would be taken away."""
_WAIT_S: Final = 1.0

Chunks = tuple[Chunk, ...]
"""What an agent on this transport receives as a message's value: of one topic, in the order of offsets."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the transport asks of whoever runs it."""

    ask_topic_id: Callable[[str], uuid.UUID] = lambda topic: NO_TOPIC_ID
    """Blocks until the broker has told a topic's id. Raises Unavailable at a stop."""
    note_read: Callable[[], None] = lambda: None
    """Called at least each second while reading goes on, whether there is anything or not."""
    linger_s: float = 0.0
    """At most one fetch from each broker in so long, unless a whole poll has arrived."""
    fetch_max_wait_ms: int = 500
    """How long a broker waits for records where there are none: who has no events asks twice a second."""


class ChunkedApp(faust.App):  # type: ignore[misc, unused-ignore]
    """A Faust app on this transport."""

    def __init__(self, group: str, wishes: Wishes, **settings: Any) -> None:
        self.wishes = wishes
        super().__init__(group, **settings)


class ChunkSchema(Schema):  # type: ignore[misc, unused-ignore]
    """Hands the chunks through as they are: no bytes, so nothing for Faust to decode."""

    def loads_key(self, *args: Any, **kwargs: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value


class ChunkedConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc, unused-ignore]
    """The thread that owns aiokafka's consumer; chunks are made here, where the assignment cannot change.

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
        self._held: frozenset[Partition] = frozenset()
        self._watermark_ms: dict[TP, int] = {}
        super().__init__(*args, **kwargs)

    async def on_start(self) -> None:
        await super().on_start()
        self._pacing = pace(self._ensure_consumer()._fetcher, self.app.wishes.linger_s)

    def hold(self, partitions: frozenset[Partition]) -> None:
        """Fetch none of these for now. From the event loop: the next fetch finds the whole new set."""
        self._held = partitions

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        bound_batches()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.app.wishes.fetch_max_wait_ms  # Faust has 1,500 written down
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

    async def commit_with_topic_ids(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str]) -> bool:
        """Commit, each offset with the id of the topic's life that it is of. Raises TimeoutError."""

        async def commit() -> bool:
            self._committing = topic_ids
            done: bool = await asyncio.wait_for(self._commit(offsets), COMMIT_S)
            return done

        done: bool = await self.call_thread(commit)
        return done

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        """Faust's way into this thread makes several tasks for a call; this one is made for every turn."""
        consumer = self._ensure_consumer()
        fetching = self._fetch_records(
            consumer, active_partitions or set(), timeout, max_records=consumer._max_poll_records
        )
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(fetching, self.thread_loop))

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> RecordMap:
        """By partition one chunk, in a list: Faust's type of what a fetch brings."""
        if time.monotonic() - self._read_last_s > UNWATCHED_S:
            self._in_doubt.update(self._topic_ids)
        held = self._held
        self._pacing.hold({TP(*place) for place in held})
        wanted = {tp for tp in active_partitions if (tp.topic, tp.partition) not in held}
        fetched: Mapping[TP, list[ConsumerRecord]] = {}
        if wanted:
            fetched = await super()._fetch_records(consumer, wanted, timeout, max_records)
        else:
            await asyncio.sleep(min(timeout or 0.0, UNWATCHED_S))
        self._read_last_s = time.monotonic()
        self._pacing.read(sum(map(len, fetched.values())), max_records or 0)
        self._note_offsets(fetched)
        if any(tp.topic in self._in_doubt or tp.topic not in self._topic_ids for tp in fetched):
            fetched = await self._of_present_topics(consumer, fetched)
        return {tp: [self._chunk(consumer, tp, records)] for tp, records in fetched.items()}

    def _chunk(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP, records: list[ConsumerRecord]) -> Chunk:
        source = Source(tp.topic, self._topic_ids[tp.topic], tp.partition)
        end_offset = max(self._end_offset(consumer, tp), records[-1].offset + 1)
        chunk = Chunk(source, records, end_offset, self._watermark_ms.get(tp, NO_WATERMARK))
        self._watermark_ms[tp] = chunk.watermark_after_ms
        return chunk

    def _note_offsets(self, fetched: Mapping[TP, list[ConsumerRecord]]) -> None:
        for tp, records in fetched.items():
            if records[0].offset < self._next_offset.get(tp, 0):
                self._in_doubt.add(tp.topic)
            self._next_offset[tp] = records[-1].offset + 1

    async def _of_present_topics(
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
            self._note_watermarks(await seek_to_committed(consumer, self._topic_ids, places))
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
        positions = await seek_to_committed(consumer, self._topic_ids, places)
        self._note_watermarks(positions)
        return {tp: None if at is None else at.offset for tp, at in positions.items()}

    def _note_watermarks(self, positions: Mapping[TP, Committable | None]) -> None:
        """Stream time goes on from where it was committed."""
        for tp, at in positions.items():
            kept_ms = None if at is None else at.watermark_ms
            self._watermark_ms[tp] = NO_WATERMARK if kept_ms is None else kept_ms

    def _generation(self) -> int:
        """Of the group: it changes with every rebalance."""
        return int(self.app.consumer_generation_id)

    async def _learn_topic_ids(self, topics: Iterable[str]) -> None:
        """Ask the broker. A worker that stops meanwhile keeps what it knew: it begins nothing more."""
        ask = self.app.wishes.ask_topic_id
        for topic in topics:
            self._in_doubt.discard(topic)
            try:
                found = await asyncio.get_running_loop().run_in_executor(None, ask, topic)
            except Unavailable:
                found = self._topic_ids.get(topic, NO_TOPIC_ID)
            self._topic_ids[topic] = found

    def _end_offset(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int:
        return (consumer.highwater(tp) or 0) if tp in consumer.assignment() else 0


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
    """Delivers the chunks of each fetch, and commits what was acknowledged of each partition."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._deliveries: Deliveries[ConsumerMessage] = Deliveries()
        self._held: frozenset[Partition] = frozenset()
        self._taken: dict[TP, Committable] = {}
        self._room = asyncio.Event()
        super().__init__(*args, **kwargs)
        self._most_records = BUFFERED_TURNS * self.app.conf.broker_max_poll_records

    def _new_consumer_thread(self) -> ChunkedConsumerThread:
        return ChunkedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        """Read on and hand out, until the consumer or its fetcher is told to stop."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await asyncio.sleep(0)
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.transport.app.should_stop:
                raise

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message of each topic that something was fetched of."""
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for chunks in _by_topic(records, active):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break
            message = self._to_message(chunks)
            yield message.tp, message

    def _to_message(self, chunks: Chunks) -> ConsumerMessage:
        """Faust looks at the topic, the partition and the offset; the first chunk's will do."""
        first = chunks[0]
        last = first.records[-1]
        tp = TP(first.source.topic, first.source.partition)
        message = ConsumerMessage(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000.0, 0, (), None, chunks, None,
            tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        for place in self._deliveries.deliver(message, chunks):
            self._begin_anew(TP(*place))
        for chunk in chunks:
            self._read_offset[TP(*chunk.source.place)] = chunk.last_offset
        return message

    def _begin_anew(self, tp: TP) -> None:
        """Else Faust would drop all up to the offset read last, and commit nothing below the last commit."""
        self._read_offset[tp] = self._committed_offset[tp] = None

    def standings(self) -> dict[Partition, Standing]:
        """Of the partitions that are assigned. From any thread."""
        return standings_of(self._thread._consumer)

    def acknowledge(self, source: Source, through: int, watermark_ms: int | None = None) -> None:
        """Everything of this partition up to this offset is done; the watermark there, where it is kept."""
        self._done(self._deliveries.acknowledge(source, through, watermark_ms))

    def give_up(self, source: Source, first: int) -> None:
        """Nothing from this offset on will be done: nobody is to wait for it.

        It is read again from the committed offset, after the rebalance or by another worker.
        """
        self._done(self._deliveries.give_up(source, first))

    def hold(self, partitions: frozenset[Partition]) -> None:
        """Read none of these for now."""
        self._held = partitions
        self._thread.hold(partitions)
        self._room.set()

    def _done(self, messages: Iterable[ConsumerMessage]) -> None:
        for message in messages:
            message.acked = True
            self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        self._room.set()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for place in self._deliveries.pending():
            tp = TP(*place)
            if topics is None or tp in topics or tp.topic in topics:
                yield tp

    def _new_offset(self, tp: TP) -> int | None:
        taken = self._deliveries.committable((tp.topic, tp.partition))
        if taken is None:
            return None
        self._taken[tp] = taken
        return taken.offset

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Without Faust's tables, its producer and its log of each commit: none of them is in use."""
        assigned = self.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in assigned}
        if not mine:
            return False
        done = await self._commit(mine)
        self._committed_offset.update(mine)
        return done

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """What was not committed in time is tried again with the next commit.

        Unless it is no longer to be: after a rebalance, and where the partition began anew meanwhile.
        """
        taken = {tp: self._taken.pop(tp) for tp in offsets if tp in self._taken}
        generation = self.app.consumer_generation_id
        try:
            done: bool = await self._thread.commit_with_topic_ids(
                offsets, {tp: commit_metadata(one) for tp, one in taken.items()}
            )
        except TimeoutError:
            if self.app.consumer_generation_id == generation:
                for tp, one in taken.items():
                    self._deliveries.restore((tp.topic, tp.partition), one)
            return False
        return done

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing to remember: offsets between two chunks are gone by compaction, or aborted."""

    async def verify_all_partitions_active(self) -> None:
        """Faust's look at each partition in turn costs more than a fetch; health watches progress instead."""

    async def _wait_next_records(self, timeout: float) -> tuple[RecordMap | None, set[TP] | None]:
        """Read on only where there is room; partitions that are held back take none from the others."""
        if self.flow_active and self._deliveries.records_under_way(self._held) >= self._most_records:
            self._room.clear()
            await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=_WAIT_S)
            self.app.wishes.note_read()
            return {}, self._get_active_partitions()
        result: tuple[RecordMap | None, set[TP] | None] = await super()._wait_next_records(timeout)
        self.app.wishes.note_read()
        return result

    async def on_partitions_revoked(self, revoked: Iterable[TP]) -> None:
        """Faust waits for what is under way and commits; only then it is forgotten."""
        await super().on_partitions_revoked(revoked)
        self._deliveries.revoke([(tp.topic, tp.partition) for tp in revoked])

    async def on_partitions_assigned(self, assigned: Iterable[TP], generation_id: int = 0) -> None:
        """What was delivered and not begun has been dropped, and is read again from the committed offset."""
        self._deliveries.revoke([(tp.topic, tp.partition) for tp in assigned])
        self.hold(frozenset())
        await super().on_partitions_assigned(assigned, generation_id)


def _by_topic(records: RecordMap, active: set[TP] | None) -> list[Chunks]:
    topics: dict[str, list[Chunk]] = {}
    for tp, chunks in records.items():
        if active is None or tp in active:
            topics.setdefault(tp.topic, []).extend(chunks)
    return [tuple(chunks) for chunks in topics.values()]


class Transport(driver.Transport):  # type: ignore[misc, unused-ignore]
    """What Faust makes of `chunked://`."""

    Consumer: ClassVar[type[ChunkedConsumer]] = ChunkedConsumer
