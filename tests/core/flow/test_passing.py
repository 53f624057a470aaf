"""Time passes with a device's own records: what waits is let go by the same record, whatever the turns."""

from __future__ import annotations

from itertools import groupby

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.flow.columns import UNKNOWN
from streams.core.flow.passing import Passed, pass_turn
from streams.core.flow.records import Patience, Record, flows_of, records_of
from streams.core.flow.state import States, blank
from streams.core.flow.table import FLOW
from streams.core.flows import State
from tests.core.flow.drawn import START_US, drawn, record
from tests.core.flow.oracle import Device, values_of

DEVICES = 3
SECOND_US = 1_000_000
PATIENCE = Patience(10 * SECOND_US, 60 * SECOND_US)
SEEDS = st.integers(0, 2**32)
Counted = list[tuple[int, int, Record, bytes]]
"""Of each flow that counted: the record that brought it, its ordinal, the flow, its row."""


def counted(passed: Passed, first: int = 0) -> Counted:
    step = passed.step
    flows = records_of(step.flows)
    rows = [row.tobytes() for row in step.rows]
    return list(zip((step.record + first).tolist(), passed.ordinal.tolist(), flows, rows, strict=True))


def in_turns(records: list[Record], size: int) -> tuple[Counted, States]:
    states, latest_us = blank(DEVICES), np.zeros(DEVICES, np.int64)
    found: Counted = []
    for first in range(0, len(records), size):
        turn = flows_of(records[first : first + size])
        passed = pass_turn(states, latest_us, turn, turn.end_us, PATIENCE)
        states, latest_us = passed.step.states, passed.latest_us
        found += counted(passed, first)
    return found, states


def one_turn(records: list[Record]) -> Counted:
    return in_turns(records, max(len(records), 1))[0]


@settings(max_examples=6, deadline=None)
@given(SEEDS, st.sampled_from([7, 60, 150]))
def test_what_counts_is_that_of_a_plain_recomputation_record_by_record(seed: int, size: int) -> None:
    devices = [Device() for _ in range(DEVICES)]
    records = drawn(seed, 150)
    found = groupby(in_turns(records, size)[0], key=lambda one: one[0])
    by_record = {place: list(those) for place, those in found}
    for place, one in enumerate(records):
        expected = devices[one.device].pass_record(one, one.end_us, PATIENCE.half_us, PATIENCE.open_us) or []
        mine = by_record.get(place, [])
        assert [ordinal for _, ordinal, _, _ in mine] == list(range(len(expected)))
        assert [flow for _, _, flow, _ in mine] == [flow for flow, _ in expected]
        for (_, _, _, row), (_, right) in zip(mine, expected, strict=True):
            values = values_of(np.frombuffer(row, FLOW.row)[0])
            exact = {name: float(np.float32(v)) if isinstance(v, float) else v for name, v in right.items()}
            assert values == exact


@settings(max_examples=6, deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_turns_change_neither_what_counts_nor_what_waits(seed: int, size: int) -> None:
    records = drawn(seed, 80)
    cut, states = in_turns(records, size)
    whole, at_once = in_turns(records, len(records))
    assert cut == whole
    assert states.tobytes() == at_once.tobytes()


@settings(max_examples=6, deadline=None)
@given(SEEDS)
def test_a_repeat_lets_nothing_go_and_changes_nothing(seed: int) -> None:
    """Each record twice in a row: as if it came once."""
    records = drawn(seed, 60)
    twice = [one for one in records for _ in range(2)]
    once = [(flow, row) for _, _, flow, row in one_turn(records)]
    assert [(flow, row) for _, _, flow, row in one_turn(twice)] == once


def half(seconds: float, **changes: object) -> Record:
    at_us = START_US + int(seconds * SECOND_US)
    sent = {"packets_in": UNKNOWN, "ip_bytes_in": UNKNOWN, "state": 0, "half": True}
    return record(start_us=at_us, end_us=at_us, **(sent | changes))


def flow(seconds: float, port: int = 80) -> Record:
    at_us = START_US + int(seconds * SECOND_US)
    return record(start_us=at_us, end_us=at_us, peer_port=port)


def test_the_example_of_the_module() -> None:
    found = one_turn([half(0), flow(4), flow(11)])
    assert [(place, ordinal, one.peer_port) for place, ordinal, one, _ in found] == [
        (1, 0, 80),
        (2, 0, 443),
        (2, 1, 80),
    ]
    assert found[1][2].state == State.NO_ANSWER


def test_a_half_that_meets_the_other_one_in_time_is_let_go_by_nobody() -> None:
    other = half(1, role=1, packets_out=UNKNOWN, packets_in=3, ip_bytes_out=UNKNOWN, ip_bytes_in=200)
    found = one_turn([half(0), other, flow(30)])
    assert [(place, one.packets_in) for place, _, one, _ in found] == [(1, 3), (2, 12)]


def test_one_devices_time_is_nobody_elses() -> None:
    assert [place for place, *_ in one_turn([half(0), flow(30)._replace(device=1)])] == [1]
