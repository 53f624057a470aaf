"""Asks Kafka. Every call has a time-out, and nothing is written or joined."""

from __future__ import annotations

import functools
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import ClusterMetadata

from streams.adapters.kafka.client import where
from streams.adapters.kafka.heard import Admin
from streams.adapters.kafka.history import past_record
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import cluster_of
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.topics import Topics
from streams.doctor.facts import Broker, Latest, Member, Place
from streams.errors import BrokerUnavailable
from streams.settings import Settings

_DOING: Final = "examining the telemetry"
_CONNECT_S: Final = 3.0


class Cluster:
    """What one look at the cluster tells; it is looked at when it is first asked for.

    Raises BrokerUnavailable where no broker answers, each time it is asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @functools.cached_property
    def metadata(self) -> ClusterMetadata:
        return cluster_of(Admin(self._settings), self._settings)

    @functools.cached_property
    def brokers(self) -> list[Broker]:
        """The brokers, by the addresses that they tell their clients, each of them tried from here."""
        limit_s = min(_CONNECT_S, self._settings.network_timeout_s)
        return [
            Broker(broker.id, f"{broker.host}:{broker.port}", _connected(broker.host, broker.port, limit_s))
            for broker in sorted(self.metadata.brokers.values(), key=lambda broker: broker.id)
        ]

    @property
    def telemetry_partitions(self) -> int | None:
        """None where there is no such topic."""
        known = self.metadata.topics.get(Topics(self._settings.topic_prefix).telemetry)
        return None if known is None else len(known.partitions)


def _connected(host: str, port: int, limit_s: float) -> str:
    try:
        socket.create_connection((host, port), timeout=limit_s).close()
    except OSError as exc:
        return exc.strerror or str(exc) or type(exc).__name__
    return ""


def members(settings: Settings) -> list[Member] | None:
    """The workers of the group; None while it is being rebalanced. Raises BrokerUnavailable."""
    admin = Admin(settings)
    asked = admin.client.describe_consumer_groups(
        [settings.group], request_timeout=settings.network_timeout_s
    )
    try:
        group = asked[settings.group].result(timeout=2 * settings.network_timeout_s + 1)
    except KafkaException as exc:
        if exc.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise BrokerUnavailable(f"Kafka at {where(settings)}: group {settings.group}: {exc}") from exc
    if group.state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
        return []
    if group.state != ConsumerGroupState.STABLE:
        return None
    telemetry = Topics(settings.topic_prefix).telemetry
    return [
        Member(
            member.client_id,
            tuple(one.partition for one in member.assignment.topic_partitions if one.topic == telemetry),
        )
        for member in group.members
    ]


class Telemetry:
    """The partitions of the telemetry's topic. Its methods raise BrokerUnavailable."""

    def __init__(self, settings: Settings, decoder: TelemetryDecoder) -> None:
        self._settings = settings
        self._decoder = decoder
        self._reader = Reader(settings, _DOING, {"group.id": settings.group})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def places(self, topic: str) -> list[Place]:
        """Where each partition of a topic stands now."""
        wanted = self._reader.places([topic])
        committed = {one.partition: one.offset for one in self._reader.committed(wanted)}
        found = []
        for one in wanted:
            first, end = self._reader.bounds(one)
            offset = committed.get(one.partition, -1)
            found.append(Place(one.partition, first, end, offset if offset >= 0 else None))
        return found

    def latest(self, places: Sequence[Place]) -> list[Latest]:
        """The last record of each partition that has any."""
        topic = Topics(self._settings.topic_prefix).telemetry
        ends = [TopicPartition(topic, one.partition, one.end - 1) for one in places if one.end > one.first]
        if not ends:
            return []
        self._reader.assign(ends)
        records = {record.partition() or 0: record for record in self._reader.to_the_end()}
        return [self._read(number, record) for number, record in sorted(records.items())]

    def _read(self, partition: int, message: Message) -> Latest:
        record, by_broker = past_record(message), message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME
        decoded = self._decoder.decode([record])
        if decoded.rejected:
            why = str(decoded.rejected[0].reason)
            return Latest(partition, record.timestamp, None, why, by_broker)
        return Latest(partition, record.timestamp, int(decoded.events.event_time_us[0]), by_broker=by_broker)
