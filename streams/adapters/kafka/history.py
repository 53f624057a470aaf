"""A partition's past records, read once more."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Message, TopicPartition

from streams.adapters.kafka.client import Config
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import topic_id
from streams.core.events import Header, RawRecord, Source
from streams.settings import Settings

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
    """The port `History`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def first_offset(self, source: Source) -> int:
        if topic_id(self._settings, source.topic) != source.topic_id:
            return sys.maxsize
        with self._reader() as reader:
            return reader.bounds(TopicPartition(source.topic, source.partition))[0]

    def read(self, source: Source, first: int, end: int) -> Generator[Sequence[RawRecord], None, None]:
        with self._reader() as reader:
            reader.assign([TopicPartition(source.topic, source.partition, first)])
            place, heard_s = first, time.monotonic()
            while place < end and reader.unread:
                found = [
                    past_record(m) for m in reader.take(min(self._settings.chunk_max_records, end - place))
                ]
                if found:
                    place = found[-1].offset + 1  # offsets may have gaps
                    if wanted := [record for record in found if record.offset < end]:
                        yield wanted
                    heard_s = time.monotonic()
                elif reader.problem is not None:
                    raise reader.trouble(reader.problem.str())
                elif time.monotonic() - heard_s > self._settings.network_timeout_s:
                    raise reader.trouble(f"no record of {source.topic}-{source.partition} after {place - 1}")

    def _reader(self) -> Reader:
        own: Config = {
            "group.id": "autodeep-windows",
            "auto.offset.reset": "error",  # what retention took meanwhile is asked for anew
            "queued.max.messages.kbytes": _BUFFER_KIB,
        }
        return Reader(self._settings, "reading telemetry back", own)


def past_record(message: Message) -> PastRecord:
    _, at_ms = message.timestamp()
    return PastRecord(message.offset(), at_ms, message.key(), message.value(), message.headers() or ())
