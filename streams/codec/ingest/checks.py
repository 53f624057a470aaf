"""What a readable record must still fulfil, checked on whole columns; and its packing into rows.

The first thing wrong with a record is what its dead letter says, in the order of `_CHECKS`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.codec.avro.columns import Columns
from streams.codec.ingest.forms import key_form
from streams.core.clocks import Times
from streams.core.events import Reason, Rejected
from streams.core.skew import why_odd
from streams.core.tables import UNKNOWN_SYMBOL, FeatureTable, Rows
from streams.legible import shortened

END_OF_YEAR_9999_US: Final = 253_402_300_800_000_000
DETAIL_LIMIT: Final = 200

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FEW: Final = 256
"""Up to so many symbols are looked up one by one: polars' cast to an Enum costs as much for one."""
_KEY_SHOWN: Final = 16  # bytes, where the rest of a detail says what the key is
_UTF8_MOST: Final = 4  # bytes of a character

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a deployment takes."""

    device_id_bytes: int = 256
    skew_s: float = 0.0
    """Most seconds between event time and Kafka's timestamp; 0: any."""


USUAL: Final = Limits()


@dataclass(frozen=True, slots=True)
class Batch:
    """Readable records of one writer, and what has been found wrong with them."""

    table: FeatureTable
    positions: npt.NDArray[np.int64]  # (N,) places in the chunk
    keys: list[bytes | None]  # N
    columns: Columns  # with nulls only where a value may be absent
    device_ids: list[str]  # N
    kafka_us: Times  # (N,) Kafka's timestamps, 0 where there is none
    limits: Limits
    wrong: dict[int, Rejected] = field(default_factory=dict)  # by row

    def reject(self, mask: Mask, reason: Reason, detail: Callable[[int], str]) -> None:
        """Reject the rows of the mask (N,) that nothing else is wrong with."""
        for row in np.flatnonzero(mask).tolist():
            if row not in self.wrong:
                self.wrong[row] = rejected(int(self.positions[row]), reason, detail(row))


def rejected(position: int, reason: Reason, detail: str) -> Rejected:
    """A Rejected whose detail a hostile value cannot blow up."""
    return Rejected(position, reason, shortened(detail, DETAIL_LIMIT))


def shown(value: object) -> str:
    """A value for a detail, in ASCII and short."""
    return shortened(ascii(value[:61] if isinstance(value, (str, bytes)) else value))


def without_nulls(
    positions: npt.NDArray[np.int64], columns: Columns, optional: Set[str] = frozenset()
) -> tuple[npt.NDArray[np.int64], Columns, list[Rejected]]:
    """The records (N,) -> (M,) that lack at most optional values, and a Rejected for each of the others."""
    faults: dict[int, str] = {}
    for name, series in columns.items():
        if name not in optional and series.null_count():
            for row in series.is_null().arg_true().to_list():
                faults.setdefault(row, name)
    if not faults:
        return positions, columns, []
    wrong = [
        rejected(int(positions[row]), Reason.SCHEMA_MISMATCH, f"column {name} is null, and a value is needed")
        for row, name in faults.items()
    ]
    keep = [row not in faults for row in range(len(positions))]
    kept = {name: series.filter(pl.Series(keep)) for name, series in columns.items()}
    return positions[np.array(keep)], kept, wrong


def check(batch: Batch) -> Rows:
    """Pack all N records, (N,) of the table's row, and note in `batch.wrong` those that must not be used."""
    check_devices(batch)
    _check_times(batch)
    rows = _pack(batch)
    _check_numbers(batch, rows["numbers"])
    return rows


def check_devices(batch: Batch) -> None:
    """Note in `batch.wrong` the records whose device, or key, is none that can be used."""
    _check_names(batch)
    _check_keys(batch)


def _check_names(batch: Batch) -> None:
    ids, limit = batch.device_ids, batch.limits.device_id_bytes
    if not all(ids) or max(map(len, ids), default=0) * _UTF8_MOST > limit:
        sizes = batch.columns["device_id"].str.len_bytes().to_numpy()
        batch.reject(sizes == 0, Reason.BAD_DEVICE_ID, lambda row: "device_id is empty")
        batch.reject(
            sizes > limit,
            Reason.BAD_DEVICE_ID,
            lambda row: f"device_id has {sizes[row]} bytes, at most {limit} are taken: {shown(ids[row])}",
        )
    if _CONTROL.search("".join(ids)):
        batch.reject(
            np.array([_CONTROL.search(one) is not None for one in ids]),
            Reason.BAD_DEVICE_ID,
            lambda row: f"device_id has control characters: {shown(ids[row])}",
        )


def _check_keys(batch: Batch) -> None:
    ids, keys = batch.device_ids, batch.keys
    if keys == [one.encode() for one in ids]:
        return
    batch.reject(
        np.array([key is None for key in keys]),
        Reason.KEY_MISSING,
        lambda row: f"the record has no key; it must be its device_id in UTF-8: {shown(ids[row])}",
    )
    batch.reject(
        np.array([key != one.encode() for key, one in zip(keys, ids, strict=True)]),
        Reason.KEY_NOT_DEVICE_ID,
        lambda row: _other_key(keys[row] or b"", ids[row]),
    )


def _other_key(key: bytes, device_id: str) -> str:
    form = key_form(key, device_id)
    if form:
        return f"the key is {shown(key[:_KEY_SHOWN])}{form}"
    return f"the key is {shown(key)}, the device_id {shown(device_id)}; they must be equal"


def _check_times(batch: Batch) -> None:
    times, kafka_us = batch.columns["event_time_us"].to_numpy(), batch.kafka_us
    batch.reject(
        (times < 0) | (times >= END_OF_YEAR_9999_US),
        Reason.BAD_EVENT_TIME,
        lambda row: (
            f"event_time_us is {times[row]}; it must lie in 1970 to 9999, in microseconds since 1970-01-01"
            f"{_guess(times[row], kafka_us[row])}"
        ),
    )
    limit_s = batch.limits.skew_s
    if not limit_s:
        return
    skew_us = times - kafka_us
    batch.reject(
        (kafka_us > 0) & (np.abs(skew_us) > limit_s * 1e6),
        Reason.CLOCK_SKEW,
        lambda row: (
            f"event_time_us is {times[row]}, {abs(skew_us[row]) / 1e6:.0f} s "
            f"{'ahead of' if skew_us[row] > 0 else 'behind'} Kafka's timestamp; "
            f"at most {limit_s:g} s are taken{_guess(times[row], kafka_us[row])}"
        ),
    )


def _guess(time_us: int, kafka_us: int) -> str:
    why = why_odd(time_us, kafka_us)
    return f"; {why}" if "looks" in why else ""


def _check_numbers(batch: Batch, numbers: npt.NDArray[np.float32]) -> None:
    finite: Mask = np.isfinite(numbers)  # (N, numbers)
    good: Mask = finite & (numbers >= 0)  # (N, numbers)
    if good.all():
        return
    all_finite: Mask = np.all(finite, axis=1)  # (N,)
    bad: Mask = ~np.all(good, axis=1)  # (N,)
    # The first column at fault in table order, a NaN before a negative number.
    fault = np.where(all_finite, (~good).argmax(axis=1), (~finite).argmax(axis=1))

    def detail(row: int) -> str:
        name = batch.table.numeric_names[fault[row]]
        return f"column {name} is {shown(batch.columns[name][row])}; it must be a finite number, 0 or more"

    batch.reject(bad & ~all_finite, Reason.NOT_FINITE, detail)
    batch.reject(bad, Reason.NEGATIVE_NUMBER, detail)


def _pack(batch: Batch) -> Rows:
    table, count = batch.table, len(batch.positions)
    rows = np.zeros(count, table.row)
    numbers, codes = rows["numbers"], rows["codes"]  # (N, numbers), (N, symbols)
    # Counts beyond 2**24 lose their last digits; a double beyond float32 becomes infinite, and is refused.
    with np.errstate(over="ignore"):
        for place, name in enumerate(table.numeric_names):
            if name in batch.columns:
                values = batch.columns[name]
                numbers[:, place] = (values.fill_null(0) if name in table.optional else values).to_numpy()
    for place, column in enumerate(table.symbolic):
        if column.name in batch.columns:
            codes[:, place] = _codes(batch.columns[column.name], column.symbols)
    return table.pack(numbers, codes, _present(batch)) if table.optional else rows


def _present(batch: Batch) -> Mask:
    """Which columns each record has (N, columns): an optional one that is null or not written is absent."""
    table = batch.table
    present = np.ones((len(batch.positions), len(table.names)), np.bool_)
    for place, name in enumerate(table.names):
        if name in table.optional:
            values = batch.columns.get(name)
            present[:, place] = values.is_not_null().to_numpy() if values is not None else False
    return present


def _codes(symbols: pl.Series, vocabulary: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """A symbol's place in the vocabulary is its code less one; what is not in it has code 0."""
    count = len(symbols)
    if count <= _FEW:
        code_of = _code_of(vocabulary)
        return np.fromiter((code_of.get(one, UNKNOWN_SYMBOL) for one in symbols.to_list()), np.uint8, count)
    found = symbols.cast(_enum(vocabulary), strict=False).to_physical()
    codes: npt.NDArray[Any] = found.to_numpy() + 1
    if found.null_count():  # then polars hands out floats with NaN
        codes = np.nan_to_num(codes, nan=UNKNOWN_SYMBOL)
    return codes.astype(np.uint8)


@functools.cache
def _code_of(vocabulary: tuple[str, ...]) -> dict[str, int]:
    return {symbol: code for code, symbol in enumerate(vocabulary, start=1)}


@functools.cache
def _enum(vocabulary: tuple[str, ...]) -> pl.Enum:
    return pl.Enum(vocabulary)
