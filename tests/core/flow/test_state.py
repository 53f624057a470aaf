"""A device's state: small, and readable by the code that wrote it alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streams.core.flow import state
from streams.core.flow.features import advance
from streams.core.flow.keeping import WIDTH, WINDOWS
from streams.core.flow.records import flows_of
from streams.core.flow.state import STATE, blank, unpack
from streams.core.flow.table import FLOW
from tests.core.flow.drawn import record

REDIS_OVERHEAD_BYTES = 256
"""Key, entry and string header of one value."""


def test_a_state_fits_into_8_kib_with_what_redis_adds() -> None:
    assert STATE.itemsize == 6_288
    assert STATE.itemsize + REDIS_OVERHEAD_BYTES <= 8_192


def test_the_documents_say_how_the_bytes_are_spent() -> None:
    page = (Path(__file__).parents[3] / "docs" / "flow-features.md").read_text()
    for text in (state.__doc__ or "", page):
        assert f"{STATE.itemsize:,} bytes" in text
        for part in STATE.names or ():
            assert f"| {part} | {STATE[part].itemsize:,} |" in text
    assert f"{WIDTH} of {FLOW.row.itemsize} bytes" in page
    assert f"{WINDOWS.dtype.itemsize:,} bytes in all" in page


def test_what_cannot_be_read_counts_as_none() -> None:
    after = advance(blank(1), flows_of([record()])).states
    other = after.copy()
    other["head"]["layout"] = 2
    read = unpack([after[0].tobytes(), None, other[0].tobytes(), after[0].tobytes()[:-1], b""])
    assert read[0] == after[0]
    assert read[1:].tobytes() == blank(4).tobytes()


def test_a_full_state_is_as_large_as_an_empty_one() -> None:
    flows = [record(peer=n, start_us=record().start_us + n * 10**6) for n in range(300)]
    after = advance(blank(1), flows_of(flows)).states
    assert len(after[0].tobytes()) == len(blank(1)[0].tobytes())
    assert (after["regular"]["key"] != 0).all()
    assert np.count_nonzero(after["connections"]["key"]) == 100
