"""Times as text, and back to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.codec.times import microseconds, rfc3339

FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


@given(st.integers(FIRST_US, LAST_US))
@example(FIRST_US)
@example(LAST_US)
@example(-1)
@example(0)
def test_a_time_comes_back_to_the_microsecond_and_is_what_datetime_says(time_us: int) -> None:
    text = rfc3339(time_us)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    assert text == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert microseconds(text) == time_us


@given(st.integers())
def test_a_time_beyond_the_calendar_is_its_nearest_end(time_us: int) -> None:
    assert microseconds(rfc3339(time_us)) == min(max(time_us, FIRST_US), LAST_US)


@pytest.mark.parametrize(
    "text", ["2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.0Z"]
)
def test_times_of_others_are_read_with_their_zone(text: str) -> None:
    assert rfc3339(microseconds(text)) == "2026-01-31T12:00:00.000000Z"


@pytest.mark.parametrize("text", ["", "now", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        microseconds(text)
