"""The trace that a producer's header names comes along in the event's context; anything else does not."""

from __future__ import annotations

import pytest

from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import Header
from streams.core.kdd99 import KDD99
from tests.codec_samples import Raw, fields, single

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
VALUE = single(fields("d"))


def raw(offset: int, *headers: Header) -> Raw:
    return Raw(offset, b"d", VALUE, headers=headers)


def test_each_event_has_the_trace_of_its_own_record() -> None:
    records = [
        raw(0),
        raw(1, ("traceparent", TRACE.encode()), ("other", None)),
        Raw(2, b"d", b"\xff\xff", headers=(("traceparent", TRACE.encode()),)),
        raw(3, ("other", b"x")),
        raw(4, ("traceparent", b"no"), ("traceparent", TRACE.replace("-01", "-00").encode())),
    ]
    events = TelemetryDecoder(KDD99).decode(records).events
    assert events.offset.tolist() == [0, 1, 3, 4]
    assert events.context == [
        None, {"traceparent": TRACE}, None, {"traceparent": TRACE.replace("-01", "-00")},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", [None, b"", TRACE.encode()[:-1], TRACE.encode() + b"0", TRACE.upper().encode(), b"\xff" * 55]
)
def test_a_header_of_another_form_is_no_trace(value: bytes | None) -> None:
    assert TelemetryDecoder(KDD99).decode([raw(0, ("traceparent", value))]).events.context is None
    assert TelemetryDecoder(KDD99).decode([raw(0)]).events.context is None
