"""Avro's binary encoding of what is written by hand: integers, and bytes behind their length."""

from __future__ import annotations

import functools
from typing import Final

_MORE_1: Final = tuple(bytes((low | 0x80,)) for low in range(1 << 7))
_MORE_2: Final = tuple(low + high for high in _MORE_1 for low in _MORE_1)
"""The two bytes of a number below 2**14 that more bytes follow."""
_LAST_2: Final = (
    *(bytes((low,)) for low in range(1 << 7)),
    *(low + bytes((high,)) for high in range(1, 1 << 7) for low in _MORE_1),
)
"""The one or two bytes of a number below 2**14 that end an integer."""
_LOW_14: Final = (1 << 14) - 1
_LOW_27: Final = (1 << 27) - 1


def long(value: int) -> bytes:
    """A zig-zag varint, two bytes at a time from tables. Raises OverflowError beyond 64 bits.

    A number >= 0 is doubled by zig-zag: its 27 low bits fill the first four bytes.
    """
    high = value >> 27
    if high:
        if 0 < high < 1 << 36:
            low = value & _LOW_27
            return _MORE_2[low << 1 & _LOW_14] + _MORE_2[low >> 13] + _after_four_bytes(high)
        return _negative(value)
    if value < 1 << 13:
        return _LAST_2[value << 1]
    return _MORE_2[value << 1 & _LOW_14] + _LAST_2[value >> 13]


@functools.lru_cache(maxsize=1024)
def _after_four_bytes(high: int) -> bytes:
    """The same for two minutes of a time in microseconds."""
    return _varint(high)


def _negative(value: int) -> bytes:
    if not -(1 << 63) <= value < 0:
        raise OverflowError(f"{value} does not fit 64 bits")
    return _varint(~(value << 1))


def _varint(value: int) -> bytes:
    """A number >= 0, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def sized(data: bytes) -> bytes:
    """Bytes, or text in UTF-8, behind their length."""
    return long(len(data)) + data
