"""Whatever bytes arrive, each decoder answers: a value, or why not. No other exception, no hang, no memory.

test_codec_property.py holds the telemetry decoder's two readers against each other; this adds the other
decoders, arbitrary framing and headers, hostile schemas, and a measure of memory for each.
"""

from __future__ import annotations

import json
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.codec import models
from streams.codec.avro import datum, framing, schemas
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.models import (
    Disagreement,
    ModelCommand,
    ModelRef,
    ModelState,
    ModelStatus,
    Opinion,
    Switch,
    decode_command,
    decode_disagreement,
    decode_state,
    decode_status,
)
from streams.codec.output.alerts import decode_alert, encode_alert
from streams.codec.output.dead_letters import dead_letter
from streams.codec.output.incidents import decode_incident, encode_incident
from streams.core.events import Reason, Rejected, Source
from streams.core.kdd99 import KDD99
from streams.errors import DataError
from tests.codec.test_codec_alerts import ALERT
from tests.codec.test_codec_property import claimed
from tests.codec.test_incidents import INCIDENT
from tests.codec_samples import CURRENT, Raw, fields, good, seen, single, writer

REF = ModelRef("kdd99", "2", "ab" * 32)
OPINION = Opinion("kdd99", "2", "ab" * 32, "dos", 0.9, 0.1)
SOURCE = Source("ids.telemetry", uuid.UUID(int=7), 3)
HOSTILE_LENGTHS = [claimed(2**power) for power in (24, 31, 40, 60, 62)] + [
    claimed(-(2**power)) for power in (0, 31, 62, 63)
]
FEW_BYTES = 8 << 20


class Registry:
    """Every id is some writer's."""

    def schema(self, schema_id: int) -> Schema | None:
        return WRITERS[schema_id % len(WRITERS)] if schema_id % 5 else None


NULLS = {"type": "array", "items": "null"}
NOTHING = {"type": "record", "name": "Nothing", "fields": []}
WRITERS = [
    CURRENT,
    writer(extra=[{"name": "nulls", "type": NULLS}]),
    writer(extra=[{"name": "nothings", "type": {"type": "array", "items": NOTHING}}]),
    writer(extra=[{"name": "m", "type": {"type": "map", "values": {"type": "map", "values": "bytes"}}}]),
    writer(extra=[{"name": "u", "type": ["null", {"type": "array", "items": ["null", "string", NULLS]}]}]),
]
EXTRAS: list[dict[str, Any]] = [
    {},
    {"nulls": [None]},
    {"nothings": [{}]},
    {"m": {"a": {"b": b"c"}}},
    {"u": ["x"]},
]
DECODER = TelemetryDecoder(KDD99, WRITERS, Registry())
VALID = [single({**fields("camera-1"), **extra}, one) for one, extra in zip(WRITERS, EXTRAS, strict=True)]

MESSAGES: dict[str, tuple[Callable[[bytes | None], object], list[bytes]]] = {
    "alert": (
        decode_alert,
        [encode_alert(ALERT), encode_alert(ALERT, "json"), encode_alert(ALERT, "avro", 7)],
    ),
    "incident": (decode_incident, [encode_incident(INCIDENT), encode_incident(INCIDENT, "json")]),
    "command": (
        decode_command,
        [
            models.encode_command(
                ModelCommand("id", "promote", "kdd99", 5, at_offsets={"0": 1, "1": 2}, force=True)
            )
        ],
    ),
    "state": (
        decode_state,
        [
            models.encode_state(
                ModelState(3, REF, 5, REF, previous=REF, switches=(Switch(REF, {"0": 9}, "t"),))
            )
        ],
    ),
    "disagreement": (
        decode_disagreement,
        [models.encode_disagreement(Disagreement("id", "d", 1, "t", 0, 2, OPINION, OPINION))],
    ),
    "status": (
        decode_status,
        [
            models.encode_status(
                ModelStatus("worker", "w", "id", 3, "kdd99", "2", "ab", "serving", "-", 0.5, 7, {"a": 1})
            )
        ],
    ),
}


def refusal(decode: Callable[[bytes | None], object], value: bytes | None) -> str:
    """Why the value was refused as data; empty where it was read."""
    try:
        decode(value)
    except DataError as exc:
        return str(exc)
    return ""


@contextmanager
def little(seconds: float = 5.0, peak_bytes: int = FEW_BYTES) -> Iterator[None]:
    """What happens inside takes little CPU time, and little memory as far as Python knows of it."""
    tracemalloc.start()
    began_s = time.process_time()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak_bytes
    finally:
        tracemalloc.stop()
    assert time.process_time() - began_s < seconds


@st.composite
def mutations(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A valid value with pieces cut, put in or repeated, its framing included; hostile lengths among them."""
    value = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(value)))
        cut = draw(st.integers(0, 12))
        value[at : at + cut] = draw(st.binary(max_size=12) | st.sampled_from(HOSTILE_LENGTHS))
    return bytes(value) + draw(st.just(b"") | st.binary(max_size=40))


def framed() -> st.SearchStrategy[bytes]:
    """Arbitrary bytes, alone and behind every kind of header, whole or cut."""
    fingerprints = st.sampled_from([one.fingerprint for one in WRITERS]) | st.binary(min_size=8, max_size=8)
    heads = st.one_of(
        st.just(b""),
        st.integers(0, 2**32 - 1).map(framing.confluent_header),
        fingerprints.map(framing.single_object_header),
    )
    return st.tuples(heads, st.binary(max_size=300)).map(b"".join) | heads.flatmap(
        lambda head: st.integers(0, len(head)).map(lambda end: head[:end])
    )


values = framed() | mutations(VALID) | st.binary(max_size=600)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.binary(max_size=20) | st.just(b"camera-1"), st.none() | values), max_size=6
    )
)
def test_every_record_is_an_event_or_a_rejection_with_a_reason(records: list[tuple[Any, Any]]) -> None:
    raw = [Raw(at, key, value) for at, (key, value) in enumerate(records)]
    with little():
        decoded = DECODER.decode([*raw, *good(1)])
    assert sorted([*seen(decoded), *(one.position for one in decoded.rejected)]) == list(range(len(raw) + 1))
    assert len(raw) in seen(decoded)
    assert all(isinstance(one.reason, Reason) and 0 < len(one.detail) <= 200 for one in decoded.rejected)


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_every_message_is_read_or_refused_as_data(kind: str, data: st.DataObject) -> None:
    decode, valid = MESSAGES[kind]
    value = data.draw(st.none() | mutations(valid) | framed() | st.binary(max_size=300))
    with little():
        assert len(refusal(decode, value)) < 2_000


@pytest.mark.parametrize("kind", MESSAGES)
def test_hostile_lengths_at_every_place_of_a_message_take_nothing(kind: str) -> None:
    decode, valid = MESSAGES[kind]
    hostile = [
        whole[:at] + length + whole[at:]
        for whole in valid
        for at in range(len(whole))
        for length in HOSTILE_LENGTHS
    ]
    with little(seconds=30):
        for value in hostile:
            refusal(decode, value)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, '{"at_us":' + "9" * 5_000 + "}", '{"scores":1e999}']
)
@pytest.mark.parametrize("kind", ["alert", "status"])
def test_hostile_json_is_refused(kind: str, text: str) -> None:
    decode, _ = MESSAGES[kind]
    with pytest.raises(DataError), little():
        decode(text.encode() if text.startswith("{") else b"{" + text.encode())


plain = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])


def one_level(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The types given, or one array, map or union of them."""
    return st.one_of(
        inner,
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda items: {"type": "map", "values": items}, inner),
        st.lists(inner, min_size=1, max_size=3),
    )


kinds = plain | one_level(plain) | one_level(one_level(plain)) | one_level(one_level(one_level(plain)))
pieces = st.sampled_from([claimed(n) for n in range(-3, 6)] + HOSTILE_LENGTHS) | st.binary(max_size=8)


@settings(max_examples=600, deadline=None)
@given(kinds, st.lists(pieces, max_size=12).map(b"".join))
@example(NULLS, claimed(2**60) + b"\x00")
@example(NULLS, (claimed(2**60)) * 1000 + b"\x00")
@example({"type": "array", "items": NULLS}, claimed(2**60) + claimed(0) * 500)
def test_any_type_reads_any_bytes_or_says_why_not(kind: Any, data: bytes) -> None:
    read = datum.compile_reader(kind)
    with little(), suppress(datum.Unreadable):
        _, end = read(data, 0)
        assert 0 <= end <= len(data)


@pytest.mark.parametrize("depth", [10, 200, 3_000])
def test_a_datum_nested_as_deep_as_its_bytes_reach_is_refused_and_its_neighbours_are_not(depth: int) -> None:
    """A type may contain itself: each level costs the sender one byte."""
    node = {
        "type": "record",
        "name": "Node",
        "fields": [{"name": "next", "type": ["null", "Node"]}],
    }
    recursive = writer(extra=[{"name": "tree", "type": node}])
    decoder = TelemetryDecoder(KDD99, [recursive])
    deep = single({**fields("camera-1"), "tree": {"next": None}}, recursive)[:-1] + b"\x02" * depth + b"\x00"
    with little(peak_bytes=2 * FEW_BYTES):
        decoded = decoder.decode([*good(2), Raw(5, b"camera-1", deep), *good(1)])
    assert {0, 1, 3} <= set(seen(decoded))
    assert (2 in seen(decoded)) == (depth < 1_000)


@pytest.mark.parametrize("depth", [50, 400, 5_000])
def test_a_schema_nested_deep_is_read_or_refused_as_data(depth: int) -> None:
    text = json.dumps(CURRENT.source)[:-2] + ', {"name": "deep", "type": ' + flat(depth) + "}]}"
    with little(peak_bytes=8 * FEW_BYTES):
        try:
            parsed = schemas.parse(text, origin="a test")
        except DataError:
            return
        decoded = TelemetryDecoder(KDD99, [parsed]).decode(
            [Raw(0, b"camera-1", framing.single_object_header(parsed.fingerprint) + b"\x00" * 200)]
        )
    assert [one.position for one in decoded.rejected] == [0]


def flat(depth: int) -> str:
    return '{"type": "array", "items": ' * depth + '"null"' + "}" * depth


@settings(max_examples=50, deadline=None)
@given(
    st.none() | st.binary(max_size=50),
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=20)), max_size=5),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=300),
)
def test_a_dead_letter_keeps_whatever_stood_in_a_record(
    key: bytes | None, value: bytes | None, headers: list[Any], timestamp: int, detail: str
) -> None:
    record = Raw(9, key, value, timestamp, tuple(headers))
    letter = dead_letter(SOURCE, record, Rejected(0, Reason.UNDECODABLE, detail), "ids.dead-letters", "1")
    assert (letter.key, letter.value, letter.headers[: len(headers)]) == (key, value, tuple(headers))
    ours = dict(letter.headers[len(headers) :])
    assert ours["autodeep.timestamp-ms"] == str(timestamp).encode()
    assert ours["autodeep.detail"] == detail.encode()
