"""`autodeep flows doctor TOPIC`: what only a live topic shows, in a bounded number of records."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from streams.cli.flows import app
from streams.client.flow_topics import TopicFacts, may_be_topic, shares
from streams.doctor.findings import Finding, Level
from streams.doctor.flow_topic_rules import topic_findings
from streams.embedded.kafka import Broker
from tests.conftest import MakeTopic
from tests.flow_samples import bytes_of, zeek

NOW_MS = 1_790_000_000_000
Look = Callable[..., Result]


@pytest.fixture
def look(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> Look:
    monkeypatch.setenv("AUTODEEP_KAFKA_SERVERS", kafka.bootstrap_servers)
    return lambda *words: CliRunner().invoke(app, ["doctor", *words])


def send(kafka: Broker, topic: str, values: Sequence[bytes], partitions: int, key: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for at, value in enumerate(values):
        producer.produce(topic, value, key, partition=at % partitions)
    assert producer.flush(30) == 0


def recent(count: int, late_s: float = 0.0) -> list[bytes]:
    """Connections that ended just now; with `late_s` each other one so much earlier."""
    now_s = time.time()
    return [
        bytes_of(
            zeek(ts=now_s - 2 - late_s * (at // 3 % 2), duration=1, uid=f"C{at}", **{"id.orig_p": 2000 + at})
        )
        for at in range(count)
    ]


def by_check(result: Result) -> dict[str, Any]:
    (report,) = json.loads(result.stdout)["files"]
    return {one["check"]: one for one in report["findings"]}


@pytest.mark.kafka
def test_the_last_records_of_a_topic_are_read_with_what_only_a_topic_shows(
    kafka: Broker, look: Look, new_topic: MakeTopic
) -> None:
    topic = new_topic(partitions=3, config={"message.timestamp.type": "LogAppendTime"})
    send(kafka, topic, [b"no record"] * 300, 3, None)
    send(kafka, topic, recent(90, late_s=60.0), 3, None)
    result = look(topic, "--last", "90", "--json")
    shown = by_check(result)
    assert "the last 90 of 390 records, in 3 partitions" in shown["topic"]["found"]
    assert "90 flows in 90 records: zeek 90" in shown["records"]["found"]
    assert shown["keys"]["found"].startswith("there are none")
    assert shown["partitions"]["level"] == "good"
    assert "timestamps" not in shown
    assert "48 of 90" not in shown["order"]["found"]
    assert "at most 60" in shown["order"]["found"]
    assert shown["delay"]["level"] == "good"
    assert result.exit_code == 0
    whole = look(topic)
    assert whole.exit_code == 5
    assert "300 of 390" in whole.stdout
    assert whole.stdout.splitlines()[0] == topic


@pytest.mark.kafka
def test_a_topic_of_one_key_and_of_its_writers_clock_is_named(
    kafka: Broker, look: Look, new_topic: MakeTopic
) -> None:
    topic = new_topic(partitions=4)
    send(kafka, topic, recent(120), 1, b"sensor-1")
    shown = by_check(look(topic, "--json"))
    assert shown["keys"]["level"] == "warning"
    assert "1 of 4 have had records; 100% of all" in shown["partitions"]["found"]
    assert "120 of 120 are their writers' own" in shown["timestamps"]["found"]


@pytest.mark.kafka
def test_a_topic_without_records_is_broken_and_one_that_is_not_there_is_named(
    look: Look, new_topic: MakeTopic
) -> None:
    topic = new_topic(partitions=40)
    empty = look(topic)
    assert empty.exit_code == 6
    assert "40 partitions, and no record in them" in empty.stdout
    absent = look(f"{topic}s")
    assert absent.exit_code == 1
    assert f"{topic}s is neither a file here nor a topic" in str(absent.exception)
    assert topic in str(absent.exception).partition("topics there")[2]


@pytest.mark.kafka
def test_a_topic_is_read_for_no_longer_than_said_however_fast_records_come(
    kafka: Broker, look: Look, new_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is what it was at the start."""
    topic = new_topic(partitions=1)
    send(kafka, topic, recent(10), 1, None)
    monkeypatch.setattr("time.monotonic", iter(range(0, 10**6, 100)).__next__)
    shown = by_check(look(topic, "--seconds", "50", "--json"))
    assert "none of which came in time" in shown["topic"]["found"]


def facts(bounds: Mapping[int, tuple[int, int]], **changed: Any) -> TopicFacts:
    return TopicFacts(bounds, **changed)


def level(found: Sequence[Finding], check: str) -> Level:
    return next(one.level for one in found if one.check == check)


def test_a_topic_that_has_fallen_silent_and_one_that_retention_emptied_are_told_apart() -> None:
    old = facts({0: (0, 9), 1: (0, 9)}, read=Counter({0: 9, 1: 9}), newest_ms=NOW_MS - 3_600_000, keyless=18)
    assert level(topic_findings("zeek", old, NOW_MS), "silence") is Level.WARNING
    gone = topic_findings("zeek", facts({0: (500, 500)}), NOW_MS)
    assert "retention has deleted all 500" in gone[0].found
    assert level(gone, "topic") is Level.BROKEN


def test_partitions_are_read_alike_and_more_of_the_long_where_others_are_short() -> None:
    assert shares({0: 5, 1: 100, 2: 100}, 65) == {0: 5, 1: 30, 2: 30}
    assert sum(shares(dict.fromkeys(range(200), 10**6), 10_000).values()) == 10_000
    assert sum(shares(dict.fromkeys(range(200), 3), 10_000).values()) == 600


def test_what_cannot_be_a_topic_is_a_file() -> None:
    assert may_be_topic("zeek.conn")
    assert not any(map(may_be_topic, ("logs/conn.log", "..", "", "a b")))
