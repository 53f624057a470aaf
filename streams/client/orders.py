"""Sending a model command and waiting for the agent's decision."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.adapters.kafka.client import LOG, client_config, where
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.codec import models
from streams.codec.models import ModelCommand, ModelMessageUnreadable, ModelStatus
from streams.core.events import Message
from streams.core.topics import Topics
from streams.errors import BrokerUnavailable, Unavailable
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.models")

_POLL_S: Final = 0.2
_PASSING: Final = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
}


def order(settings: Settings, command: ModelCommand, wait_s: float) -> ModelStatus:
    """Publish a command; the decision about it, as soon as the model agent has told it.

    The status topic is read from where it ended before the command was sent. Raises BrokerUnavailable, and
    Unavailable where nobody decided within `wait_s`: the command stays and may be carried out later.
    """
    topics = Topics(settings.topic_prefix)
    with _reader(settings) as consumer:
        starts = _places(consumer, settings, topics.model_status)
        for place in starts:
            _, place.offset = consumer.get_watermark_offsets(place, timeout=settings.network_timeout_s)
        consumer.assign(starts)
        with KafkaPublisher(settings) as publisher:
            key = command.command_id.encode()
            publisher.publish([Message(topics.model_commands, key, models.encode_command(command))])
        status = _decision(consumer, settings, command.command_id, wait_s)
    if status is None:
        raise Unavailable(
            f"nobody decided about command {command.command_id} within {wait_s:g} s: no model agent seems to "
            f"run. Start a worker of {where(settings)}; the command waits in {topics.model_commands}"
        )
    return status


def _decision(consumer: Consumer, settings: Settings, command_id: str, wait_s: float) -> ModelStatus | None:
    deadline_s = time.monotonic() + wait_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        record = consumer.poll(min(_POLL_S, left_s))
        if record is None:
            continue
        error = record.error()
        if error is not None:
            _endure(error, settings)
            continue
        try:
            status = models.decode_status(record.value())
        except ModelMessageUnreadable as exc:
            log.warning("%s@%s: %s", record.topic(), record.offset(), exc)
            continue
        if status.is_final and status.command_id == command_id:
            return status
    return None


@contextmanager
def _reader(settings: Settings) -> Iterator[Consumer]:
    """A consumer without a group's doings; errors of librdkafka come out as BrokerUnavailable."""
    config = {
        **client_config(settings),
        "group.id": "autodeep-models",  # asked for by librdkafka; nothing is joined or committed
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 100,
    }
    consumer = Consumer(config, logger=LOG)
    try:
        yield consumer
    except KafkaException as exc:
        raise BrokerUnavailable(
            f"reading a model's status from Kafka at {where(settings)}: {exc.args[0].str()}"
        ) from exc
    finally:
        consumer.close()


def _places(consumer: Consumer, settings: Settings, topic: str) -> list[TopicPartition]:
    found = consumer.list_topics(topic, timeout=settings.network_timeout_s).topics[topic]
    if found.error is not None or not found.partitions:
        raise BrokerUnavailable(
            f"Kafka at {where(settings)} has no topic {topic}; `autodeep topics create` makes it"
        )
    return [TopicPartition(topic, number) for number in sorted(found.partitions)]


def _endure(error: KafkaError, settings: Settings) -> None:
    """Let pass what passes: librdkafka goes on by itself. Raises BrokerUnavailable for the rest."""
    if error.code() not in _PASSING and not error.retriable():
        raise BrokerUnavailable(f"reading from Kafka at {where(settings)}: {error.str()}")
