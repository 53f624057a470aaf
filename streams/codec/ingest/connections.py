"""Connection records as bytes, for producers: replay, simulator, bench.

A whole batch is written at once. A ConnectionRecord is its device id, its time and the table's columns; time
and columns of all records become one matrix of bytes with a mask of those that count, since an Avro integer
takes as many bytes as it needs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.codec.avro import framing, schemas
from streams.core.tables import FeatureTable, Rows, Symbolic

UNKNOWN: Final = "unknown"
"""Written for code 0, whose symbol the feature table does not list."""

_LIMITS: Final = {"int": 2**31, "long": 2**63}
_BLOCK: Final = 8192  # records of one matrix of bytes: a few MiB

_Pieces = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]
"""Bytes of one column (N, B) and which of them count (N, B)."""


def encode_connections(
    table: FeatureTable,
    device_ids: Sequence[str],
    event_times_us: npt.ArrayLike,
    rows: Rows,
    schema_id: int | None = None,
) -> list[bytes]:
    """The values of N records; framed as Confluent's where a registry's id is given.

    `device_ids` N, `event_times_us` (N,) int64, `rows` (N,) of the table, which ConnectionRecord is
    the schema of. Counts are cut to whole numbers.
    Raises ValueError where lengths differ, or a number is negative, not finite, or beyond its column's type.
    """
    times = np.asarray(event_times_us, np.int64)
    if not len(device_ids) == len(times) == len(rows):
        raise ValueError(f"{len(device_ids)} device ids, {len(times)} times and {len(rows)} rows")
    head = _header() if schema_id is None else framing.confluent_header(schema_id)
    values: list[bytes] = []
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        tails = _encode_tails(table, times[block], rows[block])
        values += map(functools.partial(_join, head), device_ids[block], tails)
    return values


def _join(head: bytes, device_id: str, tail: bytes) -> bytes:
    return b"".join((head, _sized(device_id), tail))


@functools.cache
def _header() -> bytes:
    return framing.single_object_header(schemas.load(schemas.CONNECTION_RECORD).fingerprint)


@functools.lru_cache(maxsize=100_000)
def _sized(text: str) -> bytes:
    """A string as Avro has it: its length, then its UTF-8."""
    raw = text.encode()
    digits, used = _varints(np.array([len(raw)], np.int64))
    return digits[used].tobytes() + raw


def _encode_tails(table: FeatureTable, times: npt.NDArray[np.int64], rows: Rows) -> list[bytes]:
    """Everything after the device id: N pieces."""
    pieces = [_varints(times)]
    types = {
        field["name"]: field["type"] for field in schemas.load(schemas.CONNECTION_RECORD).source["fields"]
    }
    symbols, numbers = table.symbolic_names, table.numeric_names
    for name in table.file_columns:
        if name in symbols:
            place = symbols.index(name)
            pieces.append(_symbols(rows["codes"][:, place], table.symbolic[place]))
        else:
            pieces.append(_numbers(name, types[name], rows["numbers"][:, numbers.index(name)]))
    data = np.concatenate([digits for digits, _ in pieces], axis=1)  # (N, B) -> (N, all B)
    used = np.concatenate([mask for _, mask in pieces], axis=1)
    ends = np.cumsum(used.sum(axis=1)).tolist()
    packed = data[used].tobytes()
    return [packed[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _numbers(name: str, kind: str, values: npt.NDArray[np.float32]) -> _Pieces:
    if not bool(np.all(np.isfinite(values) & (values >= 0))):
        raise ValueError(f"column {name} holds a negative number, NaN or infinity")
    if kind == "float":
        digits = values.astype("<f4").view(np.uint8).reshape(-1, 4)  # (N,) -> (N, 4)
        return digits, np.ones(digits.shape, np.bool_)
    if not bool(np.all(values < _LIMITS[kind])):
        raise ValueError(f"column {name} holds a number beyond Avro's {kind}")
    return _varints(values.astype(np.int64))


def _varints(values: npt.NDArray[np.int64]) -> _Pieces:
    """Zig-zag varints, (N,) -> (N, B) with B the bytes of the longest."""
    left = ((values << 1) ^ (values >> 63)).view(np.uint64)
    size = max(1, -(-int(left.max(initial=0)).bit_length() // 7))
    shifted = left[:, None] >> (np.arange(size, dtype=np.uint64) * np.uint64(7))  # (N, B)
    used = shifted > 0
    used[:, 0] = True
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    digits = (shifted & np.uint64(0x7F)).astype(np.uint8)
    digits[more] |= np.uint8(0x80)
    return digits, used


@dataclass(frozen=True, slots=True)
class _Strings:
    """The symbols of one column by code, as Avro strings."""

    digits: npt.NDArray[np.uint8]  # (codes, B)
    used: npt.NDArray[np.bool_]  # (codes, B)


@functools.cache
def _strings(column: Symbolic) -> _Strings:
    symbols = [_sized(symbol) for symbol in (UNKNOWN, *column.symbols)]
    width = max(map(len, symbols))
    digits = np.frombuffer(b"".join(symbol.ljust(width) for symbol in symbols), np.uint8).reshape(-1, width)
    used = np.arange(width) < np.array([[len(symbol)] for symbol in symbols])  # (codes, B)
    return _Strings(digits, used)


def _symbols(codes: npt.NDArray[Any], column: Symbolic) -> _Pieces:
    strings = _strings(column)
    if codes.max(initial=0) >= len(strings.digits):
        raise ValueError(f"column {column.name} has no symbol of code {codes.max()}")
    return strings.digits[codes], strings.used[codes]
