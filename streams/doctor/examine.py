"""Looks at everything, one after the other. What cannot be asked is a finding too, and ends nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from streams.adapters.kafka.model_topics import missing_model_topics, newest_states
from streams.adapters.kafka.rights import check_rights
from streams.adapters.kafka.topics import State, create_topics, list_topics, topic_specs
from streams.adapters.redis.evictions import info_fields
from streams.adapters.redis.windows import RedisWindows, connect
from streams.adapters.registry import registry_of
from streams.adapters.store.models import open_store
from streams.codec.avro.schemas import load_folder
from streams.codec.ingest.checks import Limits
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.kdd99 import KDD99
from streams.core.topics import Topics
from streams.core.windows import WindowLayout
from streams.doctor import certificates, kafka, rules
from streams.doctor.facts import Certificate, RedisServer
from streams.doctor.findings import Finding, Level
from streams.errors import AutodeepError
from streams.settings import Settings

Check = Callable[[], Iterable[Finding]]


def examine(settings: Settings, apart_s: float, say: Callable[[str], None]) -> list[Finding]:
    """Every finding, in the order of the checks. `say` is called with the name of each check before it.

    Progress is judged by two looks, `apart_s` seconds apart.
    """
    findings = list[Finding]()
    for name, check in _checks(settings, apart_s):
        say(name)
        try:
            findings += check()
        except AutodeepError as exc:
            findings.append(Finding(name, Level.BROKEN, str(exc)))
    return findings


def _checks(settings: Settings, apart_s: float) -> Iterator[tuple[str, Check]]:
    yield "brokers", lambda: rules.brokers(kafka.brokers(settings))
    yield "rights", lambda: _rights(settings)
    yield "topics", lambda: _topics(settings)
    yield "workers", lambda: _workers(settings)
    yield "telemetry", lambda: _telemetry(settings, apart_s)
    yield "redis", lambda: _redis(settings)
    if settings.schema_registry_url:
        yield "registry", lambda: _registry(settings)
    yield "model store", lambda: _store(settings)
    yield "models", lambda: _models(settings)
    yield "certificates", lambda: rules.certificates(_certificates(settings), time.time())


def _rights(settings: Settings) -> Iterator[Finding]:
    check_rights(settings)
    yield Finding("rights", Level.GOOD, "all that a worker needs")


def _topics(settings: Settings) -> Iterator[Finding]:
    topics = Topics(settings.topic_prefix)
    known = list_topics(settings, settings.topic_prefix)
    partitions = known[topics.telemetry][0] if topics.telemetry in known else 12
    reports = create_topics(settings, topic_specs(topics, partitions, settings.output_names), dry_run=True)
    missing = [report.spec.name for report in reports if report.state is State.MISSING]
    if missing:
        yield Finding(
            "topics", Level.BROKEN, f"{', '.join(missing)} missing", "`autodeep topics create` makes them"
        )
    for report in reports:
        for one in report.differences:
            yield Finding(
                "topics",
                Level.WARNING,
                f"{report.spec.name}: {one.what} is {one.found}, we make it {one.wanted}",
                "alter it with Kafka's own tools, unless it is meant so",
            )
    if all(report.state is State.SAME for report in reports):
        yield Finding("topics", Level.GOOD, f"all {len(reports)} as we make them, {partitions} of telemetry")


def _workers(settings: Settings) -> Iterator[Finding]:
    telemetry = Topics(settings.topic_prefix).telemetry
    partitions = list_topics(settings, settings.topic_prefix).get(telemetry, (0, 0))[0]
    yield from rules.group(settings.group, kafka.members(settings), partitions)


def _telemetry(settings: Settings, apart_s: float) -> Iterator[Finding]:
    registry = registry_of(settings) if settings.schema_registry_url else None
    folder = settings.writer_schemas
    decoder = TelemetryDecoder(
        KDD99, load_folder(Path(folder)) if folder else (), registry, Limits(settings.device_id_max_bytes)
    )
    with kafka.Telemetry(settings, decoder) as telemetry:
        before = telemetry.places()
        time.sleep(apart_s)
        after = telemetry.places()
        yield from rules.progress(before, after, apart_s)
        yield from rules.event_times(telemetry.latest(after))


_ASKED: Final = (("INFO", "everything"), ("TIME",), ("DBSIZE",))


def _redis(settings: Settings) -> Iterator[Finding]:
    url, limit_s = settings.redis_url, settings.network_timeout_s
    with RedisWindows(
        WindowLayout(KDD99), url, settings.topic_prefix, 1, limit_s, settings.redis_ca_file
    ) as store:
        store.ping()
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
    identity = store.load(settings.model).identity
    yield Finding(
        "model store",
        Level.GOOD,
        f"{settings.model} is {identity.name}/{identity.version} ({identity.digest[:12]}), and loads",
    )
    if not settings.model_trust_key:
        yield Finding(
            "model store",
            Level.NOTE,
            "models of any origin are served",
            "AUTODEEP_MODEL_TRUST_KEY lets in those alone that you signed (docs/models.md)",
        )


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


def _certificates(settings: Settings) -> Iterator[Certificate]:
    limit_s = settings.network_timeout_s
    if settings.kafka_security.endswith("SSL"):
        for broker in kafka.brokers(settings):
            yield certificates.shown_by(broker.address, limit_s)
    for path in (settings.kafka_ca_file, settings.kafka_certificate_file, settings.redis_ca_file):
        if path:
            yield from certificates.in_file(path)
