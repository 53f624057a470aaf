"""What a readable record must still fulfil, checked on whole columns; and its packing into rows.

The first thing wrong with a record is what its dead letter says, in the order of `_CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.codec.columns import Columns
from streams.core.events import Reason, Rejected
from streams.core.features import NUMERIC_NAMES, ROW, SYMBOLIC, Rows

END_OF_YEAR_9999_US: Final = 253_402_300_800_000_000
DETAIL_LIMIT: Final = 200

_VOCABULARIES: Final = tuple(pl.Enum(column.symbols) for column in SYMBOLIC)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Batch:
    """Readable records of one writer, and what has been found wrong with them."""

    positions: npt.NDArray[np.int64]  # (N,) places in the chunk
    keys: Sequence[bytes | None]  # N
    columns: Columns
    max_device_id_bytes: int
    wrong: dict[int, Rejected] = field(default_factory=dict)  # by row

    def reject(self, mask: Mask, reason: Reason, detail: Callable[[int], str]) -> None:
        """Reject the rows of the mask (N,) that nothing else is wrong with."""
        for row in np.flatnonzero(mask).tolist():
            if row not in self.wrong:
                self.wrong[row] = rejected(int(self.positions[row]), reason, detail(row))


def rejected(position: int, reason: Reason, detail: str) -> Rejected:
    """A Rejected whose detail a hostile value cannot blow up."""
    cut = detail if len(detail) <= DETAIL_LIMIT else detail[: DETAIL_LIMIT - 3] + "..."
    return Rejected(position, reason, cut)


def shown(value: object) -> str:
    """A value for a detail, in ASCII and short."""
    text = ascii(value[:61] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def check(batch: Batch) -> Rows:
    """Pack all N records, (N,) of ROW, and note in `batch.wrong` those that must not be used."""
    _check_nulls(batch)
    _check_devices(batch)
    _check_keys(batch)
    _check_times(batch)
    rows = _pack(batch)
    _check_numbers(batch, rows["numbers"])
    return rows


def _check_nulls(batch: Batch) -> None:
    for name, series in batch.columns.items():
        if series.null_count():
            batch.reject(
                series.is_null().to_numpy(),
                Reason.SCHEMA_MISMATCH,
                lambda row, name=name: f"column {name} is null, and a value is needed",  # type: ignore[misc]
            )


def _check_devices(batch: Batch) -> None:
    ids, limit = batch.columns["device_id"], batch.max_device_id_bytes
    sizes = ids.str.len_bytes().fill_null(1).to_numpy()
    batch.reject(sizes == 0, Reason.BAD_DEVICE_ID, lambda row: "device_id is empty")
    batch.reject(
        sizes > limit,
        Reason.BAD_DEVICE_ID,
        lambda row: f"device_id has {sizes[row]} bytes, at most {limit} are taken: {shown(ids[row])}",
    )
    batch.reject(
        ids.str.contains(r"\p{Cc}").fill_null(False).to_numpy(),
        Reason.BAD_DEVICE_ID,
        lambda row: f"device_id has control characters: {shown(ids[row])}",
    )


def _check_keys(batch: Batch) -> None:
    ids = batch.columns["device_id"]
    keys = pl.Series(batch.keys, dtype=pl.Binary)
    if keys.null_count():
        batch.reject(
            keys.is_null().to_numpy(),
            Reason.KEY_MISSING,
            lambda row: f"the record has no key; it must be its device_id in UTF-8: {shown(ids[row])}",
        )
    batch.reject(
        keys.ne_missing(ids.cast(pl.Binary)).to_numpy(),
        Reason.KEY_NOT_DEVICE_ID,
        lambda row: (
            f"the key is {shown(batch.keys[row])}, the device_id {shown(ids[row])}; they must be equal"
        ),
    )


def event_times(columns: Columns) -> npt.NDArray[np.int64]:
    """(N,) microseconds since the epoch; 0 for a null."""
    return _filled(columns["event_time_us"]).to_numpy().astype(np.int64, copy=False)


def _check_times(batch: Batch) -> None:
    times = event_times(batch.columns)
    batch.reject(
        (times < 0) | (times >= END_OF_YEAR_9999_US),
        Reason.BAD_EVENT_TIME,
        lambda row: (
            f"event_time_us is {times[row]}; it must lie in 1970 to 9999, in microseconds since 1970-01-01"
        ),
    )


def _check_numbers(batch: Batch, numbers: npt.NDArray[np.float32]) -> None:
    finite: Mask = np.isfinite(numbers)  # (N, 38)
    good: Mask = finite & (numbers >= 0)  # (N, 38)
    if good.all():
        return
    all_finite: Mask = np.all(finite, axis=1)  # (N,)
    bad: Mask = ~np.all(good, axis=1)  # (N,)
    # The first column at fault in table order, a NaN before a negative number.
    fault = np.where(all_finite, (~good).argmax(axis=1), (~finite).argmax(axis=1))

    def detail(row: int) -> str:
        name = NUMERIC_NAMES[fault[row]]
        return f"column {name} is {shown(batch.columns[name][row])}; it must be a finite number, 0 or more"

    batch.reject(bad & ~all_finite, Reason.NOT_FINITE, detail)
    batch.reject(bad, Reason.NEGATIVE_NUMBER, detail)


def _filled(series: pl.Series) -> pl.Series:
    return series.fill_null(0) if series.null_count() else series


def _pack(batch: Batch) -> Rows:
    rows = np.zeros(len(batch.positions), ROW)
    numbers, codes = rows["numbers"], rows["codes"]  # (N, 38), (N, 3)
    # Counts beyond 2**24 lose their last digits; a double beyond float32 becomes infinite, and is refused.
    with np.errstate(over="ignore"):
        for place, name in enumerate(NUMERIC_NAMES):
            if name in batch.columns:
                numbers[:, place] = _filled(batch.columns[name]).to_numpy()
    for place, vocabulary in enumerate(_VOCABULARIES):
        symbols = batch.columns[SYMBOLIC[place].name].cast(vocabulary, strict=False)
        # A symbol's place in the vocabulary, 255 where it is not in it; one more is its code, 0 for unknown.
        codes[:, place] = symbols.to_physical().fill_null(255).to_numpy() + np.uint8(1)
    return rows
