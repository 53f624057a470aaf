"""Encoding connection records in batches: the bytes that fastavro writes, and a way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.avro import framing
from streams.codec.ingest.connections import UNKNOWN, encode_connections
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.kdd99 import KDD99
from streams.core.tables import Rows
from tests.codec_samples import CURRENT, Raw, single

LONG = {"duration", "src_bytes", "dst_bytes"}


def number(name: str, is_rate: bool) -> st.SearchStrategy[float]:
    if is_rate:
        return st.floats(0, 2.0**100, width=32)
    return st.integers(0, 2**31 - 129).map(float) if name not in LONG else st.floats(0, 2.0**62, width=32)


ROWS = st.tuples(
    st.tuples(*(number(column.name, column.is_rate) for column in KDD99.numeric)),
    st.tuples(*(st.integers(0, column.size - 1) for column in KDD99.symbolic)),
)


def packed(drawn: list[tuple[tuple[float, ...], tuple[int, ...]]]) -> Rows:
    numbers = np.array([one for one, _ in drawn], np.float32).reshape(-1, len(KDD99.numeric))
    codes = np.array([one for _, one in drawn], np.uint8).reshape(-1, len(KDD99.symbolic))
    return KDD99.pack(numbers, codes)


def as_fields(device_id: str, time_us: int, row: np.void) -> dict[str, object]:
    record: dict[str, object] = {"device_id": device_id, "event_time_us": time_us}
    for place, column in enumerate(KDD99.numeric):
        value = float(row["numbers"][place])
        record[column.name] = value if column.is_rate else int(value)
    for place, name in enumerate(KDD99.symbolic_names):
        code = row["codes"][place]
        record[name] = KDD99.symbolic[place].symbols[code - 1] if code else UNKNOWN
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
    written = encode_connections(KDD99, ids, times[: len(rows)], rows)
    assert written == [single(as_fields(*one)) for one in zip(ids, times, rows, strict=False)]


@settings(max_examples=30, deadline=None)
@given(drawn=st.lists(ROWS, max_size=8))
def test_rows_come_back_as_they_were(drawn: list[tuple[tuple[float, ...], tuple[int, ...]]]) -> None:
    rows = packed(drawn)
    rows["numbers"][:, [not column.is_rate for column in KDD99.numeric]] = np.floor(
        rows["numbers"][:, [not column.is_rate for column in KDD99.numeric]]
    )
    values = encode_connections(KDD99, ["d"] * len(rows), np.arange(len(rows)), rows)
    events = TelemetryDecoder(KDD99).decode([Raw(at, b"d", value) for at, value in enumerate(values)]).events
    assert events.rows.tobytes() == rows.tobytes()
    assert events.event_time_us.tolist() == list(range(len(rows)))


def test_the_confluent_framing_carries_the_id() -> None:
    [plain] = encode_connections(KDD99, ["d"], [1], np.zeros(1, KDD99.row))
    [framed] = encode_connections(KDD99, ["d"], [1], np.zeros(1, KDD99.row), schema_id=258)
    assert framed == b"\x00\x00\x00\x01\x02" + plain[10:]
    assert plain[:10] == framing.single_object_header(CURRENT.fingerprint)


def test_more_records_than_one_matrix_holds_keep_their_order() -> None:
    rows = np.zeros(20_000, KDD99.row)
    rows["numbers"][:, KDD99.numeric_names.index("src_bytes")] = np.arange(20_000)
    values = encode_connections(KDD99, ["d"] * 20_000, np.arange(20_000), rows)
    assert values[19_999] == encode_connections(KDD99, ["d"], [19_999], rows[-1:])[0]
    assert len(values) == 20_000


@pytest.mark.parametrize(
    ("name", "value"),
    [("count", -1.0), ("serror_rate", float("nan")), ("src_bytes", float("inf")), ("count", 2.0**31)],
)
def test_a_number_that_no_reader_would_take_is_refused(name: str, value: float) -> None:
    rows = np.zeros(1, KDD99.row)
    rows["numbers"][0, KDD99.numeric_names.index(name)] = value
    with pytest.raises(ValueError, match=name):
        encode_connections(KDD99, ["d"], [1], rows)


def test_an_unknown_code_and_unequal_lengths_are_refused() -> None:
    rows = np.zeros(1, KDD99.row)
    with pytest.raises(ValueError, match="2 device ids"):
        encode_connections(KDD99, ["d", "e"], [1], rows)
    rows["codes"][0, 2] = 200
    with pytest.raises(ValueError, match="flag"):
        encode_connections(KDD99, ["d"], [1], rows)
