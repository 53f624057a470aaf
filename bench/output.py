"""Reading what the workers published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from streams.adapters.kafka.client import LOG, client_config
from streams.core.topics import Topics
from streams.settings import Settings

STALLED_S: Final = 60.0
"""With nothing new for so long reading ends, and what is absent counts as missing."""


class Configured(Protocol):
    @property
    def settings(self) -> Settings: ...


class Topical(Configured, Protocol):
    @property
    def topics(self) -> Topics: ...


def until_stalled(parts: Configured, topics: Sequence[str], enough: Callable[[], bool]) -> Iterator[Message]:
    """Everything from the beginning until there is enough, or nothing new for a while."""
    consumer, last_s = _from_the_beginning(parts, topics), time.monotonic()
    while not enough() and time.monotonic() - last_s < STALLED_S:
        messages = [message for message in consumer.consume(1000, timeout=0.5) if not message.error()]
        last_s = time.monotonic() if messages else last_s
        yield from messages
    consumer.close()


def to_the_end(parts: Configured, topics: Sequence[str]) -> Iterator[Message]:
    """Everything committed that is there now."""
    consumer = _from_the_beginning(parts, topics)
    unread = {(place.topic, place.partition) for place in consumer.assignment()}
    last_s = time.monotonic()
    try:
        while unread and time.monotonic() - last_s < STALLED_S:
            for message in consumer.consume(1000, timeout=0.2):
                last_s, error = time.monotonic(), message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard((message.topic(), message.partition()))
    finally:
        consumer.close()


def _from_the_beginning(parts: Configured, topics: Sequence[str]) -> Consumer:
    own = {"group.id": "bench", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**client_config(parts.settings), **own}, logger=LOG)
    known = consumer.list_topics(timeout=10).topics
    consumer.assign(
        [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            for partition in known[topic].partitions
        ]
    )
    return consumer
