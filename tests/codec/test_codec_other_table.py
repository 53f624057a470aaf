"""Decoding records of a table that is not KDD'99's: nullable columns, and writers that lack some of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.avro import columns, schemas
from streams.codec.avro.schemas import Schema
from streams.codec.ingest.telemetry import TelemetryDecoder
from streams.core.events import Reason
from tests.codec_samples import Raw, single
from tests.toy_table import TOY

_TYPES: Final = {
    "state": "string",
    "application": "string",
    "bytes_in": "long",
    "bytes_out": "long",
    "packets": "int",
    "interval_s": "double",
    "share": "float",
    "vlan": "string",
}


def schema(types: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Schema:
    fields = [{"name": "device_id", "type": "string"}, {"name": "event_time_us", "type": "long"}]
    for name, kind in types.items():
        default = {"default": defaults[name]} if defaults and name in defaults else {}
        fields.append({"name": name, "type": kind, **default})
    source = {"type": "record", "name": "Toy", "namespace": "ids.tests", "fields": fields}
    return schemas.parse(json.dumps(source), origin="a test")


READER = schema(_TYPES, {"interval_s": 0.0, "share": 0.0, "vlan": ""})
NULLABLE = schema({name: ["null", kind] for name, kind in _TYPES.items()})
LEAN = schema({name: kind for name, kind in _TYPES.items() if name not in TOY.optional})
DECODER = TelemetryDecoder(TOY, (NULLABLE, LEAN), reader=READER)
FULL: Final[Mapping[str, Any]] = {
    "state": "open", "application": "http", "bytes_in": 5, "bytes_out": 7, "packets": 2, "interval_s": 0.5,
    "share": 0.25, "vlan": "plant",
}  # fmt: skip


def record(written: Schema = NULLABLE, at: int = 0, **changed: Any) -> Raw:
    values = {"device_id": "d", "event_time_us": at, **FULL, **changed}
    return Raw(at, b"d", single(values, written))


def test_a_full_record_has_every_column() -> None:
    rows = DECODER.decode([record(READER), record(NULLABLE, 1)]).events.rows
    assert rows.dtype == TOY.row
    assert TOY.present(rows).all()
    for row in rows:
        assert row["numbers"].tolist() == [5, 2, 0.5, 7, 0.25]
        assert row["codes"].tolist() == [1, 2, 3]


def test_a_null_is_absent_and_differs_from_zero_and_from_an_unknown_symbol() -> None:
    records = [record(interval_s=None, vlan=None), record(at=1, interval_s=0.0, vlan="moon")]
    rows = DECODER.decode(records).events.rows
    lacking = [
        {name for name, there in zip(TOY.names, one, strict=True) if not there} for one in TOY.present(rows)
    ]
    assert lacking == [{"interval_s", "vlan"}, set()]
    assert np.array_equal(rows[0]["numbers"], rows[1]["numbers"])
    assert np.array_equal(rows[0]["codes"], rows[1]["codes"])
    assert rows[0]["codes"].tolist() == [1, 0, 3]


def test_what_its_writer_lacks_is_absent() -> None:
    decoded = DECODER.decode([record(LEAN), record(READER, 1)])
    lacking = ~TOY.present(decoded.events.rows)
    assert {TOY.names[i] for i in np.flatnonzero(lacking[0])} == TOY.optional
    assert not lacking[1].any()


def test_a_column_that_may_not_be_absent_is_still_asked_for() -> None:
    decoded = DECODER.decode([record(packets=None), record(at=1, state=None), record(at=2)])
    assert [one.reason for one in decoded.rejected] == [Reason.SCHEMA_MISMATCH] * 2
    assert [one.detail.split(" is null")[0] for one in decoded.rejected] == ["column packets", "column state"]
    assert decoded.events.offset.tolist() == [2]


@pytest.mark.parametrize(
    ("changed", "reason", "says"),
    [
        ({"share": -0.5}, Reason.NEGATIVE_NUMBER, "column share is -0.5"),
        ({"interval_s": float("nan")}, Reason.NOT_FINITE, "column interval_s is nan"),
        ({"bytes_out": -1, "share": None}, Reason.NEGATIVE_NUMBER, "column bytes_out is -1"),
    ],
)
def test_a_wrong_number_is_refused_under_the_tables_own_names(
    changed: Mapping[str, Any], reason: Reason, says: str
) -> None:
    [rejected] = DECODER.decode([record(**changed), record(at=1)]).rejected
    assert rejected.reason == reason
    assert says in rejected.detail


values = {
    "state": st.sampled_from(["open", "closed", "moon"]),
    "application": st.sampled_from(["dns", "mqtt", "http", ""]),
    "bytes_in": st.integers(0, 2**24),
    "bytes_out": st.integers(0, 2**24),
    "packets": st.integers(0, 2**24),
    "interval_s": st.none() | st.floats(0, 1e6, width=32),
    "share": st.none() | st.floats(0, 1, width=32),
    "vlan": st.none() | st.sampled_from(["office", "plant", "moon"]),
}


@settings(deadline=None)
@given(drawn=st.lists(st.fixed_dictionaries(values), max_size=12), one_by_one=st.booleans())
def test_any_record_is_packed_as_the_plain_way_does(drawn: list[dict[str, Any]], one_by_one: bool) -> None:
    raws = [record(at=at, **one) for at, one in enumerate(drawn)]
    if one_by_one:  # a cut record makes its batch fail, and the others are read singly
        cut = record(at=len(raws)).value
        assert cut is not None
        raws.append(Raw(len(raws), b"d", cut[:-1]))
    decoded = DECODER.decode(raws)
    assert len(decoded.rejected) == one_by_one
    numbers = [[one[name] or 0 for name in TOY.numeric_names] for one in drawn]
    codes = [[column.code(one[column.name]) for column in TOY.symbolic] for one in drawn]
    present = [[one[name] is not None for name in TOY.names] for one in drawn]
    wanted = TOY.pack(
        np.array(numbers, np.float32).reshape(-1, 5),
        np.array(codes, np.uint8).reshape(-1, 3),
        np.array(present, bool).reshape(-1, 8),
    )
    assert decoded.events.rows.tobytes() == wanted.tobytes()


def test_such_a_writer_is_read_in_whole_batches() -> None:
    assert columns.resolve(NULLABLE, READER).container_start is not None


def test_a_reader_that_lets_columns_be_null_reads_the_same() -> None:
    decoder = TelemetryDecoder(TOY, (READER, LEAN), reader=NULLABLE)
    records = [record(READER), record(NULLABLE, 1, share=None, vlan=None), record(NULLABLE, 2)]
    assert decoder.decode(records).events.rows.tobytes() == DECODER.decode(records).events.rows.tobytes()
