"""Partitions read without a group: from where the caller says, as far as it says, every call with a time-out.

    with Reader(settings, "reading alerts", {"group.id": "autodeep-alerts"}) as reader:
        reader.assign(reader.places(topics))
        for record in reader.to_the_end():
            ...

Nothing is joined and nothing committed, unless the caller asks for it. Whatever librdkafka raises comes out
as BrokerUnavailable, which says what was being done and where. Errors that pass by themselves are let pass;
`problem` has the latest that no record followed yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from streams.adapters.kafka.client import Config, client_config, made, user, where
from streams.adapters.kafka.heard import Heard
from streams.adapters.kafka.hidden import hidden_topics
from streams.adapters.kafka.security import says_who_we_are
from streams.errors import BrokerUnavailable
from streams.settings import Settings

T = TypeVar("T")

POLL_S: Final = 0.2
_MOST: Final = 500
_MOVING: Final = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
"""What a broker answers of a partition or a group that has just been made, or just gone to another broker."""
_PASSING: Final = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    *_MOVING,
}
"""librdkafka goes on by itself."""


class Reader:
    """A consumer and its positions. `doing` begins its errors: "reading alerts"."""

    def __init__(
        self, settings: Settings, doing: str, own: Config | None = None, *, joins: bool = False
    ) -> None:
        """`own` adds properties, or replaces those here.

        `joins`: the caller subscribes and commits as a group. Else only the group's name is asked for, and
        no right to it is needed.
        """
        self.unread: set[tuple[str, int]] = set()
        """The assigned partitions whose present end is still to come."""
        self.problem: KafkaError | None = None
        self._settings = settings
        self._doing = doing
        self._may_be_hidden = says_who_we_are(settings)
        self._joins = joins
        config = {
            **client_config(settings),
            "group.id": "autodeep-reader",
            "enable.auto.commit": joins,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,  # an end is told of within it
            **(own or {}),
        }
        if joins:
            config |= {
                "session.timeout.ms": int(settings.kafka_session_timeout_s * 1000),
                "heartbeat.interval.ms": int(settings.kafka_heartbeat_s * 1000),
            }
        self._heard, self._assigned = Heard(settings), False
        self.consumer = made(Consumer, {**config, "error_cb": self._heard.note}, settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.consumer.close()

    def partitions(self, topic: str = "") -> dict[str, list[int]]:
        """Every topic that there is, or this one, and the numbers of its partitions."""
        asked = (topic,) if topic else ()
        known = self._asked(lambda limit_s: self.consumer.list_topics(*asked, timeout=limit_s)).topics
        return {name: sorted(topic.partitions) for name, topic in known.items()}

    def places(self, topics: Iterable[str], offset: int = OFFSET_BEGINNING) -> list[TopicPartition]:
        """All partitions of these topics. Raises BrokerUnavailable where a topic is not there."""
        known, wanted = self.partitions(), list(topics)
        absent = [name for name in wanted if not known.get(name)]
        hidden = hidden_topics(self._settings, absent) if self._may_be_hidden else []
        if hidden:
            raise self.trouble(self._lacking(hidden))
        if absent:
            raise self.trouble(f"no topic {', '.join(absent)}; `autodeep topics create` makes it")
        return [TopicPartition(name, number, offset) for name in wanted for number in known[name]]

    def bounds(self, place: TopicPartition) -> tuple[int, int]:
        """A partition's first offset, and the one that its next record will have."""
        low, end = self._asked(lambda limit_s: self.consumer.get_watermark_offsets(place, timeout=limit_s))
        return int(low), int(end)

    def at_end(self, places: Iterable[TopicPartition]) -> list[TopicPartition]:
        """The same partitions at their present ends."""
        return [TopicPartition(one.topic, one.partition, self.bounds(one)[1]) for one in places]

    def at_times(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Partitions with milliseconds for offsets, at their first records since; at the end without any."""
        asked = list(places)
        found = self._asked(lambda limit_s: self.consumer.offsets_for_times(asked, timeout=limit_s))
        return [one if one.offset >= 0 else self.at_end([one])[0] for one in found]

    def places_since(self, topics: Iterable[str], since_ms: int) -> list[TopicPartition]:
        """All partitions of these topics from that time on, or as OFFSET_BEGINNING and OFFSET_END have it."""
        places = self.places(topics, since_ms)
        if since_ms == OFFSET_BEGINNING:
            return places
        return self.at_end(places) if since_ms == OFFSET_END else self.at_times(places)

    def committed(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Where the group named in the properties stands; a negative offset where nothing was committed."""
        asked = list(places)
        found = self._asked(lambda limit_s: self.consumer.committed(asked, timeout=limit_s))
        return list(found)

    def assign(self, places: Iterable[TopicPartition]) -> None:
        """Read these from their offsets on."""
        chosen, self._assigned = list(places), True
        self.unread = {(one.topic, one.partition) for one in chosen}
        self._asked(lambda limit_s: self.consumer.assign(chosen))

    def take(self, most: int = _MOST, wait_s: float = POLL_S) -> list[Message]:
        """What is there, at most so many records; without any, what comes first within `wait_s`.

        Raises BrokerUnavailable for an error that does not pass.
        """
        first = self._asked(lambda limit_s: self.consumer.poll(wait_s))
        if first is None:
            return []
        more = self._asked(lambda limit_s: self.consumer.consume(most - 1, 0)) if most > 1 else []
        return [record for record in (first, *more) if self._is_record(record)]

    def to_the_end(self) -> Iterator[Message]:
        """Every record up to where the partitions end now.

        Raises BrokerUnavailable where nothing comes for as long as a call may take.
        """
        deadline_s = time.monotonic() + self._settings.network_timeout_s
        while self.unread:
            before = len(self.unread)
            found = self.take()
            yield from found
            if found or len(self.unread) < before:
                deadline_s = time.monotonic() + self._settings.network_timeout_s
            elif time.monotonic() > deadline_s:
                raise self.trouble(self.problem.str() if self.problem is not None else "took too long")

    def _is_record(self, record: Message) -> bool:
        """What is none is taken note of. Raises BrokerUnavailable for an error that does not pass."""
        error = record.error()
        if error is None:
            self.problem = None
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self.unread.discard((record.topic() or "", record.partition() or 0))
        elif error.code() in _PASSING or error.retriable():
            self.problem = error
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise self.trouble(self._lacking([record.topic() or ""]))
        elif self._joins or error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise self.trouble(error.str())
        return False

    def _lacking(self, topics: Sequence[str]) -> str:
        rights = ", ".join(f"READ on topic {name}" for name in topics)
        return f"{rights} is missing for {user(self._settings)}"

    def trouble(self, problem: str) -> BrokerUnavailable:
        return BrokerUnavailable(f"{self._doing}, Kafka at {where(self._settings)}: {problem}")

    def _asked(self, ask: Callable[[float], T]) -> T:
        """The answer, given so many seconds; asked again for as long while its broker is being found."""
        limit_s = self._settings.network_timeout_s
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                return ask(limit_s)
            except KafkaException as exc:
                error = exc.args[0]
                if error.code() not in _MOVING or time.monotonic() > deadline_s:
                    if not self._assigned:
                        self.consumer.poll(0)  # this is where `error_cb` is called; it gives no record yet
                    raise self.trouble(self._heard.why(error)) from exc
            time.sleep(POLL_S)
