"""Sending a model command and waiting for the agent's decision."""

from __future__ import annotations

import logging
import time
from typing import Final

from streams.adapters.kafka.client import where
from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.reading import POLL_S, Reader
from streams.codec import models
from streams.codec.models import ModelCommand, ModelMessageUnreadable, ModelStatus
from streams.core.events import Message
from streams.core.topics import Topics
from streams.errors import Unavailable
from streams.settings import Settings

log: Final = logging.getLogger("autodeep.models")


def order(settings: Settings, command: ModelCommand, wait_s: float) -> ModelStatus:
    """Publish a command; the decision about it, as soon as the model agent has told it.

    The status topic is read from where it ended before the command was sent. Raises BrokerUnavailable, and
    Unavailable where nobody decided within `wait_s`: the command stays and may be carried out later.
    """
    topics = Topics(settings.topic_prefix)
    with Reader(settings, "reading a model's status", {"group.id": "autodeep-models"}) as reader:
        reader.assign(reader.at_end(reader.places([topics.model_status])))
        with KafkaPublisher(settings) as publisher:
            key = command.command_id.encode()
            publisher.publish([Message(topics.model_commands, key, models.encode_command(command))])
        status = _decision(reader, command.command_id, wait_s)
    if status is None:
        raise Unavailable(
            f"nobody decided about command {command.command_id} within {wait_s:g} s: no model agent seems to "
            f"run. Start a worker of {where(settings)}; the command waits in {topics.model_commands}"
        )
    return status


def _decision(reader: Reader, command_id: str, wait_s: float) -> ModelStatus | None:
    deadline_s = time.monotonic() + wait_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        for record in reader.take(wait_s=min(POLL_S, left_s)):
            try:
                status = models.decode_status(record.value())
            except ModelMessageUnreadable as exc:
                log.warning("%s@%s: %s", record.topic(), record.offset(), exc)
                continue
            if status.is_final and status.command_id == command_id:
                return status
    return None
