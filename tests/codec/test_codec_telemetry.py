"""Decoding telemetry: good records of every writer, and each bad one among good ones."""

from __future__ import annotations

import json
import math
import os
import struct
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streams.codec.avro import columns, framing, schemas
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.checks import Limits
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import Reason
from streams.core.kdd99 import KDD99
from streams.errors import RegistryUnavailable
from tests.codec_samples import CURRENT, Raw, datum, expected_row, fields, good, raw, seen, single, writer

HEADER = framing.single_object_header(CURRENT.fingerprint)
VALID = single(fields())
SERVICES = KDD99.symbolic[1].symbols
LONGS = {"name": "tags", "type": {"type": "array", "items": "long"}}
NULLS = {"name": "voids", "type": {"type": "array", "items": "null"}}


class FakeRegistry:
    def __init__(self, known: dict[int, Schema]) -> None:
        self.known = known

    def schema(self, schema_id: int) -> Schema | None:
        return self.known.get(schema_id)


class AbsentRegistry:
    def schema(self, schema_id: int) -> Schema | None:
        raise RegistryUnavailable("no answer")


def patched(name: str, value: float) -> bytes:
    """The valid record with another number, written as the wire has it."""
    changed: Any = {name: value}
    return single(fields(**changed))


def long(value: int) -> bytes:
    """A zig-zag varint, by fastavro's writer through a schema of one field."""
    one = schemas.parse('{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}', "a test")
    return datum({"a": value}, one)


KEY = b"camera-1"
BAD: dict[str, tuple[bytes | None, bytes | None, Reason, str]] = {
    # value, key, reason, what the detail must say
    "null": (None, KEY, Reason.EMPTY_VALUE, "null"),
    "empty": (b"", KEY, Reason.EMPTY_VALUE, "empty"),
    "one byte": (b"\xc3", KEY, Reason.UNKNOWN_FRAMING, "single byte 0xc3"),
    "one zero byte": (b"\x00", KEY, Reason.UNKNOWN_FRAMING, "single byte 0x00"),
    "JSON": (b'{"device_id": "camera-1"}', KEY, Reason.UNKNOWN_FRAMING, "7b 22 64 65 76; it looks like JSON"),
    "a container": (b"Obj\x01\x04", KEY, Reason.UNKNOWN_FRAMING, "it looks like an Avro container file"),
    "half a magic": (b"\xc3\x02" + VALID[2:], KEY, Reason.UNKNOWN_FRAMING, "c3 02"),
    "cut in the header": (VALID[:7], KEY, Reason.TRUNCATED, "10-byte header"),
    "cut in a Confluent header": (b"\x00\x00", KEY, Reason.TRUNCATED, "5-byte header"),
    "unknown fingerprint": (b"\xc3\x0101234567" + VALID[10:], KEY, Reason.UNKNOWN_SCHEMA, "30313233"),
    "unknown id": (b"\x00\x00\x00\x00\x09" + VALID[10:], KEY, Reason.UNKNOWN_SCHEMA, "id 9"),
    "no datum": (HEADER, KEY, Reason.TRUNCATED, "device_id"),
    "truncated": (VALID[:-1], KEY, Reason.TRUNCATED, "dst_host_srv_rerror_rate"),
    "trailing byte": (VALID + b"\x00", KEY, Reason.TRAILING_BYTES, "ends at byte"),
    "the record twice": (VALID + VALID[10:], KEY, Reason.TRAILING_BYTES, "ends at byte"),
    "not UTF-8": (HEADER + b"\x04\xff\xfe" + VALID[19:], KEY, Reason.UNDECODABLE, "UTF-8"),
    "a negative length": (HEADER + b"\x01" + VALID[11:], KEY, Reason.UNDECODABLE, "length of -1"),
    "a length of 2**40": (HEADER + long(2**40) + b"x", KEY, Reason.TRUNCATED, "device_id"),
    "a length of 2**62": (HEADER + long(2**62) + b"x", KEY, Reason.TRUNCATED, "device_id"),
    "an endless integer": (HEADER + b"\xff" * 5000, KEY, Reason.UNDECODABLE, "more than 10 bytes"),
    "no key": (VALID, None, Reason.KEY_MISSING, "camera-1"),
    "empty key": (VALID, b"", Reason.KEY_NOT_DEVICE_ID, "camera-1"),
    "another key": (VALID, b"\xffcamera-2", Reason.KEY_NOT_DEVICE_ID, "camera-2"),
    "key in JSON": (VALID, b'"camera-1"', Reason.KEY_NOT_DEVICE_ID, "JSON text; have producers send"),
    "key a JSON object": (VALID, b'{"id":"camera-1"}', Reason.KEY_NOT_DEVICE_ID, "like a JSON object"),
    "key by a registry's Avro": (
        VALID, b"\x00\x00\x00\x00\x07\x10camera-1", Reason.KEY_NOT_DEVICE_ID, "serializer (schema id 7)",
    ),
    "key by a registry's JSON": (
        VALID, b'\x00\x00\x00\x00\x07"camera-1"', Reason.KEY_NOT_DEVICE_ID, "serializer (schema id 7)",
    ),
    "key as single object": (
        VALID, b"\xc3\x0112345678\x10camera-1", Reason.KEY_NOT_DEVICE_ID, "Avro single object",
    ),
    "key as an Avro string": (VALID, b"\x10camera-1", Reason.KEY_NOT_DEVICE_ID, "its length before it"),
    "key in UTF-16": (VALID, "camera-1".encode("utf-16-be"), Reason.KEY_NOT_DEVICE_ID, "as UTF-16"),
    "key in UTF-16 with a mark": (
        VALID, b"\xff\xfe" + "camera-1".encode("utf-16-le"), Reason.KEY_NOT_DEVICE_ID, "byte order mark",
    ),
    "key in base64": (VALID, b"Y2FtZXJhLTE=", Reason.KEY_NOT_DEVICE_ID, "as base64; have"),
    "key in base64, bare": (VALID, b"Y2FtZXJhLTE", Reason.KEY_NOT_DEVICE_ID, "without padding"),
    "key of Java": (VALID, b"\xac\xed\x00\x05t\x00\x08camera-1", Reason.KEY_NOT_DEVICE_ID, "Java's own"),
    "key in Latin-1": (single(fields("ö")), b"\xf6", Reason.KEY_NOT_DEVICE_ID, "as Latin-1"),
    "key with a line end": (VALID, b"camera-1\n", Reason.KEY_NOT_DEVICE_ID, "a line end or a zero around it"),
    "key in quotes": (VALID, b"'camera-1'", Reason.KEY_NOT_DEVICE_ID, "quotes"),
    "key in capitals": (VALID, b"CAMERA-1", Reason.KEY_NOT_DEVICE_ID, "differ in capitals alone"),
    "JSON behind a line end": (b'\n {"a": 1}', KEY, Reason.UNKNOWN_FRAMING, "it looks like JSON"),
    "text in UTF-16": ("{}".encode("utf-16"), KEY, Reason.UNKNOWN_FRAMING, "it looks like text in UTF-16"),
    "base64 of a single object": (b64encode(VALID), KEY, Reason.UNKNOWN_FRAMING, "base64 of an Avro single"),
    "base64 of JSON": (b64encode(b'{"device_id": 1}'), KEY, Reason.UNKNOWN_FRAMING, "base64 of JSON"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00", KEY, Reason.UNKNOWN_FRAMING, "zstd, compressed by the application"),
    "a long id in JSON": (
        single(fields("ö" * 100)), json.dumps("ö" * 100).encode(), Reason.KEY_NOT_DEVICE_ID,
        "StringSerializer",
    ),
    "empty device id": (single(fields("")), b"", Reason.BAD_DEVICE_ID, "empty"),
    "device id of 200 KB": (single(fields("x" * 200_000)), b"x", Reason.BAD_DEVICE_ID, "200000 bytes"),
    "257 bytes of 2-byte letters": (single(fields("é" * 128 + "e")), b"", Reason.BAD_DEVICE_ID, "257 bytes"),
    "control character": (single(fields("a\x00b")), b"a\x00b", Reason.BAD_DEVICE_ID, "control"),
    "C1 control character": (single(fields("a\x85b")), "a\x85b".encode(), Reason.BAD_DEVICE_ID, "control"),
    "negative time": (patched("event_time_us", -1), KEY, Reason.BAD_EVENT_TIME, "-1"),
    "year 10000": (patched("event_time_us", 253402300800000000), KEY, Reason.BAD_EVENT_TIME, "253402300800"),
    "NaN": (patched("serror_rate", math.nan), KEY, Reason.NOT_FINITE, "serror_rate is nan"),
    "infinity": (patched("serror_rate", math.inf), KEY, Reason.NOT_FINITE, "serror_rate is inf"),
    "negative infinity": (patched("rerror_rate", -math.inf), KEY, Reason.NOT_FINITE, "rerror_rate is -inf"),
    "negative count": (patched("count", -3), KEY, Reason.NEGATIVE_NUMBER, "count is -3"),
    "negative bytes": (patched("src_bytes", -(2**63)), KEY, Reason.NEGATIVE_NUMBER, "src_bytes is -92"),
    "negative rate": (patched("serror_rate", -0.5), KEY, Reason.NEGATIVE_NUMBER, "serror_rate is -0.5"),
    "a flow": (
        single(
            {"originator": "", "responder": "", "protocol": "tcp", "start_us": 1, "end_us": 1},
            schemas.load("Flow")),
        KEY, Reason.SCHEMA_MISMATCH, "Flow",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_rejected_with_its_reason_and_its_neighbours_come_out_right(name: str) -> None:
    value, key, reason, says = BAD[name]
    neighbours = good(6)
    records = [*neighbours[:3], Raw(100, key, value), *neighbours[3:]]
    decoded = TelemetryDecoder(KDD99).decode(records)
    [rejected] = decoded.rejected
    assert (rejected.position, rejected.reason) == (3, reason)
    assert says in rejected.detail
    assert len(rejected.detail) <= 200
    assert rejected.detail.isprintable()
    alone = seen(TelemetryDecoder(KDD99).decode(neighbours))
    assert list(seen(decoded).values()) == list(alone.values())


def test_every_bad_record_at_once_among_good_ones() -> None:
    bad = [Raw(1000 + place, key, value) for place, (value, key, _, _) in enumerate(BAD.values())]
    records = [record for pair in zip(good(len(bad)), bad, strict=True) for record in pair]
    decoded = TelemetryDecoder(KDD99).decode(records)
    assert [one.reason for one in decoded.rejected] == [reason for _, _, reason, _ in BAD.values()]
    assert [one.position for one in decoded.rejected] == list(range(1, len(records), 2))
    assert decoded.events.position.tolist() == list(range(0, len(records), 2))


def test_events_hold_what_was_written() -> None:
    records = good(50)
    events = TelemetryDecoder(KDD99).decode(records).events
    assert events.position.tolist() == events.offset.tolist() == list(range(50))
    for row in range(50):
        written = fields(f"device-{row % 7}", seed=row)
        numbers, codes = expected_row(written)
        assert events.rows["numbers"][row].tolist() == numbers
        assert events.rows["codes"][row].tolist() == codes
        assert events.event_time_us[row] == written["event_time_us"]
        assert events.device_id[row] == written["device_id"]


def test_no_records_are_no_events() -> None:
    decoded = TelemetryDecoder(KDD99).decode([])
    assert len(decoded.events) == 0
    assert decoded.rejected == ()


def test_unknown_symbols_are_code_0_and_no_error() -> None:
    record = raw(service="never-seen", flag="", protocol_type="TCP")
    [row] = TelemetryDecoder(KDD99).decode([record]).events.rows
    assert row["codes"].tolist() == [0, 0, 0]


def test_large_numbers_are_taken_as_float32_has_them() -> None:
    [row] = TelemetryDecoder(KDD99).decode([raw(src_bytes=2**62 + 1)]).events.rows
    assert row["numbers"][KDD99.numeric_names.index("src_bytes")] == np.float32(2**62)


def test_many_records_are_read_as_each_of_them_alone() -> None:
    """Symbols are looked up in one way for few records and in another for many."""
    records = [raw(at, service=["http", "never-seen", "", "zzz"][at % 4]) for at in range(400)]
    together, singly = TelemetryDecoder(KDD99).decode(records), TelemetryDecoder(KDD99)
    assert [what for _, what in sorted(seen(together).items())] == [
        seen(singly.decode([record]))[0] for record in records
    ]
    assert {int(row["codes"][1]) for row in together.events.rows} >= {0, SERVICES.index("http") + 1}


@pytest.mark.parametrize("device", ["d" * 256, "é" * 128, "\U0001f4f7" * 64])
def test_a_device_id_of_exactly_the_limit_is_taken(device: str) -> None:
    assert TelemetryDecoder(KDD99).decode([raw(0, device)]).events.device_id == [device]
    [rejected] = TelemetryDecoder(KDD99, limits=Limits(device_id_bytes=255)).decode([raw(0, device)]).rejected
    assert rejected.reason is Reason.BAD_DEVICE_ID


def test_a_record_of_1_mb_is_an_event_like_any_other() -> None:
    assert len(TelemetryDecoder(KDD99).decode([raw(service="x" * 1_000_000)]).events) == 1


def test_both_framings_of_several_writers_in_one_chunk_keep_the_order() -> None:
    registry = FakeRegistry({7: CURRENT, 8: writer(drop=["hot"])})
    records = []
    for offset, plain in enumerate(good(12)):
        assert plain.value is not None
        body = [plain.value, framing.confluent_header(7) + plain.value[10:]][offset % 2]
        records.append(Raw(offset, plain.key, body))
    record = fields("device-9")
    older = Raw(12, b"device-9", framing.confluent_header(8) + datum(record, registry.known[8]))
    decoded = TelemetryDecoder(KDD99, registry=registry).decode([*records[:5], older, *records[5:]])
    assert decoded.rejected == ()
    assert decoded.events.position.tolist() == list(range(13))
    assert decoded.events.offset.tolist() == [0, 1, 2, 3, 4, 12, *range(5, 12)]
    assert decoded.events.rows["numbers"][5][KDD99.numeric_names.index("hot")] == 0


def test_a_registry_that_does_not_answer_fails_the_chunk_not_the_record() -> None:
    record = Raw(0, b"camera-1", framing.confluent_header(7) + VALID[10:])
    with pytest.raises(RegistryUnavailable):
        TelemetryDecoder(KDD99, registry=AbsentRegistry()).decode([record])


EXTRA: dict[str, tuple[Any, Any]] = {
    "string": ("string", "x"),
    "bytes": ("bytes", b"\xff"),
    "boolean": ("boolean", True),
    "fixed": ({"type": "fixed", "name": "F", "size": 3}, b"abc"),
    "enum": ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B"),
    "map": ({"type": "map", "values": "long"}, {"a": 1, "b": 2}),
    "array": ({"type": "array", "items": "string"}, ["x", "y"]),
    "null": ("null", None),
    "optional": (["null", "string"], "x"),
    "optional, absent": (["null", "string"], None),
    "union of three": (["null", "string", "long"], 5),
    "record": ({"type": "record", "name": "Q", "fields": [{"name": "x", "type": "int"}]}, {"x": 1}),
    "timestamp": ({"type": "long", "logicalType": "timestamp-micros"}, 5),
}


@pytest.mark.parametrize("name", EXTRA)
def test_a_newer_writer_with_a_column_more_is_read_as_if_it_were_not_there(name: str) -> None:
    written, value = EXTRA[name]
    newer = writer(extra=[{"name": "extra", "type": written}])
    records = [
        Raw(offset, b"d", single({**fields("d", seed=offset), "extra": value}, newer)) for offset in range(5)
    ]
    plain = [raw(offset, "d") for offset in range(5)]
    decoded = TelemetryDecoder(KDD99, [newer]).decode(records)
    assert decoded.rejected == ()
    assert seen(decoded) == seen(TelemetryDecoder(KDD99).decode(plain))


PROMOTED: dict[str, dict[str, Any]] = {
    "int for long": {"src_bytes": "int", "event_time_us": "long"},
    "int for float": {"serror_rate": "int"},
    "long for float": {"serror_rate": "long"},
    "optional": {"serror_rate": ["null", "float"], "service": ["string", "null"], "hot": ["int", "null"]},
    "bytes for string": {"service": "bytes", "device_id": "bytes"},
    "several": {"serror_rate": ["int", "float", "string"], "service": ["null", "bytes", "long"]},
}


@pytest.mark.parametrize("name", PROMOTED)
def test_a_writer_of_narrower_or_optional_types_is_read(name: str) -> None:
    relative = writer(change=PROMOTED[name])
    record = fields("d", src_bytes=77, serror_rate=1, service="http")
    written: dict[str, Any] = dict(record)
    if name == "bytes for string":
        written.update(service=b"http", device_id=b"d")
    if name == "several":
        written.update(service=b"http")
    decoded = TelemetryDecoder(KDD99, [relative]).decode([Raw(0, b"d", single(written, relative))])
    assert decoded.rejected == ()
    assert decoded.events.rows["numbers"][0].tolist() == expected_row(record)[0]
    assert decoded.events.rows["codes"][0].tolist() == expected_row(record)[1]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"serror_rate": "double"}, 'column serror_rate is written as "double"'),
        ({"count": "long"}, "count"),
        ({"src_bytes": "string"}, "src_bytes"),
        ({"service": {"type": "enum", "name": "S", "symbols": ["http"]}}, "service"),
        ({"hot": ["null", "string"]}, "hot"),
    ],
)
def test_a_writer_that_cannot_be_resolved_is_a_mismatch(changed: dict[str, Any], says: str) -> None:
    stranger = writer(change=changed)
    value = framing.single_object_header(stranger.fingerprint) + b"anything"
    [rejected] = TelemetryDecoder(KDD99, [stranger]).decode([Raw(0, b"d", value)]).rejected
    assert rejected.reason is Reason.SCHEMA_MISMATCH
    assert says in rejected.detail


def test_a_missing_column_takes_its_default_and_one_without_a_default_is_a_mismatch() -> None:
    older, stranger = writer(drop=["count", "serror_rate"]), writer(drop=["service"])
    records = [Raw(0, b"d", single(fields("d"), older)), Raw(1, b"d", single(fields("d"), stranger))]
    decoded = TelemetryDecoder(KDD99, [older, stranger]).decode(records)
    numbers = decoded.events.rows["numbers"][0]
    assert (
        numbers[KDD99.numeric_names.index("count")] == numbers[KDD99.numeric_names.index("serror_rate")] == 0
    )
    assert [(one.position, one.reason) for one in decoded.rejected] == [(1, Reason.SCHEMA_MISMATCH)]
    assert "service" in decoded.rejected[0].detail


def test_a_null_where_a_value_is_needed_is_that_records_fault_alone() -> None:
    names = ["device_id", "event_time_us", "service", "serror_rate", "src_bytes"]
    types = {field["name"]: field["type"] for field in CURRENT.source["fields"]}
    optional = writer(change={name: ["null", types[name]] for name in names})
    records = [Raw(0, b"d", single(fields("d"), optional))]
    records += [
        Raw(at, b"d", single({**fields("d"), name: None}, optional)) for at, name in enumerate(names, 1)
    ]
    decoded = TelemetryDecoder(KDD99, [optional]).decode(records)
    assert seen(decoded) == seen(TelemetryDecoder(KDD99).decode([raw(0, "d")]))
    assert {one.reason for one in decoded.rejected} == {Reason.SCHEMA_MISMATCH}
    assert all(name in one.detail for name, one in zip(names, decoded.rejected, strict=True))


def hostile(tail: Callable[[], bytes], extra: dict[str, Any]) -> tuple[TelemetryDecoder, Raw]:
    schema = writer(extra=[extra])
    value = framing.single_object_header(schema.fingerprint) + VALID[10:] + tail()
    return TelemetryDecoder(KDD99, [schema]), Raw(0, b"camera-1", value)


@pytest.mark.parametrize("count", [2**60, 2**40, -(2**62), -(2**63)])
@pytest.mark.parametrize("extra", [LONGS, NULLS], ids=["longs", "nulls"])
def test_an_array_of_hostile_length_costs_nothing(count: int, extra: dict[str, Any]) -> None:
    decoder, record = hostile(lambda: long(count) + long(1), extra)
    [rejected] = decoder.decode([record]).rejected
    assert rejected.reason is Reason.TRUNCATED


def test_a_record_nested_beyond_the_stack_is_rejected() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    decoder, record = hostile(lambda: b"\x02" * 100_000 + b"\x00", {"name": "node", "type": node})
    [rejected] = decoder.decode([record]).rejected
    assert rejected.reason is Reason.UNDECODABLE


def test_a_batch_that_holds_poison_is_still_read_in_columns_but_for_its_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    batch = columns.read_batch

    def counted(plan: columns.Plan, datums: Any) -> Any:
        read = batch(plan, datums)
        sizes.append(len(datums) if read else -len(datums))
        return read

    monkeypatch.setattr(columns, "read_batch", counted)
    records = good(300)
    records[130] = Raw(130, b"d", VALID[:-2])
    decoded = TelemetryDecoder(KDD99).decode(records)
    assert sizes == [-300, 128, -128, 44]
    assert decoded.events.position.tolist() == [at for at in range(300) if at != 130]


def test_a_union_branch_that_is_none_is_undecodable() -> None:
    decoder, record = hostile(lambda: long(7), {"name": "u", "type": ["null", "string", "long"]})
    [rejected] = decoder.decode([record]).rejected
    assert rejected.reason is Reason.UNDECODABLE
    assert "branch 7" in rejected.detail


def test_a_signalling_nan_in_the_bytes_themselves_is_not_finite() -> None:
    value = VALID[:-4] + struct.pack("<I", 0x7F800001)
    [rejected] = TelemetryDecoder(KDD99).decode([Raw(0, b"camera-1", value)]).rejected
    assert (rejected.reason, "dst_host_srv_rerror_rate" in rejected.detail) == (Reason.NOT_FINITE, True)


def test_the_guard_is_drawn_anew_for_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that a sender knew could be forged into a datum."""
    drawn: list[bytes] = []
    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", lambda size: drawn.append(urandom(size)) or drawn[-1])
    for _ in range(3):
        TelemetryDecoder(KDD99).decode(good(2))
    assert len(set(drawn)) == 3
    assert {len(guard) for guard in drawn} == {8}


def test_schemas_are_plain_json_files() -> None:
    assert json.loads((schemas.folder() / "ConnectionRecord.avsc").read_text())["namespace"] == "autodeep.ids"


NOW_MS = 1_795_000_000_000


def timed(event_time_us: int, timestamp_ms: int = NOW_MS) -> Raw:
    return replace(raw(event_time_us=event_time_us), timestamp=timestamp_ms)


@pytest.mark.parametrize(
    ("event_time_us", "detail"),
    [
        (
            NOW_MS,
            "1793205000 s behind Kafka's timestamp; at most 60 s are taken; event_time_us looks like milli",
        ),
        (
            NOW_MS // 1000,
            "behind Kafka's timestamp; at most 60 s are taken; event_time_us looks like seconds",
        ),
        (NOW_MS * 1000 + 60_000_001, "60 s ahead of Kafka's timestamp; at most 60 s are taken"),
        (NOW_MS * 1000 - 60_000_001, "60 s behind Kafka's timestamp"),
    ],
)
def test_a_time_too_far_from_kafkas_is_refused_where_there_is_a_limit(
    event_time_us: int, detail: str
) -> None:
    record = timed(event_time_us)
    [rejected] = TelemetryDecoder(KDD99, limits=Limits(skew_s=60)).decode([record]).rejected
    assert rejected.reason is Reason.CLOCK_SKEW
    assert detail in rejected.detail
    assert len(TelemetryDecoder(KDD99).decode([record]).events) == 1


@pytest.mark.parametrize(
    "record",
    [
        timed(NOW_MS * 1000 + 60_000_000),
        timed(NOW_MS * 1000 - 60_000_000),
        timed(NOW_MS * 1000, timestamp_ms=-1),
    ],
)
def test_up_to_the_limit_and_without_a_timestamp_of_kafka_a_record_is_taken(record: Raw) -> None:
    assert len(TelemetryDecoder(KDD99, limits=Limits(skew_s=60)).decode([record]).events) == 1


def test_events_carry_kafkas_timestamps_in_their_own_order() -> None:
    records = [replace(one, timestamp=NOW_MS + i) for i, one in enumerate(good(4))]
    records[1] = replace(records[1], key=None)
    older = replace(raw(2, "d", writer(drop=("context",))), timestamp=NOW_MS + 9)
    events = (
        TelemetryDecoder(KDD99, [writer(drop=("context",))]).decode([records[0], older, *records[1:]]).events
    )
    assert (events.kafka_us // 1000 - NOW_MS).tolist() == [0, 9, 2, 3]


def test_nanoseconds_are_named_in_the_detail() -> None:
    [rejected] = TelemetryDecoder(KDD99).decode([timed(NOW_MS * 1_000_000)]).rejected
    assert rejected.reason is Reason.BAD_EVENT_TIME
    assert rejected.detail.endswith("event_time_us looks like nanoseconds")
