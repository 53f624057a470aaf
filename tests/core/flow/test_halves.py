"""Two halves of a flow: who began it, and how it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streams.core.flow.columns import DIRECTIONS, ROLES, from_values
from streams.core.flow.features import advance, advance_released
from streams.core.flow.halves import ACK, FIN, RST, SYN
from streams.core.flow.records import NEVER, Patience, Record, flows_of, records_of
from streams.core.flow.settling import next_release_us, release
from streams.core.flow.state import HELD, blank
from streams.core.flows import Direction, Quality, Role, State
from tests.core.flow.drawn import START_US, record
from tests.core.flow.pairs import alone, belong_together, of_both
from tests.flow_samples import events, goflow2

WHOLE = FIN | SYN | ACK
INTERNAL = DIRECTIONS.index(Direction.INTERNAL)
SECOND_US = 1_000_000


def mine(flags: int = -1, **changes: object) -> Record:
    """What the device sent."""
    nothing = {"packets_in": -1, "ip_bytes_in": -1, "state": 0}
    return record(half=True, tcp_flags=flags, **(nothing | changes))


def theirs(flags: int = -1, **changes: object) -> Record:
    """What came back."""
    nothing = {"packets_out": -1, "ip_bytes_out": -1, "state": 0, "role": 1, "direction": 1}
    return record(half=True, tcp_flags=flags, **(nothing | changes))


def named(flow: Record) -> tuple[str, str, str]:
    return str(ROLES[flow.role]), str(DIRECTIONS[flow.direction]), State(flow.state).name


OUT = (str(Role.ORIGINATOR), str(Direction.OUT))
IN = (str(Role.TARGET), str(Direction.IN))


@pytest.mark.parametrize(
    ("sent", "came", "expected"),
    [
        (WHOLE, WHOLE, (*OUT, "ANSWERED")),  # nothing tells: a device at home began
        (SYN, SYN | ACK, (*OUT, "HALF_OPEN")),
        (SYN, RST | ACK, (*OUT, "REFUSED")),
        (SYN | RST, SYN | ACK, (*OUT, "RESET")),
        (SYN | ACK | RST, WHOLE, (*OUT, "RESET")),
        (RST | ACK, SYN, (*IN, "REFUSED")),  # a scan from outside
        (SYN | ACK, SYN, (*IN, "HALF_OPEN")),
        (RST | ACK, SYN | ACK | RST, (*IN, "RESET")),
        (ACK, ACK, (*OUT, "PARTIAL")),
        (-1, -1, (*OUT, "UNKNOWN")),
        (0, 0, (*OUT, "UNKNOWN")),  # none at all: many exporters write so what they do not know
    ],
)
def test_flags_tell_who_began_and_how_it_ended(sent: int, came: int, expected: tuple[str, str, str]) -> None:
    for one, other in ((mine(sent), theirs(came)), (theirs(came), mine(sent))):
        joined = of_both(one, other)
        assert named(joined) == expected
        assert (joined.packets_out, joined.packets_in, joined.ip_bytes_in) == (10, 12, 4_000)
        assert not joined.half


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({}, Role.ORIGINATOR),  # the higher port began
        ({"device_port": 22, "peer_port": 50_000}, Role.TARGET),
    ],
)
def test_inside_ports_tell_where_times_do_not(changes: dict[str, int], role: Role) -> None:
    halves = [half(WHOLE, direction=INTERNAL, **changes) for half in (mine, theirs)]
    assert named(of_both(*halves))[:2] == (str(role), str(Direction.INTERNAL))


def test_inside_the_earlier_half_began_where_the_times_differ() -> None:
    later = mine(WHOLE, direction=INTERNAL, start_us=START_US + 1)
    assert named(of_both(later, theirs(WHOLE, direction=INTERNAL)))[0] == str(Role.TARGET)


def test_udp_halves_are_an_answered_flow() -> None:
    assert named(of_both(mine(protocol=2), theirs(protocol=2))) == (*OUT, "ANSWERED")


@pytest.mark.parametrize(
    ("half", "expected"),
    [
        (mine(SYN), (*OUT, "NO_ANSWER")),
        (mine(-1), (*OUT, "NO_ANSWER")),
        (theirs(SYN), (*IN, "NO_ANSWER")),
        (theirs(RST | ACK), (*OUT, "PARTIAL")),  # the refusal of a SYN that nobody told of
        (mine(WHOLE), (*OUT, "PARTIAL")),
        (mine(protocol=2), (*OUT, "NO_ANSWER")),
    ],
)
def test_a_half_alone_is_what_it_is(half: Record, expected: tuple[str, str, str]) -> None:
    assert named(alone(half, timely=True)) == expected
    silent = "packets_in" if half.packets_in < 0 else "packets_out"
    assert getattr(alone(half, timely=True), silent) == 0


@pytest.mark.parametrize(
    ("flags", "state"), [(WHOLE, State.UNKNOWN), (-1, State.UNKNOWN), (SYN, State.HALF_OPEN)]
)
def test_a_half_that_had_to_go_early_does_not_say_that_nothing_came(flags: int, state: State) -> None:
    """A SYN and nothing after it completed no handshake, whatever came back."""
    gone = alone(mine(flags), timely=False)
    assert (gone.packets_in, gone.state) == (-1, state)
    assert gone.quality & Quality.ONE_SIDED


@pytest.mark.parametrize("role", Role)
def test_both_halves_say_who_began_and_meet(role: Role) -> None:
    """As the home's rules have it: by a service's port the role is the same, whichever end sent."""
    begins = {"role": ROLES.index(role), "direction": int(role is Role.TARGET)}
    there, back = mine(WHOLE, **begins), theirs(WHOLE, **begins)
    assert belong_together(there, back)
    joined = of_both(back, there)
    assert named(joined) == (*(OUT if role is Role.ORIGINATOR else IN), "ANSWERED")
    assert (joined.packets_out, joined.packets_in) == (10, 12)


def test_a_datagram_that_stayed_alone_was_begun_by_its_sender_unless_a_port_tells() -> None:
    unanswered = theirs(protocol=2, device_port=50_000, peer_port=60_000, role=0, direction=0)
    assert named(alone(unanswered, timely=True)) == (*IN, "NO_ANSWER")
    answer = theirs(protocol=2, device_port=50_000, peer_port=53, role=0, direction=0)
    assert named(alone(answer, timely=True))[:2] == OUT


def test_halves_meet_by_ends_way_and_time() -> None:
    one = mine(SYN)
    assert belong_together(one, theirs())
    assert not belong_together(one, mine())
    assert not belong_together(one, theirs(peer_port=444))
    assert not belong_together(one, theirs(peer=78))
    late_us = START_US + 50_000 + 2 * SECOND_US
    assert belong_together(one, theirs(start_us=late_us, end_us=late_us))
    assert not belong_together(one, theirs(start_us=late_us + 1, end_us=late_us + 1))


def test_halves_join_across_turns_in_either_order() -> None:
    for pair in ((mine(WHOLE), theirs(WHOLE)), (theirs(WHOLE), mine(WHOLE))):
        first = advance(blank(1), flows_of([pair[0]]))
        assert not len(first.flows)
        (flow,) = records_of(advance(first.states, flows_of([pair[1]])).flows)
        assert named(flow) == (*OUT, "ANSWERED")


def test_a_half_waits_as_long_as_it_should() -> None:
    patience = Patience(half_us=10 * SECOND_US)
    states = advance(blank(1), flows_of([mine(SYN)])).states
    end_us = mine().end_us
    early, states = release(states, end_us + 10 * SECOND_US - 1, patience)
    assert not len(early)
    assert next_release_us(states, patience).tolist() == [end_us + 10 * SECOND_US]
    flows, states = release(states, end_us + 10 * SECOND_US, patience)
    step = advance_released(states, flows)
    assert [named(one) for one in records_of(step.flows)] == [(*OUT, "NO_ANSWER")]
    assert step.states["head"]["count"][0] == 1
    assert not len(release(step.states, end_us + 10**12, patience)[0])
    assert next_release_us(step.states, patience).tolist() == [NEVER]


def test_there_is_room_for_so_many_and_the_longest_waiting_goes_first() -> None:
    halves = [mine(SYN, device_port=1_000 + n) for n in range(HELD + 2)]
    step = advance(blank(1), flows_of(halves))
    assert step.flows.device_port.tolist() == [1_000, 1_001]
    assert step.record.tolist() == [HELD, HELD + 1]
    assert (step.flows.quality == Quality.ONE_SIDED).all()


def test_open_flows_and_halves_are_the_same_after_they_were_stored() -> None:
    waiting = [mine(SYN, quality=3), theirs(SYN, protocol=2, peer=9), record(final=False, service=5, state=4)]
    states = advance(blank(1), flows_of(waiting)).states
    flows, _ = release(states, 2 * START_US, Patience())
    kept = replace(flows, quality=flows.quality & ~int(Quality.CUT))
    expected = [*(alone(one, timely=True) for one in waiting[:2]), waiting[2]._replace(final=True)]
    assert records_of(kept) == expected


def swapped(one: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What came back."""
    ends = {"src_addr": one["dst_addr"], "dst_addr": one["src_addr"]}
    return {**one, **ends, "src_port": one["dst_port"], "dst_port": one["src_port"], **changed}


OUTSIDE = {"src_addr": "198.51.100.66", "dst_addr": "192.168.1.20"}
PING = {"proto": "ICMP", "src_port": 0, "dst_port": 2048, "tcp_flags": 0, "icmp_type": 8}
PING6 = {"proto": "IPv6-ICMP", "src_port": 0, "dst_port": 0, "tcp_flags": 0, "icmp_type": 128}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "guesses over ssh from outside": (goflow2(**OUTSIDE, dst_port=22), {}, IN),
    "a connection to a server": (goflow2(), {}, OUT),
    "a refused SYN from outside": (goflow2(**OUTSIDE, tcp_flags=2, dst_port=60_001), {"tcp_flags": 20}, IN),
    "a question for a name": (goflow2(proto="UDP", dst_port=53, tcp_flags=0), {}, OUT),
    "a ping from outside": (goflow2(**OUTSIDE, **PING), {"dst_port": 0, "icmp_type": 0}, IN),
    "a ping of IPv6": (goflow2(src_addr="fd00::1", dst_addr="2001:db8::1", **PING6), {"icmp_type": 129}, OUT),
}


@pytest.mark.parametrize("name", PAIRS)
def test_halves_as_an_exporter_writes_them_become_one_flow(name: str) -> None:
    there, answers, expected = PAIRS[name]
    back = swapped(there, **({"src_port": 0} | answers if "icmp_type" in answers else answers))
    for pair in ((there, back), (back, there)):
        flows, devices = from_values([event for half in pair for event in events(half)])
        (joined,) = records_of(advance(blank(len(devices)), flows).flows)
        assert named(joined)[:2] == expected
        assert min(joined.packets_out, joined.packets_in) > 0
