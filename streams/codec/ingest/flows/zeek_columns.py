"""Zeek's JSON as columns: many plain records at once, each exactly as `zeek.py` reads it by itself.

Only what is plain is read here: one object in one line without escapes, every value of the usual form. All
else is left to the record-by-record path, which alone says what is wrong with a record. So a record is never
refused here, and a bad one costs only itself: where one is no JSON at all, its block is read in smaller ones.

All columns are read as text, so that a number and the text of one are told apart by nobody, as there; text of
which it would matter is left out (`_DOUBTFUL`). What has few distinct values (history, state, service) is
looked up by value with the very functions of the other path.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.exceptions import PanicException, PolarsError

from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.flows import values
from streams.codec.ingest.flows.zeek_conclusions import COUNTERS, canonical, derived, history_code, state_code
from streams.core.flow_columns import SCHEMA
from streams.core.flow_times import AHEAD_US, BEHIND_US

LARGEST_BYTES: Final = 4_096
"""Of a record that is read here: it has less keys than are allowed, whatever stands in it."""
_BLOCKS: Final = (256, 32)
"""Where records cannot be read together, they are tried in pieces of so many."""
_TAG: Final = re.compile(rb'\{"([A-Za-z0-9_.-]{1,64})":(\{[^{}]*\})\}')
_LONG: Final = b"conn_long"

_TEXTS: Final = ("uid", "id.orig_h", "id.resp_h", "proto", "service", "conn_state", "history", "community_id")
_SENSORS: Final = ("_system_name", "_node_name", "_sensor")
_OTHER_TEXTS: Final = (*_SENSORS, "_path", "orig_l2_addr", "resp_l2_addr")
_COUNTS: Final = (*COUNTERS, "missed_bytes", "id.orig_p", "id.resp_p")
_COLUMNS: Final = dict.fromkeys((*_TEXTS, *_OTHER_TEXTS, *_COUNTS, "ts", "duration"), pl.String)

_DOUBTFUL: Final = r"^(?:[-0-9.]*|true|false)$|^[\[{]|[^ -~]|.{257}"
"""Text that may have been no text, is none at all, or is not plain ASCII and short."""
_MAY_BE_EMPTY: Final = ("history", "service")
"""Which then say as much as where they are absent."""
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = rf"^(?:{_OCTET}\.){{3}}{_OCTET}$"
_SECONDS: Final = r"^[0-9]{9,10}(?:\.[0-9]{1,9})?$"
_MILLISECONDS: Final = r"^[0-9]{13}$"
_ISO: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z$"
_SPAN: Final = r"^[0-9]{1,8}(?:\.[0-9]{1,25})?$"

T = TypeVar("T")


Plain = tuple[bytes, str]
"""An object to read, and the sensor's name that stood round it."""


def plain(
    records: Sequence[bytes | None], bare: Callable[[bytes], Plain | None] = lambda _: None
) -> tuple[npt.NDArray[np.int64], list[bytes], list[str]]:
    """Which of N values are plain (M,), ascending; the object of each to read, and its sensor's name.

    `bare` takes off what a shipper put round a record.
    """
    whole = [value or b"" for value in records]
    if _are_plain(whole):
        return np.arange(len(whole), dtype=np.int64), whole, [""] * len(whole)
    found = [_plain(value, bare) for value in whole]
    places = [place for place, one in enumerate(found) if one is not None]
    objects = [one[0] for one in found if one is not None]
    return np.array(places, np.int64), objects, [one[1] for one in found if one is not None]


def _are_plain(records: Sequence[bytes]) -> bool:
    """Whether all are, seen at once: each begins an object, and there are no more objects than records."""
    text, count = b"\n" + b"\n".join(records), len(records)
    return (
        text.count(b"\n{") == text.count(b"\n") == text.count(b"{") == count
        and b"\\" not in text
        and b"[" not in text
        and len(max(records, key=len, default=b"")) <= LARGEST_BYTES
    )


def _plain(value: bytes, bare: Callable[[bytes], Plain | None]) -> Plain | None:
    found = _object(value)
    if found is not None:
        return found, ""
    if b"conn_state" not in value or len(value) > LARGEST_BYTES:
        return None
    inner = bare(value)
    found = None if inner is None else _object(inner[0])
    return None if found is None or inner is None else (found, inner[1])


def _object(value: bytes) -> bytes | None:
    """The object of a value that is plain, without its tag."""
    if value[:2] != b'{"' or b"\\" in value or len(value) > LARGEST_BYTES:
        return None
    if value[-1:] != b"}":
        value = value.rstrip(b"\r\n ")
    depth = value.count(b"{")
    if depth == 2:
        tagged = _TAG.fullmatch(value)
        if tagged is None or tagged[1].startswith(_LONG):
            return None
        value = tagged[2]
    elif depth != 1:
        return None
    is_conn = b'"conn_state"' in value and b'"id.orig_h"' in value
    return value if is_conn and b"\n" not in value and value.count(b"[") < 2 else None


def read(
    records: Sequence[bytes], sensors: Sequence[str], kafka_us: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], pl.DataFrame]:
    """Which of N plain objects were read (M,), ascending, and their flows (M, fields of Flow).

    `sensors` N: what stood round each; `kafka_us` (N,): Kafka's timestamps, 0 where there is none.
    """
    found = [(start, frame) for start, frame in _frames(records, 0, (len(records), *_BLOCKS))]
    places, flows = [np.empty(0, np.int64)], [pl.DataFrame(schema=dict(SCHEMA))]
    for start, frame in found:
        part = slice(start, start + frame.height)
        read_places, read_flows = _flows(frame, sensors[part], kafka_us[part])
        places.append(read_places + start)
        flows.append(read_flows)
    return np.concatenate(places), pl.concat(flows)


@functools.cache
def _reads_as_text() -> bool:
    """Whether this release of polars reads what these columns stand on; else all is read record by record."""
    lines = (
        b'{"uid":"a","uid":"b","ts":1790000000.123456,"orig_pkts":9007199254740993}\n{"proto":[1],"ts":true}'
    )
    try:
        frame = pl.read_ndjson(io.BytesIO(lines), schema=_COLUMNS)
    except (PolarsError, PanicException, OSError):
        return False
    found = frame.select("uid", "ts", "orig_pkts", "proto").rows()
    return found == [("a", "1790000000.123456", "9007199254740993", None), (None, "true", None, "[1]")]


def _frames(records: Sequence[bytes], start: int, sizes: Sequence[int]) -> list[tuple[int, pl.DataFrame]]:
    """The records as text, in the largest blocks that can be read, each with its place."""
    if not records or not _reads_as_text():
        return []
    frame = _frame(records)
    if frame is not None:
        return [(start, frame)]
    found: list[tuple[int, pl.DataFrame]] = []
    if len(sizes) > 1:
        for at in range(0, len(records), sizes[1]):
            found += _frames(records[at : at + sizes[1]], start + at, sizes[1:])
    return found


def _frame(records: Sequence[bytes]) -> pl.DataFrame | None:
    try:
        frame = pl.read_ndjson(io.BytesIO(b"\n".join(records)), schema=_COLUMNS)
    except (PolarsError, PanicException, OSError):
        return None
    return frame if frame.height == len(records) else None


def _flows(
    text: pl.DataFrame, sensors: Sequence[str], kafka_us: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], pl.DataFrame]:
    looked_up = text.select(
        *(pl.col(name) for name in ("uid", "community_id")),
        *(_address(text[name]) for name in ("id.orig_h", "id.resp_h")),
        _mapped(text["proto"], lambda one: values.protocol(one, "proto"), pl.String),
        _mapped(text["service"], lambda one: values.service(one, "service"), pl.String, ""),
        _mapped(text["history"], history_code, pl.Int32, history_code("")),
        _mapped(text["conn_state"], state_code, pl.Int32),
        *(_mapped(text[name], values.mac, pl.String, "") for name in ("orig_l2_addr", "resp_l2_addr")),
        *(pl.col(name).cast(pl.Int64, strict=False) for name in _COUNTS),
        _time(text["ts"]),
        _span(text["duration"]),
        sensor=pl.coalesce(*_SENSORS, pl.Series(sensors, dtype=pl.String)),
    )
    is_plain = text.select(_is_plain()).to_series() & looked_up.select(_is_whole(text)).to_series()
    timed = looked_up.with_columns(end=pl.col("ts") + pl.col("duration"), kafka_us=pl.Series(kafka_us))
    late_us = pl.col("end") - pl.col("kafka_us")
    is_near = (pl.col("kafka_us") == 0) | ((late_us >= -BEHIND_US) & (late_us <= AHEAD_US))
    is_plain &= timed.select(is_near.alias("near")).to_series()
    places = is_plain.arg_true().to_numpy().astype(np.int64)
    return places, timed.lazy().filter(is_plain).pipe(derived).select(canonical()).collect()


def _is_plain() -> pl.Expr:
    """Whether no text of a record is doubtful."""
    doubtful = [
        pl.col(name).str.contains(_DOUBTFUL).fill_null(False)
        & (pl.col(name) != "" if name in _MAY_BE_EMPTY else True)
        for name in (*_TEXTS[3:], *_SENSORS, "uid")
    ]
    is_interim = pl.col("_path").str.contains(r"^conn_long|^.?$|[^a-z_]").fill_null(False)
    return (~pl.any_horizontal(*doubtful, is_interim)).alias("plain")


def _is_whole(text: pl.DataFrame) -> pl.Expr:
    """Whether all that a flow needs is there, and nothing was lost where text became numbers."""
    needed = [
        pl.col(name).is_not_null()
        for name in ("id.orig_h", "id.resp_h", "proto", "ts", "history", "conn_state")
    ]
    may_be_absent = (*_COUNTS, "duration", "service")
    absent = text.select(pl.col(may_be_absent).is_null())
    kept = [pl.col(name).is_not_null() | absent[name] for name in may_be_absent]
    counted = [pl.col(name).fill_null(0) >= 0 for name in _COUNTS]
    has_ports = ~pl.col("proto").is_in(["tcp", "udp"]) | (
        pl.col("id.orig_p").is_not_null() & pl.col("id.resp_p").is_not_null()
    )
    ports = [pl.col(name).fill_null(0) <= 65_535 for name in ("id.orig_p", "id.resp_p")]
    is_known = pl.col("proto") != "unknown"
    return pl.all_horizontal(*needed, *kept, *counted, *ports, has_ports, is_known).alias("whole")


def _address(series: pl.Series) -> pl.Series:
    """Null where it is no address."""
    is_usual = series.str.contains(_IPV4)
    if bool(is_usual.all()) and not series.null_count():
        return series
    others = series.filter(~is_usual & series.is_not_null()).unique().to_list()
    known = {one: values.canonical(one) or None if len(one) <= 128 else None for one in others}
    return series.replace(list(known), list(known.values()))


def _mapped(
    series: pl.Series, of: Callable[[str], T], dtype: type[pl.DataType], absent: T | None = None
) -> pl.Series:
    """Each value by a function of it, called once for a distinct one; null where it cannot be read. What is
    absent is so much."""
    known = _Known(of)
    known[None] = absent
    return pl.Series(series.name, list(map(known.__getitem__, series.to_list())), dtype=dtype)


class _Known(dict[str | None, Any]):
    """By text what a function says of it; a few calls of polars cost more than a look for each value."""

    def __init__(self, of: Callable[[str], Any]) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, text: str) -> Any:
        try:
            found = self._of(text)
        except Unreadable:
            found = None
        self[text] = found
        return found


def _time(series: pl.Series) -> pl.Series:
    """Microseconds; null where the form is an unusual one, or the time beyond what is taken."""
    is_seconds, is_ms = series.str.contains(_SECONDS), series.str.contains(_MILLISECONDS)
    number = series.cast(pl.Float64, strict=False).to_numpy()
    with np.errstate(invalid="ignore"):
        us = np.rint(number * np.where(is_ms.fill_null(False).to_numpy(), 1e3, 1e6))
        is_taken = (us >= values.EARLIEST_US) & (us < values.LATEST_US)
    is_taken &= (is_seconds | is_ms).fill_null(False).to_numpy()
    found = pl.Series(series.name, np.where(is_taken, us, 0).astype(np.int64)).zip_with(
        pl.Series(is_taken), pl.Series([None], dtype=pl.Int64)
    )
    if bool(is_taken.all()):
        return found
    is_iso = series.str.contains(_ISO)
    if not bool(is_iso.any()):
        return found
    iso = series.zip_with(is_iso.fill_null(False), pl.Series([None], dtype=pl.String))
    iso_us = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us", strict=False).cast(pl.Int64)
    is_taken_too = (iso_us >= values.EARLIEST_US) & (iso_us < values.LATEST_US)
    return found.fill_null(iso_us.zip_with(is_taken_too.fill_null(False), pl.Series([None], dtype=pl.Int64)))


def _span(series: pl.Series) -> pl.Series:
    """Microseconds, 0 where there is none; null where the form is an unusual one."""
    is_usual = series.str.contains(_SPAN)
    found = series.zip_with(is_usual.fill_null(False), pl.Series([None], dtype=pl.String)).cast(pl.Float64)
    us = pl.Series(series.name, np.rint(found.to_numpy() * 1e6)).fill_nan(None)
    us = us.zip_with((us <= values.LONGEST_US).fill_null(False), pl.Series([None], dtype=pl.Float64))
    return us.cast(pl.Int64).zip_with(series.is_not_null(), pl.Series([0]))
