"""3 of a device's last 10 flows make an incident; an hour without an alert ends it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.training.flow_protocol.incidents import (
    HOUR_US,
    NONE,
    Incidents,
    incidents,
    observed_us,
)


def of_one(alerts: str, every_s: float = 1.0) -> Incidents:
    """`x` is an alert, `.` none; one device, a flow each so many seconds."""
    rings = np.array([one == "x" for one in alerts])
    times = np.rint(np.arange(len(alerts)) * every_s * 1e6).astype(np.int64)
    return incidents(np.zeros(len(alerts), np.int64), times, rings)


def test_the_third_alert_of_ten_flows_opens_and_those_before_are_counted_in() -> None:
    told = of_one("x....x...x.x")
    assert told.opened_by.tolist() == [9]
    assert np.flatnonzero(told.of_flow != NONE).tolist() == [9, 11]
    assert np.flatnonzero(told.counts != NONE).tolist() == [0, 5, 9, 11]
    assert not len(of_one("x....x....x").opened_by)


def test_an_incident_goes_on_with_single_alerts_until_an_hour_is_silent() -> None:
    assert of_one("xxx" + "." * 11 + "x", every_s=240).opened_by.tolist() == [2]
    told = of_one("xxx" + "." * 16 + "xxx", every_s=240)
    assert told.opened_by.tolist() == [2, 21]
    assert told.of_flow[19:].tolist() == [NONE, NONE, 1]


@st.composite
def device_flows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    told = draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2 * HOUR_US), st.booleans()), max_size=80)
    )
    columns = list(zip(*told, strict=True)) or [(), (), ()]
    return (
        np.array(columns[0], np.int64),
        np.cumsum(np.array(columns[1], np.int64)),
        np.array(columns[2], bool),
    )


@given(device_flows())
def test_incidents_are_those_of_each_device_alone_as_a_plain_count_has_them(
    told: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    device, time_us, alert = told
    found = incidents(device, time_us, alert)
    assert found.opened_by.tolist() == sorted(
        opening for one in range(3) for opening in _plainly(np.flatnonzero(device == one), time_us, alert)
    )
    assert not (found.counts[~alert] != NONE).any()
    assert ((found.of_flow == NONE) | (found.of_flow == found.counts)).all()


def _plainly(places: np.ndarray, time_us: np.ndarray, alert: np.ndarray) -> list[int]:
    opened: list[int] = []
    last_us = None
    for nth, place in enumerate(places):
        if not alert[place]:
            continue
        if last_us is not None and time_us[place] - last_us <= HOUR_US:
            last_us = time_us[place]
        elif alert[places[max(nth - 9, 0) : nth + 1]].sum() >= 3:
            opened.append(int(place))
            last_us = time_us[place]
        else:
            last_us = None
    return opened


def test_a_silence_counts_as_an_hour_of_watching_at_most() -> None:
    minute_us = 60_000_000
    device = np.array([0, 1, 0, 0, 1])
    times = np.array([0, 0, 10, 2_000, 30]) * minute_us
    assert observed_us(device, times) == (10 + 60 + 30) * minute_us
