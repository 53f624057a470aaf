"""The workers as Kafka knows them: who owns what is judged, what each has told, where the partitions end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.client import LOG, client_config, where
from streams.adapters.kafka.reading import Reader
from streams.adapters.kafka.topics import topic_id
from streams.codec import models
from streams.codec.models import ModelMessageUnreadable
from streams.core.fleet import Ends, Readiness
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable
from streams.settings import Settings

_DRAIN_S: Final = 0.05


@dataclass(slots=True)
class Statuses:
    """What workers have told of a family's revision: those that are prepared, and why others cannot be."""

    family: str
    revision: int
    prepared: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def take(self, value: bytes | None) -> None:
        try:
            status = models.decode_status(value)
        except ModelMessageUnreadable:
            return
        if (status.kind, status.name, status.revision) != ("worker", self.family, self.revision):
            return
        if status.outcome == "prepared":
            self.prepared.add(status.worker)
            self.failed.pop(status.worker, None)  # it tried again, while no agent looked
        elif status.outcome == "load_failed":
            self.failed[status.worker] = status.detail


class GroupWatch:
    """Who of the group owns partitions of the topic; None while the group is being rebalanced."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._admin = AdminClient(client_config(settings), logger=LOG)
        self._topic = topic

    def owners(self) -> tuple[str, ...] | None:
        """The client ids of the members that own partitions of the topic. Raises BrokerUnavailable."""
        settings = self._settings
        try:
            asked = self._admin.describe_consumer_groups(
                [settings.group], request_timeout=settings.network_timeout_s
            )
            group = asked[settings.group].result()
        except KafkaException as exc:
            raise _trouble(settings, exc) from exc
        if group.state != ConsumerGroupState.STABLE:
            return None
        owning = (
            member.client_id
            for member in group.members
            if any(place.topic == self._topic for place in member.assignment.topic_partitions)
        )
        return tuple(sorted(owning))


@dataclass(frozen=True, slots=True)
class KafkaFleet:
    """What the model agent asks about the other workers."""

    settings: Settings
    topic: str
    """What the model judges."""

    @contextmanager
    def watch(self, family: str, revision: int) -> Iterator[Callable[[], Readiness]]:
        """A look, to be repeated. Both raise BrokerUnavailable."""
        told, group = Statuses(family, revision), GroupWatch(self.settings, self.topic)

        def look() -> Readiness:
            while messages := reader.take(wait_s=_DRAIN_S):
                for message in messages:
                    told.take(message.value())
            owners = group.owners()
            if owners is None:
                return Readiness(told.failed, ("the group, which is being rebalanced",))
            return Readiness(told.failed, tuple(owner for owner in owners if owner not in told.prepared))

        with Reader(self.settings, "asking about the workers", {"group.id": "autodeep-models"}) as reader:
            # From the beginning: an agent that takes over must know what was told before.
            reader.assign(reader.places([Topics(self.settings.topic_prefix).model_status]))
            yield look

    def ends(self) -> Ends:
        """For who reads committed records, as the workers do: at or beyond all they have read.

        Raises BrokerUnavailable.
        """
        # By a consumer: of an admin client, librdkafka 2.15.1 ends the process where the answer is late.
        with Reader(self.settings, f"asking where {self.topic} ends") as reader:
            ends = {str(one.partition): one.offset for one in reader.at_end(reader.places([self.topic]))}
        return Ends(str(topic_id(self.settings, self.topic)), ends)


def _trouble(settings: Settings, exc: KafkaException) -> BrokerUnavailable:
    return BrokerUnavailable(f"asking Kafka at {where(settings)} about the workers: {exc.args[0].str()}")
