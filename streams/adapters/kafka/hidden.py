"""Topics that a user may not see: a list of topics leaves them out, as if they were not there."""

from __future__ import annotations

from collections.abc import Collection

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.client import LOG, client_config
from streams.settings import Settings


def is_known_by_name(settings: Settings) -> bool:
    """Whether the brokers know who we are: nothing is hidden from a user whom nobody can name."""
    return settings.kafka_security != "PLAINTEXT"


def hidden_topics(settings: Settings, names: Collection[str]) -> list[str]:
    """Those of which the broker, asked by name, says that the user may not see them.

    It says so whether or not such a topic is there.
    """
    if not names:
        return []
    limit_s = settings.network_timeout_s
    admin = AdminClient(client_config(settings), logger=LOG)
    asked = admin.describe_topics(TopicCollection(sorted(names)), request_timeout=limit_s)
    hidden = []
    for name, future in asked.items():
        try:
            future.result(timeout=2 * limit_s + 1)
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                hidden.append(name)
        except TimeoutError:
            continue  # what follows asks again, and says that Kafka does not answer
    return sorted(hidden)
