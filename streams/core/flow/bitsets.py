"""Sets of a flow's last places as bits: 128 in two words, of which LAST are used, the oldest lowest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import Index, Mask
from streams.core.flow.state import LAST

Bits = npt.NDArray[np.uint64]  # (n, 2)
Planes = npt.NDArray[np.uint64]  # (k, n, 2)


def packed(where: Mask) -> Bits:
    """(n, LAST) -> (n, 2)."""
    row = np.zeros((len(where), 16), np.uint8)
    row[:, : -(-LAST // 8)] = np.packbits(where, axis=1, bitorder="little")
    return row.view(np.uint64)


def unpacked(bits: Bits) -> Mask:
    """(n, 2) -> (n, LAST)."""
    row = np.ascontiguousarray(bits).view(np.uint8)
    return np.unpackbits(row, axis=1, count=LAST, bitorder="little").view(np.bool_)


def planes_of(said: npt.NDArray[np.uint8], there: Mask, at: Index) -> Planes:
    """Which of the LAST places that end at each of `at` (n,) say each of eight bits; and which are there.

    The bits of all T places are packed once; a window is cut out of them by shifting two words.
    """
    whole = np.zeros((9, len(said) // 8 + 17), np.uint8)
    size = -(-len(said) // 8)
    for bit in range(8):
        whole[bit, :size] = np.packbits(said >> bit & 1, bitorder="little")
    whole[8, :size] = np.packbits(there, bitorder="little")
    first = at - (LAST - 1)
    shift = (first & 7).astype(np.uint64)
    words: Planes = np.ndarray((9, whole.shape[1] - 16, 2), np.uint64, whole, 0, (whole.shape[1], 1, 8))[
        :, first >> 3
    ]
    low = words[..., 0] >> shift | words[..., 1] << np.uint64(1) << (np.uint64(63) - shift)
    return np.stack([low, words[..., 1] >> shift], axis=2) & lower(LAST)


def lower(places: int) -> npt.NDArray[np.uint64]:
    """(2,) the oldest places."""
    whole = (1 << places) - 1
    return np.array([whole & (2**64 - 1), whole >> 64], np.uint64)


def number(bits: npt.NDArray[np.uint64]) -> Index:
    """(..., 2) -> (...) how many places are marked."""
    words = np.bitwise_count(bits)
    return np.asarray(words[..., 0] + words[..., 1])


def length(bits: Bits) -> Index:
    """(n,) one past the latest place marked; 0: none is."""
    filled = bits.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        filled |= filled >> np.uint64(shift)
    words = np.bitwise_count(filled).astype(np.int64)
    return np.asarray(np.where(words[:, 1] > 0, 64 + words[:, 1], words[:, 0]))


def lowest(bits: Bits) -> Index:
    """(n,) the oldest place marked; 128: none is."""
    words = np.bitwise_count(~bits & (bits - np.uint64(1))).astype(np.int64)
    return np.asarray(np.where(bits[:, 0] > 0, words[:, 0], 64 + words[:, 1]))
