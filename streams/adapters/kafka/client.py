"""How every client of confluent-kafka is configured and made, and what it names in its errors."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaException

from streams.adapters.kafka.security import client_security
from streams.errors import BrokerUnavailable
from streams.settings import Settings

T = TypeVar("T")

Config = dict[str, str | int | float | bool | Callable[[Any], Any]]

LOG: Final = logging.getLogger("autodeep.librdkafka")
"""librdkafka's own lines; silent where nobody has configured logging. Given to every client as `logger`."""
LOG.addHandler(logging.NullHandler())

WORKER: Final = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
"""This process among the workers: in statuses, and as the group's member. Containers share hosts and pids."""


def client_config(settings: Settings) -> Config:
    """What producers, consumers and admin clients have in common. Raises SettingsError."""
    return {
        "bootstrap.servers": settings.kafka_servers,
        "client.id": "autodeep-id",
        "socket.timeout.ms": _milliseconds(settings.network_timeout_s),
        "socket.connection.setup.timeout.ms": max(_milliseconds(settings.network_timeout_s), 1000),
        "reconnect.backoff.max.ms": 2000,
        **client_security(settings),
    }


def producer_config(settings: Settings) -> Config:
    """Idempotent, acknowledged by all in-sync replicas; nothing is held back longer than 5 ms."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": settings.kafka_compression,
        "linger.ms": 5,
        "delivery.timeout.ms": max(_milliseconds(settings.network_timeout_s), 100),
        "topic.metadata.propagation.max.ms": 3000,  # a topic that is not there is told of within the time-out
        "message.max.bytes": settings.kafka_message_max_bytes,
        "queue.buffering.max.kbytes": 65_536,
    }


def made(kind: Callable[..., T], config: Config, settings: Settings) -> T:
    """A client of this kind. Raises BrokerUnavailable where librdkafka refuses the files of certificates:

    while they are being renewed, the certificate may be there before its key.
    """
    try:
        return kind(config, logger=LOG)
    except KafkaException as exc:
        raise BrokerUnavailable(
            f"no client for Kafka at {where(settings)}: {exc.args[0].str()}; check the files that "
            "AUTODEEP_KAFKA_CERTIFICATE_FILE, _KEY_FILE and _CA_FILE name, and AUTODEEP_KAFKA_KEY_PASSWORD"
        ) from exc


def where(settings: Settings) -> str:
    """The broker as messages to people name it."""
    return f"{settings.kafka_servers} (AUTODEEP_KAFKA_SERVERS)"


def user(settings: Settings) -> str:
    """Whom a right is missing for. Certificates and tokens have their names elsewhere."""
    logs_in = settings.kafka_security.startswith("SASL") and settings.kafka_username
    return f"user {settings.kafka_username!r}" if logs_in else "this user"


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def lacking(settings: Settings, rights: Sequence[str]) -> BrokerUnavailable:
    """Of rights that were taken away while a worker runs: once they are given again, it goes on."""
    named = f"{', '.join(rights)} {'is' if len(rights) == 1 else 'are'} missing"
    return BrokerUnavailable(f"{named} for {user(settings)} on Kafka at {where(settings)}")
