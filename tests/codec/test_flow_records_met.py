"""Records that people met in the field, by kind, made again: what is right for each."""

from __future__ import annotations

from typing import Any

import pytest

from streams.core.flows import Direction, Quality, Role, State
from tests.flow_samples import eve, events, flow, goflow2, nfdump, pmacct, zeek, zeek_udp

NO_DURATION: dict[str, Any] = {"duration": None, "orig_bytes": None, "resp_bytes": None}


@pytest.mark.parametrize("address", ["255.255.255.255", "192.168.1.255", "224.0.0.1"])
def test_a_broadcast_is_turned_round_and_the_device_is_the_other_end(address: str) -> None:
    ends = {"id.orig_h": address, "id.resp_h": "192.168.1.105", "id.orig_p": 54_412, "id.resp_p": 44_818}
    counted = {"orig_pkts": 0, "orig_ip_bytes": 0, "orig_bytes": 0}
    (found,) = events(zeek_udp(conn_state="SHR", history="^d", service=None, **ends, **counted))
    assert (found.device, found.peer, found.role) == ("192.168.1.105", address, Role.ORIGINATOR)
    assert found.quality == Quality.FLIPPED | Quality.ONE_SIDED
    assert found.packets_out == 8
    assert found.state is State.UNKNOWN


def test_a_flipped_flow_says_that_its_direction_is_unsure() -> None:
    (found,) = events(zeek(history="^hADadFf", service="irc"))
    assert found.quality == Quality.FLIPPED


@pytest.mark.parametrize(
    "changed",
    [
        {"proto": "udp", "conn_state": "SHR", "history": "d", "orig_pkts": 0},
        {"conn_state": "OTH", "history": "a", "orig_pkts": 0},
        {"conn_state": "OTH", "history": "DA", "resp_pkts": 0},
        {"conn_state": "SH", "history": "SAD", "resp_pkts": 0},
    ],
)
def test_what_one_direction_alone_shows_is_one_sided_and_no_missing_answer(changed: dict[str, Any]) -> None:
    found = flow(zeek(**changed))
    assert Quality.ONE_SIDED in found.quality
    assert found.state is not State.NO_ANSWER


@pytest.mark.parametrize("changed", [{"conn_state": "S0", "history": "S", "resp_pkts": 0}, {}])
def test_an_unanswered_syn_and_a_whole_flow_are_not_one_sided(changed: dict[str, Any]) -> None:
    assert Quality.ONE_SIDED not in flow(zeek(**changed)).quality


def test_counters_of_nothing_but_bad_checksums_are_unknown() -> None:
    zeros = dict.fromkeys(("orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"), 0)
    for history in ("C", "Cc", ""):
        found = flow(zeek(conn_state="OTH", history=history, **zeros, **NO_DURATION))
        assert Quality.ZERO_COUNTERS in found.quality
        assert (found.originator_packets, found.responder_packets, found.originator_ip_bytes) == (None,) * 3
        assert found.state is State.UNKNOWN
    offloaded = flow(zeek_udp(conn_state="SHR", history="Cd", orig_pkts=0, orig_ip_bytes=0, orig_bytes=0))
    assert offloaded.quality == Quality.BAD_CHECKSUM
    assert (offloaded.originator_packets, offloaded.responder_packets) == (None, 8)
    assert offloaded.state is State.ANSWERED


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"conn_state": "S0", "history": "D", "resp_pkts": 0}, State.NO_ANSWER),
        ({"conn_state": "SF", "history": "Dd"}, State.ANSWERED),
        ({"proto": "icmp", "conn_state": "OTH", "id.orig_p": 8, "resp_pkts": 0}, State.NO_ANSWER),
        ({"proto": "icmp", "conn_state": "OTH", "id.orig_p": 8}, State.ANSWERED),
        ({"proto": "icmp", "conn_state": "OTH", "id.orig_p": 3, "resp_pkts": 0}, State.UNKNOWN),
    ],
)
def test_datagrams_are_answered_or_not_and_never_refused(changed: dict[str, Any], state: State) -> None:
    assert flow(zeek_udp(**changed)).state is state


@pytest.mark.parametrize(
    ("said", "history", "state"),
    [
        ("S0", "S", State.NO_ANSWER), ("S0", "Sh", State.HALF_OPEN), ("REJ", "Sr", State.REFUSED),
        ("RSTO", "ShADR", State.RESET), ("RSTR", "ShADr", State.RESET), ("RSTOS0", "SR", State.HALF_OPEN),
        ("SH", "SF", State.HALF_OPEN), ("SHR", "hf", State.PARTIAL), ("OTH", "Aa", State.PARTIAL),
        ("S1", "ShAD", State.ANSWERED), ("S3", "ShAf", State.ANSWERED), ("XYZ", "S", State.UNKNOWN),
    ],
)  # fmt: skip
def test_zeeks_states_of_tcp(said: str, history: str, state: State) -> None:
    assert flow(zeek(conn_state=said, history=history)).state is state


def test_payload_without_a_duration_is_unknown_and_so_is_what_was_never_logged() -> None:
    found = flow(zeek(**NO_DURATION))
    assert (found.originator_payload_bytes, found.originator_packets) == (None, 10)
    assert found.start_us == found.end_us
    bare = flow(zeek(orig_pkts=None, resp_pkts=None, orig_ip_bytes=None, resp_ip_bytes=None))
    assert (bare.originator_packets, bare.originator_payload_bytes) == (None, 500)


def test_gaps_and_losses_are_said() -> None:
    assert flow(zeek(history="ShADgaFf")).quality == Quality.GAPS
    assert flow(zeek(missed_bytes=5_138)).quality == Quality.GAPS


@pytest.mark.parametrize("value", ["00:00:00:00:00:00:00:14", "0:0:0:0:0:1", "02:00:00:00:00", 14, "x", None])
def test_a_mac_of_an_odd_length_is_no_name_of_a_device(value: object) -> None:
    (found,) = events(zeek(orig_l2_addr=value))
    assert found.device == "192.168.1.20"


def test_macs_of_groups_are_nobodys() -> None:
    (found,) = events(zeek_udp(orig_l2_addr="FF:ff:ff:ff:ff:ff"))
    assert found.device == "192.168.1.20"
    (named,) = events(zeek(orig_l2_addr="02-00-00-00-00-AA"))
    assert named.device == "02:00:00:00:00:aa"


def test_ipv6_in_full_and_mapped_addresses_are_one_device() -> None:
    full = eve(src_ip="fd00:0000:0000:0000:0000:0000:0000:0020", dest_ip="2001:0db8:0000::0001")
    assert events(full)[0].device == events(zeek(**{"id.orig_h": "fd00::20"}))[0].device == "fd00::20"
    assert events(zeek(**{"id.orig_h": "::ffff:192.168.1.20"}))[0].device == "192.168.1.20"
    assert flow(zeek(**{"id.orig_h": "fe80::1%eth0"})).originator == "fe80::1"


def test_times_far_from_the_collectors_are_a_wrong_clock_and_a_stuck_collector_is_not() -> None:
    received_us = 1_790_000_005_000_000
    hours_off = 1790000005000000000 - 29_993 * 10**9
    found = flow(goflow2(time_flow_start_ns=hours_off, time_flow_end_ns=hours_off))
    assert (found.start_us, found.end_us, found.quality) == (received_us, received_us, Quality.CLOCK_SKEW)
    stuck = flow(goflow2(time_received_ns=1790000005000000000 - 9 * 86_400 * 10**9))
    assert (stuck.end_us, stuck.quality) == (1_790_000_001_750_000, Quality.NONE)
    fifty_days = flow(pmacct(timestamp_start="2026-08-02 14:13:20"))
    assert (fifty_days.start_us, fifty_days.quality) == (fifty_days.end_us, Quality.CLOCK_SKEW)


def test_a_sensor_whose_clock_is_a_year_off_is_told_by_kafkas_time() -> None:
    found = flow(zeek(ts=1_790_000_000.25 - 365 * 86_400), kafka_ms=1_790_000_003_000)
    assert (found.end_us, found.quality) == (1_790_000_003_000_000, Quality.CLOCK_SKEW)
    assert found.end_us - found.start_us == 1_500_000


def test_no_time_at_all_is_when_it_was_received() -> None:
    found = flow(goflow2(time_flow_start_ns=0, time_flow_end_ns=0))
    assert found.end_us == 1_790_000_005_000_000
    never = pmacct(timestamp_start="1970-01-01 00:00:00.000000", timestamp_end="0.000000")
    assert flow(never).end_us == 1_790_000_005_000_000


def test_client_and_server_of_a_half_are_not_those_who_sent_it() -> None:
    back = goflow2(src_addr="203.0.113.9", dst_addr="192.168.1.20", src_port=443, dst_port=50_000)
    (found,) = events(back)
    assert (found.direction, found.role, found.packets_in) == (Direction.OUT, Role.ORIGINATOR, 10)
    assert found.packets_out is None
    refused = nfdump(
        src4_addr="192.168.1.20", dst4_addr="203.0.113.9", src_port=23, dst_port=40_000, tcp_flags="...A.R.."
    )
    (scanned,) = events(refused)
    assert (scanned.direction, scanned.state) == (Direction.IN, State.REFUSED)


def test_only_our_home_networks_decide() -> None:
    assert events(zeek(local_orig=False, local_resp=True))[0].direction is Direction.OUT


def test_a_partial_handshake_that_carries_bytes_is_kept() -> None:
    (found,) = events(zeek(conn_state="OTH", history="DadA"))
    assert (found.state, found.ip_bytes_out) == (State.PARTIAL, 1_020)
