"""OCSF, ECS and PagerDuty: whatever an alert or incident says, its document is one of that format."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from streams.codec.output import ecs, ocsf
from streams.codec.output.projections import FORMATS, Projection
from streams.codec.output.sizes import wire_bytes
from streams.core.alerts import Alert
from streams.core.attack import TECHNIQUES, techniques_of
from streams.core.events import Message
from streams.core.incidents import Activity, Incident
from streams.core.severity import BY_CLASS, Severity
from streams.core.topics import ATTACK_CLASSES, NOVEL, Topics
from tests.codec import ecs_fields
from tests.codec.test_codec_alerts import ALERT, ALERTS, RICH
from tests.codec.test_incidents import INCIDENT, INCIDENTS
from tests.codec.test_incidents import RICH as RICH_INCIDENT

ADDRESSES = st.ip_addresses().map(str) | st.sampled_from(["", "fe80::1%eth0", "::ffff:1.2.3.4", "1.2.3", "x"])
PORTS = st.integers(0, 70_000).map(str) | st.sampled_from(["", "-1", "²", "080", "99999999999"])
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "src_address": ADDRESSES, "dst_address": ADDRESSES, "src_port": PORTS, "dst_port": PORTS,
        "protocol": st.sampled_from(["tcp", "UDP", "icmp", "6", ""]),
    },
)  # fmt: skip
VERDICTS = st.sampled_from([*ATTACK_CLASSES, "c2", NOVEL, "another"])
SCORES = st.dictionaries(VERDICTS, st.floats(0, 1), max_size=6)
REAL_ALERTS = st.builds(
    dataclasses.replace, ALERTS, verdict=VERDICTS, scores=SCORES, context=st.none() | CONTEXTS
)
REAL_INCIDENTS = st.builds(dataclasses.replace, INCIDENTS, verdict=VERDICTS, context=st.none() | CONTEXTS)
NETWORK = {"src_address": "2001:db8::7", "src_port": "49152", "dst_address": "10.0.0.1", "protocol": "tcp"}
DOS = dataclasses.replace(
    RICH, verdict="dos", context={**NETWORK, "sensor": "hall é"}, incident_id=INCIDENT.incident_id
)


def of(name: str, *told: Alert | Incident) -> list[Message]:
    output = Projection(Topics(), name, "0.1.0")
    messages = []
    for one in told:
        messages += output.messages([one]) if isinstance(one, Alert) else output.incident_messages([one])
    return messages


def document(name: str, told: Alert | Incident) -> dict[str, Any]:
    [message] = of(name, told)
    read: dict[str, Any] = json.loads(message.value or b"")
    return read


@functools.cache
def detection_finding() -> Any:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.VERSION)).get_class_schema(
        "detection_finding"
    )
    return jsonschema.validators.validator_for(schema)(schema)


def ocsf_problems(found: dict[str, Any]) -> list[str]:
    """By the published schema, and what it cannot say: how the type follows from class and activity."""
    problems = [error.message for error in detection_finding().iter_errors(found)]
    if found.get("type_uid") != found.get("class_uid", 0) * 100 + found.get("activity_id", 0):
        problems.append("type_uid does not follow from class and activity")
    return problems


@settings(max_examples=40, deadline=None)
@given(told=REAL_ALERTS | REAL_INCIDENTS)
@example(told=ALERT)
@example(told=DOS)
@example(told=INCIDENT)
@example(told=RICH_INCIDENT)
def test_whatever_is_told_it_is_a_detection_finding_of_ocsf(told: Alert | Incident) -> None:
    assert ocsf_problems(document("ocsf", told)) == []


@settings(deadline=None)
@given(told=REAL_ALERTS | REAL_INCIDENTS)
@example(told=ALERT)
@example(told=DOS)
@example(told=INCIDENT)
@example(told=RICH_INCIDENT)
def test_whatever_is_told_it_is_an_event_of_ecs(told: Alert | Incident) -> None:
    assert ecs.VERSION == ecs_fields.VERSION
    assert ecs_fields.problems(document("ecs", told)) == []


def changed(found: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """With another value at a path; without it where the value is None."""
    whole = copy.deepcopy(found)
    *parts, last = path.split("/")
    inner: Any = whole
    for part in parts:
        inner = inner[int(part) if part.isdigit() else part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("severity_id", 7), ("severity_id", "High"), ("severity_id", None), ("category_uid", 3),
        ("class_uid", 2005), ("activity_id", 4), ("type_uid", 200402), ("time", "2026-01-31"),
        ("time", None), ("metadata", None), ("metadata/version", None), ("metadata/product", None),
        ("finding_info", None), ("finding_info/uid", None), ("finding_info/analytic/type_id", None),
        ("finding_info/attacks/0/technique", "T1498"), ("device/type_id", 70), ("device/uid", None),
        ("evidences/0/src_endpoint/ip", "1.2.3"), ("evidences/0/src_endpoint", {}), ("colour", "red"),
        ("status_id", 7), ("is_alert", "yes"), ("count", 1.5),
    ],
)  # fmt: skip
def test_a_finding_that_is_not_as_ocsf_has_it_is_noticed(path: str, value: Any) -> None:
    assert ocsf_problems(changed(document("ocsf", DOS), path, value)) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("@timestamp", None), ("@timestamp", 1_700_000_000_000), ("ecs/version", None),
        ("event/category", ["intrusion"]), ("event/category", "network"), ("event/type", ["start"]),
        ("event/id", None), ("event/severity", "high"), ("event/risk_score", "73"), ("event/kind", "alarm"),
        ("event/created", "now"),
        ("source/ip", "1.2.3"), ("source/port", "80"), ("threat/technique/id", "T1498"), ("colour", "red"),
        ("rule/severity", "high"),
    ],
)  # fmt: skip
def test_an_event_that_is_not_as_ecs_has_it_is_noticed(path: str, value: Any) -> None:
    assert ecs_fields.problems(changed(document("ecs", DOS), path, value)) != []


def test_an_alert_in_ocsf() -> None:
    found = document("ocsf", DOS)
    assert (found["type_uid"], found["severity_id"], found["severity"]) == (200401, 3, "Medium")
    assert (found["time"], found["is_alert"], found["confidence_score"]) == (1_700_000_000_000, True, 75)
    assert found["finding_info"]["uid"] == found["metadata"]["uid"] == DOS.alert_id
    assert found["metadata"]["correlation_uid"] == INCIDENT.incident_id
    assert found["device"] == {"uid": "caméra-1", "type_id": 7, "type": "IOT"}
    assert found["finding_info"]["analytic"]["type_id"] == 4
    [evidence] = found["evidences"]
    assert evidence == {
        "src_endpoint": {"ip": "2001:db8::7", "port": 49152},
        "dst_endpoint": {"ip": "10.0.0.1"},
    }
    assert {one["technique"]["uid"] for one in found["finding_info"]["attacks"]} == {
        "T1498",
        "T1499",
        "T0814",
    }
    assert {one["version"] for one in found["finding_info"]["attacks"]} == {"18.1"}


@pytest.mark.parametrize(
    ("activity", "type_uid", "status_id"),
    [(Activity.OPEN, 200401, 1), (Activity.UPDATE, 200402, 2), (Activity.CLOSE, 200403, 4)],
)
def test_an_incidents_revisions_in_ocsf(activity: Activity, type_uid: int, status_id: int) -> None:
    found = document("ocsf", dataclasses.replace(INCIDENT, activity=activity))
    assert (found["type_uid"], found["status_id"], found["count"]) == (type_uid, status_id, 4)
    assert found["finding_info"]["uid"] == found["metadata"]["correlation_uid"] == INCIDENT.incident_id
    assert found["metadata"]["uid"] == f"{INCIDENT.incident_id}/3"
    info = found["finding_info"]
    assert info["created_time"] == info["first_seen_time"] < info["modified_time"] == found["time"]
    assert [one["uid"] for one in found["finding_info"]["related_events"]] == [ALERT.alert_id, "w", "l"]


def test_an_alert_and_an_incident_in_ecs() -> None:
    found = document("ecs", DOS)
    assert found["@timestamp"] == "2023-11-14T22:13:20.000000Z"
    assert (found["event"]["severity"], found["event"]["risk_score"]) == (3, 47.0)
    assert found["source"] == {"ip": "2001:db8::7", "address": "2001:db8::7", "port": 49152}
    assert found["network"] == {"transport": "tcp"}
    assert found["threat"]["tactic"]["id"] == ["TA0040", "TA0107"]
    assert (found["autodeep"]["incident_id"], found["autodeep"]["severity"]) == (
        INCIDENT.incident_id,
        "medium",
    )
    told = document("ecs", INCIDENT)
    assert (told["event"]["action"], told["event"]["sequence"]) == ("update", 3)
    assert (told["event"]["dataset"], told["autodeep"]["alerts"]) == ("autodeep.incident", 4)


@pytest.mark.parametrize("name", ["ocsf", "ecs"])
def test_what_is_novel_names_no_technique(name: str) -> None:
    text = json.dumps(document(name, ALERT))
    assert ALERT.verdict == NOVEL
    assert "attack.mitre.org" not in text
    assert "confidence_score" not in text


def test_each_class_of_attack_but_novel_has_techniques_of_either_matrix() -> None:
    assert set(TECHNIQUES) == set(BY_CLASS) - {NOVEL}
    assert techniques_of(NOVEL) == techniques_of("another") == ()
    for one in (technique for found in TECHNIQUES.values() for technique in found):
        is_ics = one.uid.startswith("T0")
        assert one.tactic.uid.startswith("TA01" if is_ics else "TA00")
        assert one.url == f"https://attack.mitre.org/techniques/{one.uid}/"


@pytest.mark.parametrize(
    ("activity", "severity", "action", "word"),
    [
        (Activity.OPEN, Severity.CRITICAL, "trigger", "critical"),
        (Activity.UPDATE, Severity.HIGH, "trigger", "error"),
        (Activity.CLOSE, Severity.LOW, "resolve", "info"),
    ],
)
def test_pagerduty_is_told_of_incidents_by_one_key(
    activity: Activity, severity: Severity, action: str, word: str
) -> None:
    told = document("pagerduty", dataclasses.replace(INCIDENT, activity=activity, severity=severity))
    assert (told["event_action"], told["dedup_key"]) == (action, INCIDENT.incident_id)
    assert (told["payload"]["severity"], told["payload"]["source"]) == (word, INCIDENT.device_id)
    long = dataclasses.replace(INCIDENT, device_id="d" * 2000)
    assert len(document("pagerduty", long)["payload"]["summary"]) == 1024
    assert of("pagerduty", DOS) == []


@pytest.mark.parametrize("name", ["ocsf", "ecs"])
def test_documents_are_keyed_by_what_a_store_upserts_by_and_say_what_they_are(name: str) -> None:
    later = dataclasses.replace(INCIDENT, revision=4, activity=Activity.CLOSE)
    messages = of(name, DOS, DOS, INCIDENT, later)
    assert {message.topic for message in messages} == {f"ids.{name}"}
    ids = [DOS.alert_id] * 2 + [INCIDENT.incident_id] * 2
    assert [message.key for message in messages] == [one.encode() for one in ids]
    headers = dict(messages[-1].headers)
    assert (headers["content-type"], headers["class"]) == (b"application/json", b"dos")
    assert (headers["ce_type"], headers["ce_id"]) == (
        b"autodeep.ids.incident.close",
        f"{INCIDENT.incident_id}/4".encode(),
    )
    assert headers["ce_dataschema"] == FORMATS[name].schema.encode()
    assert of(name, dataclasses.replace(ALERT, verdict="normal")) == []


def test_a_deployments_severities_hold_in_every_format() -> None:
    by_class = {"dos": Severity.CRITICAL}
    sure = dataclasses.replace(DOS, scores={"dos": 0.9})
    [message] = Projection(Topics(), "ecs", by_class=by_class).messages([sure])
    assert json.loads(message.value or b"")["event"]["severity"] == 5
    assert dict(message.headers)["severity"] == b"critical"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("told", [DOS, RICH_INCIDENT])
def test_of_each_format_the_explanation_goes_first_then_the_context_and_never_the_rest(
    name: str, told: Alert | Incident
) -> None:
    if isinstance(told, Alert) and not FORMATS[name].with_alerts:
        return
    output = Projection(Topics(), name, "0.1.0")
    [whole] = of(name, told)
    checks: dict[str, Callable[[dict[str, Any]], list[str]]] = {
        "ocsf": ocsf_problems,
        "ecs": ecs_fields.problems,
    }
    first = output.shorter(whole, wire_bytes(whole) - 1)
    assert first is not None
    assert first.without == ("explanation",)
    second = output.shorter(whole, wire_bytes(first.message) - 1)
    assert second is not None
    assert second.without == ("explanation", "context")
    assert output.shorter(second.message, 10) is None
    for less in (first, second):
        assert less.message.headers == whole.headers
        assert checks.get(name, lambda found: [])(json.loads(less.message.value or b"")) == []


def test_a_number_that_json_has_not_is_refused() -> None:
    for name in ("ocsf", "ecs"):
        with pytest.raises(ValueError, match="JSON"):
            of(name, dataclasses.replace(DOS, novelty=math.inf))


def test_a_message_begins_with_what_happened() -> None:
    alert, incident = (dataclasses.replace(one, reasons=("12 hosts failed", "b")) for one in (DOS, INCIDENT))
    assert "12 hosts failed; probability" in json.loads(of("ecs", alert)[0].value or b"")["message"]
    assert json.loads(of("ecs", incident)[0].value or b"")["message"].endswith("; 12 hosts failed")
