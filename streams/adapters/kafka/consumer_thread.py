"""The thread that reads: aiokafka's consumer, what it fetches as chunks, where it seeks and what it commits.

Written against faust-streaming 0.15.3 and aiokafka 0.14.0, pinned exactly, whose private parts it overrides.
The one class that overrides them is why this module is longer than others.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiokafka
from aiokafka.errors import (
    CommitFailedError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.adapters.kafka.batches import bound_batches
from streams.adapters.kafka.deliveries import Committable
from streams.adapters.kafka.losses import Loss, missing
from streams.adapters.kafka.pacing import pace
from streams.adapters.kafka.positions import log_ends, log_starts, seek_to_committed
from streams.adapters.kafka.read_positions import ReadPositions
from streams.adapters.kafka.reconnecting import return_to_brokers
from streams.adapters.kafka.refusals import LOOK_S, Refusals, but_for_refusals, is_refusal
from streams.core.events import NO_TOPIC_ID, Chunk, Partition, Source
from streams.core.timers import NO_WATERMARK
from streams.errors import Unavailable

log: Final = logging.getLogger("autodeep")

UNWATCHED_S: Final = 0.25
"""A topic that was deleted and made again in less, between two fetches, passes unnoticed if it has also
grown beyond where the former one was read."""
COMMIT_S: Final = 5.0
"""How long one commit may take. aiokafka tries for ever, also to commit of partitions that a topic made again
no longer has; and while it does, no rebalance goes on, in which they would be taken away."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the transport asks of whoever runs it."""

    ask_topic_id: Callable[[str, Callable[[], bool]], uuid.UUID] = lambda topic, is_over: NO_TOPIC_ID
    """Blocks until the broker has told a topic's id. Raises Unavailable at a stop, and where it is over."""
    note_read: Callable[[], None] = lambda: None
    """Called at least each second while brokers answer, whether there is anything or not."""
    note_lacking: Callable[[Sequence[str]], None] = lambda rights: None
    """These rights of ours are missing; again and again while they are, and once with none after that."""
    note_lost: Callable[[Loss], None] = lambda loss: None
    """These records were gone before they were read."""
    linger_s: float = 0.0
    """At most one fetch from each broker in so long, unless a whole poll has arrived."""
    fetch_max_wait_ms: int = 500
    """How long a broker waits for records where there are none: who has no events asks twice a second."""


class Fetched(dict[TP, list[Chunk]]):
    """By partition one chunk, in a list: Faust's type of what a fetch brings."""

    positions: Mapping[TP, Committable] = {}
    """Where reading stands after it, of partitions where that has changed; not of all each time."""


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
        self._answered_ms: int | None = None
        self._committing: Mapping[TP, str] = {}
        self._held: frozenset[Partition] = frozenset()
        self._watermark_ms: dict[TP, int] = {}
        self._from_start: set[TP] = set()  # of which nothing was committed, and nothing read yet
        self._read_positions = ReadPositions()
        self._commit_refused = False
        self._watching: asyncio.Task[None] | None = None
        super().__init__(*args, **kwargs)
        self._refusals = Refusals(self.app.conf.id)

    async def on_start(self) -> None:
        await super().on_start()
        self._watching = asyncio.create_task(self._watch())
        self._watching.add_done_callback(self._watched)
        self._pacing = pace(self._ensure_consumer()._fetcher, self.app.wishes.linger_s)

    def hold(self, partitions: frozenset[Partition]) -> None:
        """Fetch none of these for now. From the event loop: the next fetch finds the whole new set."""
        self._held = partitions

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        bound_batches()
        return_to_brokers()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.app.wishes.fetch_max_wait_ms  # Faust has 1,500 written down
        consumer._isolation_level = "read_committed"  # Faust would read what was aborted, too
        consumer.commit = self._with_metadata(consumer.commit)
        update = consumer._client.force_metadata_update

        def after_an_error() -> Any:
            self._in_doubt.update(self._topic_ids)
            return update()

        consumer._client.force_metadata_update = after_an_error
        return consumer

    async def on_thread_stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await super().on_thread_stop()

    async def _watch(self) -> None:
        """Which rights are missing, and whether aiokafka's tasks go on.

        Also where nobody reads: in a rebalance that does not end because the group is refused, or while there
        is no room. Raises what ended one of the tasks, or what the coordinator waits for somebody to hear.
        """
        consumer, lacked = self._ensure_consumer(), False
        asyncio.get_running_loop().set_exception_handler(but_for_refusals)
        while True:
            await asyncio.sleep(LOOK_S)
            if consumer._coordinator is not None:
                lacking = self._refusals.look(consumer)
                if lacking or lacked:
                    self.app.wishes.note_lacking(lacking)
                lacked = bool(lacking)
                consumer._coordinator.check_errors()
            for task in (consumer._fetcher._fetch_task, consumer._client._sync_task):
                if task is not None and task.done():
                    task.result()

    def _watched(self, watching: asyncio.Task[None]) -> None:
        """What nobody foresaw ends the worker."""
        problem = None if watching.cancelled() else watching.exception()
        if problem is not None:
            self._crashing = asyncio.create_task(self.crash(problem))

    def _with_metadata(self, commit: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Faust commits without metadata."""

        async def with_metadata(offsets: Mapping[Any, OffsetAndMetadata]) -> None:
            of = self._committing
            try:
                await commit({tp: OffsetAndMetadata(at.offset, of.get(tp, "")) for tp, at in offsets.items()})
            except KafkaError as exc:
                if not is_refusal(exc):
                    raise
                self._refusals.note(self._ensure_consumer(), exc)
                self._commit_refused = True
                raise CommitFailedError("already rebalanced") from exc  # which Faust survives

        return with_metadata

    async def commit_with_topic_ids(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str]) -> bool:
        """Commit, each offset with the id of the topic's life that it is of.

        Raises TimeoutError, also where the right to commit is missing: for the next commit, then.
        """

        async def commit() -> bool:
            self._committing, self._commit_refused = topic_ids, False
            done: bool = await asyncio.wait_for(self._commit(offsets), COMMIT_S)
            if self._commit_refused:
                raise TimeoutError
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
    ) -> Fetched:
        if time.monotonic() - self._read_last_s > UNWATCHED_S:
            self._in_doubt.update(self._topic_ids)
        held, refused = self._held, self._refusals.left_alone()
        if refused:
            held |= {(tp.topic, tp.partition) for tp in active_partitions if tp.topic in refused}
        self._pacing.hold({TP(*place) for place in held})
        wanted = {tp for tp in active_partitions if (tp.topic, tp.partition) not in held}
        generation = self._generation()
        fetched = await self._read(consumer, wanted, timeout, max_records)
        self._read_last_s = time.monotonic()
        if self._generation() != generation:
            fetched = _put_back(consumer, fetched)
        if fetched or not wanted or self._answered(consumer, wanted):
            self.app.wishes.note_read()
        self._pacing.read(sum(map(len, fetched.values())), max_records or 0)
        self._note_offsets(fetched)
        if any(tp.topic in self._in_doubt or tp.topic not in self._topic_ids for tp in fetched):
            fetched = await self._of_present_topics(consumer, fetched)
        found = Fetched({tp: [self._chunk(consumer, tp, records)] for tp, records in fetched.items()})
        if self.consumer.flow_active and self._generation() == generation:
            found.positions = self._read_positions.changed(consumer, self._topic_ids, self._watermark_ms)
        return found

    async def _read(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        wanted: set[TP],
        timeout: float | None,
        max_records: int | None,
    ) -> Mapping[TP, list[ConsumerRecord]]:
        """What has arrived; waits where nothing is wanted."""
        if not wanted:
            await asyncio.sleep(min(timeout or 0.0, UNWATCHED_S))
            return {}
        try:
            fetched: Mapping[TP, list[ConsumerRecord]] = await super()._fetch_records(
                consumer, wanted, timeout, max_records
            )
        except OffsetOutOfRangeError as exc:
            await self._leave_gap(consumer, exc.args[0])
            return {}
        except NoOffsetForPartitionError:
            return {}  # it was not sought yet
        except KafkaError as exc:
            if not is_refusal(exc):
                raise
            self._refusals.note(consumer, exc)
            return {}
        return fetched

    def _answered(self, consumer: aiokafka.AIOKafkaConsumer, wanted: Iterable[TP]) -> bool:
        """Whether a broker has answered a fetch of one of these since the last look.

        A fetch that brings nothing looks the same whether there is nothing or no broker to ask.
        """
        subscription = consumer._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        states = [] if assignment is None else [assignment.state_value(tp) for tp in wanted]
        latest_ms = max((state.timestamp or 0 for state in states if state is not None), default=0)
        is_new, self._answered_ms = latest_ms != self._answered_ms, latest_ms
        return is_new and latest_ms > 0

    async def _leave_gap(self, consumer: aiokafka.AIOKafkaConsumer, positions: Mapping[TP, int]) -> None:
        """Of these partitions there is no record at this offset: go on where the log is, and say so.

        Not where the topic was made again: then nothing of it was read yet.
        """
        topics = {tp.topic for tp in positions}
        known, generation = {topic: self._topic_ids.get(topic) for topic in topics}, self._generation()
        await self._learn_topic_ids(topics)
        starts, ends = await log_starts(consumer, positions), await log_ends(consumer, positions)
        if not self.consumer.flow_active or self._generation() != generation:
            return
        changed = {topic for topic in topics if known[topic] not in (None, self._topic_ids[topic])}
        places = {tp for tp in consumer.assignment() if tp.topic in changed}
        if places:
            self._note_sought(await seek_to_committed(consumer, self._topic_ids, places))
        for tp in starts.keys() & ends.keys() & (consumer.assignment() - places):
            loss = missing((tp.topic, tp.partition), positions[tp], starts[tp], ends[tp])
            if loss is None:
                continue  # it is there by now
            if tp not in self._from_start:
                log.error("%s", loss)
                self.app.wishes.note_lost(loss)
            consumer.seek(tp, starts[tp])

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
            self._from_start.discard(tp)
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
            self._note_sought(await seek_to_committed(consumer, self._topic_ids, places))
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
        positions = await self._sought(consumer, places, generation)
        self._note_sought(positions)
        return {tp: None if at is None else at.offset for tp, at in positions.items()}

    async def _sought(
        self, consumer: aiokafka.AIOKafkaConsumer, places: set[TP], generation: int
    ) -> Mapping[TP, Committable | None]:
        """To what was committed; waits for a right to know it, or for the next rebalance."""
        while self._generation() == generation:
            try:
                return await seek_to_committed(consumer, self._topic_ids, places)
            except KafkaError as exc:
                if not is_refusal(exc):
                    raise
                self._refusals.note(consumer, exc)
                await asyncio.sleep(LOOK_S)
        return {}

    def _note_sought(self, positions: Mapping[TP, Committable | None]) -> None:
        """Stream time goes on from where it was committed."""
        self._from_start = {tp for tp, at in positions.items() if at is None} | (
            self._from_start - positions.keys()
        )
        for tp, at in positions.items():
            kept_ms = None if at is None else at.watermark_ms
            self._watermark_ms[tp] = NO_WATERMARK if kept_ms is None else kept_ms

    def _generation(self) -> int:
        """Of the group: it changes with every rebalance."""
        return int(self.app.consumer_generation_id)

    async def _learn_topic_ids(self, topics: Iterable[str]) -> None:
        """Ask the broker. A worker that stops meanwhile keeps what it knew: it begins nothing more.

        Where a rebalance passes meanwhile the rest stays in doubt: it may have taken away a topic that is
        gone, of which no broker will ever tell. Whoever asks looks at the generation afterwards.
        """
        ask, generation = self.app.wishes.ask_topic_id, self._generation()

        def is_over() -> bool:
            return self._generation() != generation

        for topic in topics:
            self._in_doubt.discard(topic)
            try:
                found = await asyncio.get_running_loop().run_in_executor(None, ask, topic, is_over)
            except Unavailable:
                if is_over():
                    self._in_doubt.add(topic)
                    return
                found = self._topic_ids.get(topic, NO_TOPIC_ID)
            self._topic_ids[topic] = found

    def _end_offset(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int:
        return (consumer.highwater(tp) or 0) if tp in consumer.assignment() else 0


def _put_back(
    consumer: aiokafka.AIOKafkaConsumer, fetched: Mapping[TP, list[ConsumerRecord]]
) -> dict[TP, Any]:
    """They are read once more: aiokafka waits for a rebalance's end in the middle of a read, and whoever
    asked for them takes none of the partitions that were assigned meanwhile."""
    for tp in fetched.keys() & consumer.assignment():
        consumer.seek(tp, fetched[tp][0].offset)
    return {}
