"""`autodeep doctor` on a sound deployment, and on the same one with one thing at a time broken."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.codec.ingest.connections import encode_connections
from streams.core.kdd99 import KDD99
from streams.doctor.examine import examine
from streams.doctor.findings import Finding, Level, exit_code
from streams.embedded.certificates import Authority
from streams.embedded.kafka import Broker
from streams.embedded.redis import RedisServer
from streams.embedded.workers import WorkerProcess
from tests.path import TestedPath, path
from tests.pipeline.test_dead_letters_path import good_rows

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

APART_S = 1.0


@dataclass(frozen=True)
class Deployment:
    tested: TestedPath
    worker: WorkerProcess
    redis: Any
    admin: AdminClient

    def examined(self, **settings: Any) -> list[Finding]:
        return examine(replace(self.tested.settings, **settings), APART_S, lambda name: None)

    def broken(self, **settings: Any) -> dict[str, str]:
        """What is worse than good, by check: level, what was found and the advice."""
        return {
            one.check: f"{one.level.name}: {one.found} -> {one.advice}"
            for one in sorted(self.examined(**settings), key=lambda one: one.level)
            if one.level >= Level.WARNING
        }

    def configure(self, topic: str, name: str, value: str | None) -> None:
        what = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        entry = ConfigEntry(name, value or "", incremental_operation=what)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result(timeout=10)

    def send(self, event_time_us: int, device: str = "a") -> None:
        (value,) = encode_connections(KDD99, [device], [event_time_us], good_rows(1))
        self.tested.send([(device.encode(), value)])


@pytest.fixture(scope="module")
def sound(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("doctor")
    durable = ("--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction")
    with RedisServer(durable) as server, path(kafka.bootstrap_servers, server.url, folder) as tested:
        worker = tested.worker()
        worker.wait_ready()
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
        yield Deployment(tested, worker, redis.Redis.from_url(server.url), admin)


def now_us() -> int:
    return int(datetime.datetime.now(datetime.UTC).timestamp() * 1e6)


def test_a_sound_deployment_is_sound(sound: Deployment) -> None:
    sound.send(now_us())
    findings = sound.examined()
    assert exit_code(findings) == 0, findings
    checks = {finding.check for finding in findings}
    assert {"brokers", "rights", "topics", "workers", "lag", "redis", "model store", "models"} <= checks


def test_the_command_prints_a_table_or_one_object_and_ends_by_the_worst(sound: Deployment) -> None:
    command = [sys.executable, "-m", "streams", "doctor", "--seconds", "1"]
    environment = {**os.environ, **sound.tested.environment}
    printed = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert printed.returncode == 0, printed.stdout
    assert "4 partitions, 1 of 1 workers read them" in printed.stdout
    lost = {**environment, "AUTODEEP_REDIS_URL": "redis://me:secret@127.0.0.1:1/0"}
    printed = subprocess.run(
        [*command, "--json"], env=lost, check=False, capture_output=True, text=True, timeout=120
    )
    assert printed.returncode == 6
    assert json.loads(printed.stdout)["worst"] == "broken"
    assert "secret" not in printed.stdout + printed.stderr


@pytest.mark.parametrize(
    ("settings", "check", "said"),
    [
        ({"kafka_servers": "127.0.0.1:1", "network_timeout_s": 0.5}, "brokers", "127.0.0.1:1"),
        ({"redis_url": "redis://127.0.0.1:1/0"}, "redis", "127.0.0.1:1"),
        ({"schema_registry_url": "http://127.0.0.1:1"}, "registry", "127.0.0.1:1"),
        ({"model": "kdd99/none"}, "model store", "kdd99/none"),
        ({"operating_point": "nope"}, "model store", "has no operating point 'nope'"),
        ({"severities": "foo=bar"}, "settings", "foo=bar"),
        ({"flow_topics": "zeek", "flow_dialect": "klingon"}, "settings", "'klingon' is no dialect"),
        ({"flow_topics": "zeek", "home_networks": "banana"}, "settings", "AUTODEEP_HOME_NETWORKS"),
        ({"flow_topics": "zeek"}, "topics", "zeek missing (AUTODEEP_FLOW_TOPICS)"),
        ({"flow_topics": "zeek", "flow_operating_point": "nope"}, "model store", "flows/"),
        ({"topic_prefix": "nobodys"}, "topics", "autodeep topics create"),
        ({"group": "nobodys"}, "workers", "no worker is in group nobodys"),
        ({"group": "nobodys"}, "redis windows", "workers of nobodys do not start"),
    ],
)
def test_what_is_not_there_is_named(
    sound: Deployment, settings: Mapping[str, Any], check: str, said: str
) -> None:
    found = sound.broken(**settings)[check]
    assert found.startswith("BROKEN")
    assert said in found


def test_a_kafka_that_is_away_is_one_finding(sound: Deployment) -> None:
    found = sound.examined(kafka_servers="127.0.0.1:1", network_timeout_s=0.5)
    assert [one.check for one in found if "127.0.0.1:1" in one.found] == ["brokers"]
    assert {"redis", "model store"} <= {one.check for one in found}


def test_another_database_than_the_workers_have_is_named(sound: Deployment) -> None:
    other = sound.tested.settings.redis_url.replace("/0", "/3")
    assert "AUTODEEP_REDIS_URL" in sound.broken(redis_url=other)["redis windows"]


def test_an_evicting_redis_is_named(sound: Deployment) -> None:
    sound.redis.config_set("maxmemory-policy", "volatile-lru")
    try:
        assert "noeviction" in sound.broken()["redis eviction"]
    finally:
        sound.redis.config_set("maxmemory-policy", "noeviction")


def test_a_redis_that_forgets_at_a_restart_is_named(sound: Deployment) -> None:
    sound.redis.config_set("appendonly", "no")
    try:
        assert "append-only" in sound.broken()["redis persistence"]
    finally:
        sound.redis.config_set("appendonly", "yes")


def test_a_topic_that_differs_is_named(sound: Deployment) -> None:
    topic = sound.tested.topics.dead_letters
    sound.configure(topic, "retention.ms", "1000")
    try:
        assert f"{topic}: retention.ms is 1000" in sound.broken()["topics"]
    finally:
        sound.configure(topic, "retention.ms", str(30 * 86_400_000))


def test_a_worker_that_stands_still_is_named(sound: Deployment) -> None:
    os.kill(sound.worker.pid, signal.SIGSTOP)
    try:
        sound.send(now_us() + 1, "b")
        assert "stand still" in sound.broken()["lag"]
    finally:
        os.kill(sound.worker.pid, signal.SIGCONT)


def test_event_times_in_milliseconds_are_named(sound: Deployment) -> None:
    sound.send(now_us() // 1000, "c")
    try:
        assert "looks like milliseconds" in sound.broken()["event times"]
    finally:
        sound.send(now_us(), "c")


def test_a_certificate_that_has_expired_is_named(sound: Deployment, tmp_path: Path) -> None:
    expired = Authority(tmp_path).issue("old", datetime.timedelta(hours=-1))
    found = sound.broken(kafka_certificate_file=str(expired.chain_file))["certificates"]
    assert "has expired" in found


def test_a_missing_topic_of_models_is_named(sound: Deployment) -> None:
    topic = sound.tested.topics.disagreements
    for future in sound.admin.delete_topics([topic]).values():
        future.result(timeout=10)
    try:
        assert f"{topic} missing" in sound.broken()["topics"]
    finally:
        for future in sound.admin.create_topics([NewTopic(topic, 6, 1)]).values():
            future.result(timeout=10)
