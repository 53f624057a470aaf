"""A partition's past records, read once more by a consumer of no group, which commits nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.adapters.kafka.client import LOG, client_config, where
from streams.adapters.kafka.topics import topic_id
from streams.core.events import Header, RawRecord, Source
from streams.errors import BrokerUnavailable
from streams.settings import Settings

_POLL_S: Final = 0.2
_BUFFER_KIB: Final = 16_384
"""What librdkafka reads ahead, at most."""


@dataclass(frozen=True, slots=True)
class PastRecord:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


class KafkaHistory:
    """The port `History`. Reads uncommitted records, too, as the workers do: their windows hold those."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def first_offset(self, source: Source) -> int:
        if topic_id(self._settings, source.topic) != source.topic_id:
            return sys.maxsize
        with self._consumer() as consumer:
            place = TopicPartition(source.topic, source.partition)
            low, _ = consumer.get_watermark_offsets(place, timeout=self._settings.network_timeout_s)
            return int(low)

    def read(self, source: Source, first: int, end: int) -> Generator[Sequence[RawRecord], None, None]:
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(source.topic, source.partition, first)])
            place, heard_s = first, time.monotonic()
            while place < end:
                messages = consumer.consume(min(self._settings.chunk_max_records, end - place), _POLL_S)
                errors = [error for message in messages if (error := message.error()) is not None]
                at_end = any(error.code() == KafkaError._PARTITION_EOF for error in errors)
                for error in errors:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise self._trouble(error.str())
                found = [_record(message) for message in messages if message.error() is None]
                if found:
                    place = found[-1].offset + 1  # offsets may have gaps
                    if wanted := [record for record in found if record.offset < end]:
                        yield wanted
                    heard_s = time.monotonic()
                elif time.monotonic() - heard_s > self._settings.network_timeout_s:
                    raise self._trouble(f"no record of {source.topic}-{source.partition} after {place - 1}")
                if at_end:
                    return

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        config = {
            **client_config(self._settings),
            "group.id": "autodeep-windows",  # asked for by librdkafka; nothing is joined or committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",  # what retention took meanwhile is asked for anew
            "isolation.level": "read_uncommitted",
            "queued.max.messages.kbytes": _BUFFER_KIB,
        }
        consumer = Consumer(config, logger=LOG)
        try:
            yield consumer
        except KafkaException as exc:
            raise self._trouble(exc.args[0].str()) from exc
        finally:
            consumer.close()

    def _trouble(self, problem: str) -> BrokerUnavailable:
        return BrokerUnavailable(f"reading telemetry back from Kafka at {where(self._settings)}: {problem}")


def _record(message: Message) -> PastRecord:
    _, at_ms = message.timestamp()
    return PastRecord(message.offset(), at_ms, message.key(), message.value(), message.headers() or ())
