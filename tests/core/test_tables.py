"""Feature tables: KDD'99's stays what models and windows were made with; others pack what is absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.kdd99 import KDD99
from streams.core.tables import FeatureTable, Keys, Numeric, Rows, Symbolic
from tests.toy_table import TOY, rows_of, tables


def test_the_digest_of_kdd99_is_that_of_the_models_and_windows_there_are() -> None:
    assert KDD99.digest.hex() == "ec2fc2b2f1ba27f2ed9d681f4c3b7e5930952c41534af463267e553722ce7c83"


def test_a_row_of_kdd99_is_packed_as_in_stored_windows() -> None:
    assert KDD99.row.descr == [("numbers", "<f4", (38,)), ("codes", "|u1", (3,)), ("pad", "|u1")]
    numbers, codes = np.arange(38, dtype=np.float32)[None], np.array([[2, 70, 11]], np.uint8)
    packed = KDD99.pack(numbers, codes).tobytes()
    assert packed == numbers.tobytes() + bytes([2, 70, 11, 0])


def test_the_files_columns_of_kdd99_have_the_symbols_second_to_fourth() -> None:
    assert KDD99.file_columns[:5] == ("duration", "protocol_type", "service", "flag", "src_bytes")
    assert len(KDD99.file_columns) == len(KDD99.names) == 41


def test_the_keys_stand_among_symbols_and_numbers() -> None:
    assert KDD99.key_places == (1, 2, 1, 2)
    assert TOY.key_places == (2, 0, 3, 0)


@given(st.data())
def test_what_is_packed_reads_back(data: st.DataObject) -> None:
    table = data.draw(tables())
    rows, numbers, codes, present = data.draw(rows_of(table))
    assert rows.dtype == table.row
    assert table.row.itemsize % 4 == 0
    count = len(table.numeric)
    assert np.array_equal(table.present(rows), present)
    assert np.array_equal(rows["numbers"], np.where(present[:, :count], numbers, 0))
    assert np.array_equal(rows["codes"], np.where(present[:, count:], codes, 0))
    assert np.array_equal(table.pack(rows["numbers"], rows["codes"], table.present(rows)), rows)


@given(st.data())
def test_what_is_absent_leaves_no_trace_of_its_value(data: st.DataObject) -> None:
    table = data.draw(tables())
    rows, numbers, codes, present = data.draw(rows_of(table))
    count = len(table.numeric)
    others = table.pack(
        np.where(present[:, :count], numbers, 7), np.where(present[:, count:], codes, 1), present
    )
    assert others.tobytes() == rows.tobytes()


@given(st.data())
def test_every_part_of_a_table_shows_in_its_digest(data: st.DataObject) -> None:
    table = data.draw(tables())
    assert replace(table).digest == table.digest
    first, *others = table.numeric
    other = replace(first, is_rate=not first.is_rate)
    changed = [replace(table, numeric=(other, *others))]
    symbol, *more = table.symbolic
    changed.append(replace(table, symbolic=(replace(symbol, symbols=(*symbol.symbols, "one more")), *more)))
    changed.append(replace(table, optional=table.optional ^ {table.names[0]}))
    keys = table.keys
    changed.append(replace(table, keys=keys._replace(sent=keys.received, received=keys.sent)))
    if len(table.numeric) > 1:
        changed.append(replace(table, numeric=table.numeric[::-1]))
    digests = {table.digest, *(one.digest for one in changed)}
    assert len(digests) == len(changed) + 1


def test_a_column_that_may_not_be_absent_is_missed() -> None:
    present = np.ones((2, len(TOY.names)), bool)
    present[1, TOY.names.index("packets")] = False
    with pytest.raises(ValueError, match="column packets may not be absent"):
        TOY.pack(np.zeros((2, 5), np.float32), np.zeros((2, 3), np.uint8), present)
    with pytest.raises(ValueError, match="column duration may not be absent"):
        KDD99.pack(np.zeros((1, 38), np.float32), np.zeros((1, 3), np.uint8), np.zeros((1, 41), bool))


def test_without_a_bitmap_everything_is_there() -> None:
    assert TOY.present(TOY.pack(np.zeros((2, 5), np.float32), np.zeros((2, 3), np.uint8))).all()
    assert KDD99.present(np.zeros(2, KDD99.row)).all()


BYTES = (Numeric("src_bytes"), Numeric("dst_bytes"))
SYMBOLS = (Symbolic("service", ("http",)), Symbolic("flag", ()))
NAMES = ("src_bytes", "dst_bytes", "service", "flag")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"numeric": (*BYTES, Numeric("flag"))}, "named twice"),
        ({"file_columns": NAMES[1:]}, "files' columns"),
        ({"optional": frozenset({"ttl"})}, "may be absent"),
        ({"keys": Keys("service", "flag", "flag", "dst_bytes")}, "keys"),
        ({"symbolic": (SYMBOLS[0], Symbolic("flag", tuple(map(str, range(256)))))}, "more than 255"),
    ],
)
def test_a_table_whose_parts_do_not_fit_is_refused(changed: dict[str, object], says: str) -> None:
    fitting = FeatureTable("small", BYTES, SYMBOLS, NAMES)
    with pytest.raises(ValueError, match=says):
        replace(fitting, **changed)  # type: ignore[arg-type]


def test_a_made_up_value_has_the_decimals_of_its_column() -> None:
    found = [Numeric("a"), Numeric("b", is_rate=True), Numeric("c", is_whole=False)]
    assert [column.decimals for column in found] == [0, 2, 2]


def test_a_row_without_optional_columns_has_no_bitmap() -> None:
    rows: Rows = np.zeros(1, FeatureTable("small", BYTES, SYMBOLS, NAMES).row)
    assert rows.dtype.names == ("numbers", "codes", "pad")
