"""From the datums of one writer to columns: the whole batch at once, or record by record where that fails.

A batch is wrapped as one in-memory Avro container block and read by polars. Datums are not delimited in a
block, so a byte too many in one would shift the next record without an error. Therefore each datum is
followed by the same 8 random bytes, which the block's schema declares as one more `fixed(8)` field, and the
batch counts only if every row's guard equals them. There are as many guards as rows, each row takes exactly
one, and no sender knows it: so row i ends exactly where datum i does.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from polars.exceptions import PanicException, PolarsError

from streams.codec.avro import datum
from streams.codec.avro.schemas import Schema
from streams.codec.avro.writing import long, sized
from streams.core.events import Reason

Columns = Mapping[str, pl.Series]
"""Reader column to its values, (N,) each. A column that the writer lacks is absent."""

GUARD_SIZE: Final = 8
BLOCK: Final = 128  # of a batch that failed, pieces of so many records are tried before single ones
_SYNC: Final = bytes(16)
_TRUE: Final = b"\x01"
"""The strict reader gives a boolean as its byte, and polars takes all others for false."""
_STRINGS: Final = {"type": "array", "items": "string"}

_PROMOTIONS: Final[Mapping[str, frozenset[str]]] = {
    "int": frozenset({"int"}),
    "long": frozenset({"int", "long"}),
    "float": frozenset({"int", "long", "float"}),
    "double": frozenset({"int", "long", "float", "double"}),
    "string": frozenset({"string"}),  # and bytes, see _as_text
    "boolean": frozenset({"boolean"}),
    "strings": frozenset({"strings"}),
}
"""Reader's type to the writers' types that it takes: schema resolution of the Avro specification."""

_DTYPES: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "int": pl.Int64,
    "long": pl.Int64,
    "float": pl.Float32,
    "double": pl.Float64,
    "string": pl.String,
    "boolean": pl.Boolean,
    "strings": pl.List(pl.String),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column that the reader wants and the writer has."""

    name: str
    place: int  # among the writer's fields
    dtype: pl.DataType | type[pl.DataType]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the datums of one writer become the reader's columns."""

    columns: tuple[Column, ...]
    read: datum.Read
    container_start: bytes | None
    """What stands before every batch's block: the container's header, its schema with renamed fields and the
    guard. None where polars cannot read this writer."""


def resolve(writer: Schema, reader: Schema) -> Plan:
    """Raises Unreadable with SCHEMA_MISMATCH where no record of this writer can be read."""
    if writer.name != reader.name:
        raise datum.Unreadable(
            Reason.SCHEMA_MISMATCH, f"the writer's record is {writer.name}; only {reader.name} is read here"
        )
    wanted = {field["name"]: _beside_null(field["type"]) for field in reader.source["fields"]}
    fields = [
        {"name": field["name"], "type": _as_text(field["type"], wanted.get(field["name"]))}
        for field in writer.canonical["fields"]
    ]
    places = {field["name"]: place for place, field in enumerate(fields)}
    named: dict[str, datum.Read] = {}
    readers = [(field["name"], datum.compile_reader(field["type"], named)) for field in fields]
    columns = []
    for field in reader.source["fields"]:
        name, place = field["name"], places.get(field["name"])
        if place is not None:
            written = fields[place]["type"]
            columns.append(Column(name, place, _dtype(name, written, wanted[name])))
            if isinstance(written, list):
                readers[place] = (name, _read_branches(written, wanted[name]))
        elif "default" not in field:
            raise datum.Unreadable(Reason.SCHEMA_MISMATCH, f"the writer's schema has no column {name}")
    read = datum.read_fields(readers)
    named[writer.canonical["name"]] = read  # a record may hold others of its own kind
    return Plan(tuple(columns), read, _container_start(fields))


def _beside_null(wanted: Any) -> Any:
    """What a column that may be null has where it is not; every column read here may hold nulls."""
    if not isinstance(wanted, list):
        return _kind(wanted)
    return next((_kind(branch) for branch in wanted if branch != "null"), "null")


def _kind(written: Any) -> Any:
    """A type by its name; an array of strings has none."""
    return "strings" if written == _STRINGS else written


def _as_text(written: Any, wanted: str | None) -> Any:
    """The writer's type, with `bytes` read as the text that a string column wants."""
    if wanted != "string":
        return written
    if isinstance(written, list):
        return [_as_text(branch, wanted) for branch in written]
    return "string" if written == "bytes" else written


def _dtype(name: str, written: Any, wanted: str) -> pl.DataType | type[pl.DataType]:
    branches = [_kind(one) for one in (written if isinstance(written, list) else [written])]
    taken = [branch for branch in branches if isinstance(branch, str) and branch in _PROMOTIONS[wanted]]
    if not taken:
        raise datum.Unreadable(
            Reason.SCHEMA_MISMATCH,
            f"column {name} is written as {json.dumps(written)[:80]}, which cannot be read as {wanted}",
        )
    dtypes = {_DTYPES[branch] for branch in taken}
    return dtypes.pop() if len(dtypes) == 1 else pl.Float64


def _read_branches(written: Sequence[Any], wanted: str) -> datum.Read:
    """A union of which some branches cannot be read as the wanted type. Null is left to the caller."""

    def refuse(branch: Any) -> datum.Read:
        def read(data: bytes, at: int) -> tuple[Any, int]:
            raise datum.Unreadable(Reason.SCHEMA_MISMATCH, f"a value of {branch} cannot be read as {wanted}")

        return read

    taken = _PROMOTIONS[wanted] | {"null"}
    readers = [
        datum.compile_reader(branch) if isinstance(branch, str) and branch in taken else refuse(branch)
        for branch in written
    ]
    return datum.read_union(written, readers)


def _container_start(fields: Sequence[Mapping[str, Any]]) -> bytes | None:
    """An Avro object container file up to its first block, uncompressed."""
    block = []
    for place, field in enumerate(fields):
        written = _block_type(field["type"], place)
        if written is None:
            return None
        block.append({"name": f"c{place}", "type": written})
    block.append({"name": "guard", "type": {"type": "fixed", "name": "guard", "size": GUARD_SIZE}})
    schema = json.dumps({"type": "record", "name": "block", "fields": block}).encode()
    metadata = (sized(b"avro.schema"), sized(schema), sized(b"avro.codec"), sized(b"null"))
    return b"".join((b"Obj\x01", long(len(metadata) // 2), *metadata, long(0), _SYNC))


def _block_type(written: Any, place: int) -> Any:
    """The type for polars, of the same bytes on the wire; None where it has none."""
    if isinstance(written, list):
        branches = [branch for branch in written if branch != "null"]
        inner = _block_type(branches[0], place) if len(branches) == 1 else None
        return None if inner is None or len(written) != 2 else _with_null(written, inner)
    if written == "int":
        return "long"  # the same bytes; polars would wrap what does not fit 32 bits
    if written in ("long", "float", "double", "string", "boolean", "bytes"):
        return written
    if written == _STRINGS:
        return written
    if isinstance(written, dict) and written["type"] == "fixed" and written["size"] > 0:
        return {"type": "fixed", "name": f"f{place}", "size": written["size"]}
    return None


def _with_null(written: Sequence[Any], inner: Any) -> list[Any]:
    return [branch if branch == "null" else inner for branch in written]


def read_batch(plan: Plan, datums: Sequence[bytes]) -> Columns | None:
    """All datums as columns, or None where any of them cannot be read or does not end where it says."""
    if plan.container_start is None:
        return None
    count, guard = len(datums), os.urandom(GUARD_SIZE)
    body = guard.join((*datums, b""))
    container = b"".join((plan.container_start, long(count), long(len(body)), body, _SYNC))
    try:
        frame = pl.read_avro(io.BytesIO(container))
    except (PolarsError, PanicException, OSError):
        # A length beyond the block makes polars panic, and a panic is no Exception.
        return None
    series = frame.get_columns()
    if frame.height != count or series[-1].to_list() != [guard] * count:
        return None
    # The block's types are those of which each column's dtype was made: nothing is left to cast.
    return {column.name: series[column.place] for column in plan.columns}


def from_values(plan: Plan, records: Sequence[Sequence[Any]]) -> Columns:
    """Columns of records read one by one with `plan.read`."""
    return {
        column.name: pl.Series(column.name, _values(column, records), dtype=column.dtype, strict=False)
        for column in plan.columns
    }


def _values(column: Column, records: Sequence[Sequence[Any]]) -> list[Any]:
    values = [values[column.place] for values in records]
    return [value == _TRUE for value in values] if column.dtype == pl.Boolean else values


def joined(parts: Sequence[Columns]) -> Columns:
    """The columns of one plan's parts, one below the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: pl.concat([part[name] for part in parts], rechunk=True) for name in parts[0]}
