"""Incidents on Apache Kafka and Redis: those of the plain rule, though a worker was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message

from bench.faults.judge_incidents import Told, expected, gaps
from streams.adapters.kafka.topics import topic_id
from streams.client.incidents import IncidentReader
from streams.codec.ingest.connections import encode_connections
from streams.codec.output.alerts import decode_alert
from streams.codec.output.incidents import decode_incident
from streams.core.alerts import Alert
from streams.core.clocks import counted_time_us
from streams.core.events import Source
from streams.core.incidents import Activity, Incident
from streams.core.kdd99 import KDD99
from streams.core.severity import severity_of
from streams.core.topics import NORMAL
from streams.embedded.kafka import Broker
from streams.worker.path import incident_rules
from tests.path import TestedPath, path

PARTITIONS = 4


def telemetry(events: int, devices: int, seed: int) -> list[tuple[bytes, bytes]]:
    rows = np.zeros(events, KDD99.row)
    rng = np.random.default_rng(seed)
    rows["numbers"][:, KDD99.numeric_names.index("src_bytes")] = rng.integers(0, 3000, events)
    rows["numbers"][:, KDD99.numeric_names.index("count")] = rng.integers(0, 511, events)
    rows["codes"] = rng.integers(0, 4, (events, 3))
    names = [f"d{i % devices:02d}" for i in range(events)]
    times_us = 1_700_000_000_000_000 + np.arange(events) * 1000 + seed * 600_000_000
    values = encode_connections(KDD99, names, times_us, rows)
    return [(name.encode(), value) for name, value in zip(names, values, strict=True)]


def send(tested: TestedPath, records: list[tuple[bytes, bytes]]) -> None:
    for partition in range(PARTITIONS):
        mine = [record for record in records if int(record[0][1:]) % PARTITIONS == partition]
        tested.send(mine, partition)


def judged(messages: list[Message]) -> int:
    return len({(alert.partition, alert.offset) for alert in map(decode, messages)})


def distinct(messages: list[Message]) -> set[tuple[str, int]]:
    found = (decode_incident(message.value(), message.headers()) for message in messages)
    return {(one.incident_id, one.revision) for one in found}


def decode(message: Message) -> Alert:
    return decode_alert(message.value())


def plain(tested: TestedPath, partition: int, input_: list[Message], alerts: list[Alert]) -> list[Incident]:
    """By the rule that keeps every alert, from Kafka's own timestamps."""
    rules = incident_rules(tested.settings)
    assert rules is not None
    records = [one for one in input_ if one.partition() == partition]
    records.sort(key=lambda one: one.offset() or 0)
    kafka_us = {one.offset(): one.timestamp()[1] * 1000 for one in records}
    seen = Counter[bytes]()
    numbers = {}
    for one in records:
        numbers[one.offset()] = seen[one.key() or b""]
        seen[one.key() or b""] += 1
    told = {
        alert.offset: Told(
            offset=alert.offset,
            device_id=alert.device_id,
            verdict=alert.verdict,
            event_us=alert.event_time_us,
            counted_us=counted_time_us(alert.event_time_us, kafka_us[alert.offset]),
            score=alert.scores.get(alert.verdict, 0.0),
            novelty=alert.novelty,
            severity=severity_of(alert.verdict, alert.scores),
            fill=min(numbers[alert.offset] + 1, 16),
            number=numbers[alert.offset],
            model=f"{alert.model_name}/{alert.model_version}",
        )
        for alert in alerts
        if alert.partition == partition
    }
    source = Source(tested.topics.telemetry, topic_id(tested.settings, tested.topics.telemetry), partition)
    places = [(one.offset() or 0, one.timestamp()[1]) for one in records]
    found = expected(source, places, told, rules)
    assert {
        alert.offset: alert.incident_id for alert in alerts if alert.partition == partition
    } == found.links
    return found.incidents


def unexplained(incident: Incident) -> Incident:
    assert incident.explanation is not None
    return replace(incident, explanation=None)


@pytest.mark.kafka
@pytest.mark.redis
def test_a_worker_killed_in_mid_stream_tells_the_incidents_of_the_plain_rule(
    kafka: Broker, redis_url: str, tmp_path: Path
) -> None:
    asked = {"chunk_max_records": "64", "incident_quiet_s": "1", "incident_reopen_s": "300"}
    first, second = telemetry(2000, 40, seed=3), telemetry(400, 40, seed=4)
    with path(
        kafka.bootstrap_servers, redis_url, tmp_path, PARTITIONS, **asked, incident_explain_share="1"
    ) as tested:
        doomed, survivor = tested.worker(), tested.worker()
        doomed.wait_ready()
        survivor.wait_ready()
        topics = tested.topics
        send(tested, first)
        tested.read([topics.classified], lambda found: len(found) >= 500)
        doomed.signal(signal.SIGKILL)
        tested.read([topics.classified], lambda found: judged(found) >= len(first))
        send(tested, second)  # more than a second later: what was quiet ends, or goes on
        everything = len(first) + len(second)
        said = tested.read([topics.classified], lambda found: judged(found) >= everything)
        input_ = tested.read([topics.telemetry], lambda found: len(found) == everything)
        alerts = [alert for alert in map(decode, said) if alert.verdict != NORMAL]
        alerts = list({alert.alert_id: alert for alert in alerts}.values())
        wanted = [one for number in range(PARTITIONS) for one in plain(tested, number, input_, alerts)]
        raw = tested.read([topics.incidents], lambda found: len(distinct(found)) >= len(wanted))
        assert list(gaps([decode_incident(one.value(), one.headers()) for one in raw])) == []
        with IncidentReader(tested.settings) as reader:
            published = list(reader.revisions("beginning", follow=False))
        assert survivor.exit_code is None
        assert {one.activity for one in published} == set(Activity)
        by_key = {(one.incident_id, one.revision): unexplained(one) for one in published}
        assert by_key == {(one.incident_id, one.revision): one for one in wanted}
        shown = subprocess.run(
            [sys.executable, "-m", "streams", "incidents", "list"],
            env={**os.environ, **tested.environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(shown.stdout.splitlines()) == 1 + len({one.incident_id for one in wanted})
