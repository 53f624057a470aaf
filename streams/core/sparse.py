"""Bytes of which many are zero, without the blocks that hold nothing else: a map with a bit a block first."""

from __future__ import annotations

import functools
import operator
from typing import Final

import numpy as np
import numpy.typing as npt

BLOCK: Final = 32


def sparse(values: npt.NDArray[np.uint8]) -> list[bytes]:
    """Each of the values (D, size), shorter."""
    count, size = values.shape
    whole = np.zeros((count, _blocks(size) * BLOCK), np.uint8)
    whole[:, :size] = values
    words = whole.view(np.uint64).reshape(count, _blocks(size), BLOCK // 8)  # (D, blocks, 4)
    there = functools.reduce(operator.or_, np.moveaxis(words, 2, 0)) != 0  # (D, blocks)
    maps, kept = np.packbits(there, axis=1), whole.view(f"V{BLOCK}")[there].tobytes()
    ends = (np.cumsum(there.sum(axis=1)) * BLOCK).tolist()
    return [one.tobytes() + kept[begin:end] for one, begin, end in zip(maps, [0, *ends], ends, strict=False)]


def whole(value: bytes, size: int) -> bytes | None:
    """What was made sparse; None for what is not of a value of this size."""
    map_bytes = -(-_blocks(size) // 8)
    bits = np.unpackbits(np.frombuffer(value[:map_bytes], np.uint8))
    there = np.flatnonzero(bits)
    fits = len(value) == map_bytes + len(there) * BLOCK
    if not fits or (len(there) and there[-1] >= _blocks(size)):
        return None
    blocks = np.zeros((_blocks(size), BLOCK), np.uint8)
    blocks[there] = np.frombuffer(value[map_bytes:], np.uint8).reshape(-1, BLOCK)
    return blocks.tobytes()[:size]


def _blocks(size: int) -> int:
    return -(-size // BLOCK)
