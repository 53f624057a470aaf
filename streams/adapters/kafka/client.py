"""How every client of confluent-kafka is configured: addresses, security, time-outs, log."""

from __future__ import annotations

import logging
import os
import re
import socket
import uuid
from typing import Final

from confluent_kafka import KafkaError

from streams.errors import AccessDenied
from streams.settings import Settings

Config = dict[str, str | int | float | bool]

LOG: Final = logging.getLogger("autodeep.librdkafka")
"""librdkafka's own lines; silent where nobody has configured logging. Given to every client as `logger`."""
LOG.addHandler(logging.NullHandler())

WORKER: Final = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
"""This process among the workers: in statuses, and as the group's member. Containers share hosts and pids."""


class Refusals:
    """librdkafka's own words on why a connection was refused: it goes on trying, and only its log tells.

    `note` is for `error_cb`; `raise_any` raises AccessDenied once there was one.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self._found = error

    def raise_any(self) -> None:
        error = self._found
        if error is None:
            return
        said = _REPEATED.sub("", error.str()).strip()
        if error.code() == KafkaError._SSL:
            raise AccessDenied(f"no TLS with Kafka at {where(self._settings)}: {said}; {_ABOUT_TLS}")
        raise AccessDenied(
            f"Kafka at {where(self._settings)} refuses user {self._settings.kafka_username!r}: {said}; check "
            "AUTODEEP_KAFKA_USERNAME, AUTODEEP_KAFKA_PASSWORD and AUTODEEP_KAFKA_SASL_MECHANISM"
        )


_REPEATED: Final = re.compile(
    r"\s*\(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)|^\S*bootstrap: "
)
_ABOUT_TLS: Final = "check the brokers' certificate and AUTODEEP_KAFKA_CA_FILE"


def client_config(settings: Settings) -> Config:
    """What producers, consumers and admin clients have in common."""
    config: Config = {
        "bootstrap.servers": settings.kafka_servers,
        "client.id": "autodeep-id",
        "security.protocol": settings.kafka_security,
        "socket.timeout.ms": _milliseconds(settings.network_timeout_s),
        "socket.connection.setup.timeout.ms": max(_milliseconds(settings.network_timeout_s), 1000),
        "reconnect.backoff.max.ms": 2000,
    }
    if settings.kafka_security.startswith("SASL"):
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_username
        config["sasl.password"] = settings.kafka_password
    if settings.kafka_ca_file:
        config["ssl.ca.location"] = settings.kafka_ca_file
    return config


def producer_config(settings: Settings) -> Config:
    """Idempotent, acknowledged by all in-sync replicas; nothing is held back longer than 5 ms."""
    return {
        **client_config(settings),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 5,
        "delivery.timeout.ms": max(_milliseconds(settings.network_timeout_s), 100),
        "topic.metadata.propagation.max.ms": 3000,  # a topic that is not there is told of within the time-out
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.kbytes": 65_536,
    }


MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Above what any of our topics takes (topics.py): the broker's own limit is the one that counts."""


def where(settings: Settings) -> str:
    """The broker as messages to people name it."""
    return f"{settings.kafka_servers} (AUTODEEP_KAFKA_SERVERS)"


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
