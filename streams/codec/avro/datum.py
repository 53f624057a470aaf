"""One Avro datum, read strictly: every byte accounted for, nothing allocated on a sender's word.

Most records never come here (columns.py reads whole batches); those of a batch that failed do, to find the
poison in it, and those whose writer's schema is beyond the batch. Libraries are more trusting than a
detector should be: fastavro takes a varint of 11 bytes and a union branch of -1, and an array of 2**40
nulls exhausts the memory. docs/decisions/0007-strict-datum-reader.md has the cases.

The readers agree with the batch on what is good: a varint has at most 10 bytes and keeps its low 64 bits,
`int` is read as wide as `long`, and of a union with null every other index means the other branch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from streams.codec.avro.schemas import Schema
from streams.core.events import Reason

Read = Callable[[bytes, int], tuple[Any, int]]
"""(data, place) -> (value, place after it). Raises Unreadable."""

_FLOAT: Final = struct.Struct("<f")
_DOUBLE: Final = struct.Struct("<d")
_MAX_VARINT_BYTES: Final = 10


class Unreadable(Exception):
    """This datum cannot be read; caught where records become `Rejected`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _cut(needed: int, left: int) -> Unreadable:
    return Unreadable(Reason.TRUNCATED, f"{needed} bytes are needed where {left} are left")


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint."""
    value = 0
    if at < len(data) and data[at] < 0x80:  # most numbers of a record
        return (data[at] >> 1) ^ -(data[at] & 1), at + 1
    for place, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            value &= 0xFFFFFFFFFFFFFFFF
            return (value >> 1) ^ -(value & 1), at + place + 1
    if len(data) - at < _MAX_VARINT_BYTES:
        raise _cut(len(data) - at + 1, len(data) - at)
    raise Unreadable(Reason.UNDECODABLE, f"an integer of more than {_MAX_VARINT_BYTES} bytes")


def _read_fixed(size: int) -> Read:
    def read(data: bytes, at: int) -> tuple[bytes, int]:
        if size > len(data) - at:
            raise _cut(size, len(data) - at)
        return data[at : at + size], at + size

    return read


def _read_packed(layout: struct.Struct) -> Read:
    def read(data: bytes, at: int) -> tuple[float, int]:
        if layout.size > len(data) - at:
            raise _cut(layout.size, len(data) - at)
        return layout.unpack_from(data, at)[0], at + layout.size

    return read


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_long(data, at)
    if size < 0:
        raise Unreadable(Reason.UNDECODABLE, f"a length of {size} bytes")
    if size > len(data) - at:
        raise _cut(size, len(data) - at)
    return data[at : at + size], at + size


def read_string(data: bytes, at: int) -> tuple[str, int]:
    raw, at = read_bytes(data, at)
    try:
        return raw.decode(), at
    except UnicodeDecodeError as exc:
        raise Unreadable(Reason.UNDECODABLE, f"text that is not UTF-8: {exc.reason}") from exc


def _read_null(data: bytes, at: int) -> tuple[None, int]:
    return None, at


_PRIMITIVES: Final[Mapping[str, Read]] = {
    "null": _read_null,
    "boolean": _read_fixed(1),
    "int": read_long,
    "long": read_long,
    "float": _read_packed(_FLOAT),
    "double": _read_packed(_DOUBLE),
    "bytes": read_bytes,
    "string": read_string,
}
PRIMITIVES: Final = frozenset(_PRIMITIVES)


def reader_of(schema: Schema) -> Read:
    """The reader of one of our own schemas: compiled once, and kept."""
    read = _COMPILED.get(schema.fingerprint)
    if read is None:
        read = _COMPILED[schema.fingerprint] = compile_reader(schema.canonical)
    return read


_COMPILED: Final[dict[bytes, Read]] = {}


def compile_reader(schema: Any, named: dict[str, Read] | None = None) -> Read:
    """A reader of one type, given in parsing canonical form; `named` collects the named types on the way."""
    named = {} if named is None else named
    if isinstance(schema, str):
        return _PRIMITIVES.get(schema) or _read_named(schema, named)
    if isinstance(schema, list):
        return read_union(schema, [compile_reader(branch, named) for branch in schema])
    match schema["type"]:
        case "record":
            fields = [(field["name"], compile_reader(field["type"], named)) for field in schema["fields"]]
            read = read_fields(fields)
        case "enum":
            read = _read_enum(schema["symbols"])
        case "fixed":
            read = _read_fixed(schema["size"])
        case "array":
            return _read_blocks(compile_reader(schema["items"], named))
        case "map":
            return _read_blocks(_read_entry(compile_reader(schema["values"], named)))
        case other:
            return compile_reader(other, named)
    named[schema["name"]] = read
    return read


def _read_named(name: str, named: Mapping[str, Read]) -> Read:
    """A type that may contain itself, and is therefore looked up when it is read."""

    def read(data: bytes, at: int) -> tuple[Any, int]:
        return named[name](data, at)

    return read


def read_fields(fields: Sequence[tuple[str, Read]]) -> Read:
    """A record, as the list of its fields' values; what is wrong is said with the field's name."""

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        try:
            for _, read_field in fields:
                value, at = read_field(data, at)
                values.append(value)
        except Unreadable as exc:
            name = fields[len(values)][0]
            raise Unreadable(exc.reason, f"column {name} at byte {at}: {exc.detail}") from exc
        return values, at

    return read


def _read_enum(symbols: Sequence[str]) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        index, at = read_long(data, at)
        if not 0 <= index < len(symbols):
            raise Unreadable(Reason.UNDECODABLE, f"symbol {index} of an enum of {len(symbols)}")
        return symbols[index], at

    return read


def read_union(branches: Sequence[Any], readers: Sequence[Read]) -> Read:
    null_and_one = len(branches) == 2 and "null" in branches

    def read(data: bytes, at: int) -> tuple[Any, int]:
        index, at = read_long(data, at)
        if null_and_one and index != branches.index("null"):
            index = 1 - branches.index("null")
        if not 0 <= index < len(readers):
            raise Unreadable(Reason.UNDECODABLE, f"branch {index} of a union of {len(readers)}")
        return readers[index](data, at)

    return read


def _read_entry(read_value: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[tuple[str, Any], int]:
        key, at = read_string(data, at)
        value, at = read_value(data, at)
        return (key, value), at

    return read


def _read_blocks(read_item: Read) -> Read:
    """An array or map: blocks of a count and so many items, ended by a count of 0."""

    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            count, at = read_long(data, at)
            if count < 0:
                count, (_, at) = -count, read_long(data, at)  # a block with its size in bytes
            if count == 0:
                return items, at
            for _ in range(count):
                before = at
                item, at = read_item(data, at)
                items.append(item)
                if at == before:  # items of no size: a sender may claim 2**60 of them for nothing
                    break

    return read
