"""The sizes of blocks in which a row's result depends neither on its companions nor on its place.

A library for matrix products chooses its kernel by the shape, and sums up the rest of a tile in another order
than the tile. So the last bits of a row may depend on how many rows are beside it. They do not where the
number of rows is a multiple of 12 below 64, or a multiple of 64, and where the weights lie as (inputs,
outputs), outputs a multiple of 16 and no more than 112. That was measured with the kernels for AVX-512, for
AVX2 and for SSE4.2, and `tests/model/test_blocks.py` measures it again. Some other sizes (8, 20 and 32 rows,
128 outputs) give other bits with those for AVX2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

FEW_ROWS: Final = (12, 24, 36, 48)
"""A worker with little to do has a few events at a time, and should not pay for 64."""
MANY_ROWS: Final = 64
BLOCK_ROWS: Final = 1024
"""What a block of so many rows needs fits the caches."""


def padded(rows: int) -> int:
    """How many rows a block of so many has once it is padded."""
    for few in FEW_ROWS:
        if rows <= few:
            return few
    return -(-rows // MANY_ROWS) * MANY_ROWS


def blocks(rows: int) -> Iterator[slice]:
    """Slices that cover so many rows, of BLOCK_ROWS but for the last."""
    for start in range(0, rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, rows))
