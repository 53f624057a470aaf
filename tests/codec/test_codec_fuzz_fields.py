"""Whole valid messages with one field at a time made hostile: each is refused or can be written again.

test_codec_fuzz.py draws bytes; most of those fall at the first length. Here everything else is in its place.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import pytest

from streams.codec import models
from streams.codec.avro import framing, schemas
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.codec.models import Disagreement, ModelCommand, ModelState, ModelStatus, Switch
from streams.codec.output.alerts import encode_alert
from streams.codec.output.incidents import encode_incident
from streams.core.kdd99 import KDD99
from streams.errors import DataError
from tests.codec.test_codec_alerts import RICH
from tests.codec.test_codec_fuzz import HOSTILE_LENGTHS, MESSAGES, OPINION, REF, little
from tests.codec.test_codec_property import claimed
from tests.codec.test_incidents import RICH as RICH_INCIDENT
from tests.codec_samples import CURRENT, Raw, datum, fields, single

WHOLE: dict[str, Any] = {
    "alert": RICH,
    "incident": RICH_INCIDENT,
    "command": ModelCommand("id", "promote", "kdd99", 5, "2", at_offsets={"0": 1, "1": 2}, force=True),
    "state": ModelState(
        3, REF, 5, REF, "canary", 0.5, REF, "id", preparing=REF, switches=(Switch(REF, {"0": 9}, "t"),)
    ),
    "disagreement": Disagreement("id", "d", 1, "t", 0, 2, OPINION, OPINION),
    "status": ModelStatus(
        "challenge", "w", "id", 3, "kdd99", "2", "ab", "compared", "-", 0.5, 7, {"a": {"b": [1, 0.5]}}
    ),
}
WRITE: dict[str, Callable[[Any], bytes]] = {
    "alert": encode_alert,
    "incident": encode_incident,
    "command": models.encode_command,
    "state": models.encode_state,
    "disagreement": models.encode_disagreement,
    "status": models.encode_status,
}
SCHEMAS = {
    "alert": "Alert",
    "incident": "Incident",
    "command": models.MODEL_COMMAND,
    "state": models.MODEL_STATE,
    "disagreement": models.DISAGREEMENT,
}
HOSTILE_PIECES = [
    *HOSTILE_LENGTHS,
    *(claimed(n) for n in (-1, 0, 1, 2, 2**31, 2**63 - 1, -(2**63))),
    b"",
    b"\xff" * 10,
    b"\x02\xff",  # text that is not UTF-8
    struct.pack("<d", math.nan),
    struct.pack("<d", math.inf),
]
HOSTILE_JSON: list[Any] = [
    None, True, 0, -1, 1.5, 2**31, 2**63, -(2**63) - 1, 10**308, 10**400, math.nan, math.inf,
    "", "x" * 5_000, "\ud800", "\x00", [], {}, [[]], {"": {}}, {"\udfff": 10**400}, [10**400],
]  # fmt: skip


def cut(kind: Any, value: Any, named: dict[str, Any]) -> list[bytes]:
    """A datum cut where one number, text, count or branch ends and the next begins."""
    match kind:
        case {"type": "record"}:
            named[kind["name"]] = kind
            return [
                piece for field in kind["fields"] for piece in cut(field["type"], value[field["name"]], named)
            ]
        case ["null", other]:
            return [claimed(0)] if value is None else [claimed(1), *cut(other, value, named)]
        case {"type": "array"}:
            inside = [cut(kind["items"], item, named) for item in value]
        case {"type": "map"}:
            inside = [
                [*cut("string", key, named), *cut(kind["values"], item, named)] for key, item in value.items()
            ]
        case str() if kind in named:
            return cut(named[kind], value, named)
        case _:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, kind, value)
            return [out.getvalue()]
    start = [claimed(len(inside))] if inside else []
    return [*start, *(piece for item in inside for piece in item), claimed(0)]


def places_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container inside a value of JSON, with each of its keys or indices."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places_of(value[key])


def is_refused_or_can_be_written_again(kind: str, value: bytes) -> bool:
    decode, write = MESSAGES[kind][0], WRITE[kind]
    try:
        read = decode(value)
    except DataError:
        return True
    again = write(read)
    return write(decode(again)) == again


def plain_fields(message: Any) -> Any:
    fields = json.loads(json.dumps(dataclasses.asdict(message)))
    return {**fields, "severity": message.severity.word} if "severity" in fields else fields


@pytest.mark.parametrize("kind", SCHEMAS)
def test_an_avro_message_with_any_one_of_its_fields_hostile_is_refused_or_can_be_written_again(
    kind: str,
) -> None:
    schema, message = schemas.load(SCHEMAS[kind]), WHOLE[kind]
    parts = cut(schema.canonical, plain_fields(message), {})
    header = framing.single_object_header(schema.fingerprint)
    assert header + b"".join(parts) == WRITE[kind](message)
    with little(seconds=30):
        for at in range(len(parts)):
            for hostile in HOSTILE_PIECES:
                value = header + b"".join([*parts[:at], hostile, *parts[at + 1 :]])
                assert is_refused_or_can_be_written_again(kind, value), (at, hostile)


@pytest.mark.parametrize("kind", ["alert", "incident", "status"])
def test_a_json_message_with_any_one_of_its_fields_hostile_is_refused_or_can_be_written_again(
    kind: str,
) -> None:
    in_json = {
        "alert": lambda: encode_alert(RICH, "json"),
        "incident": lambda: encode_incident(RICH_INCIDENT, "json"),
    }
    whole = in_json[kind]() if kind in in_json else WRITE[kind](WHOLE[kind])
    fields = json.loads(whole)
    with little(seconds=30):
        for container, key in list(places_of(fields)):
            kept = container[key]
            for hostile in HOSTILE_JSON:
                container[key] = hostile
                assert is_refused_or_can_be_written_again(kind, json.dumps(fields).encode()), (key, hostile)
            del container[key]
            assert is_refused_or_can_be_written_again(kind, json.dumps(fields).encode()), key
            container.update({key: kept}) if isinstance(container, dict) else container.insert(key, kept)
        assert json.loads(json.dumps(fields)) == json.loads(whole)


HOSTILE_SCHEMAS: list[Any] = [
    *HOSTILE_JSON[:6], 10**400, "", "\ud800", "long", "autodeep.ids.ConnectionRecord", [], {}, [[]], ["null"],
    ["null", "long"], {"type": "array", "items": "null"}, {"type": "enum", "name": "e", "symbols": [1]},
    {"type": "fixed", "name": "f", "size": -1}, {"type": "fixed", "name": "f", "size": 2**62},
    {"type": "record", "name": "q", "fields": [{"name": "a", "type": "q"}]},
]  # fmt: skip


class OneSchema:
    def __init__(self, schema: schemas.Schema) -> None:
        self._schema = schema

    def schema(self, schema_id: int) -> schemas.Schema:
        return self._schema


def test_a_writers_schema_with_any_one_of_its_values_hostile_ends_no_decoder() -> None:
    """As a registry or a producers' folder may hold it."""
    source = json.loads(json.dumps(CURRENT.source))
    source["fields"] = [*source["fields"][:4], source["fields"][-1]]
    value = framing.confluent_header(7) + datum(fields("d0"))
    records = [Raw(at, b"d0", one) for at, one in enumerate((value, value[:20], value[:5] + bytes(300)))]
    with little(seconds=30):
        for container, key in list(places_of(source)):
            kept = container[key]
            for hostile in HOSTILE_SCHEMAS:
                container[key] = hostile
                try:
                    schema = schemas.parse(json.dumps(source), "a test")
                except DataError:
                    continue
                decoded = TelemetryDecoder(KDD99, registry=OneSchema(schema)).decode(records)
                assert len(decoded.events) + len(decoded.rejected) == len(records)
            container[key] = kept


ITSELF = "autodeep.ids.ConnectionRecord"
LIST = {"type": "record", "name": "Link", "fields": [{"name": "to", "type": ["null", "Link"]}]}


@pytest.mark.parametrize(
    ("written", "more", "is_good"),
    [
        (["null", ITSELF], b"\0", True),
        (["null", ITSELF], b"\2", True),
        ({"type": "array", "items": ITSELF}, b"\0", True),
        ({"type": "map", "values": {"type": "array", "items": ITSELF}}, b"\0", True),
        (
            {"type": "record", "name": "Link", "fields": [{"name": "to", "type": ["null", "Link"]}]},
            b"\0",
            True,
        ),
        (ITSELF, b"", False),
    ],
)
def test_a_writers_schema_that_holds_itself_is_read_or_refused(
    written: Any, more: bytes, is_good: bool
) -> None:
    """As trees and lists do; every id of a shared registry may be named by a sender."""
    source = json.loads(json.dumps(CURRENT.source))
    source["fields"].append({"name": "held", "type": written})
    schema, one = schemas.parse(json.dumps(source), "a test"), datum(fields("d0"))
    value = one + more if more != b"\2" else one + more + one + b"\0"
    records = [Raw(0, b"d0", framing.confluent_header(7) + value), Raw(1, b"d0", single(fields("d0")))]
    decoded = TelemetryDecoder(KDD99, registry=OneSchema(schema)).decode(records)
    assert len(decoded.events) == 1 + is_good
    assert len(decoded.rejected) == 1 - is_good
