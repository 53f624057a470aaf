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
overrides. This is the loop's side; the thread that reads is in `consumer_thread.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

import faust
from faust.sensors import Sensor
from faust.serializers.schemas import Schema
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from streams.adapters.kafka.consumer_thread import ChunkedConsumerThread, Fetched, Wishes
from streams.adapters.kafka.deliveries import Committable, Deliveries
from streams.adapters.kafka.offsets import Standing, standings_of
from streams.adapters.kafka.positions import commit_metadata
from streams.core.events import Chunk, Partition, Source

BUFFERED_TURNS: Final = 2
"""Records read and not yet done, as a multiple of those of a poll, beyond which nothing more is read."""
QUEUE_NEVER_FULL: Final = 4096
"""For Faust's `stream_buffer_maxsize`: its own back-pressure must not begin. A put that waits for a full
queue survives a rebalance there, and delivers out of order."""
_WAIT_S: Final = 1.0
STALLED_S: Final = 10.0
"""A topic of which nothing was done for so long, while there is no room, leaves the room to the others."""

Chunks = tuple[Chunk, ...]
"""What an agent on this transport receives as a message's value: of one topic, in the order of offsets."""


class ChunkedApp(faust.App):  # type: ignore[misc, unused-ignore]
    """A Faust app on this transport."""

    def __init__(self, group: str, wishes: Wishes, **settings: Any) -> None:
        self.wishes = wishes
        super().__init__(group, **settings)

    def _create_directories(self) -> None:
        """Its tables are in memory: nothing is written, and the root may be read-only."""


class ChunkSchema(Schema):  # type: ignore[misc, unused-ignore]
    """Hands the chunks through as they are: no bytes, so nothing for Faust to decode."""

    def loads_key(self, *args: Any, **kwargs: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value


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
        self._stalled: frozenset[str] = frozenset()
        self._moved_s: dict[str, float] = {}  # when something of each topic was delivered or done last
        self._clock_s: Callable[[], float] = time.monotonic
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
        positions = {tp: at for tp, at in _positions(records).items() if active is None or tp in active}
        for chunks in _by_topic(records, active):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            message = self._to_message(chunks)
            yield message.tp, message
        if self.flow_active and self.app.consumer_generation_id == generation:
            self._stand(positions)

    def _stand(self, positions: Mapping[TP, Committable]) -> None:
        """All before these was delivered."""
        for tp, at in positions.items():
            if self._deliveries.stand((tp.topic, tp.partition), at):
                self._begin_anew(tp)

    def _to_message(self, chunks: Chunks) -> ConsumerMessage:
        """Faust looks at the topic, the partition and the offset; the first chunk's will do."""
        first = chunks[0]
        last = first.records[-1]
        tp = TP(first.source.topic, first.source.partition)
        message = ConsumerMessage(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000.0, 0, (), None, chunks, None,
            tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        self._moved_s[tp.topic] = self._clock_s()
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
        self._moved_s[source.topic] = self._clock_s()
        self._done(self._deliveries.acknowledge(source, through, watermark_ms))

    def give_up(self, source: Source, first: int) -> None:
        """Nothing from this offset on will be done: nobody is to wait for it.

        It is read again from the committed offset, after the rebalance or by another worker.
        """
        self._done(self._deliveries.give_up(source, first))

    def hold(self, partitions: frozenset[Partition]) -> None:
        """Read none of these for now."""
        self._held = partitions
        self._thread.hold(self._not_read)
        self._room.set()

    @property
    def _not_read(self) -> frozenset[Partition]:
        """Held back, or of a topic that stalls."""
        if not self._stalled:
            return self._held
        mine = ((tp.topic, tp.partition) for tp in self.assignment() if tp.topic in self._stalled)
        return self._held.union(mine)

    def _has_room(self) -> bool:
        """Partitions that are held back, and topics that stall, take none from the others.

        So a topic whose records cannot be finished, as where its output is refused, holds no other up.
        """
        most: int = self._most_records
        has_room = self._deliveries.records_under_way(self._held) < most
        stalled = frozenset[str]() if has_room else self._stalling()
        if stalled != self._stalled:
            self._stalled = stalled
            self._thread.hold(self._not_read)
        return has_room or self._deliveries.records_under_way(self._not_read) < most

    def _stalling(self) -> frozenset[str]:
        late_s = self._clock_s() - STALLED_S
        topics = {topic for topic, _ in self._deliveries.places_under_way()}
        return frozenset(topic for topic in topics if self._moved_s[topic] < late_s)

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
        if done:
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
        """Read on only where there is room."""
        if self.flow_active and not self._has_room():
            self._room.clear()
            await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=_WAIT_S)
            self.app.wishes.note_read()
            return {}, self._get_active_partitions()
        result: tuple[RecordMap | None, set[TP] | None] = await super()._wait_next_records(timeout)
        return result

    async def on_partitions_revoked(self, revoked: Iterable[TP]) -> None:
        """Faust waits for what is under way and commits; only then it is forgotten."""
        await super().on_partitions_revoked(revoked)
        self._deliveries.revoke([(tp.topic, tp.partition) for tp in revoked])
        for tp in revoked:  # that commit may be of a life that is over, whose offsets say nothing
            self._begin_anew(tp)

    async def on_partitions_assigned(self, assigned: Iterable[TP], generation_id: int = 0) -> None:
        """What was delivered and not begun has been dropped, and is read again from the committed offset.

        Nothing is read before: Faust lets a worker that had no partition read on, from where aiokafka
        believes any commit, also one of the topic's former life.
        """
        self.stop_flow()
        self._deliveries.revoke([(tp.topic, tp.partition) for tp in assigned])
        self._stalled = frozenset()
        self.hold(frozenset())
        await super().on_partitions_assigned(assigned, generation_id)


def _positions(records: RecordMap) -> Mapping[TP, Committable]:
    return records.positions if isinstance(records, Fetched) else {}


def _by_topic(records: RecordMap, active: set[TP] | None) -> list[Chunks]:
    topics: dict[str, list[Chunk]] = {}
    for tp, chunks in records.items():
        if active is None or tp in active:
            topics.setdefault(tp.topic, []).extend(chunks)
    return [tuple(chunks) for chunks in topics.values()]


class Transport(driver.Transport):  # type: ignore[misc, unused-ignore]
    """What Faust makes of `chunked://`."""

    Consumer: ClassVar[type[ChunkedConsumer]] = ChunkedConsumer
