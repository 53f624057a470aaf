"""Messages to Kafka, and back only when the broker has every one of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.adapters.kafka.client import LOG, producer_config, where
from streams.core.events import Message
from streams.errors import BrokerUnavailable, MessageTooLarge
from streams.settings import Settings

_GRACE_S: Final = 1.0
"""Beyond librdkafka's own delivery time-out, which ends every message one way or the other."""
_BUFFER_POLL_S: Final = 0.05


class KafkaPublisher:
    """Synchronous, for a worker's thread. Not to be shared between threads: each waits for its own list.

    A list that failed is published again as a whole: messages carry deterministic ids, repeats are allowed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, messages: Sequence[Message]) -> None:
        """Return when every message is acknowledged by all in-sync replicas.

        Raises BrokerUnavailable when one is not within `network_timeout_s`: publish the whole list again.
        Raises MessageTooLarge, with the places of those that the broker will never take, when all others are
        acknowledged.
        """
        if not messages:
            return
        delivery = _Delivery(len(messages))
        producer = self._producer or self._connect()
        deadline_s = time.monotonic() + self._settings.network_timeout_s + _GRACE_S
        try:
            for place, message in enumerate(messages):
                _produce(producer, message, place, delivery, deadline_s)
            producer.flush(max(deadline_s - time.monotonic(), 0))
        except KafkaException as exc:
            delivery.note(exc.args[0])
        except BufferError as exc:
            self.abandon()
            raise self._unavailable(f"its queue of {len(messages)} messages did not empty") from exc
        self._judge(delivery, len(messages))

    def close(self) -> None:
        """Give what is under way, after a publish that was interrupted, a last time-out to arrive."""
        if self._producer is not None:
            self._producer.flush(self._settings.network_timeout_s)
            self._producer = None

    def abandon(self) -> None:
        """Forget the producer and what it holds; the next publish makes a new one."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(0)
            self._producer = None

    def _connect(self) -> Producer:
        self._producer = Producer(producer_config(self._settings), logger=LOG)
        return self._producer

    def _judge(self, delivery: _Delivery, asked: int) -> None:
        error = delivery.error
        if error is not None:
            if error.fatal() or error.code() == KafkaError._FATAL:
                self.abandon()
            raise self._unavailable(
                f"{asked - delivery.arrived} of {asked} messages failed: {error.str()}", error
            )
        if delivery.arrived + len(delivery.too_large) < asked:
            self.abandon()
            raise self._unavailable(
                f"{asked - delivery.arrived} of {asked} messages were not acknowledged in time"
            )
        if delivery.too_large:
            raise MessageTooLarge(
                f"{len(delivery.too_large)} of {asked} messages are larger than Kafka takes: "
                "raise max.message.bytes of the topic",
                tuple(sorted(delivery.too_large)),
            )

    def _unavailable(self, problem: str, error: KafkaError | None = None) -> BrokerUnavailable:
        missing = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
        advice = (
            "`autodeep topics create` makes the topics"
            if error is not None and error.code() in missing
            else "check that the brokers run and can be reached"
        )
        return BrokerUnavailable(f"publishing to Kafka at {where(self._settings)}: {problem}; {advice}")


class _Delivery:
    """What became of one list of messages, as the callbacks tell."""

    def __init__(self, asked: int) -> None:
        self.arrived = 0
        self.too_large: set[int] = set()
        self.error: KafkaError | None = None
        self._asked = asked

    def note(self, error: KafkaError) -> None:
        if self.error is None or error.fatal():
            self.error = error

    def told(self, place: int, error: KafkaError | None) -> None:
        if error is None:
            self.arrived += 1
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self.too_large.add(place)
        else:
            self.note(error)


def _produce(
    producer: Producer, message: Message, place: int, delivery: _Delivery, deadline_s: float
) -> None:
    """Queue one message, waiting for room. Raises BufferError where there is none by the deadline."""
    while True:
        try:
            producer.produce(
                message.topic,
                message.value,
                message.key,
                headers=list(message.headers),
                on_delivery=lambda error, _: delivery.told(place, error),
            )
        except BufferError:
            if time.monotonic() > deadline_s:
                raise
            producer.poll(_BUFFER_POLL_S)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            delivery.too_large.add(place)
            return
        else:
            return
