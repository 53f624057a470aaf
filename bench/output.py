"""Reading what the workers published."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from streams.adapters.kafka.reading import Reader
from streams.core.topics import Topics
from streams.errors import DataError
from streams.settings import Settings

STALLED_S: Final = 60.0
"""With nothing new for so long `until_stalled` ends, and what is absent counts as missing."""
_AT_ONCE: Final = 1000


class Configured(Protocol):
    @property
    def settings(self) -> Settings: ...


class Topical(Configured, Protocol):
    @property
    def topics(self) -> Topics: ...


def until_stalled(parts: Configured, topics: Sequence[str], enough: Callable[[], bool]) -> Iterator[Message]:
    """Everything from the beginning until there is enough, or nothing new for a while."""
    with _from_the_beginning(parts, topics) as reader:
        last_s = time.monotonic()
        while not enough() and time.monotonic() - last_s < STALLED_S:
            messages = reader.take(_AT_ONCE)
            last_s = time.monotonic() if messages else last_s
            yield from messages


def to_the_end(parts: Configured, topics: Sequence[str]) -> Iterator[Message]:
    """Everything committed that is there now. Raises BrokerUnavailable where the end does not come."""
    with _from_the_beginning(parts, topics) as reader:
        yield from reader.to_the_end()


def appended_us(message: Message) -> int:
    """When the broker appended it. Raises DataError where its topic has the producers' times."""
    kind, at_ms = message.timestamp()
    if kind != TIMESTAMP_LOG_APPEND_TIME:
        raise DataError("the broker does not say when it appended; its settings are to say LogAppendTime")
    return int(at_ms) * 1000


def _from_the_beginning(parts: Configured, topics: Sequence[str]) -> Reader:
    settings = replace(parts.settings, network_timeout_s=STALLED_S)
    reader = Reader(settings, "reading what the workers published", {"group.id": "bench"})
    reader.assign(reader.places(topics))
    return reader
