"""What JSON can say and our messages cannot: integers beyond 64 bits, numbers that are not finite, and text
that has no UTF-8. What passes here can be written again, in JSON and in Avro.
"""

from __future__ import annotations

import math
from typing import TypeGuard


def is_int64(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63


def is_number(value: object) -> TypeGuard[int | float]:
    return is_int64(value) or (isinstance(value, float) and math.isfinite(value))


def is_text(value: object) -> TypeGuard[str]:
    """JSON may escape half of a surrogate pair, which no encoding of Unicode has."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_plain(value: object) -> bool:
    """Whether all that stands in a value of JSON can be written again, however deep it is nested."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += (*one.keys(), *one.values())
        elif isinstance(one, list):
            left += one
        elif not (one is None or isinstance(one, bool) or is_number(one) or is_text(one)):
            return False
    return True


def shown(value: object) -> str:
    """A value for an error's text: short, in ASCII, and without going into what may be nested deep."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    return ascii(value[:60] if isinstance(value, str) else value)[:60]
