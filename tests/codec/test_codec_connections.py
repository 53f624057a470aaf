"""Encoding connection records in batches: the bytes that fastavro writes, and a way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.avro import framing
from streams.codec.ingest.connections import UNKNOWN, encode_connections
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.kdd99 import NUMERIC, NUMERIC_NAMES, ROW, SYMBOLIC, SYMBOLIC_NAMES, pack_rows
from streams.core.tables import Rows
from tests.codec_samples import CURRENT, Raw, single

LONG = {"duration", "src_bytes", "dst_bytes"}


def number(name: str, is_rate: bool) -> st.SearchStrategy[float]:
    if is_rate:
        return st.floats(0, 2.0**100, width=32)
    return st.integers(0, 2**31 - 129).map(float) if name not in LONG else st.floats(0, 2.0**62, width=32)


ROWS = st.tuples(
    st.tuples(*(number(column.name, column.is_rate) for column in NUMERIC)),
    st.tuples(*(st.integers(0, column.size - 1) for column in SYMBOLIC)),
)


def packed(drawn: list[tuple[tuple[float, ...], tuple[int, ...]]]) -> Rows:
    numbers = np.array([one for one, _ in drawn], np.float32).reshape(-1, len(NUMERIC))
    codes = np.array([one for _, one in drawn], np.uint8).reshape(-1, len(SYMBOLIC))
    return pack_rows(numbers, codes)


def as_fields(device_id: str, time_us: int, row: np.void) -> dict[str, object]:
    record: dict[str, object] = {"device_id": device_id, "event_time_us": time_us}
    for place, column in enumerate(NUMERIC):
        value = float(row["numbers"][place])
        record[column.name] = value if column.is_rate else int(value)
    for place, name in enumerate(SYMBOLIC_NAMES):
        code = row["codes"][place]
        record[name] = SYMBOLIC[place].symbols[code - 1] if code else UNKNOWN
    return record


@settings(max_examples=50, deadline=None)
@given(
    drawn=st.lists(ROWS, max_size=6),
    times=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=6, max_size=6),
    device_id=st.text(st.characters(codec="utf-8"), max_size=100),
)
def test_a_batch_is_written_as_fastavro_writes_each_record(
    drawn: list[tuple[tuple[float, ...], tuple[int, ...]]], times: list[int], device_id: str
) -> None:
    rows = packed(drawn)
    ids = [device_id] * len(rows)
    written = encode_connections(ids, times[: len(rows)], rows)
    assert written == [single(as_fields(*one)) for one in zip(ids, times, rows, strict=False)]


@settings(max_examples=30, deadline=None)
@given(drawn=st.lists(ROWS, max_size=8))
def test_rows_come_back_as_they_were(drawn: list[tuple[tuple[float, ...], tuple[int, ...]]]) -> None:
    rows = packed(drawn)
    rows["numbers"][:, [not column.is_rate for column in NUMERIC]] = np.floor(
        rows["numbers"][:, [not column.is_rate for column in NUMERIC]]
    )
    values = encode_connections(["d"] * len(rows), np.arange(len(rows)), rows)
    events = TelemetryDecoder().decode([Raw(at, b"d", value) for at, value in enumerate(values)]).events
    assert events.rows.tobytes() == rows.tobytes()
    assert events.event_time_us.tolist() == list(range(len(rows)))


def test_the_confluent_framing_carries_the_id() -> None:
    [plain] = encode_connections(["d"], [1], np.zeros(1, ROW))
    [framed] = encode_connections(["d"], [1], np.zeros(1, ROW), schema_id=258)
    assert framed == b"\x00\x00\x00\x01\x02" + plain[10:]
    assert plain[:10] == framing.single_object_header(CURRENT.fingerprint)


def test_more_records_than_one_matrix_holds_keep_their_order() -> None:
    rows = np.zeros(20_000, ROW)
    rows["numbers"][:, NUMERIC_NAMES.index("src_bytes")] = np.arange(20_000)
    values = encode_connections(["d"] * 20_000, np.arange(20_000), rows)
    assert values[19_999] == encode_connections(["d"], [19_999], rows[-1:])[0]
    assert len(values) == 20_000


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", -1.0), ("serror_rate", float("nan")), ("src_bytes", float("inf")), ("count", 2.0**31)],
)
def test_a_number_that_no_reader_would_take_is_refused(name: str, value: float) -> None:
    rows = np.zeros(1, ROW)
    rows["numbers"][0, NUMERIC_NAMES.index(name)] = value
    with pytest.raises(ValueError, match=name):
        encode_connections(["d"], [1], rows)


def test_an_unknown_code_and_unequal_lengths_are_refused() -> None:
    rows = np.zeros(1, ROW)
    with pytest.raises(ValueError, match="2 device ids"):
        encode_connections(["d", "e"], [1], rows)
    rows["codes"][0, 2] = 200
    with pytest.raises(ValueError, match="flag"):
        encode_connections(["d"], [1], rows)
