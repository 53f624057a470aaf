"""Event times against Kafka's timestamps: how far apart, and which are probably of another unit."""

from __future__ import annotations

import numpy as np
import pytest

from streams.core.events import Events
from streams.core.kdd99 import KDD99
from streams.core.skew import Skew, skew_of, why_odd

NOW_US = 1_795_000_000_000_000
S, H = 1_000_000, 3_600_000_000


def skew(times_us: list[int], kafka_us: list[int] | None = None, chosen: list[int] | None = None) -> Skew:
    n = len(times_us)
    times, kafka = np.array(times_us, np.int64), np.array(kafka_us or [NOW_US] * n, np.int64)
    names, rows = [f"d{i}" for i in range(n)], np.zeros(n, KDD99.row)
    events = Events(np.arange(n), np.arange(n), times, names, rows, timestamp_us=kafka)
    return skew_of(events, np.arange(n) if chosen is None else np.array(chosen, np.int64))


def test_events_are_counted_by_how_far_they_are_ahead_or_behind() -> None:
    found = skew([NOW_US, NOW_US + S, NOW_US + S + 1, NOW_US - 30 * S, NOW_US - 2 * H, NOW_US - 9000 * H])
    assert found.ahead.counts == (2, 1, 0, 0, 0, 0, 0, 0)
    assert found.behind.counts == (0, 0, 1, 0, 0, 1, 0, 1)
    assert found.ahead.sum_s == pytest.approx(2.000001)
    assert found.behind.sum_s == pytest.approx(30 + 9002 * 3600)
    assert found.odd == ()
    assert (found.ahead + found.ahead).counts[:2] == (4, 2)


def test_only_the_chosen_count_and_only_where_kafka_has_a_timestamp() -> None:
    found = skew([NOW_US, 5 * S, NOW_US], [NOW_US, 0, NOW_US], chosen=[1, 2])
    assert (sum(found.ahead.counts), sum(found.behind.counts), found.odd) == (1, 0, ())
    assert skew([], chosen=[]) == Skew()


@pytest.mark.parametrize(
    ("time_us", "why"),
    [
        (NOW_US, ""),
        (NOW_US - 20_000 * H, ""),  # out of a buffer, or a file
        (0, ""),
        (NOW_US + H, ""),
        (NOW_US + H + 1, "an hour ahead"),
        (NOW_US // 1000, "milliseconds"),
        (NOW_US // 1000 - 20_000 * H // 1000, "milliseconds"),
        (NOW_US // 10**6, "looks like seconds"),
        (NOW_US * 1000, "nanoseconds"),
    ],
)
def test_a_time_in_another_unit_is_told_from_one_that_is_only_old(time_us: int, why: str) -> None:
    found = why_odd(time_us, NOW_US)
    assert why in found
    assert bool(why) == bool(found)


def test_what_is_odd_comes_by_reason_with_one_of_them() -> None:
    (of_ms, of_s) = skew([NOW_US, 7, NOW_US // 1000, NOW_US // 10**6, NOW_US // 1000 + 5]).odd
    assert (of_ms.why, of_ms.count, of_ms.device_id) == ("event_time_us looks like milliseconds", 2, "d2")
    assert (of_ms.event_time_us, of_ms.kafka_us) == (NOW_US // 1000, NOW_US)
    assert (of_s.why, of_s.count, of_s.device_id) == ("event_time_us looks like seconds", 1, "d3")
