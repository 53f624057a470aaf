"""Reading what the workers published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from bench.parts import Parts
from streams.kafka.client import client_config

STALLED_S: Final = 60.0
"""With nothing new for so long reading ends, and what is absent counts as missing."""


def until_stalled(parts: Parts, topics: Sequence[str], enough: Callable[[], bool]) -> Iterator[Message]:
    """Everything from the beginning until there is enough, or nothing new for a while."""
    consumer, last_s = _from_the_beginning(parts, topics), time.monotonic()
    while not enough() and time.monotonic() - last_s < STALLED_S:
        messages = [message for message in consumer.consume(1000, timeout=0.5) if not message.error()]
        last_s = time.monotonic() if messages else last_s
        yield from messages
    consumer.close()


def to_the_end(parts: Parts, topics: Sequence[str]) -> Iterator[Message]:
    """Everything that is there now."""
    consumer = _from_the_beginning(parts, topics)
    left = 0
    for place in consumer.assignment():
        left += consumer.get_watermark_offsets(place, timeout=10)[1]
    while left > 0:
        messages = [message for message in consumer.consume(1000, timeout=5) if not message.error()]
        if not messages:
            break
        left -= len(messages)
        yield from messages
    consumer.close()


def _from_the_beginning(parts: Parts, topics: Sequence[str]) -> Consumer:
    consumer = Consumer({**client_config(parts.settings), "group.id": "bench", "enable.auto.commit": False})
    known = consumer.list_topics(timeout=10).topics
    consumer.assign(
        [
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in topics
            for partition in known[topic].partitions
        ]
    )
    return consumer
