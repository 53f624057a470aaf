"""Rows and states of flows: those of a plain recomputation, however the records come."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.flow.features import Advance, advance, advance_released
from streams.core.flow.records import Patience, Record, flows_of, records_of
from streams.core.flow.settling import release
from streams.core.flow.state import States, blank, unpack
from streams.core.flow.table import EVIDENCE, FLOW, SLOW
from streams.core.flows import Quality, State
from tests.core.flow.drawn import START_US, drawn, record
from tests.core.flow.oracle import Device, Values, row_of, values_of

DEVICES = 3
SEEDS = st.integers(0, 2**32)
SECOND_US = 1_000_000


def in_turns(records: list[Record], sizes: list[int]) -> tuple[list[Advance], States]:
    """The records cut into turns of these sizes, over and over; each turn, and the states at the end."""
    states = blank(DEVICES)
    steps: list[Advance] = []
    while records:
        size = sizes[len(steps) % len(sizes)]
        step = advance(states, flows_of(records[:size]))
        records, states = records[size:], step.states
        steps.append(step)
    return steps, states


def rows_of(steps: list[Advance]) -> bytes:
    return b"".join(step.rows.tobytes() for step in steps)


def values(records: list[Record]) -> list[Values]:
    """The rows of one turn, legible."""
    return [values_of(row) for row in advance(blank(DEVICES), flows_of(records)).rows]


def assert_same(step: Advance, expected: list[tuple[Record, Values]]) -> None:
    assert records_of(step.flows) == [flow for flow, _ in expected]
    for row, (_, right) in zip(step.rows, expected, strict=True):
        found = values_of(row)
        exact = {name: float(np.float32(v)) if isinstance(v, float) else v for name, v in right.items()}
        assert {n: (found[n], exact[n]) for n in found if found[n] != exact[n]} == {}
        assert row.tobytes() == row_of(right)


@settings(max_examples=12, deadline=None)
@given(SEEDS, st.sampled_from([1, 17, 100, 300]))
def test_rows_are_those_of_a_plain_recomputation(seed: int, size: int) -> None:
    devices = [Device() for _ in range(DEVICES)]
    states, records = blank(DEVICES), drawn(seed, 300)
    for first in range(0, len(records), size):
        turn = records[first : first + size]
        step = advance(states, flows_of(turn))
        told = [devices[one.device].take(one) for one in turn]
        assert step.new.tolist() == [one is not None for one in told]
        assert_same(step, [one for some in told for one in some or []])
        states = step.states


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.integers(10, 100))
def test_what_waited_long_enough_counts_as_in_a_plain_recomputation(seed: int, size: int) -> None:
    rng, patience = random.Random(seed), Patience(half_us=5 * SECOND_US, open_us=60 * SECOND_US)
    devices = [Device() for _ in range(DEVICES)]
    states, records = blank(DEVICES), drawn(seed, 150)
    for first in range(0, len(records), size):
        turn = records[first : first + size]
        states = advance(states, flows_of(turn)).states
        for one in turn:
            devices[one.device].take(one)
        watermark_us = turn[-1].end_us + rng.choice([0, 10 * SECOND_US, 100 * SECOND_US])
        flows, states = release(states, watermark_us, patience)
        step = advance_released(states, flows)
        let_go = [one.release(watermark_us, patience.half_us, patience.open_us) for one in devices]
        assert_same(step, [one for some in let_go for one in some])
        states = step.states


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 400), min_size=3, max_size=6))
def test_turns_change_neither_rows_nor_states(seed: int, sizes: list[int]) -> None:
    records = drawn(seed, 700)
    whole, after = in_turns(records, [len(records)])
    parts, after_parts = in_turns(records, sizes)
    assert rows_of(parts) == rows_of(whole)
    assert after_parts.tobytes() == after.tobytes()


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.integers(5, 60))
def test_states_that_were_stored_between_turns_go_on_as_if_they_were_not(seed: int, size: int) -> None:
    records, states, stored = drawn(seed, 300), blank(DEVICES), blank(DEVICES)
    for first in range(0, len(records), size):
        turn = flows_of(records[first : first + size])
        step, other = advance(states, turn), advance(stored, turn)
        assert other.rows.tobytes() == step.rows.tobytes()
        states, stored = step.states, unpack([one.tobytes() for one in other.states])
    assert stored.tobytes() == states.tobytes()


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(20, 300))
def test_repeats_change_nothing(seed: int, size: int) -> None:
    """Each record up to four times more, soon after it came first, under another name.

    What repeats something that is about to be forgotten is not repeated: it may count then.
    """
    once = drawn(seed, 300)
    steps, states = in_turns(once, [len(once)])
    rng, again = random.Random(seed), []
    for place, one in enumerate(once):
        again.append(one)
        for _ in range(rng.randrange(5)):
            at = rng.randrange(max(0, place - 20), place + 1)
            name = rng.randrange(2**63) if once[at].final else once[at].identity
            again += [once[at]._replace(identity=name)] * int(steps[0].new[at])
    repeated, after = in_turns(again, [size])
    assert rows_of(repeated) == rows_of(steps)
    assert after.tobytes() == states.tobytes()


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_a_device_among_others_is_as_if_it_were_alone(seed: int) -> None:
    records = drawn(seed, 400)
    steps, together = in_turns(records, [170])
    for device in range(DEVICES):
        mine, alone = in_turns([one for one in records if one.device == device], [90])
        rows = [step.rows[step.flows.device == device].tobytes() for step in steps]
        assert b"".join(rows) == rows_of(mine)
        assert together[device].tobytes() == alone[device].tobytes()


def test_a_late_flow_sees_what_came_before_it_and_counts_where_it_belongs() -> None:
    at = [START_US + second * SECOND_US for second in (0, 10, 1, 11)]  # the third comes late
    flows = [record(end_us=end_us, start_us=end_us, device_port=1_000 + end_us % 7) for end_us in at]
    recent = [one["recent_flows"] for one in values(flows)]
    minute = [one["minute_flows"] for one in values(flows)]
    assert recent == [1, 1, 2, 2]
    assert minute == [1, 2, 2, 4]
    assert [one["gap_s"] for one in values(flows)] == [None, 10, 0, 1]


def test_interim_records_count_once_when_the_flow_is_over() -> None:
    grown = [
        record(packets_out=n, packets_in=n, ip_bytes_out=60 * n, end_us=START_US + n * SECOND_US, final=False)
        for n in (5, 10, 20)
    ]
    last = record(packets_out=40, packets_in=40, ip_bytes_out=2_400, end_us=START_US + 50 * SECOND_US)
    step = advance(blank(1), flows_of([*grown, grown[1], last, last]))
    assert step.record.tolist() == [4]
    assert step.new.tolist() == [True, True, True, False, True, False]
    row = values_of(step.rows[0])
    assert (row["packets_out"], row["duration_s"], row["last_flows"]) == (40, 50, 1)


def test_pieces_of_a_flow_that_was_cut_add_up() -> None:
    pieces = [
        record(
            start_us=START_US + 60 * n * SECOND_US, end_us=START_US + (60 * n + 59) * SECOND_US, quality=cut
        )
        for n, cut in enumerate([Quality.CUT, Quality.CUT, 0])
    ]
    step = advance(blank(1), flows_of([one._replace(quality=int(one.quality)) for one in pieces]))
    (row,) = (values_of(row) for row in step.rows)
    assert (row["packets_out"], row["ip_bytes_in"], row["duration_s"]) == (30, 12_000, 179)


def test_open_flows_of_equal_names_and_other_ends_are_two() -> None:
    opened = record(final=False)
    step = advance(blank(1), flows_of([opened, record(peer=9), record(packets_out=20)]))
    assert step.flows.packets_out.tolist() == [10, 20]
    assert step.flows.peer.tolist() == [9, 77]


def test_counters_as_large_as_a_number_can_be_are_counted() -> None:
    most = 2**63 - 1
    huge = record(packets_out=most, packets_in=most, ip_bytes_out=most, ip_bytes_in=most, device_port=70_000)
    rows = values([huge, huge._replace(peer=9), huge._replace(final=False), huge._replace(start_us=0)])
    assert all(row["bytes_out_share"] == row["last_bytes_out_share"] == 0.5 for row in rows)
    assert rows[0]["ip_bytes_out"] == 2**48


def test_a_scan_shows_in_its_evidence() -> None:
    scan = [
        record(
            peer=n, peer_port=23, device_port=2_000 + n, end_us=START_US + n, state=int(State.NO_ANSWER)
        )._replace(packets_in=0, ip_bytes_in=0, packets_out=1, ip_bytes_out=60)
        for n in range(1, 51)
    ]
    row = values(scan)[-1]
    assert (row["recent_failing_peers_on_port"], row["last_peers_on_port"]) == (50, 50)
    assert (row["recent_failing_ports_on_peer"], row["recent_failures_to_host_port"]) == (1, 1)
    assert row["recent_failing"] == 1
    assert isinstance(row["last_new_peers"], float)
    assert row["last_new_peers"] > 45  # the sketch may take one or another for met


def test_unknown_is_absent_and_not_zero() -> None:
    unknown = record(packets_out=-1, packets_in=-1, ip_bytes_out=-1, ip_bytes_in=-1, state=0)
    (row,) = values([unknown])
    absent = {name for name, value in row.items() if value is None}
    assert {"packets_out", "ip_bytes_in", "no_answer", "one_packet", "state", "gap_s"} <= absent
    assert {"recent_failing", "last_unanswered", "last_bytes_out", "size_spread"} <= absent
    assert not absent & {"recent_flows", "last_peers", "attempts", "duration_s", "port_class"}


def test_a_turned_flow_has_neither_shares_nor_a_port() -> None:
    (row,) = values([record(quality=int(Quality.FLIPPED))])
    assert (row["bytes_out_share"], row["packets_out_share"], row["port_class"]) == (None, None, None)
    assert row["ip_bytes_out"] == 900


def test_what_can_only_make_a_flow_suspect_and_what_is_for_rules_alone_are_columns() -> None:
    assert {*EVIDENCE, *SLOW} <= {*FLOW.numeric_names}
    assert not FLOW.optional & {*EVIDENCE}


@pytest.mark.parametrize("count", [0, 1])
def test_a_turn_may_be_empty(count: int) -> None:
    states = advance(blank(2), flows_of([record()] * count)).states
    step = advance(states, flows_of([]))
    assert len(step.rows) == len(step.record) == 0
    assert step.states.tobytes() == states.tobytes()


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_a_device_is_as_old_as_from_its_first_flow_to_its_latest(seed: int, sizes: list[int]) -> None:
    first: dict[int, int] = {}
    latest: dict[int, int] = {}
    for step in in_turns(drawn(seed, 120), sizes)[0]:
        for device, end_us, age_ms in zip(step.flows.device, step.flows.end_us, step.age_ms, strict=True):
            time_ms = int(end_us) // 1000
            latest[device] = max(latest.get(device, 0), time_ms)
            assert age_ms == max(0, latest[device] - first.setdefault(device, time_ms // 1000 * 1000))


def test_counting_ends_where_there_is_no_more_room() -> None:
    states = blank(1)
    states["head"]["count"] = 2**32 - 2
    after = advance(states, flows_of([record(identity=n, packets_out=n + 1) for n in range(5)])).states
    assert after["head"]["count"][0] == 2**32 - 1
