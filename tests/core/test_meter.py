"""The meter: no packet is lost or counted twice, and each flow is reported soon after its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.flows import Flow, Quality, State
from streams.core.meter import ACK, FIN, ICMP, RST, SYN, TCP, UDP, Meter, Packet, Waits

S = 1_000_000
USUAL = Waits()
HOME, PEER = "10.0.0.2", "192.0.2.1"


def tcp(at_us: int, flags: int, back: bool = False, size: int = 40, port: int = 40_000) -> Packet:
    ends = (PEER, HOME) if back else (HOME, PEER)
    ports = (443, port) if back else (port, 443)
    return Packet(at_us, *ends, TCP, *ports, size, size - 40, flags)


def udp(at_us: int, back: bool = False, port: int = 5353) -> Packet:
    ends = (PEER, HOME) if back else (HOME, PEER)
    ports = (53, port) if back else (port, 53)
    return Packet(at_us, *ends, UDP, *ports, 60, 32)


def metered(packets: Sequence[Packet], waits: Waits = USUAL) -> list[Flow]:
    meter = Meter(waits)
    return [flow for packet in packets for flow in meter.add(packet)] + list(meter.end())


HANDSHAKE = [tcp(0, SYN), tcp(10, SYN | ACK, back=True), tcp(20, ACK)]


@pytest.mark.parametrize(
    ("packets", "state"),
    [
        ([tcp(0, SYN)], State.NO_ANSWER),
        ([tcp(0, SYN), tcp(5, RST | ACK, back=True)], State.REFUSED),
        ([tcp(0, SYN), tcp(5, SYN | ACK, back=True)], State.HALF_OPEN),
        ([tcp(0, SYN), tcp(5, RST)], State.HALF_OPEN),
        ([tcp(0, SYN), tcp(5, SYN | ACK, back=True), tcp(6, RST)], State.RESET),
        (HANDSHAKE, State.ANSWERED),
        ([*HANDSHAKE, tcp(30, FIN | ACK), tcp(40, FIN | ACK, back=True), tcp(50, ACK)], State.ANSWERED),
        ([*HANDSHAKE, tcp(30, RST, back=True)], State.RESET),
        ([tcp(0, ACK)], State.PARTIAL),
        ([udp(0)], State.NO_ANSWER),
        ([udp(0), udp(5, back=True)], State.ANSWERED),
    ],
)
def test_a_flow_ends_in_the_state_that_its_packets_say(packets: list[Packet], state: State) -> None:
    (flow,) = metered(packets)
    assert flow.state is state
    assert flow.originator == HOME
    assert flow.final


def test_counters_are_each_ends_own() -> None:
    (flow,) = metered([*HANDSHAKE, tcp(30, ACK, size=140), tcp(40, ACK, back=True, size=1040)])
    assert (flow.originator_packets, flow.responder_packets) == (3, 2)
    assert (flow.originator_ip_bytes, flow.responder_ip_bytes) == (220, 1080)
    assert (flow.originator_payload_bytes, flow.responder_payload_bytes) == (100, 1000)
    assert (flow.start_us, flow.end_us) == (0, 40)


def test_what_answers_first_is_the_responder() -> None:
    (syn_lost,) = metered([tcp(0, SYN | ACK, back=True), tcp(10, ACK)])
    assert (syn_lost.originator, syn_lost.quality) == (HOME, Quality.NONE)
    (middle,) = metered([tcp(0, ACK, back=True)])
    assert (middle.originator, middle.quality) == (HOME, Quality.FLIPPED), "a guess by the ports"
    answer = Packet(0, PEER, HOME, ICMP, 0, 0, 84, 56)
    question = Packet(5, HOME, PEER, ICMP, 8, 0, 84, 56)
    (ping,) = metered([answer, question])
    assert (ping.originator, ping.originator_port, ping.responder_packets) == (HOME, 8, 1)


def test_what_trails_behind_the_end_joins_it() -> None:
    closed = [*HANDSHAKE, tcp(30, FIN | ACK), tcp(40, FIN | ACK, back=True)]
    (flow,) = metered([*closed, tcp(50, ACK), tcp(60, ACK, back=True), tcp(500_000, RST)])
    assert flow.originator_packets == 5


def test_the_same_ports_are_used_for_another_connection() -> None:
    flows = metered([*HANDSHAKE, tcp(30, RST), *(p._replace(time_us=p.time_us + 100) for p in HANDSHAKE)])
    assert [flow.start_us for flow in flows] == [0, 100]
    assert len({flow.flow_id for flow in flows}) == 2


def test_a_long_flow_does_not_hold_up_the_others() -> None:
    """Short ones begin each second beside a connection that never falls silent; none waits for it."""
    meter, waited_us = Meter(), []
    for tick in range(600):
        now_us = tick * S // 10
        packets = [tcp(now_us, ACK), *([udp(now_us, port=10_000 + tick)] if tick % 10 == 0 else [])]
        for packet in packets:
            waited_us += [now_us - flow.end_us for flow in meter.add(packet) if flow.protocol == "udp"]
    assert len(waited_us) > 50
    assert max(waited_us) <= USUAL.idle_us + S // 10


def test_a_long_flow_is_reported_on_the_way_as_it_stands() -> None:
    packets = [*HANDSHAKE, *(tcp(n * S, ACK) for n in range(1, 100)), tcp(100 * S, RST)]
    flows = metered(packets)
    assert len({flow.flow_id for flow in flows}) == 1
    assert [flow.final for flow in flows] == [False, False, False, True]
    counts = [flow.originator_packets or 0 for flow in flows]
    assert counts == sorted(counts)
    assert counts[-1] == 2 + 99 + 1


def test_a_connection_that_falls_silent_goes_on_under_its_id() -> None:
    """Its keep-alives do not make a report each."""
    packets = [*HANDSHAKE, *(tcp(n * 10 * S, ACK) for n in range(1, 10)), tcp(95 * S, RST)]
    flows = metered(packets)
    assert len({flow.flow_id for flow in flows}) == 1
    assert len(flows) <= 5
    first, *_, last = flows
    assert first.end_us == 20, "it was reported when it first fell silent"
    assert last.final
    assert last.originator_packets == 2 + 9 + 1


def test_too_many_flows_let_the_oldest_go() -> None:
    meter = Meter(Waits(most_flows=10))
    flows = [flow for n in range(100) for flow in meter.add(udp(n, port=n + 1))]
    assert len(meter) == 10
    assert meter.let_go == len(flows) == 90
    assert all(flow.quality == Quality.CUT for flow in flows)


steps = st.lists(
    st.tuples(
        st.integers(0, 40 * S),
        st.booleans(),
        st.sampled_from([0, SYN, SYN | ACK, ACK, FIN | ACK, RST]),
        st.integers(1, 3),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps, st.integers(2, 50))
def test_every_packet_is_in_one_flow(steps: list[tuple[int, bool, int, int, bool]], most: int) -> None:
    """Whatever the times and flags: final flows sum to the packets, and reports of one id only grow."""
    packets, now_us = [], 0
    for pause_us, back, flags, port, is_udp in steps:
        now_us += pause_us
        packets.append(udp(now_us, back, port) if is_udp else tcp(now_us, flags, back, port=port))
    flows = metered(packets, Waits(most_flows=most))
    seen = Counter[str]()
    for flow in flows:
        total = (flow.originator_packets or 0) + (flow.responder_packets or 0)
        assert total >= seen[flow.flow_id]
        assert flow.start_us <= flow.end_us
        seen[flow.flow_id] = total
    finals = [flow.flow_id for flow in flows if flow.final]
    assert len(finals) == len(set(finals)) == len(seen)
    assert seen.total() == len(packets)
