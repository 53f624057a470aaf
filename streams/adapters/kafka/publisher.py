"""Messages to Kafka, and back only when the broker has every one of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.adapters.kafka.client import Config, made, producer_config, where
from streams.adapters.kafka.heard import CHECK_BROKERS, Heard, advice
from streams.adapters.kafka.limits import TopicLimits
from streams.adapters.kafka.security import Stamp, stamp
from streams.codec.output.sizes import wire_bytes
from streams.core.events import Message
from streams.errors import BrokerUnavailable, MessageTooLarge
from streams.settings import Settings

_GRACE_S: Final = 1.0
"""Beyond librdkafka's own delivery time-out, which ends every message one way or the other."""
_BUFFER_POLL_S: Final = 0.05
_BATCH_BYTES: Final = 1_000_000
"""librdkafka's own bound; less where a topic takes less, since a broker holds its limit against batches."""
SLACK_BYTES: Final = 512
"""By how much a message's measured size may be above what librdkafka counts for it."""


class KafkaPublisher:
    """Synchronous, for a worker's thread. Not to be shared between threads: each waits for its own list.

    A list that failed is published again as a whole: messages carry deterministic ids, repeats are allowed.
    """

    def __init__(
        self, settings: Settings, limits: TopicLimits | None = None, *, idempotent: bool = True
    ) -> None:
        """`limits` are those of the topics, where they have been asked for already.

        `idempotent`: a list's messages stay in order whatever is sent again; one message needs no order.
        """
        self._settings = settings
        self._idempotent = idempotent
        self._limits = limits or TopicLimits(settings)
        self._batch_bytes = _BATCH_BYTES
        self._heard = Heard(settings)
        self._as_of: Stamp = ()
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
        Raises MessageTooLarge for those that their topics do not take: before anything is sent, where the
        limits are known; else when all others are acknowledged.
        """
        if self._producer is not None and stamp(self._settings) != self._as_of:
            self._retire()  # certificates were renewed, and librdkafka reads them once
        too_large = self._limits.exceeded(messages)
        left = {} if too_large else dict(enumerate(messages))
        while left:
            refused = self._send(left)
            if not refused:
                break
            self._limits.ask({messages[place].topic for place in refused})
            alone = {place for place in refused if self._was_alone(messages[place])}
            too_large |= {place: self._limits.told(messages[place]) for place in alone}
            left = {place: left[place] for place in refused if place not in alone}
            if left:
                self._make_smaller_batches(left.values())
        if too_large:
            raise self._too_large(messages, too_large)

    def _send(self, messages: Mapping[int, Message]) -> list[int]:
        """The places of those that are too large, alone or together with others of their batch."""
        producer = self._producer or self._connect()
        delivery = _Delivery(unheard_of=len(messages))
        deadline_s = time.monotonic() + self._settings.network_timeout_s + _GRACE_S
        try:
            for place, message in messages.items():
                _produce(producer, message, place, delivery, deadline_s)
                delivery.unheard_of -= 1
            producer.flush(max(deadline_s - time.monotonic(), 0))
        except KafkaException as exc:
            delivery.note(exc.args[0])  # unless it is known by now, and of which topic
        except BufferError as exc:
            self.abandon()
            raise self._unavailable(f"its queue of {len(messages)} messages did not empty") from exc
        delivery.unheard_of += len(producer)
        self._judge(delivery, len(messages))
        return sorted(delivery.too_large)

    def _was_alone(self, message: Message) -> bool:
        """Whether it was refused for its own size: one beyond the bound shares its batch with no other."""
        alone = wire_bytes(message) - SLACK_BYTES > self._batch_bytes or self._batch_bytes == 1
        return alone or self._limits.told(message) is not None

    def _make_smaller_batches(self, refused: Iterable[Message]) -> None:
        """A broker holds a topic's limit against whole batches."""
        least = min(self._limits.of(message.topic) for message in refused)
        self._batch_bytes = least if least < self._batch_bytes else max(self._batch_bytes // 8, 1)
        self._retire()

    def _too_large(self, messages: Sequence[Message], limits: Mapping[int, int | None]) -> MessageTooLarge:
        topics = sorted({messages[place].topic for place in limits})
        for topic in topics:
            self._limits.say(topic)
        largest = max(wire_bytes(messages[place]) for place in limits)
        return MessageTooLarge(
            f"{len(limits)} of {len(messages)} messages, of up to {largest} bytes, are larger than "
            f"{', '.join(topics)} on Kafka at {where(self._settings)} takes: raise max.message.bytes of the "
            "topic (and AUTODEEP_KAFKA_MESSAGE_MAX_BYTES, where that is below)",
            limits,
        )

    def close(self) -> None:
        """Give what is under way, after a publish that was interrupted, a last time-out to arrive."""
        self._retire()

    def _retire(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):  # whoever published was told already
                producer.flush(self._settings.network_timeout_s)

    def abandon(self) -> None:
        """Forget the producer and what it holds; the next publish makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            with suppress(KafkaException):  # it tells once more why it is of no more use
                producer.flush(0)

    def _connect(self) -> Producer:
        self._batch_bytes = min(self._batch_bytes, self._limits.least)
        self._as_of = stamp(self._settings)
        own: Config = {
            "batch.size": self._batch_bytes,
            "error_cb": self._heard.note,
            "enable.idempotence": self._idempotent,
            "delivery.report.only.error": True,
        }
        config = {**producer_config(self._settings), **own}
        self._producer = made(Producer, config, self._settings)
        return self._producer

    def _judge(self, delivery: _Delivery, asked: int) -> None:
        error, missing = delivery.error, delivery.failed + delivery.unheard_of
        if error is not None:
            if error.fatal() or error.code() == KafkaError._FATAL:
                self.abandon()
            why = self._heard.why(error)
            raise self._unavailable(
                f"{missing} of {asked} messages failed: {why}",
                advice(error, self._settings, delivery.topic),
            )
        if missing:
            self.abandon()
            raise self._unavailable(f"{missing} of {asked} messages were not acknowledged in time")

    def _unavailable(self, problem: str, to_do: str = CHECK_BROKERS) -> BrokerUnavailable:
        return BrokerUnavailable(f"publishing to Kafka at {where(self._settings)}: {problem}; {to_do}")


@dataclass(slots=True)
class _Delivery:
    """What became of one list of messages. Callbacks tell of failures alone: of a flood thousands arrive."""

    unheard_of: int
    """Messages that are not queued, or of which nothing is known."""
    failed: int = 0
    """For another reason than their size."""
    too_large: set[int] = field(default_factory=set)
    error: KafkaError | None = None
    topic: str | None = None
    """Of the message that it happened to."""

    def note(self, error: KafkaError, topic: str | None = None) -> None:
        if self.error is None or error.fatal():
            self.error, self.topic = error, topic

    def told(self, place: int, topic: str, error: KafkaError) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self.too_large.add(place)
        else:
            self.failed += 1
            self.note(error, topic)


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
                on_delivery=lambda error, _: delivery.told(place, message.topic, error),
            )
        except BufferError:
            if time.monotonic() > deadline_s:
                raise
            producer.poll(_BUFFER_POLL_S)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                delivery.note(exc.args[0], message.topic)
                raise
            delivery.too_large.add(place)
            return
        else:
            return
