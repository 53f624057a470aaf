"""Alerts as bytes: Avro in either framing, or flat JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import fastavro

from streams.codec import datum, framing, schemas
from streams.core.alerts import Alert
from streams.errors import DataError

AlertFormat = Literal["avro", "json"]

FIELDS: Final = tuple(field.name for field in dataclasses.fields(Alert))


class AlertUnreadable(DataError, ValueError):
    """A value on an alert topic that is no alert of this schema or one before it."""


def encode_alert(alert: Alert, fmt: AlertFormat = "avro", schema_id: int | None = None) -> bytes:
    """The value of an alert's record. Avro is framed as Confluent's where a registry's id is given."""
    fields = {name: getattr(alert, name) for name in FIELDS}
    if fmt == "json":
        fields["scores"] = dict(alert.scores)
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    out = io.BytesIO()
    out.write(_single_object_header() if schema_id is None else framing.confluent_header(schema_id))
    fastavro.schemaless_writer(out, _parsed(), fields)
    return out.getvalue()


def decode_alert(value: bytes | None) -> Alert:
    """Any of the forms. A Confluent id is not looked up: the value must be of one of our own schemas.

    Raises AlertUnreadable.
    """
    if not value:
        raise AlertUnreadable("the value is empty")
    if value[:1] == b"{":
        return _from_json(value)
    if value[: len(framing.SINGLE_OBJECT_MAGIC)] == framing.SINGLE_OBJECT_MAGIC:
        size = framing.SINGLE_OBJECT_SIZE
        return _from_avro(value[size:], _writer(value[len(framing.SINGLE_OBJECT_MAGIC) : size]))
    if value[0] != framing.CONFLUENT_MAGIC:
        raise AlertUnreadable(f"the value begins with {value[:2].hex(' ')}: neither Avro framing, nor JSON")
    data = value[framing.CONFLUENT_SIZE :]
    try:
        return _from_avro(data, schemas.load(schemas.ALERT))
    except AlertUnreadable:
        # An older one ends earlier, so that its bytes are whole by one schema only.
        for writer in reversed(schemas.history(schemas.ALERT)):
            with contextlib.suppress(AlertUnreadable):
                return _from_avro(data, writer)
        raise


@functools.cache
def _single_object_header() -> bytes:
    return framing.single_object_header(schemas.load(schemas.ALERT).fingerprint)


@functools.cache
def _parsed() -> Any:
    return fastavro.parse_schema(dict(schemas.load(schemas.ALERT).source))


def _writer(fingerprint: bytes) -> schemas.Schema:
    known = schemas.by_fingerprint((*schemas.history(schemas.ALERT), schemas.load(schemas.ALERT)))
    if fingerprint not in known:
        raise AlertUnreadable(f"no Alert schema has the fingerprint {fingerprint.hex()}; a newer writer?")
    return known[fingerprint]


def _from_avro(data: bytes, writer: schemas.Schema) -> Alert:
    try:
        values, end = datum.compile_reader(writer.canonical)(data, 0)
    except datum.Unreadable as exc:
        raise AlertUnreadable(exc.detail) from exc
    if end != len(data):
        raise AlertUnreadable(f"the alert ends at byte {end} of {len(data)} after its header")
    fields = dict(zip((field["name"] for field in writer.canonical["fields"]), values, strict=True))
    fields["scores"] = dict(fields["scores"])
    return _alert(fields)


def _from_json(value: bytes) -> Alert:
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise AlertUnreadable(f"the value is no JSON: {exc}") from exc
    return _alert(fields)


def _alert(fields: Mapping[str, Any]) -> Alert:
    defaults = {
        field["name"]: field["default"]
        for field in schemas.load(schemas.ALERT).source["fields"]
        if "default" in field
    }
    known = {**defaults, **{name: fields[name] for name in FIELDS if name in fields}}
    missing = [name for name in FIELDS if name not in known]
    if missing:
        raise AlertUnreadable(f"the alert has no {', '.join(missing)}")
    for field in schemas.load(schemas.ALERT).source["fields"]:
        known[field["name"]] = _typed(field["name"], field["type"], known[field["name"]])
    return Alert(**known)


def _typed(name: str, wanted: Any, value: Any) -> Any:
    """A value of JSON as the schema's type has it."""
    match wanted:
        case "string" if isinstance(value, str):
            return value
        case "int" | "long" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "double" if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case {"type": "map"} if isinstance(value, dict):
            return {key: _typed(f"{name}.{key}", wanted["values"], item) for key, item in value.items()}
    raise AlertUnreadable(f"{name} is {ascii(value)[:60]}, not of type {json.dumps(wanted)}")
