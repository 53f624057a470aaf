"""Many halves, interim records and pieces at once, as each by itself; and what waits, as it is packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.flow.assembling import assembled, let_go, packed, unpacked
from streams.core.flow.columns import MOST_COUNTED, UNKNOWN
from streams.core.flow.features import advance
from streams.core.flow.halves import ACK, FIN, RST, SYN
from streams.core.flow.matching import Matched
from streams.core.flow.records import Kind, Patience, Record, flows_of, records_of
from streams.core.flow.settling import release, settle
from streams.core.flow.state import HELD, blank
from streams.core.flows import Quality
from tests.core.flow.drawn import START_US, record
from tests.core.flow.pairs import alone, of_both

flags = st.sampled_from([-1, 0, SYN, SYN | ACK, RST | ACK, SYN | RST, FIN | SYN | ACK, ACK, RST])
counts = st.integers(-1, 3)


@st.composite
def halves(draw: st.DrawFn) -> Record:
    return record(
        half=True,
        tcp_flags=draw(flags),
        role=draw(st.integers(0, 1)),
        direction=draw(st.integers(0, 2)),
        protocol=draw(st.integers(0, 3)),
        start_us=START_US + draw(st.integers(0, 2)),
        end_us=START_US + 5 + draw(st.integers(0, 2)),
        packets_out=draw(counts),
        packets_in=draw(counts),
        device_port=draw(st.integers(22, 24)),
        peer_port=23,
        service=draw(st.integers(0, 2)),
        quality=draw(st.sampled_from([0, int(Quality.CUT), int(Quality.SAMPLED)])),
        final=draw(st.booleans()),
    )


@given(st.lists(st.tuples(halves(), halves()), min_size=1, max_size=6))
def test_pairs_of_halves_at_once_are_as_each_by_itself(drawn: list[tuple[Record, Record]]) -> None:
    pairs = [(one, other._replace(role=1 - one.role)) for one, other in drawn]
    rows = [half for pair in pairs for half in pair]
    found = Matched(len(rows), pairs=[(at, at + 1) for at in range(0, len(rows), 2)])
    whole = assembled(flows_of(rows), found)
    assert records_of(whole.at(slice(len(rows), None))) == [of_both(*pair) for pair in pairs]


@given(st.lists(halves(), min_size=1, max_size=6), st.booleans())
def test_halves_that_are_let_go_at_once_are_as_each_by_itself(drawn: list[Record], timely: bool) -> None:
    found = let_go(flows_of(drawn), np.full(len(drawn), int(Kind.HALF)), timely=timely)
    assert records_of(found) == [alone(half, timely)._replace(final=True) for half in drawn]


@given(st.lists(halves(), max_size=HELD), st.integers(1, 3))
def test_what_waits_is_unpacked_as_it_was_packed(drawn: list[Record], devices: int) -> None:
    rows = sorted(
        (half._replace(device=at % devices) for at, half in enumerate(drawn)), key=lambda one: one.device
    )
    flows, kinds = flows_of(rows), np.full(len(rows), int(Kind.HALF))
    found, told = unpacked(packed(flows, kinds, np.arange(devices)), np.arange(devices))
    assert records_of(found) == rows
    assert told.tolist() == kinds.tolist()


def test_beyond_what_there_is_room_for_whoever_waits_longest_goes() -> None:
    """Of two devices, and of the one whose halves are met there too."""
    rows = [record(half=True, device=at % 2, device_port=1_000 + at, role=0) for at in range(2 * HELD + 4)]
    rows.sort(key=lambda one: one.device)
    settled = settle(blank(2), flows_of(rows))
    assert [(one.device, one.device_port) for one in records_of(settled.flows)] == [
        (0, 1_000),
        (0, 1_002),
        (1, 1_001),
        (1, 1_003),
    ]
    assert all(one.quality & Quality.ONE_SIDED for one in records_of(settled.flows))
    assert settled.cause.tolist() == [HELD, HELD + 1, 2 * HELD + 2, 2 * HELD + 3]


@pytest.mark.parametrize("turn", [1, 3, 100])
def test_pieces_beyond_all_counting_are_no_fault(turn: int) -> None:
    pieces = [
        record(
            quality=int(Quality.CUT),
            packets_out=2**48,
            packets_in=UNKNOWN,
            start_us=START_US + 2_000_000 * at,
            end_us=START_US + 2_000_000 * at,
        )
        for at in range(99)
    ]
    states = blank(1)
    for first in range(0, len(pieces), turn):
        states = advance(states, flows_of(pieces[first : first + turn])).states
    released, _ = release(states, START_US + 10**12, Patience())
    assert {(one.packets_out, one.packets_in) for one in records_of(released)} == {(MOST_COUNTED, UNKNOWN)}
