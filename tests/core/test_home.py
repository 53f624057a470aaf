"""Whose flow it is: records that people met, made again, and laws of addresses."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.codec.ingest.flows.values import canonical
from streams.core.flows import DeviceFlow, Direction, Flow, Quality, Role, State
from streams.core.home import DEFAULT, Home, Networks, initiator, parse_home, parse_networks

OURS = "192.168.1.20"
THEIRS = "203.0.113.9"
ROUTER, DEVICE_LOCAL = "fe80::1", "fe80::20"


def a_flow(originator: str = OURS, responder: str = THEIRS, **changed: Any) -> Flow:
    base = Flow(
        "id", originator, responder, 50_000, 443, "tcp", 10, 20, State.ANSWERED, "ssl",
        originator_packets=5, responder_packets=7, originator_ip_bytes=50, responder_ip_bytes=70,
        originator_payload_bytes=1, responder_payload_bytes=None,
    )  # fmt: skip
    return dataclasses.replace(base, **changed)


def ends(flow: Flow, home: Home | None = None) -> list[tuple[str, str, str]]:
    found = (home or Home()).device_flows(flow)
    return [(one.device, str(one.direction), str(one.role)) for one in found]


def one(flow: Flow, home: Home | None = None) -> DeviceFlow:
    (found,) = (home or Home()).device_flows(flow)
    return found


def test_out_is_what_the_device_sent_whoever_began() -> None:
    began = one(a_flow())
    assert (began.direction, began.role, began.peer) == (Direction.OUT, Role.ORIGINATOR, THEIRS)
    assert (began.packets_out, began.packets_in, began.ip_bytes_out, began.ip_bytes_in) == (5, 7, 50, 70)
    assert (began.payload_bytes_out, began.payload_bytes_in) == (1, None)
    assert (began.device_port, began.peer_port) == (50_000, 443)
    called = one(a_flow(THEIRS, OURS))
    assert (called.device, called.direction, called.role) == (OURS, Direction.IN, Role.TARGET)
    assert (called.packets_out, called.packets_in) == (7, 5)
    assert (called.device_port, called.peer_port) == (443, 50_000)


def test_both_ends_at_home_have_an_event_each_and_neither_has_none() -> None:
    assert ends(a_flow(OURS, "10.1.2.3")) == [
        (OURS, "internal", "originator"), ("10.1.2.3", "internal", "target"),
    ]  # fmt: skip
    assert ends(a_flow(THEIRS, "198.51.100.7")) == []


NEVER = ["224.0.0.251", "255.255.255.255", "0.0.0.0", "127.0.0.1", "::", "::1", "ff02::fb", "10.255.255.255"]


@pytest.mark.parametrize("address", NEVER)
def test_groups_and_the_unspecified_are_never_a_device(address: str) -> None:
    assert [device for device, _, _ in ends(a_flow(OURS, address))] == [OURS]
    assert [device for device, _, _ in ends(a_flow(address, OURS))] == [OURS]
    assert ends(a_flow(address, THEIRS)) == []


def test_a_broadcast_that_zeek_took_for_the_originator_gives_the_other_end_that_began() -> None:
    turned = a_flow(
        "255.255.255.255", "192.168.1.105", protocol="udp", originator_packets=0, quality=Quality.FLIPPED
    )
    assert ends(turned) == [("192.168.1.105", "out", "originator")]
    assert one(turned).packets_out == 7
    subnets = a_flow("192.168.1.255", "192.168.1.105", protocol="udp", originator_packets=0)
    assert ends(subnets) == [("192.168.1.105", "internal", "originator")]


def test_the_broadcast_of_a_home_network_is_no_device_and_one_of_its_subnets_only_if_it_speaks() -> None:
    narrow = parse_home("192.168.1.0/25")
    assert ends(a_flow(OURS, "192.168.1.127"), narrow) == [(OURS, "internal", "originator")] or ends(
        a_flow(OURS, "192.168.1.127"), narrow
    ) == [(OURS, "out", "originator")]
    assert len(ends(a_flow(OURS, "192.168.1.126"), narrow)) == 2
    unanswered = a_flow(OURS, "192.168.1.255", protocol="udp", responder_packets=0)
    assert [device for device, _, _ in ends(unanswered)] == [OURS]
    assert len(ends(dataclasses.replace(unanswered, responder_packets=1))) == 2
    assert len(ends(dataclasses.replace(unanswered, protocol="tcp"))) == 2


def test_link_local_is_a_device_among_its_own_and_a_router_otherwise() -> None:
    assert [device for device, _, _ in ends(a_flow(DEVICE_LOCAL, "ff02::fb"))] == [DEVICE_LOCAL]
    assert len(ends(a_flow(DEVICE_LOCAL, ROUTER))) == 2
    assert [device for device, _, _ in ends(a_flow(ROUTER, "fd00::20"))] == ["fd00::20"]
    advertised = a_flow(ROUTER, "ff02::1", protocol="icmp", originator_port=134, responder_port=0)
    assert ends(advertised) == []
    assert ends(a_flow("169.254.1.1", THEIRS)) == []


def test_a_device_is_a_mac_where_the_sensor_tells_it_and_only_at_home() -> None:
    known = a_flow(originator_mac="02:00:00:00:00:14", responder_mac="02:00:00:00:00:fe")
    assert one(known).device == "02:00:00:00:00:14"
    assert one(dataclasses.replace(known, originator_mac="")).device == OURS
    assert ends(a_flow(THEIRS, OURS, originator_mac="02:00:00:00:00:fe"))[0][0] == OURS


def test_a_site_is_that_of_the_flow_else_of_its_sensor_else_the_general_one() -> None:
    home = parse_home("10.0.0.0/8; plant=172.20.0.0/16", "house", "gw-7=plant")
    assert one(a_flow("10.0.0.5"), home).device == "house/10.0.0.5"
    assert ends(a_flow("10.0.0.5", sensor="gw-7"), home) == []
    assert one(a_flow("172.20.0.5", sensor="gw-7"), home).device == "plant/172.20.0.5"
    assert one(a_flow("172.20.0.5", site="plant"), home).device == "plant/172.20.0.5"
    assert one(a_flow("10.0.0.5", site="other"), home).device == "other/10.0.0.5"


SYN, SYN_ACK, RST_ACK, WHOLE = 2, 18, 20, 27


@pytest.mark.parametrize(
    ("originator", "ports", "flags", "began"),
    [
        (THEIRS, (50_000, 23), SYN, THEIRS),
        (THEIRS, (61_000, 61_001), SYN, THEIRS),
        (OURS, (23, 50_000), RST_ACK, THEIRS),
        (OURS, (61_000, 61_001), RST_ACK, THEIRS),
        (THEIRS, (443, 50_000), WHOLE, OURS),
        (THEIRS, (50_000, 21), WHOLE, THEIRS),
        (OURS, (21, 50_000), WHOLE, THEIRS),
        (THEIRS, (35_480, 20_031), None, THEIRS),
        (OURS, (35_480, 20_031), None, OURS),
        (THEIRS, (60_000, 50_000), WHOLE, OURS),
        (OURS, (60_000, 50_000), None, OURS),
        (THEIRS, (53, 50_000), None, OURS),
    ],
)
def test_who_began_a_half_by_its_flags_then_by_a_services_port_then_by_home(
    originator: str, ports: tuple[int, int], flags: int | None, began: str
) -> None:
    responder = OURS if originator == THEIRS else THEIRS
    half = a_flow(
        originator, responder, originator_port=ports[0], responder_port=ports[1], tcp_flags=flags, half=True,
        responder_packets=None,
    )  # fmt: skip
    assert one(half).role is (Role.ORIGINATOR if began == OURS else Role.TARGET)
    assert one(half).direction is (Direction.OUT if began == OURS else Direction.IN)


def test_halves_have_identities_of_their_own() -> None:
    there = a_flow(half=True, flow_id="")
    back = dataclasses.replace(
        there, originator=THEIRS, responder=OURS, originator_port=443, responder_port=50_000
    )
    assert one(there).flow_id != one(back).flow_id
    assert one(there).flow_id == one(dataclasses.replace(there, end_us=99)).flow_id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.0.0.0/0", "every address"), ("::/0", "every address"), ("0.0.0.0/1,128.0.0.0/1", "every address"),
        ("", "no network"), (" , ", "no network"), ("192.168.1.5/24", "192.168.1.0/24"),
        ("192.168.1.0/33", "expected networks"), ("home", "expected networks"), ("224.0.0.0/8", "multicast"),
        ("127.0.0.0/8", "loopback"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_meant_are_refused_and_say_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_networks(text)


@pytest.mark.parametrize(
    ("networks", "site", "sensors"),
    [("10.0.0.0/8; plant", "", ""), ("10.0.0.0/8; a b=10.0.0.0/8", "", ""), (DEFAULT, "a/b", ""),
     (DEFAULT, "", "gw"), (DEFAULT, "", "gw=a b"), (DEFAULT, "", "=a")],
)  # fmt: skip
def test_sites_and_sensors_that_cannot_be_read_are_refused(networks: str, site: str, sensors: str) -> None:
    with pytest.raises(ValueError, match="site"):
        parse_home(networks, site, sensors)


@settings(deadline=None)
@given(st.ip_addresses())
def test_an_address_has_one_form_whatever_it_was_written_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    found = canonical(str(address))
    assert canonical(found) == found
    if isinstance(address, ipaddress.IPv6Address):
        assert canonical(address.exploded.upper()) == found
        assert canonical(str(address) + "%eth0") == found
        mapped = address.ipv4_mapped
        assert found == str(mapped or address)
    else:
        assert canonical(f"::ffff:{address}") == found == str(address)


@settings(deadline=None)
@given(st.ip_addresses(), st.ip_addresses(), st.booleans())
def test_a_device_is_always_an_end_at_home_and_no_group(first: Any, second: Any, half: bool) -> None:
    flow = a_flow(canonical(str(first)), canonical(str(second)), half=half)
    networks = Networks(parse_networks(DEFAULT))
    for event in Home(networks=networks).device_flows(flow):
        address = ipaddress.ip_address(event.device)
        assert any(address in network for network in networks.ours if network.version == address.version)
        assert not address.is_multicast
        assert {event.device, event.peer} == {flow.originator, flow.responder} or first == second
        assert (event.packets_out, event.packets_in) in ((5, 7), (7, 5))


def test_a_meter_of_both_directions_has_seen_who_began() -> None:
    networks = Networks(parse_networks(DEFAULT))
    kinds = networks.kind(THEIRS), networks.kind(OURS)
    assert initiator(a_flow(THEIRS, OURS, originator_port=443, responder_port=50_000), kinds) == 0
