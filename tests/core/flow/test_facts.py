"""What a flow says by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.flow.columns import Protocol
from streams.core.flow.facts import bit_length, coded, decoded, failing_of, ports_of, small_of, unanswered_of
from streams.core.flow.records import flows_of
from streams.core.flows import State
from tests.core.flow.drawn import record

SYN_FLOOD = {"packets_out": 2, "packets_in": 1, "ip_bytes_out": 100, "ip_bytes_in": 44}
UNKNOWN = {"packets_out": -1, "packets_in": -1, "ip_bytes_out": -1, "ip_bytes_in": -1}


@pytest.mark.parametrize(
    ("state", "counters", "failing"),
    [
        (State.NO_ANSWER, {}, True),
        (State.REFUSED, {}, True),
        (State.HALF_OPEN, {}, True),
        (State.ANSWERED, SYN_FLOOD, False),
        (State.PARTIAL, SYN_FLOOD, False),
        (State.RESET, {}, False),  # after an exchange
        (State.RESET, SYN_FLOOD, True),  # by the scanner's own kernel
        (State.RESET, UNKNOWN, False),
        (State.UNKNOWN, {}, False),  # NetFlow of an exchange
        (State.UNKNOWN, SYN_FLOOD, True),
        (State.UNKNOWN, {"packets_in": 0, "ip_bytes_in": 0}, True),
        (State.UNKNOWN, UNKNOWN, None),
        (State.UNKNOWN, {"packets_out": 9, "packets_in": 0, "ip_bytes_out": 99_999}, True),
        (State.UNKNOWN, SYN_FLOOD | {"packets_in": 7}, False),  # nine packets
        (State.UNKNOWN, SYN_FLOOD | {"ip_bytes_in": 65}, False),
    ],
)
def test_what_fails(state: State, counters: dict[str, int], failing: bool | None) -> None:
    value, known = failing_of(flows_of([record(state=int(state), **counters)]))
    assert (bool(value[0]) if known[0] else None) is failing


@pytest.mark.parametrize("protocol", [Protocol.UDP, Protocol.ICMP, Protocol.OTHER])
def test_only_tcp_fails(protocol: Protocol) -> None:
    flows = flows_of([record(protocol=int(protocol), state=int(State.NO_ANSWER), packets_in=0)])
    assert [one.tolist() for one in failing_of(flows)] == [[False], [True]]
    assert unanswered_of(flows)[0].tolist() == [True]


def test_whoever_was_asked_answers() -> None:
    asked = record(role=1, packets_out=0, packets_in=3)
    begun = record(role=0, packets_out=3, packets_in=0)
    assert unanswered_of(flows_of([asked, begun]))[0].tolist() == [True, True]
    assert (
        unanswered_of(flows_of([asked._replace(role=0), begun._replace(role=1)]))[0].tolist() == [False] * 2
    )


def test_a_port_is_the_one_that_was_asked_for() -> None:
    flows = [record(), record(role=1), record(protocol=int(Protocol.ICMP), device_port=8, peer_port=1)]
    asked, source = ports_of(flows_of(flows))
    assert asked.tolist() == [443, 40_000, 8 << 8 | 1]
    assert source.tolist() == [40_000, 443, 0]


def test_small_is_unknown_where_a_counter_is() -> None:
    flows = flows_of([record(**SYN_FLOOD), record(**(SYN_FLOOD | {"ip_bytes_in": -1}))])
    assert [one.tolist() for one in small_of(flows)] == [[True, False], [True, False]]


@given(st.integers(0, 2**42 - 1))
def test_amounts_are_kept_to_eleven_bits(amount: int) -> None:
    (found,) = decoded(coded(np.array([amount]))).tolist()
    beyond = max(amount.bit_length() - 11, 0)
    assert found == amount >> beyond << beyond


def test_amounts_beyond_the_most_are_the_most() -> None:
    assert decoded(coded(np.array([2**62])))[0] == decoded(coded(np.array([2**42 - 1])))[0]


@given(st.integers(0, 2**53 - 1))
def test_bit_length_is_that_of_whole_numbers(amount: int) -> None:
    assert bit_length(np.array([amount])).tolist() == [amount.bit_length()]
