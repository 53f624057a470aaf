"""Incidents as bytes: each form, read back; and the messages of incidents and alerts with their headers."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.avro import schemas
from streams.codec.output.alerts import AlertFormat, AlertOutput, decode_alert
from streams.codec.output.forms import json_names
from streams.codec.output.incidents import IncidentUnreadable, decode_incident, encode_incident
from streams.codec.output.sizes import wire_bytes
from streams.codec.times import rfc3339
from streams.core.alerts import Driver, Explanation
from streams.core.incidents import Activity, Incident
from streams.core.severity import Severity
from streams.core.topics import Topics
from tests.codec.test_codec_alerts import ALERT, INTS, LONGS, NUMBERS, TEXT, TIMES
from tests.codec.test_codec_alerts import RICH as RICH_ALERT

INCIDENTS = st.builds(
    Incident,
    incident_id=TEXT,
    revision=INTS,
    activity=st.sampled_from(Activity),
    device_id=TEXT,
    verdict=TEXT,
    severity=st.sampled_from(Severity),
    alerts=LONGS,
    first_event_us=TIMES,
    last_event_us=TIMES,
    changed_at_us=TIMES,
    expires_at_us=TIMES,
    worst_score=NUMBERS,
    worst_novelty=NUMBERS,
    first_alert_id=TEXT,
    worst_alert_id=TEXT,
    last_alert_id=TEXT,
    models=st.lists(TEXT, max_size=3).map(tuple),
    topic=TEXT,
    topic_id=TEXT,
    partition=INTS,
    offset=LONGS,
    closed_because=st.none() | TEXT,
    explanation=st.none()
    | st.builds(
        Explanation,
        features=st.lists(
            st.builds(Driver, feature=TEXT, value=TEXT, share=NUMBERS, usual=TEXT, normal=TEXT), max_size=3
        ).map(tuple),
        events=st.lists(NUMBERS, max_size=3).map(tuple),
    ),
    context=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    reasons=st.lists(TEXT, max_size=3).map(tuple),
)
INCIDENT = Incident(
    incident_id="5f1c0a52-7a0d-5f0e-9d0b-6f7d3f0f8a11",
    revision=3,
    activity=Activity.UPDATE,
    device_id="caméra-1",
    verdict="dos",
    severity=Severity.HIGH,
    alerts=4,
    first_event_us=1_700_000_000_000_000,
    last_event_us=1_700_000_009_000_000,
    changed_at_us=1_700_000_009_500_000,
    expires_at_us=1_700_000_909_000_000,
    worst_score=0.98,
    worst_novelty=0.4,
    first_alert_id=ALERT.alert_id,
    worst_alert_id="w",
    last_alert_id="l",
    models=("kdd99/1", "kdd99/2"),
    topic="ids.telemetry",
    topic_id=ALERT.topic_id,
    partition=3,
    offset=45,
)
RICH = dataclasses.replace(
    INCIDENT, explanation=RICH_ALERT.explanation, context=RICH_ALERT.context, closed_because="quiet"
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FORMS: list[tuple[AlertFormat, int | None, bytes]] = [
    ("json", None, b"application/json"),
    ("avro", None, b"application/avro; framing=single-object"),
    ("avro", 5, b"application/avro; framing=confluent"),
]


@given(incident=INCIDENTS)
def test_an_incident_comes_back_from_each_form(incident: Incident) -> None:
    for fmt, schema_id, content_type in FORMS:
        value = encode_incident(incident, fmt, schema_id)
        assert decode_incident(value) == incident
        assert decode_incident(value, [("content-type", content_type)]) == incident


@given(incident=INCIDENTS)
def test_json_is_what_a_general_writer_makes_of_the_fields(incident: Incident) -> None:
    plain = {**dataclasses.asdict(incident), "severity": incident.severity.word}
    fields = {
        name.removesuffix("_us"): rfc3339(value) if name.endswith("_us") else value
        for name, value in plain.items()
    }
    written = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    assert encode_incident(incident, "json") == written


@pytest.mark.parametrize("field", ["worst_score", "worst_novelty"])
def test_a_number_that_json_has_not_is_not_written(field: str) -> None:
    changed: dict[str, Any] = {field: math.nan}
    with pytest.raises(ValueError, match="finite"):
        encode_incident(dataclasses.replace(INCIDENT, **changed), "json")


def test_json_has_the_schemas_names_in_their_order_and_times_as_rfc_3339() -> None:
    read = json.loads(encode_incident(INCIDENT, "json"))
    assert tuple(read) == json_names("Incident")
    assert (read["changed_at"], read["expires_at"]) == (
        "2023-11-14T22:13:29.500000Z",
        "2023-11-14T22:28:29.000000Z",
    )
    assert (read["activity"], read["severity"], read["models"]) == ("update", "high", ["kdd99/1", "kdd99/2"])


def test_a_time_that_rfc_3339_has_not_is_the_nearest_that_it_has() -> None:
    """An incident of the last moments of the year 9999 expires after it: nobody may have to wait for that."""
    late = dataclasses.replace(INCIDENT, expires_at_us=2**62, first_event_us=-(2**62))
    read = json.loads(encode_incident(late, "json"))
    assert (read["expires_at"], read["first_event"]) == (
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00.000000Z",
    )


def test_a_stranger_reads_an_avro_incident_with_fastavro_alone() -> None:
    schema = fastavro.schema.load_schema(schemas.folder() / "Incident.avsc")
    read = fastavro.schemaless_reader(io.BytesIO(encode_incident(RICH, "avro", 5)[5:]), schema, None)
    assert read == json.loads(json.dumps({**dataclasses.asdict(RICH), "severity": "high"}))


def broken(**changed: Any) -> bytes:
    return json.dumps({**json.loads(encode_incident(INCIDENT, "json")), **changed}).encode()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "empty"),
        (broken(activity="reopen"), "activity is 'reopen', not one of open, update, close"),
        (broken(severity="bad"), "severity is 'bad', not one of informational"),
        (broken(revision="1"), "revision is '1'"),
        (broken(first_event=5), "first_event is 5"),
        (broken(models=[1]), r"models\.0 is 1"),
        (b"{}", "the incident has no incident_id, revision"),
        (encode_incident(INCIDENT)[:-1], "column reasons"),
        (b"\xc3\x01" + bytes(8), "no Incident schema has the fingerprint"),
    ],
)
def test_what_is_no_incident_says_why(value: bytes | None, says: str) -> None:
    with pytest.raises(IncidentUnreadable, match=says):
        decode_incident(value)


@pytest.mark.parametrize(("fmt", "schema_id", "content_type"), FORMS)
def test_an_incident_goes_to_its_topic_keyed_by_its_id_and_says_what_it_is(
    fmt: AlertFormat, schema_id: int | None, content_type: bytes
) -> None:
    output = AlertOutput(Topics("x"), fmt, incident_schema_id=schema_id)
    [message] = output.incident_messages([INCIDENT])
    assert (message.topic, message.key) == ("x.incidents", INCIDENT.incident_id.encode())
    assert decode_incident(message.value, message.headers) == INCIDENT
    assert dict(message.headers) == {
        "content-type": content_type,
        "ce_specversion": b"1.0",
        "ce_type": b"autodeep.ids.incident.update",
        "ce_source": b"/ids.telemetry/3",
        "ce_id": b"5f1c0a52-7a0d-5f0e-9d0b-6f7d3f0f8a11/3",
        "ce_time": b"2023-11-14T22:13:29.500000Z",
        "class": b"dos",
        "severity": b"high",
    }


@pytest.mark.parametrize(("fmt", "schema_id", "content_type"), FORMS)
def test_an_alert_says_in_its_headers_what_it_is(
    fmt: AlertFormat, schema_id: int | None, content_type: bytes
) -> None:
    traced = dataclasses.replace(ALERT, verdict="dos", context={"traceparent": TRACE}, topic="a/ü")
    by_class = {"dos": Severity.CRITICAL}
    [message] = AlertOutput(Topics(), fmt, schema_id, by_class=by_class).messages([traced])
    assert decode_alert(message.value, message.headers) == traced
    assert dict(message.headers) == {
        "content-type": content_type,
        "ce_specversion": b"1.0",
        "ce_type": b"autodeep.ids.alert",
        "ce_source": b"/a%2F%C3%BC/3",
        "ce_id": ALERT.alert_id.encode(),
        "ce_time": b"2023-11-14T22:13:20.000000Z",
        "class": b"dos",
        "severity": b"high",  # one lower: its score is 0.75
        "traceparent": TRACE.encode(),
    }


@pytest.mark.parametrize("text", ["", TRACE.upper(), TRACE[:-1], f"{TRACE}0", TRACE.replace("-", "_")])
def test_what_is_no_trace_is_no_header(text: str) -> None:
    output = AlertOutput(Topics(), "json")
    [message] = output.messages([dataclasses.replace(ALERT, context={"traceparent": text})])
    assert "traceparent" not in dict(message.headers)


@pytest.mark.parametrize(("fmt", "schema_id", "content_type"), FORMS)
def test_of_an_incident_the_explanation_goes_first_then_the_context_and_never_the_rest(
    fmt: AlertFormat, schema_id: int | None, content_type: bytes
) -> None:
    output = AlertOutput(Topics(), fmt, incident_schema_id=schema_id)
    unexplained = dataclasses.replace(RICH, explanation=None)
    whole, middle, bare = output.incident_messages(
        [RICH, unexplained, dataclasses.replace(unexplained, context=None)]
    )
    first, second = output.shorter(whole, wire_bytes(middle)), output.shorter(whole, wire_bytes(bare))
    assert first is not None
    assert second is not None
    assert (first.message, first.without) == (middle, ("explanation",))
    assert (second.message, second.without) == (bare, ("explanation", "context"))
    assert output.shorter(bare, 10) is None
