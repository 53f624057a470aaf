"""Looks at everything, one after the other. What cannot be asked is a finding too, and ends nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from streams.adapters import certificates
from streams.adapters.certificates import Certificate
from streams.adapters.decoding import decoder_of
from streams.adapters.kafka.model_topics import missing_model_topics, newest_states
from streams.adapters.kafka.rights import check_rights
from streams.adapters.kafka.topics import TELEMETRY_PARTITIONS, create_topics, topic_specs
from streams.adapters.redis.evictions import info_fields
from streams.adapters.redis.windows import RedisWindows, connect
from streams.adapters.registry import registry_of
from streams.adapters.store.models import ModelStore, open_store
from streams.client.homes import dialect_of, home_of
from streams.core.flow.keeping import WINDOWS
from streams.core.kdd99 import KDD99
from streams.core.severity import severities_by_class
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.doctor import kafka, rules, topics
from streams.doctor.facts import RedisServer
from streams.doctor.findings import Finding, Level
from streams.errors import AutodeepError, SettingsError
from streams.rollout.loading import family_of, fitting
from streams.settings import Settings

Check = Callable[[], Iterable[Finding]]


def examine(settings: Settings, apart_s: float, say: Callable[[str], None]) -> list[Finding]:
    """Every finding, in the order of the checks. `say` is called with the name of each check before it.

    Progress is judged by two looks, `apart_s` seconds apart.
    """
    findings = list[Finding]()
    cluster = kafka.Cluster(settings)
    is_away = False
    for name, check in _checks(settings, cluster, apart_s):
        if is_away and name in _OF_KAFKA:
            continue  # it would wait as long to say the same
        say(name)
        try:
            findings += check()
        except AutodeepError as exc:
            findings.append(Finding(name, Level.BROKEN, str(exc)))
            is_away = is_away or name == _BROKERS
    return findings


_BROKERS: Final = "brokers"
_OF_KAFKA: Final = ("rights", "topics", "workers", "telemetry", "models")


def _checks(settings: Settings, cluster: kafka.Cluster, apart_s: float) -> Iterator[tuple[str, Check]]:
    yield "settings", lambda: _settings(settings)
    yield _BROKERS, lambda: rules.brokers(cluster.brokers)
    yield "rights", lambda: _rights(settings)
    yield "topics", lambda: _topics(settings, cluster)
    yield "workers", lambda: _workers(settings, cluster)
    yield "telemetry", lambda: _read(settings, cluster, apart_s)
    yield "redis", lambda: _redis(settings)
    if settings.schema_registry_url:
        yield "registry", lambda: _registry(settings)
    yield "model store", lambda: _store(settings)
    yield "models", lambda: _models(settings)
    yield "certificates", lambda: rules.certificates(_certificates(settings, cluster), time.time())


def _settings(settings: Settings) -> Iterator[Finding]:
    """What stands in them and is no setting's by itself, as a worker takes it at its start."""
    taken: list[Callable[[], object]] = [lambda: severities_by_class(settings.severities)]
    if settings.sensors_topics:
        taken += [lambda: home_of(settings), lambda: dialect_of(settings)]
    are_sound = True
    for take in taken:
        try:
            take()
        except SettingsError as exc:
            are_sound = False
            yield Finding("settings", Level.BROKEN, str(exc))
    if are_sound:
        yield Finding("settings", Level.GOOD, "can be used")


def _rights(settings: Settings) -> Iterator[Finding]:
    check_rights(settings)
    yield Finding("rights", Level.GOOD, "all that a worker needs")


def _topics(settings: Settings, cluster: kafka.Cluster) -> Iterator[Finding]:
    names, seen = Topics(settings.topic_prefix), cluster.metadata
    yield from topics.of_sensors([one for one in settings.sensors_topics if one not in seen.topics], names)
    specs = topics.wanted(
        topic_specs(names, cluster.telemetry_partitions or TELEMETRY_PARTITIONS, settings.output_names),
        seen.topics,
        settings,
    )
    try:
        reports = create_topics(settings, specs, dry_run=True, seen=seen)
    except SettingsError as exc:  # a worker needs no right to see how topics are kept
        yield from topics.not_compared(
            [spec.name for spec in specs if spec.name not in seen.topics], str(exc)
        )
        return
    yield from topics.findings(reports, names)


def _workers(settings: Settings, cluster: kafka.Cluster) -> Iterator[Finding]:
    partitions = cluster.telemetry_partitions or 0
    yield from rules.group(settings.group, kafka.members(settings), partitions)


def _read(settings: Settings, cluster: kafka.Cluster, apart_s: float) -> Iterator[Finding]:
    """How far what workers read was read, and what the last records of the telemetry say."""
    names = Topics(settings.topic_prefix)
    further = (*settings.sensors_topics, names.flows) if settings.sensors_topics else ()
    wanted = (names.telemetry, *(one for one in further if one in cluster.metadata.topics))
    registry = registry_of(settings) if settings.schema_registry_url else None
    with kafka.Telemetry(settings, decoder_of(settings, KDD99, registry)) as telemetry:
        before = {topic: telemetry.places(topic) for topic in wanted}
        time.sleep(apart_s)
        after = {topic: telemetry.places(topic) for topic in wanted}
        for topic in wanted:
            yield from rules.progress(topic, before[topic], after[topic], apart_s)
        latest = telemetry.latest(after[names.telemetry])
        yield from rules.event_times(latest)
        yield from rules.brokers_clock(latest, int(time.time() * 1000))


_ASKED: Final = (("INFO", "everything"), ("TIME",), ("DBSIZE",))


def _redis(settings: Settings) -> Iterator[Finding]:
    url, limit_s = settings.redis_url, settings.network_timeout_s
    with RedisWindows(
        WindowLayout(KDD99), url, settings.topic_prefix, 1, limit_s, settings.redis_ca_file
    ) as store:
        store.ping()
        yield rules.windows_owner(store.owner(), settings.group, settings.topic_prefix)
    link = connect(url, limit_s, settings.redis_ca_file)
    try:
        asked_us = time.time_ns() // 1000
        answers = link.each(_ASKED)
    finally:
        link.close()
    servers = [_server(info, clock, asked_us) for info, clock, _ in answers]
    counts = [count for *_, count in answers if isinstance(count, int)]
    yield from rules.redis(link.said, servers, sum(counts) if len(counts) == len(answers) else None)


def _server(info: object, clock: object, asked_us: int) -> RedisServer:
    clock_us = int(clock[0]) * 1_000_000 + int(clock[1]) if isinstance(clock, list) else None
    return RedisServer(info_fields([info]), clock_us, asked_us)


def _registry(settings: Settings) -> Iterator[Finding]:
    registry_of(settings).schema(2**31 - 1)
    yield Finding("registry", Level.GOOD, "answers")


def _store(settings: Settings) -> Iterator[Finding]:
    store = open_store(settings.model_store, settings.model_trust_key)
    yield _model(store, settings.model, WindowLayout(KDD99), settings.operating_point)
    if settings.sensors_topics:
        family = family_of(settings.flow_model)
        if store.holds(family):
            yield _model(store, settings.flow_model, WINDOWS, settings.flow_operating_point)
        else:
            yield Finding(
                "model store",
                Level.WARNING,
                f"no model {family!r} (AUTODEEP_FLOW_MODEL={settings.flow_model}): flows are not judged",
                "put one into the store (docs/models.md)",
            )
    if not settings.model_trust_key:
        yield Finding(
            "model store",
            Level.NOTE,
            "models of any origin are served",
            "AUTODEEP_MODEL_TRUST_KEY lets in those alone that you signed (docs/models.md)",
        )


def _model(store: ModelStore, ref: str, layout: WindowLayout, operating_point: str) -> Finding:
    """Whether a worker could begin with it."""
    try:
        identity = fitting(store, ref, layout, operating_point).identity
    except AutodeepError as exc:
        return Finding("model store", Level.BROKEN, str(exc))
    found = f"{ref} is {identity.name}/{identity.version} ({identity.digest[:12]}), and loads"
    return Finding("model store", Level.GOOD, found)


def _models(settings: Settings) -> Iterator[Finding]:
    if missing := missing_model_topics(settings):
        yield Finding(
            "models",
            Level.WARNING,
            f"no topic {', '.join(missing)}",
            "models cannot change while workers run",
        )
        return
    states = newest_states(settings).by_family()
    store = open_store(settings.model_store, settings.model_trust_key)
    for family, state in sorted(states.items()):
        champion = state.champion
        known = store.identify(f"{champion.name}/{champion.version}")
        name = f"{champion.name}/{champion.version} ({champion.digest[:12]})"
        if known.digest != champion.digest:
            yield Finding(
                "models",
                Level.BROKEN,
                f"{family}: {name} is agreed on, and the store has another content under that name",
                "add it as a new version, and promote that",
            )
        else:
            yield Finding("models", Level.GOOD, f"{family}: {name} agreed on, revision {state.revision}")
    if not states:
        yield Finding("models", Level.GOOD, f"none agreed on yet: workers serve {settings.model}")


def _certificates(settings: Settings, cluster: kafka.Cluster) -> Iterator[Certificate]:
    limit_s = settings.network_timeout_s
    if settings.kafka_security.endswith("SSL"):
        for broker in cluster.brokers:
            yield certificates.shown_by(broker.address, limit_s)
    for path in certificates.files_of(settings):
        yield from certificates.in_file(path)
