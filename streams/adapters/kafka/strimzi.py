"""Topics and users as resources of Strimzi, an operator of Kafka on Kubernetes (its API kafka.strimzi.io/v1).

The topics are those of `topic_specs`, the rights of a worker those of `worker_rights`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka.admin import AclOperation

from streams.adapters.kafka.rights import worker_rights
from streams.adapters.kafka.topics import TopicSpec, with_quorum
from streams.core.topics import Topics, profile_writer, transactional_prefix
from streams.settings import Settings

API: Final = "kafka.strimzi.io/v1"
"""That of Strimzi from 0.49 on, and the only one from 1.0 on."""
_READ, _WRITE = (AclOperation.READ,), (AclOperation.WRITE,)

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Kafka resource of Strimzi that topics and users belong to."""

    name: str
    replication: int = 3
    authentication: str = "scram-sha-512"
    """Or `tls`: how its users log in."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a user may do with a resource; `kind` is Strimzi's word: topic, group or transactionalId."""

    kind: str
    name: str
    operations: tuple[AclOperation, ...]
    is_prefix: bool = False


def topics(specs: Sequence[TopicSpec], cluster: Cluster) -> Iterator[Resource]:
    for spec in specs:
        name = resource_name(spec.name)
        config = with_quorum(spec, cluster.replication).config
        yield {
            **_head("KafkaTopic", name, cluster),
            "spec": {
                **({} if name == spec.name else {"topicName": spec.name}),
                "partitions": spec.partitions,
                "replicas": cluster.replication,
                "config": {key: int(text) if text.isdecimal() else text for key, text in config},
            },
        }


def users(settings: Settings, cluster: Cluster) -> Iterator[Resource]:
    for name, rights in rights_by_user(settings).items():
        yield {
            **_head("KafkaUser", name, cluster),
            "spec": {
                "authentication": {"type": cluster.authentication},
                "authorization": {"type": "simple", "acls": [_acl(right) for right in rights]},
            },
        }


def rights_by_user(settings: Settings) -> dict[str, tuple[Right, ...]]:
    """Workers; gateways that send telemetry; subscribers to alerts; and whoever runs our other commands."""
    ours = Topics(settings.topic_prefix)
    group = Right("group", settings.group, _READ)
    alerts = [Right("topic", name, _READ) for name in (*ours.all_alerts(), ours.incidents)]
    classified = (ours.classified,) if settings.publish_classified else ()
    told = (
        ours.dead_letters,
        *classified,
        ours.workers,
        ours.model_active,
        ours.model_status,
        ours.disagreements,
    )
    return {
        "autodeep-worker": (
            *(Right("topic", name, operations) for name, operations in worker_rights(settings).items()),
            group,
            Right("transactionalId", transactional_prefix(settings.topic_prefix), _WRITE, is_prefix=True),
        ),
        "autodeep-gateway": tuple(Right("topic", name, _WRITE) for name in (ours.telemetry, ours.sensors)),
        "autodeep-subscriber": (*alerts, Right("group", "autodeep-subscriber", _READ, is_prefix=True)),
        "autodeep-operator": (
            *(Right("topic", name, _WRITE) for name in (ours.telemetry, ours.model_commands)),
            *alerts,
            *(Right("topic", name, _READ) for name in told),
            Right("topic", ours.devices, (*_READ, *_WRITE)),
            Right("topic", ours.profiles, (*_READ, *_WRITE)),
            group,
            Right("transactionalId", profile_writer(settings.topic_prefix), _WRITE),
        ),
    }


def resource_name(topic: str) -> str:
    """A topic's name as Kubernetes takes one: lower case, and no underscores."""
    return topic.lower().replace("_", "-").strip("-.")


def _head(kind: str, name: str, cluster: Cluster) -> dict[str, Any]:
    labels = {"strimzi.io/cluster": cluster.name}
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name, "labels": labels}}


def _acl(right: Right) -> Resource:
    pattern = {"patternType": "prefix" if right.is_prefix else "literal"}
    return {
        "resource": {"type": right.kind, "name": right.name, **pattern},
        "operations": [operation.name.title() for operation in right.operations],
    }


def as_yaml(resources: Sequence[Resource]) -> str:
    """The documents of one file."""
    return "".join("---\n" + "".join(f"{line}\n" for line in _lines(one)) for one in resources)


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield f"{_scalar(key)}:"
            yield from (f"  {line}" for line in _lines(inner))
        elif isinstance(inner, list) and inner and isinstance(inner[0], Mapping):
            yield f"{_scalar(key)}:"
            for item in inner:
                first, *more = _lines(item)
                yield f"  - {first}"
                yield from (f"    {line}" for line in more)
        elif isinstance(inner, list):
            yield f"{_scalar(key)}: [{', '.join(map(_scalar, inner))}]"
        else:
            yield f"{_scalar(key)}: {_scalar(inner)}"


_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9./-]*")
_WORDS: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""What YAML 1.1 takes for something other than text."""


def _scalar(value: str | int) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value).replace("\x7f", "\\u007f")  # the one that JSON takes as it is, and YAML does not
