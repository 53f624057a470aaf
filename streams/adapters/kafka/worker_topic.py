"""The compacted topic on which each worker tells of itself: written by one, read whole by whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from streams.adapters.kafka.client import where
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import list_topics
from streams.codec.workers import FiguresUnreadable, decode_figures, encode_figures
from streams.core.events import Message
from streams.core.topics import Topics
from streams.core.workers import WorkerFigures
from streams.errors import BrokerUnavailable
from streams.settings import Settings

_LONGEST_S: Final = 3.0
"""What is told is old soon: a broker that does not take it within this time is not waited for."""
_MOST_WORKERS: Final = 10_000


class WorkerTopic:
    """For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = replace(settings, network_timeout_s=min(settings.network_timeout_s, _LONGEST_S))
        self._topic = Topics(settings.topic_prefix).workers
        self._publisher = KafkaPublisher(self._settings, idempotent=False)
        self._is_there = False

    def tell(self, figures: WorkerFigures) -> None:
        """Raises BrokerUnavailable, also where the topic or the right to it is missing."""
        if not self._is_there:  # a producer that names a missing topic makes it, where brokers allow that
            if self._topic not in list_topics(self._settings, self._settings.topic_prefix):
                raise BrokerUnavailable(
                    f"Kafka at {where(self._settings)} shows this user no topic {self._topic}: "
                    "`autodeep topics create` makes it, and the workers' user needs WRITE on it"
                )
            self._is_there = True
        message = Message(self._topic, figures.worker.encode(), encode_figures(figures))
        try:
            self._publisher.publish([message])
        except BrokerUnavailable:
            self._is_there = False
            raise

    def close(self) -> None:
        self._publisher.close()


@dataclass(frozen=True, slots=True)
class Told:
    figures: Mapping[str, WorkerFigures]  # the newest of each worker
    unreadable: int
    """Records on the topic that are none of ours."""
    partitions: int
    """Of the topic of telemetry."""


def read_figures(settings: Settings) -> Told:
    """Raises BrokerUnavailable."""
    topics = Topics(settings.topic_prefix)
    newest: dict[str, WorkerFigures] = {}
    unreadable = 0
    with Reader(settings, "reading what workers tell of themselves") as reader:
        places = reader.places([topics.workers])
        partitions = len(reader.partitions().get(topics.telemetry, ()))
        reader.assign(places)
        for message in reader.to_the_end():
            if message.value() is None:
                continue  # somebody's tombstone
            try:
                one = decode_figures(message.key(), message.value())
            except FiguresUnreadable:
                unreadable += 1
                continue
            if one.worker in newest or len(newest) < _MOST_WORKERS:
                newest[one.worker] = one
    return Told(newest, unreadable, partitions)
