"""The topics: what each is for and how it is kept, making them, and asking the broker about them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.adapters.kafka.client import lacking, where
from streams.adapters.kafka.heard import Admin
from streams.adapters.kafka.hidden import hidden_topics
from streams.adapters.kafka.security import check_files, says_who_we_are
from streams.core.events import NO_TOPIC_ID
from streams.core.patience import Retry
from streams.core.topics import Topics
from streams.errors import AutodeepError, BrokerUnavailable, SettingsError
from streams.settings import Settings

DAY_MS: Final = 86_400_000
TELEMETRY_PARTITIONS: Final = 12
_VISIBLE_POLL_S: Final = 0.05
MOCK_CLUSTER: Final = "mockCluster"  # how librdkafka's mock cluster begins its cluster's id


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it should be. `config` holds only what we depend on; the rest is the broker's."""

    name: str
    partitions: int
    config: tuple[tuple[str, str], ...]


class State(StrEnum):
    MISSING = "missing"
    CREATED = "created"
    SAME = "same"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Difference:
    what: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True)
class TopicReport:
    spec: TopicSpec
    replication: int
    state: State
    differences: tuple[Difference, ...] = ()


def topic_specs(
    topics: Topics, telemetry_partitions: int = TELEMETRY_PARTITIONS, outputs: Sequence[str] = ()
) -> tuple[TopicSpec, ...]:
    """Every topic of ours, with those of the further formats in `outputs`.

    A dead letter holds a telemetry record and our headers, so it may be larger.
    """
    kept_1_day, kept_3_days, kept_30_days = (("retention.ms", str(days * DAY_MS)) for days in (1, 3, 30))
    by_the_hour = ("segment.ms", str(DAY_MS // 24))  # an open segment is neither compacted nor deleted
    delete = ("cleanup.policy", "delete")
    upserted = ("cleanup.policy", "compact,delete")
    by_broker = ("message.timestamp.type", "LogAppendTime")  # the limit of new devices counts by it
    large = ("max.message.bytes", str(2 * 1024 * 1024))
    return (
        TopicSpec(topics.telemetry, telemetry_partitions, (delete, kept_3_days, by_broker)),
        *(TopicSpec(name, 6, (delete, kept_30_days)) for name in topics.all_alerts()),
        TopicSpec(topics.incidents, 6, (upserted, kept_30_days)),
        TopicSpec(topics.dead_letters, 3, (delete, kept_30_days, large)),
        TopicSpec(topics.sensors, telemetry_partitions, (delete, kept_3_days, by_broker)),
        TopicSpec(topics.flows, telemetry_partitions, (delete, kept_3_days, by_broker)),
        TopicSpec(topics.devices, 1, (("cleanup.policy", "compact"),)),
        TopicSpec(topics.classified, telemetry_partitions, (delete, kept_3_days)),
        # In force by Kafka's timestamps, so that those of one cluster have to agree: the brokers give them.
        TopicSpec(topics.profiles, 1, (("cleanup.policy", "compact"), by_broker)),
        TopicSpec(topics.model_commands, 1, (delete, kept_30_days)),
        TopicSpec(topics.model_active, 1, (("cleanup.policy", "compact"),)),
        TopicSpec(topics.model_status, 1, (delete, kept_30_days)),
        TopicSpec(topics.disagreements, 6, (delete, kept_3_days)),
        *(TopicSpec(topics.output(name), 6, (upserted, kept_30_days)) for name in outputs),
        # A worker's name is never used again: the last words of those that are gone are deleted, too.
        TopicSpec(topics.workers, 1, (upserted, kept_1_day, by_the_hour)),
    )


def create_topics(
    settings: Settings,
    specs: Sequence[TopicSpec],
    replication: int | None = None,
    *,
    dry_run: bool = False,
    seen: ClusterMetadata | None = None,
) -> list[TopicReport]:
    """Make what is missing and compare what is there; nothing that exists is changed.

    `seen` is the cluster, where it has just been asked for.

    `replication` None means 3, or as many as there are brokers. Raises BrokerUnavailable, and SettingsError
    where the brokers refuse a topic as asked for.
    """
    admin = Admin(settings)
    cluster = seen or cluster_of(admin, settings)
    copies = replication or min(3, len(cluster.brokers))
    if copies > len(cluster.brokers):
        raise SettingsError(f"replication {copies} needs as many brokers; there are {len(cluster.brokers)}")
    wanted = [with_quorum(spec, copies) for spec in specs]
    missing = [spec for spec in wanted if spec.name not in cluster.topics]
    if dry_run:
        new = {spec.name: State.MISSING for spec in missing}
    else:
        new = dict.fromkeys(_create(admin, settings, missing, copies), State.CREATED)
        # Somebody else may have made one meanwhile, which is then compared.
        cluster = _cluster_with(admin, settings, {spec.name for spec in missing})
    found = _configs(admin, settings, [spec.name for spec in wanted if spec.name not in new])
    reports = []
    for spec in wanted:
        if spec.name in new:
            reports.append(TopicReport(spec, copies, new[spec.name]))
            continue
        differences = _differences(spec, copies, cluster.topics[spec.name], found[spec.name])
        state = State.DIFFERS if differences else State.SAME
        reports.append(TopicReport(spec, copies, state, differences))
    return reports


def list_topics(settings: Settings, prefix: str) -> dict[str, tuple[int, int]]:
    """Topics whose name begins with the prefix and a dot: name to (partitions, replicas of the first)."""
    cluster = cluster_of(Admin(settings), settings)
    return {
        name: (len(topic.partitions), len(topic.partitions[0].replicas) if topic.partitions else 0)
        for name, topic in sorted(cluster.topics.items())
        if name.startswith(f"{prefix}.")
    }


def known_topics(settings: Settings) -> frozenset[str]:
    """All that this user may see. Raises BrokerUnavailable."""
    return frozenset(cluster_of(Admin(settings), settings).topics)


def wait_for_broker(settings: Settings, patience: Retry, needed: Iterable[str] | None = None) -> None:
    """Return once Kafka answers and has the topics that a worker needs (`needed`, or those of the settings).

    Those that the user may not see count as there: `check_rights` names them. Raises BrokerUnavailable when
    the patience ends, AccessDenied where the user or a certificate is refused, SettingsError where a file of
    certificates cannot be used.
    """
    topics = Topics(settings.topic_prefix)
    if needed is None:
        classified = (topics.classified,) if settings.publish_classified else ()
        further = map(topics.output, settings.output_names)
        incidents = (topics.incidents,) if settings.incidents else ()
        outputs = (*topics.all_alerts(), *incidents, *classified, *further)
        needed = (topics.telemetry, *outputs, topics.dead_letters)
    names = tuple(needed)
    check_files(settings)
    admin = Admin(settings)

    def check() -> None:
        try:
            known = cluster_of(admin, settings).topics
        except BrokerUnavailable:
            admin.heard.raise_refused()
            raise
        absent = [name for name in names if name not in known]
        hidden = hidden_topics(settings, absent) if says_who_we_are(settings) else ()
        missing = [name for name in absent if name not in hidden]
        if missing:
            raise BrokerUnavailable(
                f"Kafka at {where(settings)} answers, and has no topic {', '.join(missing)}: "
                "`autodeep topics create`, with the same settings, makes them"
            )

    patience(check)


def message_limits(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """`max.message.bytes` of these topics, as far as the brokers tell it to this user.

    Raises BrokerUnavailable where they do not answer at all.
    """
    admin = Admin(settings)
    if (cluster_of(admin, settings).cluster_id or "").startswith(MOCK_CLUSTER):
        return {}
    limits = {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    asked = admin.client.describe_configs(resources, request_timeout=settings.network_timeout_s)
    for resource, future in asked.items():
        with suppress(AutodeepError):
            entry = answer(future, settings, f"the settings of topic {resource.name}")["max.message.bytes"]
            limits[resource.name] = int(entry.value)
    return limits


def topic_id(settings: Settings, topic: str) -> uuid.UUID:
    """As of `TopicIds`, asked once."""
    return TopicIds(settings)(topic)


class TopicIds:
    """Asks for the id of a topic's present life, over one connection for as long as it gives answers.

    It asks the broker that its first answer named as the controller, also while that one is away.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: Admin | None = None
        self._gives_ids = True

    def __call__(self, topic: str) -> uuid.UUID:
        """NO_TOPIC_ID where the broker gives none (librdkafka's mock cluster).

        Raises BrokerUnavailable where it cannot be learned: a wrong id would make old events pass for new
        ones.
        """
        admin, settings = self._admin or self._connect(), self._settings
        if not self._gives_ids:
            return NO_TOPIC_ID
        asked = admin.client.describe_topics(
            TopicCollection([topic]), request_timeout=settings.network_timeout_s
        )
        try:
            refused = KafkaError.TOPIC_AUTHORIZATION_FAILED
            told = answer(asked[topic], settings, f"the id of topic {topic}", allowed=refused)
        except AutodeepError:
            self._admin = None
            raise
        if told is ALLOWED:
            raise lacking(settings, [f"READ on topic {topic}"])
        given = told.topic_id
        if given is None:
            return NO_TOPIC_ID
        mask = (1 << 64) - 1
        high, low = given.get_most_significant_bits() & mask, given.get_least_significant_bits() & mask
        return uuid.UUID(int=high << 64 | low)

    def _connect(self) -> Admin:
        admin = Admin(self._settings)
        cluster_id = cluster_of(admin, self._settings).cluster_id or ""
        self._gives_ids = not cluster_id.startswith(MOCK_CLUSTER)  # it would not answer the question
        self._admin = admin
        return admin


def touch_topics(settings: Settings, names: Iterable[str]) -> None:
    """Make topics appear on librdkafka's mock cluster, which has no CreateTopics: by asking for each."""
    admin = Admin(settings)
    deadline_s = time.monotonic() + settings.network_timeout_s
    for name in names:
        while (
            admin.client.list_topics(name, timeout=settings.network_timeout_s).topics[name].error is not None
        ):
            if time.monotonic() > deadline_s:
                raise BrokerUnavailable(f"topic {name} does not appear on {where(settings)}")
            time.sleep(_VISIBLE_POLL_S)


def cluster_of(admin: Admin, settings: Settings) -> ClusterMetadata:
    try:
        known = admin.client.list_topics(timeout=settings.network_timeout_s)
    except KafkaException as exc:
        admin.client.poll(0)  # this is where `error_cb` is called
        why = admin.heard.why(exc.args[0])
        raise BrokerUnavailable(f"Kafka does not answer at {where(settings)}: {why}") from exc
    admin.heard.clear()
    return known


def _cluster_with(admin: Admin, settings: Settings, names: set[str]) -> ClusterMetadata:
    """The cluster once the topics that were just made are visible: brokers learn of them a moment later."""
    deadline_s = time.monotonic() + settings.network_timeout_s
    while not names <= (cluster := cluster_of(admin, settings)).topics.keys():
        if time.monotonic() > deadline_s:
            raise BrokerUnavailable(f"topics were made at {where(settings)} and do not appear; ask again")
        time.sleep(_VISIBLE_POLL_S)
    return cluster


def with_quorum(spec: TopicSpec, replication: int) -> TopicSpec:
    """With three copies an acknowledged record stands on two brokers at least."""
    if replication < 3:
        return spec
    return TopicSpec(spec.name, spec.partitions, (*spec.config, ("min.insync.replicas", "2")))


def _create(admin: Admin, settings: Settings, specs: Sequence[TopicSpec], copies: int) -> set[str]:
    """The names of those made; one that somebody else made meanwhile is not among them."""
    if not specs:
        return set()
    news = [
        NewTopic(
            spec.name, num_partitions=spec.partitions, replication_factor=copies, config=dict(spec.config)
        )
        for spec in specs
    ]
    timeout_s = settings.network_timeout_s
    made = set()
    futures = admin.client.create_topics(news, operation_timeout=timeout_s, request_timeout=timeout_s)
    for name, future in futures.items():
        if answer(future, settings, f"topic {name}", allowed=KafkaError.TOPIC_ALREADY_EXISTS) is not ALLOWED:
            made.add(name)
    return made


def _configs(admin: Admin, settings: Settings, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    asked = admin.client.describe_configs(resources, request_timeout=settings.network_timeout_s)
    return {
        resource.name: {
            entry.name: str(entry.value)
            for entry in answer(future, settings, f"the settings of topic {resource.name}").values()
        }
        for resource, future in asked.items()
    }


def _differences(
    spec: TopicSpec, replication: int, topic: Any, config: dict[str, str]
) -> tuple[Difference, ...]:
    wanted = {"partitions": str(spec.partitions), "replication": str(replication), **dict(spec.config)}
    replicas = {len(partition.replicas) for partition in topic.partitions.values()}
    found = {
        **config,
        "partitions": str(len(topic.partitions)),
        "replication": ", ".join(map(str, sorted(replicas))),
    }
    return tuple(
        Difference(what, value, found.get(what, "not known"))
        for what, value in wanted.items()
        if found.get(what) != value
    )


ALLOWED: Final = object()


def answer(future: Any, settings: Settings, what: str, allowed: int | None = None) -> Any:
    """A future's result; `ALLOWED` for the error code that is none here."""
    try:
        return future.result(timeout=2 * settings.network_timeout_s + 1)
    except KafkaException as exc:
        error = exc.args[0]
        if allowed is not None and error.code() == allowed:
            return ALLOWED
        said = error.str().strip()
        if not said or said.endswith(":"):  # librdkafka names the request, and the broker said no more
            said = f"{said} {error.name()}".strip()
        if error.code() in _REFUSALS:
            raise SettingsError(f"Kafka at {where(settings)} refuses {what}: {said}") from exc
        raise BrokerUnavailable(f"Kafka at {where(settings)}: {what}: {said}") from exc
    except TimeoutError as exc:
        raise BrokerUnavailable(f"Kafka at {where(settings)} gave no answer about {what}") from exc


_REFUSALS: Final = {
    KafkaError.INVALID_PARTITIONS,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.INVALID_CONFIG,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
