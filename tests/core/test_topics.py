"""Topics are made as the table says, and those that differ are told; the broker's readiness and topic ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from streams.adapters.kafka.topics import (
    Difference,
    State,
    create_topics,
    list_topics,
    topic_id,
    topic_specs,
    touch_topics,
    wait_for_broker,
)
from streams.core.events import NO_TOPIC_ID
from streams.core.patience import BackOff
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.errors import BrokerUnavailable, SettingsError, Unavailable
from streams.settings import Settings

NOWHERE = Settings(kafka_servers="127.0.0.1:1", network_timeout_s=0.3)


@pytest.fixture
def settings(kafka: Broker) -> Settings:
    """Apache Kafka with a topic prefix of the test's own."""
    return Settings(kafka_servers=kafka.bootstrap_servers, topic_prefix=f"t{uuid.uuid4().hex[:10]}")


def test_every_topic_of_the_project_has_its_line_in_the_table() -> None:
    topics = Topics("x")
    named = {
        value
        for name in dir(Topics)
        if isinstance(getattr(Topics, name), property)
        for value in [getattr(topics, name)]
    }
    specs = {spec.name: spec for spec in topic_specs(topics, 24)}
    assert specs.keys() == named | set(topics.all_alerts())
    assert specs["x.telemetry"].partitions == 24
    assert dict(specs["x.models.active"].config) == {"cleanup.policy": "compact"}
    assert dict(specs["x.incidents"].config)["cleanup.policy"] == "compact,delete"
    assert int(dict(specs["x.dead-letters"].config)["max.message.bytes"]) > 1_048_588


@pytest.mark.kafka
def test_topics_are_made_once_and_found_the_same_afterwards(settings: Settings) -> None:
    specs = topic_specs(Topics(settings.topic_prefix), 5)
    assert {report.state for report in create_topics(settings, specs, dry_run=True)} == {State.MISSING}
    assert list_topics(settings, settings.topic_prefix) == {}
    assert {report.state for report in create_topics(settings, specs)} == {State.CREATED}
    assert {report.state for report in create_topics(settings, specs)} == {State.SAME}
    assert list_topics(settings, settings.topic_prefix) == {spec.name: (spec.partitions, 1) for spec in specs}


@pytest.mark.kafka
def test_what_differs_is_told_and_left_while_the_missing_ones_are_made(settings: Settings) -> None:
    topics = Topics(settings.topic_prefix)
    there = replace(topic_specs(topics, 3)[0], config=(("retention.ms", "1000"),))
    create_topics(settings, [there])
    reports = {report.spec.name: report for report in create_topics(settings, topic_specs(topics, 12))}
    telemetry = reports.pop(topics.telemetry)
    assert telemetry.state is State.DIFFERS
    assert telemetry.differences == (
        Difference("partitions", "12", "3"),
        Difference("retention.ms", "259200000", "1000"),
        Difference("message.timestamp.type", "LogAppendTime", "CreateTime"),
    )
    assert {report.state for report in reports.values()} == {State.CREATED}
    assert list_topics(settings, settings.topic_prefix)[topics.telemetry] == (3, 1)


@pytest.mark.kafka
def test_more_copies_than_brokers_are_refused_before_anything_is_made(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="there are 1"):
        create_topics(settings, topic_specs(Topics(settings.topic_prefix)), replication=3)
    assert list_topics(settings, settings.topic_prefix) == {}


@pytest.mark.kafka
def test_a_topic_made_again_has_another_id(settings: Settings) -> None:
    spec = topic_specs(Topics(settings.topic_prefix))[0]
    create_topics(settings, [spec])
    first = topic_id(settings, spec.name)
    assert first == topic_id(settings, spec.name) != NO_TOPIC_ID
    admin = AdminClient({"bootstrap.servers": settings.kafka_servers})
    admin.delete_topics([spec.name], operation_timeout=10)[spec.name].result(20)
    deadline_s = time.monotonic() + 20
    while list_topics(settings, settings.topic_prefix):
        assert time.monotonic() < deadline_s
    create_topics(settings, [spec])
    assert topic_id(settings, spec.name) not in {first, NO_TOPIC_ID}


@pytest.mark.kafka
def test_the_id_of_a_topic_that_is_not_there_is_no_id_but_an_error(settings: Settings) -> None:
    with pytest.raises(BrokerUnavailable, match="nowhere"):
        topic_id(settings, f"{settings.topic_prefix}.nowhere")


def test_the_mock_clusters_topics_have_no_id_and_appear_when_touched(mock_kafka: Broker) -> None:
    settings = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=f"t{uuid.uuid4().hex[:10]}")
    topics = Topics(settings.topic_prefix)
    touch_topics(settings, [topics.telemetry])
    assert topic_id(settings, topics.telemetry) == NO_TOPIC_ID
    assert list(list_topics(settings, settings.topic_prefix)) == [topics.telemetry]


def test_waiting_for_a_broker_tells_of_each_attempt_and_ends_when_told() -> None:
    said: list[str] = []
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return len(pauses) == 3

    def away(problem: Unavailable | None) -> None:
        said.append(str(problem))

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 \(AUTODEEP_KAFKA_SERVERS\)"):
        wait_for_broker(NOWHERE, BackOff(wait, away))
    assert len(said) == 3
    assert pauses == sorted(pauses)


@pytest.mark.kafka
def test_a_worker_waits_until_its_topics_are_there(settings: Settings) -> None:
    said: list[str | None] = []

    def wait(pause_s: float) -> bool:
        create_topics(settings, topic_specs(Topics(settings.topic_prefix)))
        return False

    tell = BackOff(wait, lambda problem: said.append(None if problem is None else str(problem)))
    wait_for_broker(settings, tell)
    assert said[-1] is None
    assert f"{settings.topic_prefix}.telemetry" in (said[0] or "")
    assert "autodeep topics create" in (said[0] or "")


def test_a_broker_that_is_not_there_is_named_with_its_setting() -> None:
    for ask in (
        lambda: create_topics(NOWHERE, topic_specs(Topics())),
        lambda: list_topics(NOWHERE, "ids"),
        lambda: topic_id(NOWHERE, "ids.telemetry"),
    ):
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 \(AUTODEEP_KAFKA_SERVERS\)"):
            ask()


def command(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AUTODEEP_KAFKA_SERVERS": settings.kafka_servers,
        "AUTODEEP_TOPIC_PREFIX": settings.topic_prefix,
    }
    return subprocess.run(
        [sys.executable, "-c", _TOPICS, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# The command alone, with the exit codes of streams.__main__.
_TOPICS = """
import sys
from streams.cli.topics import app
from streams.errors import AutodeepError
try:
    app()
except AutodeepError as exc:
    print(exc, file=sys.stderr)
    sys.exit(exc.exit_code)
"""


@pytest.mark.kafka
def test_the_command_says_what_differs_with_its_exit_code(settings: Settings) -> None:
    made = command(settings, "create", "--partitions", "2")
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("created") == len(topic_specs(Topics("any")))
    names = {spec.name for spec in topic_specs(Topics(settings.topic_prefix))}
    assert {line.split()[0] for line in made.stdout.splitlines()[1:]} == names  # off a terminal: whole
    again = command(settings, "create", "--json", "--partitions", "4")
    assert again.returncode == 4
    assert "kafka-topics" in again.stderr
    telemetry = json.loads(again.stdout)["topics"][f"{settings.topic_prefix}.telemetry"]
    assert telemetry["state"] == "differs"
    assert telemetry["differences"] == [{"what": "partitions", "wanted": "4", "found": "2"}]
    listed = json.loads(command(settings, "list", "--json").stdout)["topics"]
    assert listed[f"{settings.topic_prefix}.telemetry"] == {"partitions": 2, "replication": 1}
