"""What a device did before is known for days, and forgotten by the flows' own time."""

from __future__ import annotations

import pytest

from streams.core.flow.features import advance
from streams.core.flow.records import Record, flows_of
from streams.core.flow.state import blank
from tests.core.flow.drawn import START_US, record
from tests.core.flow.oracle import values_of

DAY_US = 86_400_000_000


def after_days(days: float, **changes: object) -> Record:
    at_us = START_US + int(days * DAY_US)
    return record(start_us=at_us, end_us=at_us, **changes)


def news(*flows: Record) -> list[tuple[object, ...]]:
    rows = [values_of(row) for row in advance(blank(1), flows_of(list(flows))).rows]
    return [(row["new_peer"], row["new_port"], row["new_service"]) for row in rows]


def test_a_peer_a_port_and_a_service_are_new_once() -> None:
    flows = [
        after_days(0, service=5),
        after_days(1, service=5),
        after_days(1, peer=78, peer_port=80, service=6),
    ]
    assert news(*flows) == [(1, 1, 1), (0, 0, 0), (1, 1, 1)]


def test_an_unknown_service_is_neither_new_nor_met() -> None:
    assert news(after_days(0), after_days(1)) == [(1, 1, None), (0, 0, None)]


@pytest.mark.parametrize(("days", "new"), [(12, 0), (16.1, 1), (400, 1)])
def test_what_was_not_met_for_days_is_new_again(days: float, new: float) -> None:
    assert news(after_days(0), after_days(days))[1][0] == new


def test_what_is_met_again_and_again_stays_familiar() -> None:
    assert [one[0] for one in news(*(after_days(10 * n) for n in range(8)))] == [1] + [0] * 7


def test_a_flow_that_comes_late_knows_what_came_before_it() -> None:
    assert news(after_days(8), after_days(0))[1][0] == 0
