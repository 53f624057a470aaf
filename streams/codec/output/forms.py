"""The forms of a message: which one a value has, how it is framed, and its fields by the schema's names.

What a message says of itself, its header `content-type`, comes first. Only where it has none, as those of
earlier versions, its first bytes decide.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from streams.codec.avro import datum, framing, schemas
from streams.codec.plain import is_int64, is_number, is_text, shown
from streams.codec.times import microseconds
from streams.core.events import Header
from streams.errors import DataError

CONTENT_TYPE: Final = "content-type"
TIME: Final = "_us"
"""How a schema's field of a time ends. In JSON the time is text, and the name goes without."""
_FRAMING: Final = "framing="


class Form(StrEnum):
    """The values are what stands in the header `content-type`."""

    JSON = "application/json"
    SINGLE_OBJECT = "application/avro; framing=single-object"
    CONFLUENT = "application/avro; framing=confluent"


class MessageUnreadable(DataError, ValueError):
    """A value that is no message of the kind that its topic holds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a topic holds: the name of its schema, and the error for what is none."""

    schema: str
    error: type[MessageUnreadable]

    @property
    def word(self) -> str:
        return self.schema.lower()


@functools.lru_cache(maxsize=16)
def frame(schema: str, schema_id: int | None) -> bytes:
    """What stands before the datum: of a registry where it gave an id, else Avro's own."""
    if schema_id is None:
        return framing.single_object_header(schemas.load(schema).fingerprint)
    return framing.confluent_header(schema_id)


def json_names(schema: str) -> tuple[str, ...]:
    """The names of a schema's fields as JSON has them, in their order."""
    return tuple(field["name"].removesuffix(TIME) for field in schemas.load(schema).source["fields"])


def read_fields(kind: Kind, value: bytes | None, headers: Sequence[Header] | None) -> dict[str, Any]:
    """The fields by the schema's names, of its types; records are dicts. Raises the kind's error.

    A registry's id is not looked up: the value must be of one of our own schemas.
    """
    if not value:
        raise kind.error("the value is empty")
    form = _told(kind, headers) or _guessed(kind, value)
    if form is Form.JSON:
        return _from_json(kind, value)
    if form is Form.SINGLE_OBJECT:
        if not value.startswith(framing.SINGLE_OBJECT_MAGIC):
            raise kind.error(f"the value begins with {value[:2].hex(' ')}, not with c3 01 (single object)")
        size = framing.SINGLE_OBJECT_SIZE
        writer = _writer(kind, value[len(framing.SINGLE_OBJECT_MAGIC) : size])
        return _from_avro(kind, value[size:], writer)
    if value[0] != framing.CONFLUENT_MAGIC:
        raise kind.error(f"the value begins with {value[:1].hex()}, not with 00 (Confluent)")
    return _of_any_version(kind, value[framing.CONFLUENT_SIZE :])


def _told(kind: Kind, headers: Sequence[Header] | None) -> Form | None:
    """By the header; None where there is none, or where it leaves the framing open."""
    for name, value in reversed(headers or ()):
        if name.lower() == CONTENT_TYPE and value is not None:
            return _of_content_type(kind, value)
    return None


@functools.lru_cache(maxsize=256)
def _of_content_type(kind: Kind, value: bytes) -> Form | None:
    media, *parameters = (part.strip() for part in value.decode("latin-1").lower().split(";"))
    if media == Form.JSON:
        return Form.JSON
    if media == "application/avro":
        told = [part.removeprefix(_FRAMING) for part in parameters if part.startswith(_FRAMING)]
        by_name = {form.partition(_FRAMING)[2]: form for form in (Form.SINGLE_OBJECT, Form.CONFLUENT)}
        return by_name.get(told[0]) if told else None
    raise kind.error(f"its content type is {shown(value.decode('latin-1'))}, not JSON or Avro")


def _guessed(kind: Kind, value: bytes) -> Form:
    if value[:1] == b"{":
        return Form.JSON
    if value.startswith(framing.SINGLE_OBJECT_MAGIC):
        return Form.SINGLE_OBJECT
    if value[0] == framing.CONFLUENT_MAGIC:
        return Form.CONFLUENT
    raise kind.error(f"the value begins with {value[:2].hex(' ')}: neither Avro framing, nor JSON")


@functools.cache
def _writers(schema: str) -> Mapping[bytes, schemas.Schema]:
    return schemas.by_fingerprint((*schemas.history(schema), schemas.load(schema)))


def _writer(kind: Kind, fingerprint: bytes) -> schemas.Schema:
    writer = _writers(kind.schema).get(fingerprint)
    if writer is None:
        name, mark = kind.schema, fingerprint.hex()
        raise kind.error(f"no {name} schema has the fingerprint {mark}; a newer writer?")
    return writer


def _of_any_version(kind: Kind, data: bytes) -> dict[str, Any]:
    """An older datum ends earlier, so that its bytes are whole by one schema only."""
    try:
        return _from_avro(kind, data, schemas.load(kind.schema))
    except MessageUnreadable:
        for writer in reversed(schemas.history(kind.schema)):
            with contextlib.suppress(MessageUnreadable):
                return _from_avro(kind, data, writer)
        raise


def _from_avro(kind: Kind, data: bytes, writer: schemas.Schema) -> dict[str, Any]:
    try:
        values, end = datum.reader_of(writer)(data, 0)
    except datum.Unreadable as exc:
        raise kind.error(exc.detail) from exc
    if end != len(data):
        raise kind.error(f"the {kind.word} ends at byte {end} of {len(data)} after its header")
    named: dict[str, Any] = _named(writer.source, values)
    return named


def _named(kind: Any, value: Any) -> Any:
    """What the reader of a type gives, with maps and records as dicts."""
    match kind:
        case {"type": "record"}:
            pairs = zip(kind["fields"], value, strict=True)
            return {field["name"]: _named(field["type"], item) for field, item in pairs}
        case {"type": "map"}:
            return dict(value)
        case {"type": "array"}:
            return [_named(kind["items"], item) for item in value]
        case ["null", other]:
            return None if value is None else _named(other, value)
    return value


def _from_json(kind: Kind, value: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise kind.error(f"the value is no JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise kind.error("the value is no object of JSON")
    found: dict[str, Any] = {}
    missing = []
    for name, text, is_needed, reads in _fields(kind.schema):
        if name in fields:  # times were integers once
            found[name] = reads(kind, name, fields[name])
        elif text in fields:
            found[name] = _time(kind, text, fields[text])
        elif is_needed:
            missing.append(text)
    if missing:
        raise kind.error(f"the {kind.word} has no {', '.join(missing)}")
    return found


def _time(kind: Kind, name: str, value: Any) -> int:
    try:
        return microseconds(value)
    except (TypeError, ValueError) as exc:
        raise kind.error(f"{name} is {shown(value)}, not a time as RFC 3339 has it") from exc


Reads = Callable[[Kind, str, Any], Any]
"""A value of JSON as a schema's type has it: of which kind of message, by which name, and the value."""


@functools.cache
def _fields(schema: str) -> tuple[tuple[str, str, bool, Reads], ...]:
    """Of each field its name, that of a time in JSON, whether it must be there, and what reads it."""
    return tuple(
        (field["name"], field["name"].removesuffix(TIME), "default" not in field, _reads(field["type"]))
        for field in schemas.load(schema).source["fields"]
    )


def _reads(wanted: Any) -> Reads:
    match wanted:
        case {"type": "map"}:
            return _reads_map(wanted, _reads(wanted["values"]))
        case {"type": "array"}:
            return _reads_array(wanted, _reads(wanted["items"]))
        case {"type": "record"}:
            return _reads_record(wanted, {part["name"]: _reads(part["type"]) for part in wanted["fields"]})
        case ["null", other]:
            of = _reads(other)
            return lambda kind, name, value: None if value is None else of(kind, name, value)
    return lambda kind, name, value: _primitive(kind, name, wanted, value)


def _reads_map(wanted: Any, of: Reads) -> Reads:
    def read(kind: Kind, name: str, value: Any) -> Any:
        if not isinstance(value, dict):
            return _primitive(kind, name, wanted, value)
        return {
            _primitive(kind, f"a name in {name}", "string", key): of(kind, f"{name}.{key[:60]}", item)
            for key, item in value.items()
        }

    return read


def _reads_array(wanted: Any, of: Reads) -> Reads:
    def read(kind: Kind, name: str, value: Any) -> Any:
        if not isinstance(value, list):
            return _primitive(kind, name, wanted, value)
        return [of(kind, f"{name}.{place}", item) for place, item in enumerate(value)]

    return read


def _reads_record(wanted: Any, parts: Mapping[str, Reads]) -> Reads:
    def read(kind: Kind, name: str, value: Any) -> Any:
        if not isinstance(value, dict):
            return _primitive(kind, name, wanted, value)
        return {part: of(kind, f"{name}.{part}", value.get(part)) for part, of in parts.items()}

    return read


def _primitive(kind: Kind, name: str, wanted: Any, value: Any) -> str | int | float:
    of = wanted if isinstance(wanted, str) else wanted["type"]
    if of == "string" and is_text(value):
        return value
    if of in ("int", "long") and is_int64(value):
        return value
    if of == "double" and is_number(value):
        return float(value)
    raise kind.error(f"{name} is {shown(value)}, not of type {of}")
