"""How regularly a device comes back to a peer and port."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.core.flow.features import advance
from streams.core.flow.records import Record, flows_of
from streams.core.flow.regular import amount_of, octave
from streams.core.flow.state import KEYS, blank
from streams.core.flows import State
from tests.core.flow.drawn import START_US, record
from tests.core.flow.oracle import Device, Values, row_of, values_of

FAILED = {"state": int(State.NO_ANSWER), "packets_in": 0, "ip_bytes_in": 0}


def after(seconds: float, **changes: object) -> Record:
    at_us = START_US + int(seconds * 1e6)
    return record(start_us=at_us, end_us=at_us, device_port=40_000 + int(seconds) % 999, **changes)


def rows(*flows: Record) -> list[Values]:
    return [values_of(row) for row in advance(blank(1), flows_of(list(flows))).rows]


def test_a_beacon_has_an_interval_without_spread() -> None:
    last = rows(*(after(300 * n) for n in range(60)))[-1]
    assert 294 <= float(last["interval_s"] or 0) <= 300  # codes are 2 to 3 % wide
    assert (last["interval_spread"], last["size_spread"], last["attempts"]) == (0, 0, 60)


def test_retries_each_second_are_one_attempt() -> None:
    tried = [after(60 * n + second, **FAILED) for n in range(5) for second in (0, 1, 2)]
    last = rows(*tried)[-1]
    assert (last["attempts"], last["fail_streak"], last["interval_spread"]) == (5, 5, 0)
    assert 56 <= float(last["interval_s"] or 0) <= 60


def test_two_seconds_later_is_another_attempt() -> None:
    last = rows(after(0, **FAILED), after(1.999, **FAILED), after(3.999, **FAILED))[-1]
    assert (last["attempts"], last["fail_streak"]) == (2, 2)


def test_habits_that_change_are_those_of_a_plain_recomputation() -> None:
    """One key, 200 flows: sums are halved again and again."""
    rng, second, flows = random.Random(1), 0.0, []
    for n in range(200):
        second += rng.choice([1, 30, 60]) if n < 90 else rng.choice([600, 601])
        flows.append(after(second, ip_bytes_out=rng.choice([60, 5_000])))
    device = Device()
    expected = [values for flow in flows for _, values in device.take(flow) or []]
    whole = advance(blank(1), flows_of(flows)).rows
    assert [row.tobytes() for row in whole] == [row_of(values) for values in expected]


def test_turns_of_one_flow_leave_the_keys_as_one_turn_does() -> None:
    flows = [after(n, peer=n * n % 83) for n in range(150)]
    states = blank(1)
    for flow in flows:
        states = advance(states, flows_of([flow])).states
    assert states.tobytes() == advance(blank(1), flows_of(flows)).states.tobytes()


def test_what_is_answered_each_second_are_attempts_of_their_own() -> None:
    last = rows(*(after(n) for n in range(5)))[-1]
    assert (last["attempts"], last["fail_streak"]) == (5, 0)


def test_an_answer_ends_a_streak() -> None:
    flows = [after(0, **FAILED), after(10, **FAILED), after(20), after(30, **FAILED)]
    assert [one["fail_streak"] for one in rows(*flows)] == [1, 2, 0, 1]


def test_what_comes_late_has_no_interval() -> None:
    late = rows(after(100), after(200), after(50))[-1]
    assert (late["attempts"], late["interval_spread"]) == (3, None)


def test_the_least_recently_used_key_goes_first() -> None:
    others = [after(n, peer=n) for n in range(1, KEYS + 1)]
    assert rows(after(0), *others[:-1], after(999))[-1]["attempts"] == 2
    assert rows(after(0), *others, after(999))[-1]["attempts"] == 1
    later = [after(100 + n, peer=n) for n in range(1, KEYS)]
    assert rows(after(0), *others[:-1], after(90), *later, after(999))[-1]["attempts"] == 3


@given(st.integers(0, 2**45))
def test_an_octave_has_32_codes(amount: int) -> None:
    code = octave(np.array([amount]))
    assert amount_of(code)[0] <= amount < max(amount_of(code + 1)[0], amount_of(code)[0] + 1)
    assert octave(amount_of(code)) == code
    if amount >= 32:
        assert octave(np.array([2 * amount])) == code + 32
