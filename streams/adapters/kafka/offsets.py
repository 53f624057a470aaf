"""Where partitions stand: ends and committed offsets, asked of the brokers; how far we are, of aiokafka.

Written against aiokafka 0.14.0, pinned exactly, whose private parts it reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from streams.adapters.kafka.client import LOG, client_config, where
from streams.core.events import Partition
from streams.errors import BrokerUnavailable
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Offsets:
    """What the brokers say of a partition."""

    end: int
    """One past its last offset, also where a transaction that is open keeps it from being read."""
    committed: int | None
    """Of our group; None where it has committed nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the consumer knows of a partition."""

    position: int | None
    """The offset that is read next; None while it is being looked for."""
    fetched_s: float | None
    """Seconds since a broker last answered a fetch of it, with records or none; None where none has yet."""
    end_offset: int | None = None
    """One past its last offset, as of that answer."""


class PartitionOffsets:
    """Asks over a connection to each broker, in two round trips; for one thread.

    By a consumer, which joins no group: of an admin client, librdkafka 2.15.1 ends the process (an assertion)
    where the answer to ListOffsets comes after its time-out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: Consumer | None = None

    def __call__(self, partitions: Collection[Partition]) -> dict[Partition, Offsets]:
        """Of these partitions; where there are none it only asks whether Kafka answers.

        Raises BrokerUnavailable.
        """
        consumer, limit_s = self._connected(), self._settings.network_timeout_s
        consumer.poll(0)  # drops what librdkafka has to say of its connections
        if not partitions:
            self._call("its topics", lambda: consumer.list_topics(timeout=limit_s))
            return {}
        places = sorted(partitions)
        wanted = [TopicPartition(*place, OFFSET_END) for place in places]
        ends = self._call("the ends of partitions", lambda: consumer.offsets_for_times(wanted, limit_s))
        asked = [TopicPartition(*place) for place in places]
        found = self._call("committed offsets", lambda: consumer.committed(asked, limit_s))
        return {
            place: Offsets(end.offset, committed.offset if committed.offset >= 0 else None)
            for place, end, committed in zip(places, ends, found, strict=True)
        }

    def _connected(self) -> Consumer:
        if self._consumer is None:
            own = {"group.id": self._settings.group, "isolation.level": "read_uncommitted"}
            self._consumer = Consumer({**client_config(self._settings), **own}, logger=LOG)
        return self._consumer

    def _call(self, what: str, ask: Callable[[], Any]) -> Any:
        place = where(self._settings)
        try:
            answer = ask()
        except KafkaException as exc:
            raise BrokerUnavailable(f"Kafka at {place} does not tell {what}: {exc.args[0].str()}") from exc
        for one in answer if isinstance(answer, list) else ():
            if one.error is not None:
                said = f"{one.error.str()} ({one.topic}-{one.partition})"
                raise BrokerUnavailable(f"Kafka at {place} does not tell {what}: {said}")
        return answer


def standings_of(consumer: Any) -> dict[Partition, Standing]:
    """Of what an aiokafka consumer has been assigned. From any thread: everything is read at once."""
    subscription = None if consumer is None else consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    if assignment is None:
        return {}
    now_ms = time.time() * 1000  # as aiokafka has it
    states = ((tp, assignment.state_value(tp)) for tp in assignment.tps)
    return {
        (tp.topic, tp.partition): Standing(
            state._position,
            None if state.timestamp is None else max(now_ms - state.timestamp, 0.0) / 1000,
            state.highwater,
        )
        for tp, state in states
    }
