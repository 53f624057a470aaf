"""Each dialect as its sensor writes it: the same flow comes out; what is no flow is skipped, what is a broken
one is refused with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams.codec.ingest.flows import ours
from streams.codec.ingest.flows.goflow2 import _message
from streams.codec.ingest.flows.zeek_tsv import COLUMNS
from streams.core.events import Reason
from streams.core.flows import Flow, Quality, State
from tests.flow_samples import (
    dialect_of,
    eve,
    events,
    flow,
    goflow2,
    nfdump,
    nfstream,
    pmacct,
    refusal,
    skip_reason,
    zeek,
    zeek_udp,
)

START_US, END_US = 1_790_000_000_250_000, 1_790_000_001_750_000


def tsv(**changed: Any) -> str:
    record = {name: str(value) for name, value in zeek(**changed).items()}
    record |= {"local_orig": "T", "local_resp": "F", "ts": "1790000000.250000"}
    return "\t".join((*(record.get(name, "-") for name in COLUMNS), "-"))


def protobuf(**changed: Any) -> bytes:
    message = _message()(
        **{
            "type": 3, "time_received_ns": 1790000005000000000, "sampling_rate": 1,
            "sampler_address": b"\xc0\x00\x02\x01", "time_flow_start_ns": 1790000000250000001,
            "time_flow_end_ns": 1790000001750000000, "bytes": 1020, "packets": 10, "etype": 0x800,
            "src_addr": b"\xc0\xa8\x01\x14", "dst_addr": b"\xcb\x00\x71\x09", "proto": 6,
            "src_port": 50000, "dst_port": 443, "tcp_flags": 27, **changed,
        }
    )  # fmt: skip
    return bytes(message.SerializeToString())


ECS: dict[str, Any] = {
    "@timestamp": "2026-09-21T14:15:00.000Z", "host": {"name": "gateway"},
    "source": {"address": "192.168.1.20", "port": 50_000, "bytes": 1_020, "packets": 10},
    "destination": {"address": "203.0.113.9", "port": 443, "bytes": 3_416, "packets": 8},
    "network": {"transport": "tcp", "protocol": "ssl", "direction": "external"},
    "event": {"duration": 1.5, "dataset": "zeek.connection"},
    "zeek": {"session_id": "CAbcd1", "connection": {"state": "SF", "history": "ShAf", "ts": 1790000000.25}},
}  # fmt: skip
LINE = json.dumps(zeek())
WHOLE = {
    "zeek": zeek(),
    "zeek, tagged": {"conn-2": zeek()},
    "zeek, ISO 8601": zeek(ts="2026-09-21T14:13:20.250000Z"),
    "zeek, milliseconds": zeek(ts=1790000000250),
    "zeek, numbers as text": zeek(ts="1790000000.25", orig_pkts="10", **{"id.orig_p": "50000"}),
    "zeek, an object for the ends": {
        **{name: value for name, value in zeek().items() if not name.startswith("id.")},
        "id": {"orig_h": "192.168.1.20", "orig_p": 50_000, "resp_h": "203.0.113.9", "resp_p": 443},
    },
    "zeek in message": {"@timestamp": "2026-09-21T14:15:00.000Z", "message": LINE},
    "zeek in event.original": {"event": {"original": LINE}, "agent": {"name": "x"}},
    "zeek in a dotted event.original": {"event.original": LINE},
    "zeek in log": {"log": LINE + "\n", "stream": "stdout"},
    "zeek from Telegraf": {"fields": {"value": LINE}, "name": "conn", "tags": {}, "timestamp": 1790000010},
    "zeek from rsyslog": b"2026-09-21T12:13:30.000001+00:00 gw zeek " + LINE.encode() + b"\n",
    "zeek from BSD syslog": b"Sep 21 12:13:30 gw zeek: " + LINE.encode() + b"\n",
    "zeek's TSV": tsv().encode(),
    "zeek's TSV in message": {"message": tsv()},
    "zeek's TSV from rsyslog": b"2026-09-21T12:13:30+00:00 gw zeek " + tsv().encode() + b"\n",
}


@pytest.mark.parametrize("name", WHOLE)
def test_zeek_is_read_alike_however_it_is_wrapped(name: str) -> None:
    found = flow(WHOLE[name])
    assert (found.originator, found.originator_port) == ("192.168.1.20", 50_000)
    assert (found.responder, found.responder_port, found.protocol) == ("203.0.113.9", 443, "tcp")
    assert (found.start_us, found.end_us) == (START_US, END_US)
    assert (found.state, found.service, found.flow_id) == (State.ANSWERED, "ssl", "CAbcd1")
    assert (found.originator_packets, found.responder_packets) == (10, 8)
    assert (found.originator_ip_bytes, found.responder_ip_bytes) == (1_020, 3_416)
    assert (found.originator_payload_bytes, found.responder_payload_bytes) == (500, 3_000)
    assert found.quality == Quality.NONE


def test_filebeats_zeek_module_has_ip_bytes_seconds_and_the_time_of_reading() -> None:
    found = flow(ECS)
    assert dialect_of(ECS) == "zeek-ecs"
    assert (found.start_us, found.end_us, found.sensor) == (START_US, END_US, "gateway")
    assert (found.originator_ip_bytes, found.originator_payload_bytes) == (1_020, None)
    event = dict(ECS["event"], duration=1_500_000_000)
    zeek_part = {"session_id": "CAbcd1", "connection": {"state": "SF", "history": "ShADadFf"}}
    later = {**ECS, "@timestamp": "2026-09-21T14:13:20.250Z", "event": event, "zeek": zeek_part}
    assert (flow(later).start_us, flow(later).end_us) == (START_US, END_US)


def test_suricatas_frames_are_less_their_ethernet_headers_and_its_times_have_zones() -> None:
    found = flow(eve())
    assert (found.start_us, found.end_us) == (START_US, END_US)
    assert (found.originator_ip_bytes, found.responder_ip_bytes) == (584 - 6 * 14, 1_070 - 5 * 14)
    assert found.originator_payload_bytes is None
    assert (found.state, found.service, found.flow_id) == (State.ANSWERED, "tls", "1234567890123456")
    assert flow(eve(vlan=[7])).originator_ip_bytes == 584 - 6 * 18
    bare = flow(eve(flow={"bytes_toserver": 6 * 20}))
    assert bare.originator_ip_bytes == 120, "a tunnel's frames have no Ethernet header"


@pytest.mark.parametrize(
    ("to_server", "to_client", "packets", "state"),
    [
        ("02", "00", 0, State.NO_ANSWER),
        ("02", "14", 1, State.REFUSED),
        ("06", "12", 1, State.RESET),
        ("02", "12", 1, State.HALF_OPEN),
        ("06", "00", 0, State.HALF_OPEN),
        ("1f", "1a", 5, State.RESET),
        ("18", "10", 5, State.PARTIAL),
        ("1a", "00", 0, State.PARTIAL),
        ("00", "00", 5, State.UNKNOWN),
    ],
)
def test_suricatas_tcp_state_follows_from_the_flags_of_both_ends(
    to_server: str, to_client: str, packets: int, state: State
) -> None:
    tcp = {"tcp_flags_ts": to_server, "tcp_flags_tc": to_client}
    assert flow(eve(flow={"pkts_toclient": packets}, tcp=tcp)).state is state


def test_one_direction_of_two_is_said_by_meters_with_flags_too() -> None:
    silence = {"pkts_toclient": 0, "bytes_toclient": 0}
    deaf = eve(flow=silence, tcp={"tcp_flags_ts": "1a", "tcp_flags_tc": "00"})
    assert flow(deaf).quality == Quality.ONE_SIDED
    scan = eve(flow=silence, tcp={"tcp_flags_ts": "02", "tcp_flags_tc": "00"})
    assert flow(scan).quality == Quality.NONE
    names = ("packets", "bytes", "syn_packets", "ack_packets", "fin_packets")
    assert flow(nfstream(**{f"dst2src_{name}": 0 for name in names})).quality == Quality.ONE_SIDED


def test_an_icmp_error_is_no_answer_to_a_datagram_that_suricata_counts_it_for() -> None:
    counted = {"pkts_toserver": 1, "pkts_toclient": 1, "bytes_toserver": 136, "bytes_toclient": 164}
    scanned = eve(proto="UDP", app_proto="failed", tcp=None, flow=counted)
    assert (flow(scanned).state, flow(scanned).responder_packets) == (State.NO_ANSWER, 0)
    resolved = eve(proto="UDP", app_proto="dns", tcp=None, flow=counted)
    assert (flow(resolved).state, flow(resolved).responder_packets) == (State.ANSWERED, 1)


def test_halves_of_netflow_are_read_alike_from_every_collector() -> None:
    found = [
        flow(one)
        for one in (goflow2(), protobuf(), bytes([len(protobuf())]) + protobuf(), nfdump(), [nfdump()])
    ]
    assert len(set(found)) == 1
    (half,) = set(found)
    assert (half.originator, half.responder_port) == ("192.168.1.20", 443)
    assert (half.start_us, half.end_us) == (START_US, END_US)
    assert (half.originator_packets, half.originator_ip_bytes) == (10, 1_020)
    assert (half.responder_packets, half.responder_ip_bytes) == (None, None)
    assert (half.half, half.tcp_flags, half.state, half.sensor) == (True, 27, State.ANSWERED, "192.0.2.1")
    whole_seconds = flow(pmacct())
    assert whole_seconds.start_us == 1_790_000_000_000_000
    assert (whole_seconds.tcp_flags, whole_seconds.originator_packets) == (27, 10)


def test_nineteen_digits_stay_whole_and_macs_of_zeros_are_none() -> None:
    found = flow(goflow2(time_flow_start_ns=1790000000250000999, src_mac="02:00:00:00:00:01"))
    assert found.start_us == START_US
    assert (found.originator_mac, found.responder_mac) == ("02:00:00:00:00:01", "")


def test_sampled_halves_say_so_and_flags_of_none_are_unknown() -> None:
    assert flow(goflow2(sampling_rate=512)).quality == Quality.SAMPLED
    assert flow(goflow2(sampling_rate=0)).quality == Quality.NONE
    assert flow(nfdump(sampled=1)).quality == Quality.SAMPLED
    for record in (goflow2(tcp_flags=0), nfdump(tcp_flags="........"), pmacct(tcp_flags="0")):
        assert (flow(record).tcp_flags, flow(record).state) == (None, State.UNKNOWN)


def test_type_and_code_of_icmp_stand_for_ports() -> None:
    icmp = {"proto": "ICMP", "src_port": 0, "tcp_flags": 0}
    by_field = flow(goflow2(**icmp, dst_port=0, icmp_type=3, icmp_code=1))
    by_port = flow(goflow2(**icmp, dst_port=3 * 256 + 1))
    assert (by_field.originator_port, by_field.responder_port) == (3, 1)
    assert by_field == by_port
    suricata = eve(proto="IPv6-ICMP", src_port=None, dest_port=None, icmp_type=135, icmp_code=0, tcp=None)
    assert (flow(suricata).protocol, flow(suricata).originator_port) == ("icmp", 135)


def test_nfstream_has_milliseconds_and_names_that_it_guessed_are_none() -> None:
    found = flow(nfstream())
    assert (found.start_us, found.end_us) == (START_US, END_US)
    assert (found.originator_ip_bytes, found.originator_mac) == (500, "00:00:5e:00:53:01")
    assert (found.state, found.service) == (State.ANSWERED, "tls")
    assert flow(nfstream(application_is_guessed=1)).service == ""
    assert flow(nfstream(expiration_id=1)).quality == Quality.CUT
    bare = {name: value for name, value in nfstream().items() if "_packets" not in name or "2" not in name[3]}
    assert flow({k: v for k, v in bare.items() if "_syn_" not in k}).state is not State.NO_ANSWER


def test_our_own_flow_comes_back_as_it_was_written() -> None:
    written = Flow(
        "id-1", "fe80::1", "192.168.1.1", 5353, 53, "udp", START_US, END_US, State.NO_ANSWER, "dns",
        1, 0, 60, 0, None, 0, "02:00:00:00:00:01", "", "1:abc", "plant", "agent-7", True, False, 16,
        Quality.CUT | Quality.SAMPLED,
    )  # fmt: skip
    assert flow(ours.encode(written)) == written
    assert dialect_of(ours.encode(written)) == "flow"


OTHERS = {
    "zeek's dns log": {"ts": 1790000000.5, "uid": "C1", "id.orig_h": "10.0.0.1", "proto": "udp", "qclass": 1},
    "zeek's dns log, tagged": {"dns": {"ts": 1790000000.5, "uid": "C1", "id.orig_h": "10.0.0.1"}},
    "zeek's syslog log, which has a message": {
        "ts": 1790000000.5, "uid": "C1", "id.orig_h": "10.0.0.1", "proto": "udp", "message": "hello",
    },
    "a netflow event of suricata": {"event_type": "netflow", "timestamp": "", "flow_id": 1, "src_ip": ""},
    "an alert of suricata": eve(event_type="alert", src_ip="203.0.113.9", dest_ip="192.168.1.20"),
    "suricata's counters": {"timestamp": "", "event_type": "stats", "stats": {}},
    "an event of a firewall in nfdump": nfdump(type="EVENT", in_packets=0, in_bytes=0),
    "pmacct's beginning": {"event_type": "log_init", "writer_id": "a/1", "seq": 0},
    "filebeat's dns of zeek": {"zeek": {"session_id": "C1", "dns": {}}, "source": {"address": "10.0.0.1"}},
    "a header of TSV": b"#fields\tts\tuid",
    "a line of dns.log": "\t".join(
        ["1790000000.500000", "C1", "10.0.0.1", "50000", "10.0.0.2", "53", "udp", "77", "0.1", "a.test", "1",
         "C_INTERNET", *["-"] * 12]
    ).encode(),
    "some log line of a host": {"message": "Started Session 5 of user root", "host": {"name": "gw"}},
    "something else": {"temperature": 21.5},
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_flow_and_does_not_claim_it_is_skipped(name: str) -> None:
    assert skip_reason(OTHERS[name])


def many_keys(count: int) -> dict[str, Any]:
    return {**zeek(), **{f"key{number}": number for number in range(count)}}


BROKEN = {
    "port 65536": (zeek(**{"id.resp_p": 65_536}), Reason.BAD_PORT, "id.resp_p is 65536"),
    "a negative port": (zeek(**{"id.resp_p": -1}), Reason.BAD_PORT, "-1"),
    "no port": (zeek(**{"id.resp_p": None}), Reason.SCHEMA_MISMATCH, "no id.resp_p"),
    "a negative duration": (zeek(duration=-0.5), Reason.NEGATIVE_NUMBER, "duration is -0.5"),
    "a counter beyond 63 bits": (zeek(orig_pkts=2**63), Reason.BAD_NUMBER, "orig_pkts"),
    "a counter beyond all bits": (b'{"conn_state":"SF","a":' + b"9" * 5000 + b"}", Reason.UNDECODABLE, ""),
    "a negative counter": (eve(flow={"pkts_toserver": -1}), Reason.NEGATIVE_NUMBER, "flow.pkts_toserver"),
    "half a packet": (zeek(orig_pkts=1.5), Reason.BAD_NUMBER, "orig_pkts is 1.5"),
    "a start after the end": (nfdump(last="2026-09-21T14:13:20.000"), Reason.BAD_EVENT_TIME, "after the end"),
    "an address that is none": (zeek(**{"id.orig_h": "10.0.0.256"}), Reason.BAD_ADDRESS, "10.0.0.256"),
    "an address of 1 MB": (zeek(**{"id.orig_h": "1" * 1_000_000}), Reason.BAD_ADDRESS, "id.orig_h"),
    "an address that is a number": (zeek(**{"id.orig_h": 3232235777}), Reason.BAD_ADDRESS, "3232235777"),
    "1970": (zeek(ts=19.98), Reason.BAD_EVENT_TIME, "2000 to 2099"),
    "2179, of NTP's epoch": (zeek(ts=6_600_000_000), Reason.BAD_EVENT_TIME, "6600000000"),
    "no time": (zeek(ts=None), Reason.BAD_EVENT_TIME, "no time"),
    "a month 13": (zeek(ts="2026-13-01T00:00:00Z"), Reason.BAD_EVENT_TIME, "2026-13-01"),
    "a time that is a word": (zeek(ts="XXXXXXXXXX.XXXXXX"), Reason.BAD_EVENT_TIME, "XXXXXXXXXX"),
    "infinity": (b'{"conn_state":"SF","proto":"tcp","history":"S","ts":1e999}', Reason.BAD_EVENT_TIME, "inf"),
    "a protocol that is a list": (zeek(proto=["tcp"]), Reason.SCHEMA_MISMATCH, "proto"),
    "half of a surrogate pair": (b'{"conn_state":"SF","uid":"\\ud800"}', Reason.SCHEMA_MISMATCH, ""),
    "ten thousand keys": (many_keys(10_000), Reason.TOO_LARGE, "keys"),
    "1 MB of nesting": (b"[" * 1_000_000, Reason.UNDECODABLE, "nested"),
    "1 MB of nested objects": (b'{"a":' * 200_000, Reason.UNDECODABLE, "nested"),
    "more than 1 MiB": (b'{"conn_state":"' + b"x" * (1 << 20) + b'"}', Reason.TOO_LARGE, "1048576"),
    "cut JSON": (json.dumps(zeek()).encode()[:-9], Reason.UNDECODABLE, "no JSON"),
    "a cut line of TSV": (tsv().rsplit("\t", 4)[0].encode(), Reason.TRUNCATED, "17 columns of 20"),
    "text of no sensor": (b"hello", Reason.UNKNOWN_FRAMING, "hello"),
    "a number": (b"5", Reason.UNKNOWN_FRAMING, "5"),
    "an array of numbers": (b"[1,2]", Reason.UNDECODABLE, "array"),
    "one bad element": ([nfdump(), nfdump(src_port=70_000)], Reason.BAD_PORT, "70000"),
    "bytes of no message": (b"\x00\xff\x00\xff\x00\xff\x00\xff", Reason.UNKNOWN_SCHEMA, "id"),
    "bytes of nothing": (b"\x93\xff\x80\x81\x00\x01", Reason.UNKNOWN_FRAMING, "goflow2"),
    "a cut message of goflow2": (protobuf()[:40], Reason.UNKNOWN_FRAMING, "goflow2"),
    "an empty value": (b"", Reason.EMPTY_VALUE, "empty"),
    "blanks": (b" \n", Reason.EMPTY_VALUE, "blank"),
    "suricata without its flow": (eve() | {"flow": 7}, Reason.SCHEMA_MISMATCH, "flow"),
    "sums of pmacct without times": (
        pmacct(timestamp_start=None, timestamp_end=None), Reason.AGGREGATED, "aggregate: src_host,dst_host",
    ),
    "sums of pmacct without ports": (pmacct(port_src=None, port_dst=None), Reason.AGGREGATED, "port_src"),
    "netflow of Telegraf": (
        {"fields": {"src": "10.0.0.1", "first_switched": 7331}, "tags": {}}, Reason.BAD_EVENT_TIME, "goflow2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_claims_to_be_a_flow_and_cannot_be_read_is_refused_with_its_reason(name: str) -> None:
    value, reason, says = BROKEN[name]
    found = refusal(value)
    assert found.reason is reason
    assert says in found.detail
    assert len(found.detail) <= 200


def test_a_cut_or_foreign_flow_of_ours_is_refused() -> None:
    whole = ours.encode(flow(zeek()))
    assert refusal(whole[:-1]).reason is Reason.TRUNCATED
    assert refusal(whole + b"\x00").reason is Reason.TRAILING_BYTES
    assert refusal(whole[:2] + b"12345678" + whole[10:]).reason is Reason.UNKNOWN_SCHEMA
    assert refusal(whole[:7]).reason is Reason.TRUNCATED


def test_a_dialect_that_is_set_reads_no_other() -> None:
    assert flow(zeek(), dialect="zeek") == flow(zeek())
    assert flow({"message": json.dumps(zeek())}, dialect="zeek") == flow(zeek())
    assert skip_reason({"message": json.dumps(eve())}, dialect="zeek")
    assert flow(tsv().encode(), dialect="zeek") == flow(tsv().encode())
    assert flow(ECS, dialect="zeek") == flow(ECS)
    assert flow(protobuf(), dialect="goflow2") == flow(protobuf())
    assert refusal(goflow2(), dialect="flow").reason is Reason.UNKNOWN_SCHEMA


def test_of_a_key_that_comes_twice_the_first_counts() -> None:
    doubled = json.dumps(zeek()).replace('{"ts"', '{"uid": "first", "ts"')
    assert flow(doubled.encode()).flow_id == "first"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("http,ssl", "http,ssl"),
        ("ssl,http", "http,ssl"),
        ("ssl,-ssl,dns", "dns,ssl"),
        ("-ssl", ""),
        ("-", ""),
    ],
)
def test_services_have_one_order_and_those_taken_back_are_gone(said: str, found: str) -> None:
    assert flow(zeek(service=said)).service == found


def test_interim_records_of_long_connections_are_not_final() -> None:
    found = flow({"conn_long": zeek()})
    assert (found.final, found.quality) == (False, Quality.CUT)
    assert flow(zeek(_path="conn")).final
    assert events({"conn_long": zeek()})[0].flow_id == events(zeek())[0].flow_id


def test_unknown_transport_is_the_protocols_number_where_zeek_says_it() -> None:
    ports = {"id.orig_p": 0, "id.resp_p": 0}
    assert flow(zeek(proto="unknown_transport", ip_proto=132, **ports)).protocol == "132"
    assert flow(zeek_udp(proto="icmp", **{"id.orig_p": 8, "id.resp_p": 0})).protocol == "icmp"
