"""Times that cannot be, against when a flow was received."""

from __future__ import annotations

import pytest

from streams.core.flow_times import settled
from streams.core.flows import Flow, Quality

NOW_US = 1_790_000_000_000_000
S = 1_000_000
DAY = 86_400 * S


def a_flow(start_us: int, end_us: int, half: bool = True) -> Flow:
    return Flow("", "10.0.0.1", "10.0.0.2", 1, 2, "tcp", start_us, end_us, half=half)


def spans(flow: Flow, kafka_us: int | None, collected_us: int | None = None) -> tuple[int, int, Quality]:
    found = settled(flow, kafka_us, collected_us)
    return found.start_us, found.end_us, found.quality


@pytest.mark.parametrize(
    ("off_us", "is_far"),
    [
        (0, False), (-3_600 * S, False), (-29_993 * S, True), (-20 * DAY, True), (-365 * DAY, True),
        (500 * S, False), (5 * 3_600 * S, True), (365 * DAY, True),
    ],
)  # fmt: skip
def test_a_flow_far_from_kafkas_time_takes_that_and_says_so(off_us: int, is_far: bool) -> None:
    flow = a_flow(NOW_US + off_us - 5 * S, NOW_US + off_us)
    if is_far:
        assert spans(flow, NOW_US) == (NOW_US - 5 * S, NOW_US, Quality.CLOCK_SKEW)
    else:
        assert settled(flow, NOW_US) is flow


def test_without_kafka_a_collectors_time_counts_unless_it_is_stuck_in_the_past() -> None:
    eight_hours = a_flow(NOW_US - 29_993 * S, NOW_US - 29_993 * S)
    assert spans(eight_hours, None, NOW_US) == (NOW_US, NOW_US, Quality.CLOCK_SKEW)
    stuck = a_flow(NOW_US, NOW_US)
    assert settled(stuck, None, NOW_US - 9 * DAY) is stuck
    assert settled(stuck, NOW_US, NOW_US - 9 * DAY) is stuck
    wrapped = a_flow(NOW_US + (1 << 32) * 1_000, NOW_US + (1 << 32) * 1_000)
    assert spans(wrapped, None, NOW_US)[2] == Quality.CLOCK_SKEW
    assert settled(stuck, None, None) is stuck


def test_a_half_that_began_fifty_days_ago_has_a_wrong_start_and_a_whole_flow_may_be_that_long() -> None:
    assert spans(a_flow(NOW_US - 50 * DAY, NOW_US), NOW_US) == (NOW_US, NOW_US, Quality.CLOCK_SKEW)
    assert spans(a_flow(NOW_US - 50 * DAY, NOW_US), None) == (NOW_US, NOW_US, Quality.CLOCK_SKEW)
    long = a_flow(NOW_US - 50 * DAY, NOW_US, half=False)
    assert settled(long, NOW_US) is long
