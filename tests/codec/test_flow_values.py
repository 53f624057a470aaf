"""Single values of sensors' records: times in every form that is taken, numbers and their bounds."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.avro.datum import Unreadable
from streams.codec.ingest.flows import values
from streams.core.events import Reason

US = 1_790_000_000_250_000
UTC = datetime.UTC


@pytest.mark.parametrize(
    "value",
    [
        1_790_000_000.25, "1790000000.25", 1_790_000_000_250, "1790000000250", US, str(US), US * 1_000,
        US * 1_000 + 999, f"{US * 1_000}", "2026-09-21T14:13:20.25Z", "2026-09-21T14:13:20.250000z",
        "2026-09-21T14:13:20.250000000Z", "2026-09-21T14:13:20.2500009Z", "2026-09-21 14:13:20.250",
        "2026-09-21T14:13:20,250", "2026-09-21T16:13:20.25+0200", "2026-09-21T16:13:20.25+02:00",
        "2026-09-21T16:13:20.25+02", "2026-09-21T09:43:20.25-04:30", "2026-09-21 14:13:20.25 Z",
    ],
)  # fmt: skip
def test_a_time_is_the_same_in_every_form(value: object) -> None:
    assert values.time_us(value, "ts") == US


@settings(deadline=None)
@given(
    st.datetimes(datetime.datetime(2000, 1, 2), datetime.datetime(2099, 12, 30)),
    st.integers(-14 * 60, 14 * 60),
)
def test_a_time_of_iso_8601_is_what_the_standard_library_reads(when: datetime.datetime, minutes: int) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    text = when.replace(tzinfo=zone).isoformat(timespec="microseconds")
    expected = when.replace(tzinfo=zone) - datetime.datetime(1970, 1, 1, tzinfo=UTC)
    assert values.time_us(text, "ts") == expected // datetime.timedelta(microseconds=1)
    assert values.time_us(when.isoformat(sep=" "), "ts") == values.time_us(when.isoformat() + "Z", "ts")


@settings(deadline=None)
@given(st.integers(values.EARLIEST_US, values.LATEST_US - 1))
def test_a_time_is_the_same_in_every_unit(us: int) -> None:
    assert values.time_us(us, "ts") == values.time_us(str(us), "ts") == us
    assert values.time_us(us * 1_000, "ts") == us
    assert values.time_us(us // 1_000, "ts") == us // 1_000 * 1_000
    assert values.time_us(us // 1_000_000, "ts") == us // 1_000_000 * 1_000_000
    assert values.time_us(us / 1e6, "ts") == us


@pytest.mark.parametrize(
    "value",
    [0, -1, 5, 946_684_799, 4_102_444_800, 1e300, -(10**30), "1969-12-31T23:59:59Z", "2179-01-01T00:00:00Z",
     True, "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-09-21T25:00:00Z", "2026-09-21", "now", [],
     {}, "9" * 400, "2026-09-21T14:13:20.1234567890Z"],
)  # fmt: skip
def test_times_that_cannot_be_are_refused_as_times(value: object) -> None:
    with pytest.raises(Unreadable) as refused:
        values.time_us(value, "ts")
    assert refused.value.reason is Reason.BAD_EVENT_TIME


def test_a_time_that_is_not_there_is_none() -> None:
    assert [values.time_us(value, "ts") for value in (None, "", "-")] == [None] * 3


@settings(deadline=None)
@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none() | st.lists(st.integers()))
def test_a_count_is_one_within_bounds_or_none_or_refused(value: object) -> None:
    try:
        found = values.count(value, "packets")
    except Unreadable:
        return
    assert found is None or 0 <= found <= values.LARGEST
    if isinstance(value, int) and not isinstance(value, bool):
        assert found == value


@settings(deadline=None)
@given(st.integers() | st.text(alphabet="0123456789+-.e", max_size=9))
def test_a_port_is_one_of_16_bits_or_refused_as_a_port(value: int | str) -> None:
    reason = None
    try:
        found = values.port(value, "port")
    except Unreadable as exc:
        found, reason = None, exc.reason
    assert reason in (None, Reason.BAD_PORT)
    assert found is None or 0 <= found <= 65_535


@settings(deadline=None)
@given(st.text() | st.none() | st.integers() | st.binary())
def test_a_mac_is_six_bytes_of_a_station_or_nothing(value: object) -> None:
    assert values.mac(value) == "" or len(values.mac(value)) == 17


@settings(deadline=None)
@given(st.binary(min_size=6, max_size=6))
def test_a_mac_has_one_form(octets: bytes) -> None:
    found = values.mac(octets.hex(":").upper())
    assert found == values.mac(octets.hex("-"))
    assert found == ("" if octets[0] & 1 or not any(octets) else octets.hex(":"))
