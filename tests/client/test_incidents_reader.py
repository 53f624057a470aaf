"""The reader of incidents and `autodeep incidents`: each revision once, whatever stands on the topic."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, replace

import pytest

from streams.adapters.kafka.publisher import KafkaPublisher
from streams.adapters.kafka.topics import touch_topics
from streams.client.incidents import IncidentReader, Revisions, state_of
from streams.codec.output.incidents import encode_incident
from streams.core.alerts import Driver, Explanation
from streams.core.events import Message
from streams.core.incidents import Activity, Incident
from streams.core.severity import Severity
from streams.core.topics import Topics
from streams.embedded.kafka import Broker
from streams.settings import Settings
from tests.path import named

NIGHT = 4_000_000_000_000_000
"""Far ahead: what expires then is open."""


def incident(name: str, revision: int = 1, **changed: object) -> Incident:
    activity = Activity.OPEN if revision == 1 else Activity.UPDATE
    made = Incident(
        incident_id=str(uuid.uuid5(uuid.NAMESPACE_OID, name)), revision=revision, activity=activity,
        device_id=name, verdict="dos", severity=Severity.HIGH, alerts=2 ** (revision - 1),
        first_event_us=1_700_000_000_000_000, last_event_us=1_700_000_001_000_000 + revision,
        changed_at_us=1_700_000_002_000_000 + revision, expires_at_us=NIGHT, worst_score=0.99,
        worst_novelty=1.5, first_alert_id="f", worst_alert_id="w", last_alert_id="l",
        models=("kdd99/9",), topic="ids.telemetry", topic_id=str(uuid.UUID(int=7)), partition=2, offset=9,
        explanation=Explanation((Driver("count", "255", 0.25, "0..511", "1..27"),), (0.5,)),
        context={"src_address": "::1"}, reasons=("12 hosts [b]failed[/b] on port 23",),
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]


def closed(name: str, revision: int) -> Incident:
    return incident(name, revision, activity=Activity.CLOSE, closed_because="quiet")


@dataclass
class Stage:
    settings: Settings

    def publish(self, *incidents: Incident) -> None:
        self.raw(*[(one.incident_id.encode(), encode_incident(one, "json")) for one in incidents])

    def raw(self, *records: tuple[bytes | None, bytes | None]) -> None:
        topic = Topics(self.settings.topic_prefix).incidents
        with KafkaPublisher(self.settings) as publisher:
            publisher.publish([Message(topic, key, value) for key, value in records])

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "kafka_servers": self.settings.kafka_servers, "topic_prefix": self.settings.topic_prefix,
            "network_timeout_s": "10",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-m", "streams", "incidents", *arguments],
            env={**os.environ, **named(settings), **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def stage(mock_kafka: Broker) -> Stage:
    prefix = f"t{uuid.uuid4().hex[:10]}"
    settings = Settings(kafka_servers=mock_kafka.bootstrap_servers, topic_prefix=prefix, network_timeout_s=10)
    touch_topics(settings, [Topics(prefix).incidents])
    return Stage(settings)


def test_a_revision_comes_once_and_never_an_older_one_after_a_newer(stage: Stage) -> None:
    a, b = [incident("a", number) for number in (1, 2, 3)], incident("b")
    stage.publish(a[0], b, a[1], a[0], a[1], b, a[2])
    with IncidentReader(stage.settings) as reader:
        found = list(reader.revisions("beginning", follow=False))
    assert [one for one in found if one.device_id == "a"] == a
    assert [one for one in found if one.device_id == "b"] == [b]


def test_an_incident_stands_as_its_last_revision_has_it(stage: Stage) -> None:
    stage.publish(incident("a"), incident("a", 2), closed("b", 3), incident("a"))
    with IncidentReader(stage.settings) as reader:
        found = reader.standing()
    assert {one.device_id: one for one in found.values()} == {"a": incident("a", 2), "b": closed("b", 3)}


def test_what_somebody_else_wrote_is_passed_over_with_one_line_and_counted(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    good = incident("a")
    fields = json.loads(encode_incident(good, "json"))
    strange: list[tuple[bytes | None, bytes | None]] = [
        (b"k", None), (b"k", b""), (b"k", b"{"), (b"k", b"[1]"), (b"k", b'"text"'), (b"k", b"\xff\x00"),
        (b"k", b"[" * 100_000), (b"k", encode_incident(good, "json")), (None, encode_incident(good, "json")),
    ]  # fmt: skip
    for name, value in (
        ("alerts", "5"), ("alerts", True), ("alerts", 2**63), ("severity", 9), ("activity", "begin"),
        ("models", "kdd99"), ("context", {"a": 1}), ("context", []), ("worst_score", None),
        ("explanation", 5), ("explanation", {"features": [1], "events": []}), ("device_id", "\ud800"),
    ):  # fmt: skip
        strange.append((good.incident_id.encode(), json.dumps({**fields, name: value}).encode()))
    stage.raw(*strange)
    stage.publish(good)
    with IncidentReader(stage.settings) as reader:
        assert list(reader.revisions("beginning", follow=False)) == [good]
        assert reader.strangers == len(strange)
    assert len([one for one in caplog.records if one.name == "autodeep.incidents"]) == 1


def test_the_incidents_changed_longest_ago_are_forgotten_first() -> None:
    known = Revisions(most=2)
    a, b, c = incident("a"), incident("b"), incident("c")
    assert [known.is_new(one) for one in (a, b, a, incident("a", 2), c)] == [True, True, False, True, True]
    assert [known.is_new(one) for one in (incident("a", 2), c, b)] == [False, False, True]


def test_one_whose_partition_fell_silent_has_expired() -> None:
    one = incident("a", expires_at_us=5)
    assert [state_of(one, now_us) for now_us in (4, 5, 6)] == ["open", "open", "expired"]
    assert state_of(replace(closed("a", 2), expires_at_us=5), 9) == "closed"


NASTY = ("<script>alert(1)</script>", "\u202emac\u2066", "x" * 256, "a\x1b[2J\nb")


def test_incidents_are_listed_for_people_whatever_devices_call_themselves(stage: Stage) -> None:
    stage.publish(*[incident(name) for name in NASTY], closed("done", 2), incident("old", expires_at_us=9))
    stage.raw((b"k", b"somebody else's"))
    every, still = stage.run("list"), stage.run("list", "--open")
    assert (every.returncode, still.returncode) == (0, 0), every.stderr
    assert "1 records on the topic are no incidents" in every.stdout
    for text in (every.stdout, every.stderr):
        assert not any(sign in text for sign in ("\u202e", "\u2066", "\x1b"))
    rows = every.stdout.splitlines()[2:]
    assert len(rows) == 6
    assert sorted(row.split()[0] for row in rows) == ["closed", "expired", "open", "open", "open", "open"]
    assert "<script>alert(1)</script>" in every.stdout
    assert "x" * 256 in every.stdout
    assert len(still.stdout.splitlines()) == 2 + 4


def test_one_incident_is_shown_with_what_drove_its_worst_alert(stage: Stage) -> None:
    one = incident("cam \u202e1", 3)
    stage.publish(one, incident("other"))
    shown = stage.run("show", one.incident_id[:8])
    assert shown.returncode == 0, shown.stderr
    assert "\u202e" not in shown.stdout
    for text in (
        one.incident_id,
        "open, revision 3",
        "dos, severity high",
        "count",
        "25.0%",
        "::1",
        "kdd99/9",
        "12 hosts [b]failed[/b] on port 23",
    ):
        assert text in shown.stdout
    assert json.loads(stage.run("show", one.incident_id, "--json").stdout)["alerts"] == 4
    unknown = stage.run("show", "0" * 8)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)


def test_the_tail_is_one_line_a_revision_or_one_object(stage: Stage) -> None:
    stage.publish(incident(NASTY[3]), incident(NASTY[3], 2), incident("p", verdict="probe"))
    lines = stage.run("tail", "--since", "beginning", "--no-follow").stdout.splitlines()
    assert len(lines) == 3
    asked = stage.run("tail", "--since", "beginning", "--max", "1", "--class", "probe", "--json").stdout
    assert asked.isascii()
    assert json.loads(asked)["verdict"] == "probe"
    unknown = stage.run("tail", "--class", "doss")
    assert unknown.returncode == 2
    assert "--class doss: expected some of" in unknown.stderr


def test_a_number_that_json_does_not_have_is_null(stage: Stage) -> None:
    one = replace(incident("cam"), worst_score=math.nan, worst_novelty=math.inf)
    stage.raw((one.incident_id.encode(), encode_incident(one, "avro")))
    for command in (("list",), ("tail", "--since", "beginning", "--no-follow")):
        fields = json.loads(stage.run(*command, "--json").stdout, parse_constant=pytest.fail)
        assert (fields["worst_score"], fields["worst_novelty"]) == (None, None)
