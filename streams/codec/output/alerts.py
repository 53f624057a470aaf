"""Alerts as bytes: Avro in either framing, or JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import fastavro

from streams.codec.avro import datum, framing, schemas
from streams.core.alerts import Alert, Driver, Explanation
from streams.errors import DataError

AlertFormat = Literal["avro", "json"]

FIELDS: Final = tuple(field.name for field in dataclasses.fields(Alert))


class AlertUnreadable(DataError, ValueError):
    """A value on an alert topic that is no alert of this schema or one before it."""


def encode_alert(alert: Alert, fmt: AlertFormat = "avro", schema_id: int | None = None) -> bytes:
    """The value of an alert's record. Avro is framed as Confluent's where a registry's id is given."""
    fields = {name: getattr(alert, name) for name in FIELDS}
    if alert.explanation is not None:
        fields["explanation"] = {
            "features": [dataclasses.asdict(driver) for driver in alert.explanation.features],
            "events": list(alert.explanation.events),
        }
    if alert.context is not None:
        fields["context"] = dict(alert.context)
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
    return _alert(_named(writer.canonical, values))


def _named(schema: Any, value: Any) -> Any:
    """What the strict reader made of a datum, as JSON would have it: records are lists of values there."""
    match schema:
        case ["null", other]:
            return None if value is None else _named(other, value)
        case {"type": "record"}:
            fields = zip(schema["fields"], value, strict=True)
            return {field["name"]: _named(field["type"], item) for field, item in fields}
        case {"type": "array"}:
            return [_named(schema["items"], item) for item in value]
        case {"type": "map"}:
            return dict(value)
    return value


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
    return Alert(**{**known, "explanation": _explanation(known["explanation"])})


def _explanation(known: Mapping[str, Any] | None) -> Explanation | None:
    if known is None:
        return None
    return Explanation(tuple(Driver(**driver) for driver in known["features"]), tuple(known["events"]))


def _typed(name: str, wanted: Any, value: Any) -> Any:
    """A value of JSON as the schema's type has it."""
    match wanted:
        case {"type": "map"} if isinstance(value, dict):
            return {key: _typed(f"{name}.{key}", wanted["values"], item) for key, item in value.items()}
        case {"type": "array"} if isinstance(value, list):
            return [_typed(f"{name}.{place}", wanted["items"], item) for place, item in enumerate(value)]
        case {"type": "record"} if isinstance(value, dict):
            parts = ((field["name"], field["type"]) for field in wanted["fields"])
            return {part: _typed(f"{name}.{part}", of, value.get(part)) for part, of in parts}
        case ["null", other]:
            return None if value is None else _typed(name, other, value)
    return _primitive(name, wanted, value)


def _primitive(name: str, wanted: Any, value: Any) -> str | int | float:
    match wanted:
        case "string" if isinstance(value, str):
            return value
        case "int" | "long" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "double" if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    kind = wanted if isinstance(wanted, str) else wanted["type"]
    raise AlertUnreadable(f"{name} is {ascii(value)[:60]}, not of type {kind}")
