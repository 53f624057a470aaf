"""The Avro schemas of the wire: where they lie, how they are parsed, and the fingerprint that names each.

`schemas/<Name>.avsc` is what this version writes and reads into; `schemas/history/<Name>.<n>.avsc` are the
versions before it, which are still read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import avro.compatibility
import avro.errors
import avro.schema
import fastavro.schema

from streams.errors import DataError

CONNECTION_RECORD: Final = "ConnectionRecord"
ALERT: Final = "Alert"
DEVICE_FLOW: Final = "DeviceFlow"
INCIDENT: Final = "Incident"

_PACKAGED: Final = Path(__file__).parents[2] / "_data" / "schemas"
_CHECKOUT: Final = Path(__file__).parents[3] / "schemas"


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """One parsed schema. Two schemas of one fingerprint write the same bytes."""

    name: str
    """The record's name without its namespace."""
    source: Mapping[str, Any]
    """As written, with docs and defaults."""
    canonical: Any
    """Avro's parsing canonical form, parsed: no docs, no defaults, every name in full."""
    fingerprint: bytes
    """CRC-64-AVRO of the canonical form: 8 bytes, little-endian, as the single-object framing has them."""


def folder() -> Path:
    """Where the schemas lie: in the installed package, or at the root of a checkout."""
    return _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT


@functools.cache
def load(name: str) -> Schema:
    """The current schema of one record, such as "Alert"."""
    return read_file(folder() / f"{name}.avsc")


@functools.cache
def history(name: str) -> tuple[Schema, ...]:
    """The superseded versions of one record's schema, oldest first."""
    found = (folder() / "history").glob(f"{name}.*.avsc")
    return tuple(read_file(path) for path in sorted(found, key=lambda path: int(path.name.split(".")[1])))


def load_folder(path: Path) -> tuple[Schema, ...]:
    """Every `*.avsc` of a folder, by name: further writer schemas that producers may use.

    Raises DataError where the folder does not exist or a file in it is no record schema.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder; AUTODEEP_WRITER_SCHEMAS names a folder of *.avsc files")
    return tuple(read_file(file) for file in sorted(path.glob("*.avsc")))


def read_file(path: Path) -> Schema:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read the schema {path}: {exc}") from exc
    return parse(text, origin=str(path))


def parse(text: str, origin: str) -> Schema:
    """Parse one record schema. Raises DataError naming `origin` where it is none."""
    try:
        source = json.loads(text)
        avro.schema.parse(text)
        # fastavro's canonical form, because avro 1.12 keeps {"type": "string"} as it stands, and schemas
        # written by Java carry such types (avro.java.string).
        canonical = fastavro.schema.to_parsing_canonical_form(source)
        fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    except (
        *(ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
        *(avro.errors.AvroException, fastavro.schema.SchemaParseException),
    ) as exc:
        raise DataError(f"{origin} is no Avro schema: {exc}") from exc
    if not isinstance(source, dict) or source.get("type") != "record":
        raise DataError(f"{origin} is an Avro schema, but not of a record")
    full_name = json.loads(canonical)["name"]
    return Schema(full_name.rpartition(".")[2], source, json.loads(canonical), fingerprint)


def incompatibilities(reader: Schema, writer: Schema) -> tuple[str, ...]:
    """Why `reader` cannot read what `writer` wrote, by Avro's rules; empty where it can."""
    result = avro.compatibility.ReaderWriterCompatibilityChecker().get_compatibility(
        avro.schema.parse(json.dumps(reader.source)), avro.schema.parse(json.dumps(writer.source))
    )
    if result.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        return ()
    return tuple(sorted(str(message) for message in result.messages)) or ("incompatible",)


def by_fingerprint(schemas: Iterable[Schema]) -> dict[bytes, Schema]:
    return {schema.fingerprint: schema for schema in schemas}
