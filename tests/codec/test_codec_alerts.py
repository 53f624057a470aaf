"""Alerts as bytes, both formats and framings; and dead letters."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import uuid
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codec.avro import framing, schemas
from streams.codec.ingest.checks import END_OF_YEAR_9999_US
from streams.codec.output.alerts import AlertUnreadable, decode_alert, encode_alert
from streams.codec.output.dead_letters import dead_letter
from streams.codec.output.forms import json_names
from streams.codec.times import microseconds
from streams.core.alerts import Alert, Driver, Explanation, in_share, record_id
from streams.core.events import Reason, Rejected, Source
from streams.core.severity import severity_of
from streams.errors import AutodeepError
from tests.codec_samples import Raw

SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
LONGS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(0, END_OF_YEAR_9999_US - 1)
INTS = st.integers(-(2**31), 2**31 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ALERTS = st.builds(
    Alert,
    alert_id=TEXT,
    device_id=TEXT,
    event_time_us=TIMES,
    detected_at_us=TIMES,
    verdict=TEXT,
    closest=TEXT,
    scores=st.dictionaries(TEXT, NUMBERS, max_size=6),
    novelty=NUMBERS,
    window_fill=INTS,
    window_width=INTS,
    topic=TEXT,
    topic_id=TEXT,
    partition=INTS,
    offset=LONGS,
    model_name=TEXT,
    model_version=TEXT,
    model_digest=TEXT,
    explanation=st.none()
    | st.builds(
        Explanation,
        features=st.lists(
            st.builds(Driver, feature=TEXT, value=TEXT, share=NUMBERS, usual=TEXT, normal=TEXT), max_size=5
        ).map(tuple),
        events=st.lists(NUMBERS, max_size=7).map(tuple),
    ),
    context=st.none() | st.dictionaries(TEXT, TEXT, max_size=4),
    incident_id=st.none() | TEXT,
    profile_revision=st.none() | INTS,
    reasons=st.lists(TEXT, max_size=3).map(tuple),
)
ALERT = Alert(
    alert_id=record_id(SOURCE, 41),
    device_id="caméra-1",
    event_time_us=1_700_000_000_000_000,
    detected_at_us=1_700_000_000_250_000,
    verdict="novel",
    closest="dos",
    scores={"normal": 0.25, "dos": 0.75},
    novelty=1.5,
    window_fill=3,
    window_width=16,
    topic="ids.telemetry",
    topic_id=str(SOURCE.topic_id),
    partition=3,
    offset=41,
    model_name="kdd99",
    model_version="1",
    model_digest="ab",
)


@given(alert=ALERTS)
def test_an_alert_comes_back_from_each_form(alert: Alert) -> None:
    assert decode_alert(encode_alert(alert)) == alert
    assert decode_alert(encode_alert(alert, "avro", schema_id=9)) == alert
    assert decode_alert(encode_alert(alert, "json")) == alert


@pytest.mark.parametrize("schema_id", [None, 5])
def test_a_stranger_reads_an_avro_alert_with_fastavro_alone(schema_id: int | None) -> None:
    value = encode_alert(ALERT, "avro", schema_id)
    if schema_id is None:
        assert value[:2] == b"\xc3\x01"
        size = 10
    else:
        assert value[:5] == b"\x00\x00\x00\x00\x05"
        size = 5
    schema = fastavro.schema.load_schema(schemas.folder() / "Alert.avsc")
    read = fastavro.schemaless_reader(io.BytesIO(value[size:]), schema, None)
    assert read == dataclasses.asdict(ALERT) | {"reasons": []}


def as_json(alert: Alert) -> dict[str, Any]:
    """As docs/wire.md has it: the schema's names, times as text, and the severity."""
    fields = dataclasses.asdict(alert) | {"reasons": list(alert.reasons)}
    times = {"event_time_us": "2023-11-14T22:13:20.000000Z", "detected_at_us": "2023-11-14T22:13:20.250000Z"}
    named = {name.removesuffix("_us"): times.get(name, value) for name, value in fields.items()}
    return {**named, "severity": "medium"}


def test_json_is_flat_with_the_schemas_names_in_their_order_and_times_as_rfc_3339() -> None:
    value = encode_alert(ALERT, "json")
    assert json.loads(value) == as_json(ALERT)
    names = [name for name in json.loads(value) if name != "severity"]
    assert names == list(json_names("Alert"))
    assert value.startswith(b'{"alert_id":"')
    assert "caméra-1".encode() in value


@given(alert=ALERTS)
def test_the_quick_writer_of_json_says_what_a_general_one_does(alert: Alert) -> None:
    fields = dataclasses.asdict(alert)
    read = json.loads(encode_alert(alert, "json"))
    for name in ("event_time_us", "detected_at_us"):
        assert microseconds(read.pop(name.removesuffix("_us"))) == fields.pop(name)
    assert read.pop("severity") == severity_of(alert.verdict, alert.scores).word
    assert json.dumps(read) == json.dumps(fields)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_not_is_refused(number: float) -> None:
    for changed in (
        {"novelty": number},
        {"scores": {"dos": number}},
        {"scores": {"a": number, "b": -number}},
    ):
        with pytest.raises(ValueError, match="finite"):
            encode_alert(dataclasses.replace(ALERT, **changed), "json")


@pytest.mark.parametrize(
    "changed", [{"device_id": "\ud800"}, {"verdict": "\ud800"}, {"context": {"a": "\ud800"}}]
)
def test_text_that_utf_8_has_not_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_alert(dataclasses.replace(ALERT, **changed), "json")


def before_times_were_text(alert: Alert, **changed: Any) -> bytes:
    """JSON as version 0.1.0 wrote it."""
    return json.dumps({**dataclasses.asdict(alert), **changed}).encode()


@given(alert=ALERTS)
def test_json_of_before_times_were_text_is_read(alert: Alert) -> None:
    assert decode_alert(before_times_were_text(alert)) == alert
    assert decode_alert(before_times_were_text(alert), [("content-type", b"application/json")]) == alert


def broken_json(**changed: Any) -> bytes:
    return json.dumps({**as_json(ALERT), **changed}).encode()


AVRO = encode_alert(ALERT)
EXPLAINED = dataclasses.replace(
    ALERT, explanation=Explanation((Driver("count", "255", -0.25, "0..511", "1..27"),), (0.5, 0.25))
)
CONTEXT = {"src_address": "2001:db8::7", "src_port": "49152", "sensor": "hall é"}
RICH = dataclasses.replace(
    EXPLAINED,
    context=CONTEXT,
    incident_id="d1b5f8f0-0d4c-5c3b-9d0e-3f3f0f7f2a10",
    profile_revision=7,
    reasons=("12 hosts failed on port 23 in 2 s; usual here 0", "é"),
)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff\xff", "ff ff"),
        (b"{", "no JSON"),
        (b"{" + b'"a":{' * 100_000, "no JSON"),
        (b"{}", "alert_id"),
        (broken_json(offset="5"), "offset"),
        (broken_json(offset=True), "offset"),
        (broken_json(offset=2**63), "offset is 9223372036854775808"),
        (broken_json(window_fill=-(2**63) - 1), "window_fill"),
        (broken_json(novelty=10**400), "novelty is 1000"),
        (broken_json(novelty=float("inf")), "novelty is inf"),
        (broken_json(scores={"dos": float("nan")}), r"scores\.dos is nan"),
        (broken_json(scores={"\ud800": 0.5}), r"a name in scores is '\\ud800'"),
        (broken_json(device_id="\ud800"), r"device_id is '\\ud800'"),
        (broken_json(scores=[1]), "scores is an array"),
        (broken_json(scores={"dos": "x"}), r"scores\.dos"),
        (broken_json(explanation=5), "explanation is 5"),
        (broken_json(explanation={"features": 1, "events": []}), r"explanation\.features"),
        (broken_json(explanation={"features": [{}], "events": []}), r"explanation\.features\.0\.feature"),
        (broken_json(explanation={"features": [], "events": ["x"]}), r"explanation\.events\.0"),
        (broken_json(context=["::1"]), "context is"),
        (broken_json(event_time="yesterday"), "event_time is 'yesterday'"),
        (broken_json(event_time="2026-01-31T12:00:00"), "event_time is '2026-01-31T12:00:00'"),
        (broken_json(detected_at=5), "detected_at is 5"),
        (b'{"alert_id":"i"}', "no device_id, event_time, detected_at"),
        (b"[1]", "neither Avro framing, nor JSON"),
        (broken_json(context={"src_port": 443}), r"context\.src_port is 443"),
        (AVRO[:-1], "column reasons"),
        (AVRO + b"x", "ends at byte"),
        (b"\xc3\x01" + bytes(8) + AVRO[10:], "fingerprint 0000000000000000"),
        (b"\xc3\x01ab", "fingerprint 6162"),
        (b"\x00", "column alert_id"),
    ],
)
def test_what_is_no_alert_says_why(value: bytes | None, says: str) -> None:
    with pytest.raises(AlertUnreadable, match=says) as caught:
        decode_alert(value)
    assert isinstance(caught.value, AutodeepError)
    assert isinstance(caught.value, ValueError)


@given(value=st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: AVRO[:10] + tail))
def test_arbitrary_bytes_are_an_alert_or_unreadable_and_nothing_else(value: bytes) -> None:
    with contextlib.suppress(AlertUnreadable):
        decode_alert(value)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("framed", [True, False])
def test_an_alert_of_a_schema_before_this_one_is_read_with_what_it_had(number: int, framed: bool) -> None:
    writer = schemas.history("Alert")[number - 1]
    written = {name: dataclasses.asdict(RICH)[name] for name in names_of(writer)}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(writer.source)), written)
    header = framing.single_object_header(writer.fingerprint) if framed else framing.confluent_header(7)
    had = {name: getattr(RICH, name) for name in names_of(writer)}
    assert decode_alert(header + out.getvalue()) == dataclasses.replace(ALERT, **had)
    assert decode_alert(json.dumps(written).encode()) == dataclasses.replace(ALERT, **had)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_the_fields_of_a_schema_before_are_the_first_of_this_one(number: int) -> None:
    """The reader takes an older alert's values by their places."""
    ours = schemas.load("Alert").canonical["fields"]
    theirs = schemas.history("Alert")[number - 1].canonical["fields"]
    assert theirs == ours[: len(theirs)]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_reader_of_a_schema_before_reads_a_new_alert_by_avros_resolution(number: int) -> None:
    new, old = schemas.load("Alert"), schemas.history("Alert")[number - 1]
    assert schemas.incompatibilities(old, new) == ()
    read = fastavro.schemaless_reader(io.BytesIO(encode_alert(RICH)[10:]), dict(new.source), dict(old.source))
    plain = json.loads(json.dumps(dataclasses.asdict(RICH)))
    assert read == {name: plain[name] for name in names_of(old)}


@pytest.mark.parametrize(
    ("value", "content_type", "says"),
    [
        (AVRO, "application/json", "no JSON"),
        (b"[1]", "application/json", "no object"),
        (encode_alert(ALERT, "json"), "application/avro; framing=single-object", "c3 01"),
        (AVRO, "application/avro; framing=confluent", "00"),
        (AVRO, "text/plain", "'text/plain', not JSON or Avro"),
        (AVRO, "\xff", "not JSON or Avro"),
    ],
)
def test_what_a_message_says_of_itself_counts_before_its_bytes(
    value: bytes, content_type: str, says: str
) -> None:
    with pytest.raises(AlertUnreadable, match=says):
        decode_alert(value, [("content-type", content_type.encode("latin-1"))])


@pytest.mark.parametrize(
    ("fmt", "schema_id", "content_type"),
    [
        ("json", None, "Application/JSON; charset=utf-8"),
        ("avro", None, "application/avro;framing=single-object"),
        ("avro", 7, "application/avro; framing=confluent"),
        ("avro", None, "application/avro"),
        ("avro", 7, "application/avro; framing=other"),
    ],
)
def test_a_content_type_is_read_however_it_is_written(
    fmt: Any, schema_id: int | None, content_type: str
) -> None:
    headers = [("content-type", b"text/plain"), ("Content-Type", content_type.encode()), ("other", None)]
    assert decode_alert(encode_alert(RICH, fmt, schema_id), headers) == RICH


def names_of(schema: schemas.Schema) -> list[str]:
    return [field["name"] for field in schema.source["fields"]]


def test_the_context_is_plain_json() -> None:
    assert json.loads(encode_alert(RICH, "json"))["context"] == CONTEXT
    assert json.loads(encode_alert(ALERT, "json"))["context"] is None


def test_an_explanation_is_plain_json() -> None:
    read = json.loads(encode_alert(EXPLAINED, "json"))["explanation"]
    driver = {"feature": "count", "value": "255", "share": -0.25, "usual": "0..511", "normal": "1..27"}
    assert read == {"features": [driver], "events": [0.5, 0.25]}


def test_the_share_that_is_explained_is_about_as_asked_and_the_same_each_time() -> None:
    ids = [record_id(SOURCE, offset) for offset in range(2000)]
    chosen = {share: {of for of in ids if in_share(of, share)} for share in (0.0, 0.1, 0.5, 1.0)}
    assert [len(found) for found in (chosen[0.0], chosen[1.0])] == [0, 2000]
    assert 150 < len(chosen[0.1]) < 250
    assert chosen[0.1] < chosen[0.5]


def test_a_newer_json_alert_with_a_field_more_is_read() -> None:
    assert decode_alert(broken_json(colour="red")) == ALERT


@given(
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
)
def test_a_dead_letter_keeps_key_value_and_headers_to_the_byte(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    record = Raw(41, key, value, timestamp=1234, headers=tuple(headers))
    rejected = Rejected(0, Reason.NOT_FINITE, "column count is nan")
    letter = dead_letter(SOURCE, record, rejected, "ids.dead-letters", "0.1.0")
    assert (letter.topic, letter.key, letter.value) == ("ids.dead-letters", key, value)
    assert list(letter.headers[: len(headers)]) == headers
    assert dict(letter.headers[len(headers) :]) == {
        "autodeep.reason": b"not_finite",
        "autodeep.detail": b"column count is nan",
        "autodeep.topic": b"ids.telemetry",
        "autodeep.topic-id": str(SOURCE.topic_id).encode(),
        "autodeep.partition": b"3",
        "autodeep.offset": b"41",
        "autodeep.timestamp-ms": b"1234",
        "autodeep.id": record_id(SOURCE, 41).encode(),
        "autodeep.version": b"0.1.0",
    }


def test_the_headers_are_those_that_the_schema_documents() -> None:
    letter = dead_letter(SOURCE, Raw(0, None, b""), Rejected(0, Reason.EMPTY_VALUE, ""), "t", "v")
    fields = schemas.load("DeadLetter").source["fields"]
    always, cut = (
        [
            "autodeep." + field["name"].replace("_", "-")
            for field in fields
            if ("default" in field) is only_cut
        ]
        for only_cut in (False, True)
    )
    assert [name for name, _ in letter.headers] == always
    large = Raw(0, b"k" * 2_000, bytes(3_000_000), headers=(("h", b""),))
    letter = dead_letter(SOURCE, large, Rejected(0, Reason.TRUNCATED, ""), "t", "v")
    assert sorted(name for name, _ in letter.headers) == sorted([*always, *cut])


def test_a_header_names_its_schema() -> None:
    assert AVRO[:10] == framing.single_object_header(schemas.load("Alert").fingerprint)
    with pytest.raises(ValueError, match="8 bytes"):
        framing.single_object_header(b"short")
