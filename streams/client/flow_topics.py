"""The last records of a sensor's topic, for whoever looks at it: a bounded number, in a bounded time."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message, TopicPartition

from streams.adapters.kafka.client import Config, where
from streams.adapters.kafka.hidden import hidden_topics
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.security import says_who_we_are
from streams.client.flow_files import FileRecord
from streams.errors import DataError
from streams.settings import Settings

BLOCK: Final = 4_096
MOST_RECORDS: Final = 1_000_000
MOST_KEYS: Final = 2_000
_SHOWN: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class Tail:
    """How much of a topic is read: its last records, and for how long at most."""

    records: int = 10_000
    seconds: float = 30.0


@dataclass(slots=True)
class TopicFacts:
    """What only a topic shows, counted while its records pass."""

    bounds: Mapping[int, tuple[int, int]]
    """Partition to its first offset, and the one that its next record will have."""
    read: Counter[int] = field(default_factory=Counter)
    """By partition."""
    keyless: int = 0
    keys: Counter[bytes] = field(default_factory=Counter)
    """The first MOST_KEYS keys."""
    by_writer: int = 0
    """Records whose timestamp is their writer's, not the broker's."""
    first_ms: int = 0
    newest_ms: int = 0
    """By Kafka's timestamps; 0: there are none."""
    is_cut: bool = False
    """The time was over before the last records were read."""

    @property
    def kept(self) -> int:
        return sum(end - first for first, end in self.bounds.values())

    def add(self, message: Message) -> None:
        self.read[message.partition() or 0] += 1
        kind, at_ms = message.timestamp()
        self.by_writer += kind == TIMESTAMP_CREATE_TIME
        if at_ms > 0:
            self.first_ms = min(self.first_ms or at_ms, at_ms)
            self.newest_ms = max(self.newest_ms, at_ms)
        key = message.key()
        if not key:
            self.keyless += 1
        elif key in self.keys or len(self.keys) < MOST_KEYS:
            self.keys[bytes(key)] += 1


def may_be_topic(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in (".", "..")


class TopicTail:
    """The last records of a topic. A context manager; `facts` grow while `blocks` are read."""

    def __init__(self, settings: Settings, topic: str, tail: Tail) -> None:
        """Raises DataError where there is no such topic, BrokerUnavailable where it cannot be read."""
        own: Config = {"auto.offset.reset": "earliest", "queued.max.messages.kbytes": 16_384}
        self._topic, self._tail = topic, tail
        self._reader = Reader(settings, f"reading the topic {topic} (no file here has that name)", own)
        try:
            self._check_there(settings)
            places = self._reader.places([topic])
            self.facts = TopicFacts({one.partition: self._reader.bounds(one) for one in places})
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> TopicTail:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def _check_there(self, settings: Settings) -> None:
        """A topic that this user may not see is left to the reader, which names the right."""
        known = [name for name in self._reader.partitions() if not name.startswith("__")]
        if self._topic in known or (says_who_we_are(settings) and hidden_topics(settings, [self._topic])):
            return
        near = get_close_matches(self._topic, known, n=3) or sorted(known)
        more = ", ..." if len(near) > _SHOWN else ""
        raise DataError(
            f"{self._topic} is neither a file here nor a topic on Kafka at {where(settings)}; topics there: "
            f"{', '.join(near[:_SHOWN]) or 'none'}{more}"
        )

    def blocks(self) -> Iterator[list[FileRecord]]:
        """The records partition by partition, each in its order. Raises BrokerUnavailable."""
        taken = shares(
            {number: end - first for number, (first, end) in self.facts.bounds.items()}, self._tail.records
        )
        left = {number: self.facts.bounds[number][1] for number, count in taken.items() if count}
        self._reader.assign(
            TopicPartition(self._topic, number, end - taken[number]) for number, end in left.items()
        )
        deadline_s = time.monotonic() + self._tail.seconds
        while left and time.monotonic() < deadline_s:
            messages = self._reader.take(BLOCK)
            wanted = [one for one in messages if (one.offset() or 0) < left.get(one.partition() or 0, 0)]
            if wanted:
                yield [self._record(one) for one in wanted]
            ended = {one.partition() or 0 for one in messages if self._is_last(one)}
            ended |= {number for number in left if (self._topic, number) not in self._reader.unread}
            for number in ended & left.keys():
                del left[number]
        if left and not self.facts.read and self._reader.problem is not None:
            raise self._reader.trouble(self._reader.problem.str())
        self.facts.is_cut = bool(left)

    def _is_last(self, message: Message) -> bool:
        return (message.offset() or 0) + 1 >= self.facts.bounds[message.partition() or 0][1]

    def _record(self, message: Message) -> FileRecord:
        self.facts.add(message)
        _, at_ms = message.timestamp()
        return FileRecord(
            message.value(),
            message.offset() or 0,
            max(at_ms, 0),
            key=message.key(),
            headers=tuple(message.headers() or ()),
            partition=message.partition() or 0,
        )


def shares(counts: Mapping[int, int], most: int) -> dict[int, int]:
    """How many records of each partition are read: as many of each, more of long ones where others are short.

    >>> shares({0: 5, 1: 100, 2: 100}, 65)
    {0: 5, 1: 30, 2: 30}
    """
    left, taken = most, dict[int, int]()
    for place, (number, count) in enumerate(sorted(counts.items(), key=lambda one: (one[1], one[0]))):
        taken[number] = min(count, left // (len(counts) - place))
        left -= taken[number]
    return taken
