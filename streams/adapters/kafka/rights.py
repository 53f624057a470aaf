"""What a worker's user must be allowed on Kafka, and what it lacks."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation

from streams.adapters.kafka.client import user, where
from streams.adapters.kafka.heard import Admin
from streams.adapters.kafka.hidden import hidden_topics
from streams.adapters.kafka.topics import ALLOWED, MOCK_CLUSTER, answer, cluster_of
from streams.core.topics import Topics
from streams.errors import AccessDenied, AutodeepError
from streams.settings import Settings

log: Final = logging.getLogger("autodeep")


def worker_rights(settings: Settings) -> dict[str, tuple[AclOperation, ...]]:
    """What a worker does with each topic; seeing a topic (DESCRIBE) comes with either."""
    topics = Topics(settings.topic_prefix)
    read, write = AclOperation.READ, AclOperation.WRITE
    classified = {topics.classified: (write,)} if settings.publish_classified else {}
    flows = {
        **dict.fromkeys(settings.sensors_topics, (read,)),
        topics.flows: (read, write),
        topics.profiles: (read,),
        topics.devices: (read,),
    }
    incidents = {topics.incidents: (write,)} if settings.incidents else {}
    return {
        topics.telemetry: (read,),
        **(flows if settings.flow_topics else {}),
        **dict.fromkeys((*topics.all_alerts(), topics.dead_letters), (write,)),
        **incidents,
        **classified,
        **dict.fromkeys(map(topics.output, settings.output_names), (write,)),
        topics.model_commands: (read,),
        topics.model_active: (read, write),
        topics.model_status: (read, write),
        topics.disagreements: (write,),
        topics.workers: (write,),
    }


def needed_rights(settings: Settings) -> dict[str, tuple[AclOperation, ...]]:
    """Without the topic on which a worker tells of itself: where it cannot, it says so and goes on."""
    spared = Topics(settings.topic_prefix).workers
    return {name: wanted for name, wanted in worker_rights(settings).items() if name != spared}


def check_rights(settings: Settings) -> None:
    """Raises AccessDenied with all that the user lacks of a worker's topics and of its group.

    Without an authorizer everything is allowed. librdkafka's mock cluster has none, and is not asked.
    """
    admin = Admin(settings)
    cluster = cluster_of(admin, settings)
    if (cluster.cluster_id or "").startswith(MOCK_CLUSTER):
        return
    needed = needed_rights(settings)
    _refuse_hidden(settings, [name for name in needed if name not in cluster.topics])
    rights = {name: wanted for name, wanted in needed.items() if name in cluster.topics}
    lacking: list[str] = []
    unknown: list[str] = []
    for what, wanted, may in (*_topic_rights(admin, settings, rights), *_group_rights(admin, settings)):
        if not may:  # whoever may ask at all may DESCRIBE: nothing means that the service does not tell
            unknown.append(what)
        else:
            lacking += [f"{right.name} on {what}" for right in wanted if right not in may]
    if unknown:
        log.warning(
            "Kafka at %s does not say what %s may do with %s; it will show when the worker does it",
            where(settings),
            user(settings),
            ", ".join(unknown),
        )
    if lacking:
        raise AccessDenied(
            f"Kafka at {where(settings)}: {user(settings)} lacks {', '.join(lacking)}; "
            "docs/operating.md lists the rights that a worker needs"
        )


def _refuse_hidden(settings: Settings, names: Sequence[str]) -> None:
    rights = worker_rights(settings)
    hidden = [
        f"{right.name} on topic {name}" for name in hidden_topics(settings, names) for right in rights[name]
    ]
    if hidden:
        raise AccessDenied(
            f"Kafka at {where(settings)}: {user(settings)} lacks {', '.join(hidden)} "
            "(or the topic is not there: who may not see one is not told); "
            "docs/operating.md lists the rights that a worker needs"
        )


Rights = tuple[str, Sequence[AclOperation], Collection[AclOperation]]
"""A resource, what is wanted of it, and what is allowed; nothing where the service does not say."""


def _topic_rights(
    admin: Admin, settings: Settings, wanted: Mapping[str, Sequence[AclOperation]]
) -> Iterator[Rights]:
    asked = admin.client.describe_topics(
        TopicCollection(list(wanted)),
        include_authorized_operations=True,
        request_timeout=settings.network_timeout_s,
    )
    for name, future in asked.items():
        described = _allowed(future, settings, f"the rights on topic {name}")
        yield f"topic {name}", wanted[name], described


def _group_rights(admin: Admin, settings: Settings) -> Iterator[Rights]:
    asked = admin.client.describe_consumer_groups(
        [settings.group], include_authorized_operations=True, request_timeout=settings.network_timeout_s
    )
    for name, future in asked.items():
        described = _allowed(
            future, settings, f"the rights on group {name}", allowed=KafkaError.GROUP_AUTHORIZATION_FAILED
        )
        yield f"group {name}", (AclOperation.READ,), described


_NONE: Final = frozenset({AclOperation.UNKNOWN})
"""Stands for no right at all, where the broker refuses to say because of that."""
_UNSAID: Final = {
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.INVALID_REQUEST,
}


def _allowed(
    future: Any, settings: Settings, what: str, allowed: int | None = None
) -> Collection[AclOperation]:
    try:
        described = answer(future, settings, what, allowed=allowed)
    except AutodeepError as exc:
        cause = exc.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() in _UNSAID:
            return ()
        raise
    return _NONE if described is ALLOWED else described.authorized_operations or ()
