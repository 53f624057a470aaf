"""Times as text: RFC 3339, in UTC and with microseconds, such as 2026-01-31T12:00:00.250000Z."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_FIRST_US: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _US
_LAST_US: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US


def rfc3339(time_us: int) -> str:
    """Of microseconds since 1970. What lies outside the years 1 to 9999 is the nearest time inside.

    >>> rfc3339(1_769_860_800_250_000)
    '2026-01-31T12:00:00.250000Z'
    """
    second, us = divmod(time_us, 1_000_000)
    try:
        return f"{_to_the_second(second)}.{us:06d}Z"
    except OverflowError:
        return rfc3339(_FIRST_US if time_us < 0 else _LAST_US)


def to_the_second(time_us: int) -> str:
    """For people.

    >>> to_the_second(1_769_860_800_250_000)
    '2026-01-31 12:00:00'
    """
    return rfc3339(time_us)[:19].replace("T", " ")


@functools.lru_cache(maxsize=4096)
def _to_the_second(second: int) -> str:
    """Events of one moment share it, and a flood is of few moments."""
    return (_EPOCH + timedelta(seconds=second)).replace(tzinfo=None).isoformat()


def microseconds(text: str) -> int:
    """Since 1970. Raises ValueError for what is no time with a zone; digits beyond microseconds are cut."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return (moment - _EPOCH) // _US
