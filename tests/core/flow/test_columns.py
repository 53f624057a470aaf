"""Flows as columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.core.flow.columns import COLUMNS, PeerKind, Protocol, columns_of, from_values, hash_of
from streams.core.flow.features import advance
from streams.core.flow.records import flows_of, records_of
from streams.core.flow.state import blank
from streams.core.flows import DeviceFlow, Direction, Flow, Quality, Role, State
from streams.core.home import Home
from tests.core.flow.drawn import START_US, record

VALUE = DeviceFlow(
    device="hall/192.168.1.9",
    direction=Direction.IN,
    role=Role.TARGET,
    peer="203.0.113.9",
    protocol="udp",
    device_port=123,
    peer_port=40_000,
    service="ntp",
    state=State.ANSWERED,
    start_us=1,
    end_us=2,
    packets_out=3,
    packets_in=None,
    ip_bytes_out=4,
    ip_bytes_in=None,
    payload_bytes_out=None,
    payload_bytes_in=5,
    flow_id="C1",
    quality=Quality.GAPS | Quality.SAMPLED,
)


def test_values_become_columns_and_devices_numbers() -> None:
    other = replace(VALUE, device="b", service="", half=True, tcp_flags=2, final=False)
    flows, devices = from_values([VALUE, other, VALUE])
    assert devices == ["hall/192.168.1.9", "b"]
    assert flows.device.tolist() == [0, 1, 0]
    one, two, _ = records_of(flows)
    assert (one.direction, one.role, one.protocol, one.quality) == (1, 1, Protocol.UDP, 10)
    assert (one.packets_in, one.payload_bytes_in, one.tcp_flags) == (-1, 5, -1)
    assert (one.identity, one.service) == (hash_of("C1"), hash_of("ntp") & 0xFFFFFFFF)
    assert (two.service, two.half, two.tcp_flags, two.final) == (0, True, 2, False)


def test_no_values_are_no_rows() -> None:
    flows, devices = from_values([])
    assert (len(flows), devices) == (0, [])


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("192.168.1.1", PeerKind.PRIVATE),
        ("172.32.0.1", PeerKind.PUBLIC),
        ("fd00::1", PeerKind.PRIVATE),
        ("fe80::1", PeerKind.PRIVATE),
        ("2001:db8::1", PeerKind.PUBLIC),
        ("224.0.0.251", PeerKind.MULTICAST),
        ("ff02::fb", PeerKind.MULTICAST),
        ("255.255.255.255", PeerKind.MULTICAST),
        ("", PeerKind.PUBLIC),
    ],
)
def test_the_kind_of_a_peer(address: str, kind: PeerKind) -> None:
    assert PeerKind.of(address) is kind


def test_a_hash_is_the_same_everywhere() -> None:
    assert hash_of("203.0.113.9") == 0x422F48ABAC939E5E
    assert hash_of("") == 0


def test_columns_of_unequal_length_are_refused() -> None:
    columns = {name: [value] for name, value in zip(COLUMNS, record(), strict=True)}
    with pytest.raises(ValueError, match="equally long"):
        columns_of(**(columns | {"peer": [1, 2]}))


def test_records_and_columns_are_the_same() -> None:
    records = [record(), record(peer=2**64 - 1, half=True, final=False, tcp_flags=27)]
    assert records_of(flows_of(records)) == records


def test_a_half_is_its_senders_whoever_is_taken_to_have_begun() -> None:
    """Both halves of a connection to port 443 are taken for the device's; they are told apart by who sent."""
    home = Home()
    there = Flow(
        flow_id="", originator="192.168.1.20", responder="203.0.113.9", originator_port=50_000,
        responder_port=443, protocol="tcp", start_us=START_US, end_us=START_US + 9, half=True,
        originator_packets=10, originator_ip_bytes=900, tcp_flags=27,
    )  # fmt: skip
    back = replace(
        there, originator="203.0.113.9", responder="192.168.1.20", originator_port=443, responder_port=50_000
    )
    halves = [event for half in (there, back) for event in home.device_flows(half)]
    assert [one.role for one in halves] == [Role.ORIGINATOR, Role.ORIGINATOR]
    for order in (halves, halves[::-1]):
        records, _ = from_values(order)
        (joined,) = records_of(advance(blank(1), records).flows)
        assert (joined.packets_out, joined.packets_in, joined.state) == (10, 10, State.ANSWERED)
