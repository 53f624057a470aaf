"""What was there before changes nothing; what merely looks like it counts."""

from __future__ import annotations

import pytest

from streams.core.flow.features import advance
from streams.core.flow.records import Record, flows_of
from streams.core.flow.state import SEEN, blank
from tests.core.flow.drawn import START_US, record

SECOND_US = 1_000_000


def new(records: list[Record]) -> list[bool]:
    return list(advance(blank(2), flows_of(records)).new.tolist())


def test_workers_that_each_name_a_connection_tell_of_one() -> None:
    told = [record(identity=n, start_us=START_US + n * 1_000, state=n) for n in range(1, 6)]
    assert new(told) == [True] + [False] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"device": 1},
        {"peer": 78},
        {"device_port": 40_001},
        {"peer_port": 444},
        {"protocol": 2},
        {"role": 1},
        {"packets_out": 11},
        {"ip_bytes_in": 4_001},
        {"payload_bytes_out": 0},
        {"start_us": START_US + 2 * SECOND_US},
        {"final": False},
        {"half": True},
    ],
)
def test_what_differs_is_another_record(change: dict[str, object]) -> None:
    assert new([record(), record(**change)]) == [True, True]


def test_seconds_that_are_neighbours_are_one_second_apart_at_most() -> None:
    begun = START_US + 999_999
    assert new([record(start_us=begun), record(start_us=begun + 1)]) == [True, False]
    assert new([record(start_us=begun + 1), record(start_us=begun)]) == [True, False]


def test_a_device_remembers_so_many_records_and_repeats_push_none_out() -> None:
    others = [record(device_port=n) for n in range(1, SEEN + 1)]
    first = record(device_port=50_000)
    assert new([first, *others[:-1], first])[-1] is False
    assert new([first, *others, first])[-1] is True
    assert new([first, *others[:-1], *others[:-1], first])[-1] is False


def test_it_remembers_across_turns() -> None:
    states = advance(blank(1), flows_of([record(), record(device_port=1)])).states
    step = advance(states, flows_of([record(identity=9), record(device_port=2)]))
    assert step.new.tolist() == [False, True]
    assert step.record.tolist() == [1]
