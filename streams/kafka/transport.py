"""A Faust transport whose unit is a poll: one message per partition, its value all the records fetched.

Stock Faust makes four tasks per record, 125 to 160 us of CPU each. Here a message carries a `Poll` of up to
`broker_max_poll_records` records: one acknowledgement, one offset range, committed as last + 1 when its
processing has ended. Found by the scheme of the broker URL, `chunked://host:port` (entry point
`faust.transports` in pyproject.toml).

Warning: correct for agents that acknowledge in order, `concurrency=1`, be it by iterating over the stream or
by hand; never with `take()`. Written against faust-streaming 0.15.3 and aiokafka 0.14.0, pinned exactly,
whose private parts it overrides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from weakref import WeakSet

import aiokafka
from aiokafka.structs import ConsumerRecord
from faust.sensors import Sensor
from faust.serializers.schemas import Schema
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from streams.core.events import RawRecord
from streams.kafka.batches import bound_batches

FETCH_MAX_WAIT_MS: Final = 50
"""aiokafka has one fetch in flight per broker: a quiet partition's wait delays a busy one's next records."""
BUFFERED_POLLS: Final = 8
"""Polls read and not yet processed, beyond which nothing more is read; those of one fetch may exceed it."""
QUEUE_NEVER_FULL: Final = 4096
"""For Faust's `stream_buffer_maxsize`: its own back-pressure must not begin. A put that waits for a full
queue survives a rebalance there, and delivers out of order; and while one partition is held back, Faust waits
up to a second for the others, however idle they are."""
_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Poll:
    """Consecutive records of one partition: what an agent on this transport receives."""

    topic: str
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
    """The thread that owns aiokafka's consumer; Polls are made here, where the assignment cannot change."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        bound_batches()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # Faust has 1,500 written down
        return consumer

    async def _fetch_records(
        self, consumer: aiokafka.AIOKafkaConsumer, *args: Any, **kwargs: Any
    ) -> RecordMap:
        fetched: Mapping[TP, list[ConsumerRecord]] = await super()._fetch_records(consumer, *args, **kwargs)
        return {
            tp: polls_of(tp, records, self._end_offset(consumer, tp), consumer._max_poll_records)
            for tp, records in fetched.items()
        }

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Where nothing was committed yet, to the beginning: aiokafka leaves such a position where it is.

        That is after the records that Faust fetched and dropped because a rebalance was under way.
        """
        committed: Mapping[TP, int | None] = await self.call_thread(
            seek_to_committed, self._ensure_consumer()
        )
        return committed

    def _end_offset(self, consumer: aiokafka.AIOKafkaConsumer, tp: TP) -> int:
        return (consumer.highwater(tp) or 0) if tp in consumer.assignment() else 0


async def seek_to_committed(consumer: aiokafka.AIOKafkaConsumer) -> Mapping[TP, int | None]:
    """Every partition to its committed offset, or to its beginning; returns what was committed."""
    committed: Mapping[TP, int | None] = await consumer.seek_to_committed()
    for tp in committed.keys() & consumer.assignment():
        if not committed[tp]:
            consumer.seek(tp, 0)  # where the log begins later that is out of range, and `earliest` helps
    return committed


def polls_of(tp: TP, records: list[ConsumerRecord], end_offset: int, most: int | None) -> list[Poll]:
    """Records of one partition, in order, as polls of at most so many."""
    size = most or len(records) or 1
    return [
        Poll(
            tp.topic,
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
        super().__init__(*args, **kwargs)
        self.app.sensors.add(_Processed(self))

    def _new_consumer_thread(self) -> ChunkedConsumerThread:
        return ChunkedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, poll: Poll) -> ConsumerMessage:
        last = poll.records[-1]
        if last.offset < (self._read_offset[tp] or 0):
            self._begin_anew(tp, poll.records[0].offset)
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
        """Offsets run backwards to this one: the topic was deleted and made again.

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
            return {}, self._get_active_partitions()
        result: tuple[RecordMap | None, set[TP] | None] = await super()._wait_next_records(timeout)
        return result

    async def on_partitions_assigned(self, assigned: Iterable[TP], generation_id: int = 0) -> None:
        """What was delivered and not begun has been dropped, and is read again from the committed offset."""
        self._under_way.clear()
        self._processed.set()
        await super().on_partitions_assigned(assigned, generation_id)


class Transport(driver.Transport):  # type: ignore[misc, unused-ignore]
    """What Faust makes of `chunked://`."""

    Consumer: ClassVar[type[ChunkedConsumer]] = ChunkedConsumer
