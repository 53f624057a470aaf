"""How the servers of a schedule are deployed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KafkaForm(StrEnum):
    """What the workers' listener asks for. Of those with a log-in an authorizer asks for rights, too."""

    PLAIN = "plain"
    LOG_IN = "log-in"  # TLS and SCRAM
    CERTIFICATES = "certificates"  # TLS, and the workers' own


class RedisForm(StrEnum):
    SERVER = "server"
    SENTINEL = "sentinel"  # a primary, a replica, three sentinels
    CLUSTER = "cluster"  # three primaries, a replica of each


@dataclass(frozen=True, slots=True)
class SetUp:
    nodes: int = 1
    """Of Kafka: 1 or 3."""
    kafka: KafkaForm = KafkaForm.PLAIN
    redis: RedisForm = RedisForm.SERVER

    def __str__(self) -> str:
        nodes = f"{self.nodes} node{'s' * (self.nodes > 1)}"
        kafka = "" if self.kafka is KafkaForm.PLAIN else f" with {self.kafka}"
        return f"{nodes}{kafka}, Redis {self.redis}"
