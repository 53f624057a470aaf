"""What is left out of bytes comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.sparse import BLOCK, sparse, whole


@given(st.lists(st.binary(max_size=3), min_size=1, max_size=5), st.integers(1, 20), st.data())
def test_values_come_back_from_what_holds_something(
    parts: list[bytes], size: int, data: st.DataObject
) -> None:
    size *= data.draw(st.sampled_from([1, 7, BLOCK]))
    gaps = data.draw(st.lists(st.integers(0, 3 * BLOCK), min_size=len(parts), max_size=len(parts)))
    one = b"".join(bytes(gap) + part for gap, part in zip(gaps, parts, strict=True))[:size].ljust(size, b"\0")
    values = np.frombuffer(one + bytes(size) + one[::-1], np.uint8).reshape(3, size)
    assert [whole(value, size) for value in sparse(values)] == [one, bytes(size), one[::-1]]


def test_blocks_of_zeros_take_a_bit() -> None:
    values = np.zeros((2, 10 * BLOCK), np.uint8)
    values[1, 3 * BLOCK] = 1
    nothing, something = sparse(values)
    assert nothing == bytes(2)
    assert len(something) == 2 + BLOCK


def test_no_values_are_none() -> None:
    assert sparse(np.zeros((0, 10 * BLOCK), np.uint8)) == []


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0", b"\x80\0", b"\0\x20" + bytes(BLOCK)])
def test_what_is_of_no_value_of_that_size_is_none(value: bytes) -> None:
    """Cut, longer than its map says, or with a block beyond the end."""
    assert whole(value, 10 * BLOCK) is None
