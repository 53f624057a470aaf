"""The alerts' own writer gives the bytes of a general Avro writer; the ids are those of a general UUIDv5."""

from __future__ import annotations

import dataclasses
import io
import math
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.codec.avro import framing, schemas
from streams.codec.avro.writing import long
from streams.codec.output.alerts import AlertOutput, decode_alert, encode_alert
from streams.core.alerts import Alert, Explanation, record_id, record_ids
from streams.core.events import NO_TOPIC_ID, Message, Source
from streams.core.topics import Topics
from tests.codec.test_codec_alerts import ALERT, ALERTS, LONGS, RICH, SOURCE, TEXT

PARSED = fastavro.parse_schema(dict(schemas.load("Alert").source))
NAMESPACE = uuid.UUID("6f3b6c53-9b64-5c7d-8e0b-2f6f1c7f2a10")
POWERS = (0, 6, 7, 12, 13, 14, 20, 26, 27, 28, 35, 62)


def reference(alert: Alert) -> bytes:
    """The datum as fastavro writes it."""
    fields = {name: getattr(alert, name) for name in alert.__dataclass_fields__}
    if alert.explanation is not None:
        fields["explanation"] = dataclasses.asdict(alert.explanation)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, fields)
    return out.getvalue()


@settings(max_examples=300)
@given(st.lists(ALERTS, max_size=4))
@example([RICH, ALERT, RICH])
@example([dataclasses.replace(ALERT, scores={}, novelty=-0.0, context={})])
@example([dataclasses.replace(ALERT, scores={"dos": -0.0, "": 5e-324}, novelty=1.7976931348623157e308)])
@example([dataclasses.replace(ALERT, device_id="ü" * 5_000, explanation=Explanation((), ()))])
def test_alerts_are_written_byte_for_byte_as_a_general_writer_does_and_read_back(alerts: list[Alert]) -> None:
    single, confluent = AlertOutput(Topics()), AlertOutput(Topics(), schema_id=2**32 - 1)
    header = framing.single_object_header(schemas.load("Alert").fingerprint)
    assert single.values(alerts) == [header + reference(alert) for alert in alerts]
    assert confluent.values(alerts) == [b"\0\xff\xff\xff\xff" + reference(alert) for alert in alerts]
    for alert, value in zip(alerts, single.values(alerts), strict=True):
        assert encode_alert(alert) == value
        again = decode_alert(value)
        assert again == alert
        assert math.copysign(1, again.novelty) == math.copysign(1, alert.novelty)


def test_the_order_of_scores_and_context_is_kept() -> None:
    turned = dataclasses.replace(RICH, scores=dict(reversed(list(RICH.scores.items()))))
    moved = dataclasses.replace(RICH, context={"z": "1", "a": "2"})
    for alert in (RICH, turned, moved):
        assert encode_alert(alert)[10:] == reference(alert)


@pytest.mark.parametrize("field", ["event_time_us", "detected_at_us", "offset", "partition", "window_fill"])
@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
def test_an_integer_beyond_64_bits_is_refused_as_a_general_writer_does(field: str, value: int) -> None:
    changed: Any = {field: value}
    beyond = dataclasses.replace(ALERT, **changed)
    with pytest.raises(OverflowError):
        reference(beyond)
    with pytest.raises(OverflowError):
        encode_alert(beyond)


@pytest.mark.parametrize("write", [reference, encode_alert])
@pytest.mark.parametrize(
    "changed", [{"device_id": "\ud800"}, {"context": {"a": "\ud800"}}, {"scores": {"\ud800": 1.0}}]
)
def test_text_without_utf_8_is_refused_as_a_general_writer_does(
    write: Callable[[Alert], bytes], changed: dict[str, Any]
) -> None:
    with pytest.raises(UnicodeEncodeError):
        write(dataclasses.replace(ALERT, **changed))


@given(LONGS)
def test_an_integer_is_written_as_a_general_writer_does(value: int) -> None:
    near_powers = [sign * (1 << power) + by for power in POWERS for sign in (1, -1) for by in (-1, 0, 1)]
    for one in (value, *near_powers, 2**63 - 1, -(2**63)):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, "long", one)
        assert long(one) == out.getvalue()


@given(TEXT, st.uuids() | st.just(NO_TOPIC_ID), st.integers(0, 2**31), st.lists(LONGS, max_size=5))
def test_ids_are_uuids_of_version_5_of_the_records_name(
    topic: str, topic_id: uuid.UUID, partition: int, offsets: list[int]
) -> None:
    source = Source(topic, topic_id, partition)
    of = topic if topic_id == NO_TOPIC_ID else str(topic_id)
    wanted = [str(uuid.uuid5(NAMESPACE, f"{of}/{partition}/{offset}")) for offset in offsets]
    assert record_ids(source, offsets) == wanted
    assert [record_id(source, offset) for offset in offsets] == wanted


@pytest.mark.parametrize("fmt", ["avro", "json"])
def test_an_alert_goes_to_the_topic_of_its_class_keyed_by_its_device(fmt: Any) -> None:
    dos = dataclasses.replace(ALERT, verdict="dos", device_id="b", alert_id=record_id(SOURCE, 42))
    output = AlertOutput(Topics("x"), fmt)
    assert [replace(message, headers=()) for message in output.messages([ALERT, dos])] == [
        Message("x.alerts.novel", "caméra-1".encode(), encode_alert(ALERT, fmt)),
        Message("x.alerts.dos", b"b", encode_alert(dos, fmt)),
    ]
    assert output.messages([]) == []


def test_a_normal_verdict_goes_to_the_topic_of_all_verdicts_only_and_to_none_unless_asked() -> None:
    normal = dataclasses.replace(ALERT, verdict="normal")
    assert AlertOutput(Topics()).messages([normal]) == []
    told = AlertOutput(Topics(), publish_classified=True).messages([normal, ALERT])
    assert [message.topic for message in told] == ["ids.classified", "ids.alerts.novel", "ids.classified"]
    assert [message.value for message in told[1:]] == [encode_alert(ALERT)] * 2
