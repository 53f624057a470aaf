"""Zeek's records read many at once are what each is by itself, whatever was done to them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.codec.ingest.flows import zeek_columns
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.events import Rejected
from streams.core.flow_columns import COUNTERS, SCHEMA, ReadFlows, Skipped
from streams.core.flows import Flow
from tests.flow_samples import Raw, bytes_of, data, eve, goflow2, nfdump, zeek, zeek_udp

KAFKA_MS = 1_790_000_003_000

ODD: Sequence[Any] = (
    None, True, False, 0, 1, -1, 5, 1.5, 12.0, -0.0, 65_535, 65_536, 2**31, 2**53 + 1, 2**63 - 1, 2**63,
    10**30, 1e22, 1e-7, 1.1920928955078125e-06, 1_790_000_000, 1_790_000_000.123456, 1_790_000_000_250,
    1_790_000_000_250_001, 1_790_000_000_250_000_001, 946_684_799.9, 4_102_444_800, 19.98, 6.6e9, [], ["x"],
    {}, {"a": 1}, "", "-", "(empty)", "5", "-5", "+5", "05", "1.5", "1e3", "1_0", " 5", "5 ", "true", "null",
    "nan", "inf", "\u0663", "NaN", "[1]", "{}", "x" * 256, "x" * 257, "é", "\x00", "a\nb", "a\\b", 'a"b',
    "\ud800",
    "2026-09-21T14:13:20.250000Z", "2026-09-21T14:13:20.250000+0200", "2026-02-30T00:00:00.000000Z",
    "2026-09-21T24:00:00.000000Z", "2026-09-21T14:13:60.000000Z", "1790000000.25", "1790000000",
    "1790000000.",
    "10.0.0.1", "010.0.0.1", "10.0.0.256", "10.0.0.1.", "::ffff:10.0.0.1", "FE80::1%eth0",
    "fe80::" + "0" * 130,
    "255.255.255.255", "tcp", "TCP", "udp", "icmp", "6", "17", "1", "132", "256", "unknown_transport", "sctp",
    "S0", "SF", "OTH", "SHR", "REJ", "S1", "ShADadFf", "^d", "C", "Cc", "Dd", "D", "ShAgG", "Sh", "SAD", "^",
    "ssl,http", "http,ssl,-ssl", "-ssl", "1:CAbcd", "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "0:0:0:0:0:1",
    "conn", "conn_long", "conn-2", "gateway",
)  # fmt: skip
FIELDS = (
    *("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration"),
    *("orig_bytes", "resp_bytes", "conn_state", "missed_bytes", "history", "orig_pkts", "orig_ip_bytes"),
    *("resp_pkts", "resp_ip_bytes", "tunnel_parents", "community_id", "orig_l2_addr", "resp_l2_addr"),
    *("ip_proto", "message", "id"),
    *("_path", "_system_name", "_node_name", "_sensor", "event_type", "time_flow_start_ns", "message", "id"),
)
MISSING = object()


def alone(records: Sequence[Raw]) -> tuple[list[tuple[int, Flow, str]], list[Skipped], list[Rejected]]:
    flows: list[tuple[int, Flow, str]] = []
    skipped: list[Skipped] = []
    wrong: list[Rejected] = []
    decoder = FlowDecoder()
    for position, record in enumerate(records):
        outcome = decoder.read(record, position)
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        elif isinstance(outcome, Rejected):
            wrong.append(outcome)
        else:
            flows += [(position, flow, dialect) for flow, dialect in outcome]
    return flows, skipped, wrong


def together(records: Sequence[Raw]) -> tuple[list[tuple[int, Flow, str]], list[Skipped], list[Rejected]]:
    found = FlowDecoder(fewest=16).decode(records)
    flows = found.flows
    rows = list(zip(flows.position.tolist(), flows, flows.dialect.to_list(), strict=True))
    return rows, list(found.skipped), list(found.rejected)


def assert_alike(records: Sequence[Raw]) -> None:
    one, all_at_once = alone(records), together(records)
    for expected, found in zip(one[0], all_at_once[0], strict=False):
        assert found == expected, records[expected[0]].value
    assert all_at_once == one


WRAPPERS: Sequence[Callable[[str], bytes]] = (
    lambda text: bytes_of({"message": text}),
    lambda text: bytes_of({"message": text + "\n", "host": {"name": "gateway"}}),
    lambda text: bytes_of({"event": {"original": text}, "zeek": {"session_id": "C1"}}),
    lambda text: bytes_of({"log": text, "id.orig_h": "10.0.0.1"}),
    lambda text: bytes_of({"message": text, "event_type": "flow", "timestamp": ""}),
    lambda text: bytes_of({"fields": {"value": text}, "tags": {"host": "sensor-1"}}),
    lambda text: bytes_of({"message": json.dumps({"message": text})}),
    lambda text: bytes_of({"message": "2026-09-21T14:13:20+00:00 gw zeek " + text}),
    lambda text: b"2026-09-21T14:13:20+00:00 gw zeek " + text.encode("utf-8", "surrogatepass"),
    lambda text: b"Sep 21 14:13:20 gw zeek: " + bytes_of({"message": text, "hostname": "h"}),
)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A record of Zeek with some of its fields, or of its bytes, made odd."""
    record: dict[str, Any] = draw(st.sampled_from([zeek(), zeek_udp(), zeek_udp(proto="icmp")])).copy()
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        value = draw(st.sampled_from([*ODD, MISSING]))
        record.pop(name, None)
        if value is not MISSING:
            record[name] = value
    compact = draw(st.booleans())
    text = json.dumps(
        record, separators=(",", ":") if compact else None, ensure_ascii=draw(st.booleans())
    ).encode("utf-8", "surrogatepass")
    match draw(st.integers(0, 12)):
        case 0:
            at = draw(st.integers(0, len(text) - 1))
            text = text[:at] + draw(st.binary(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
        case 1:
            text = text[:-1] + b',"orig_pkts":77,"uid":"second"}'
        case 2:
            text = b'{"conn":' + text + b"}"
        case 3:
            text = text + draw(st.sampled_from([b"\n", b" ", b"\r\n", b"\x00", text, b"}", b","]))
        case 4:
            text = draw(st.sampled_from([b" ", b"\n", b"\xef\xbb\xbf"])) + text
        case 5:
            text = b'{"conn_long":' + text + b"}"
        case 6 | 7:
            text = draw(st.sampled_from(WRAPPERS))(text.decode("utf-8", "surrogatepass"))
        case _:
            pass
    return text


TIMES = st.sampled_from([0, -1, KAFKA_MS, KAFKA_MS, KAFKA_MS + 8_000_000, 10**18])
SOLID = [bytes_of(zeek(**{"id.orig_p": port})) for port in range(20)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(changed(), TIMES), min_size=1, max_size=12))
def test_records_are_read_together_as_each_alone(records: list[tuple[bytes, int]]) -> None:
    assert_alike([*(Raw(value) for value in SOLID), *(Raw(value, ms) for value, ms in records)])


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_with_each_odd_value_is_read_together_as_alone(field: str) -> None:
    bases = (zeek(), zeek_udp())
    records = [
        Raw(json.dumps({**base, field: value}, separators=(",", ":")).encode())
        for base in bases
        for value in ODD
    ]
    absent = [Raw(bytes_of({name: one for name, one in base.items() if name != field})) for base in bases]
    assert_alike([*records, *absent, *(Raw(value) for value in SOLID)])


def test_plain_records_are_read_in_columns_and_odd_ones_alone_are_not() -> None:
    plain = [*SOLID, bytes_of(zeek(history="", service="")), bytes_of(zeek(duration=None))]
    records = [*plain, bytes_of({"conn": zeek()}), bytes_of(zeek(ts=5))]
    places, objects, sensors = zeek_columns.plain(records)
    read, frame = zeek_columns.read(objects, sensors, np.zeros(len(objects), np.int64))
    assert places[read].tolist() == list(range(23))
    assert frame.schema == SCHEMA


@pytest.mark.parametrize("wrapper", range(len(WRAPPERS)))
def test_wrapped_records_are_read_together_as_alone(wrapper: int) -> None:
    wrapped = [Raw(WRAPPERS[wrapper](value.decode())) for value in (*SOLID, bytes_of(zeek(ts=1)))]
    assert_alike(wrapped)
    named = [Raw(WRAPPERS[wrapper](bytes_of(zeek(_system_name="own")).decode()))] * 20
    assert_alike(named)


@pytest.mark.parametrize(
    "poison", [b"", b"{", b'{"conn_state":1', b"\xff", b"[" * 5_000, b'{"conn_state":"SF","id.orig_h":1}}']
)
def test_a_record_that_is_no_json_costs_only_itself(poison: bytes) -> None:
    records = [bytes_of(zeek(**{"id.orig_p": port})) for port in range(600)]
    records[300] = poison
    found = FlowDecoder(fewest=16).decode([Raw(value) for value in records])
    assert len(found.flows) == 599
    assert [one.position for one in found.rejected] == [300]
    if poison.startswith(b"{"):
        _, objects, sensors = zeek_columns.plain(records)
        read, _ = zeek_columns.read(objects, sensors, np.zeros(len(objects), np.int64))
        assert len(read) >= 599 - 32, "its neighbours are read in columns still"


def test_records_of_all_dialects_come_out_in_their_order() -> None:
    values = [
        *SOLID,
        eve(),
        nfdump(),
        {"message": json.dumps([nfdump(), nfdump()])},
        eve(event_type="dns"),
        zeek(ts=1),
        goflow2(),
        zeek(),
    ]
    found = FlowDecoder(fewest=16).decode([Raw(bytes_of(value)) for value in values])
    assert found.flows.position.tolist() == [*range(20), 20, 21, 22, 22, 25, 26]
    assert found.flows.dialect.to_list()[20:] == ["suricata", *["nfdump"] * 3, "goflow2", "zeek"]
    assert [one.position for one in found.skipped] == [23]
    assert [one.position for one in found.rejected] == [24]
    assert_alike([Raw(bytes_of(value)) for value in values])


def test_counters_are_a_matrix_with_a_mask_of_what_is_known() -> None:
    found: ReadFlows = FlowDecoder(fewest=16).decode([Raw(bytes_of(zeek())), Raw(bytes_of(goflow2()))])
    numbers, known = found.flows.counters
    assert numbers.shape == known.shape == (2, len(COUNTERS))
    assert numbers.tolist() == [[10, 8, 1020, 3416, 500, 3000], [10, 0, 1020, 0, 0, 0]]
    assert known.tolist() == [[True] * 6, [True, False, True, False, False, False]]


def test_a_release_of_polars_that_reads_numbers_as_nothing_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1.20 gives null for a number where text is asked for."""
    real = pl.read_ndjson
    monkeypatch.setattr(pl, "read_ndjson", lambda *given, **named: real(*given, **named).clear(1))
    zeek_columns._reads_as_text.cache_clear()
    try:
        assert_alike([Raw(value) for value in SOLID])
        assert not zeek_columns._reads_as_text()
    finally:
        zeek_columns._reads_as_text.cache_clear()


def test_no_records_are_no_flows() -> None:
    found = FlowDecoder(fewest=16).decode([])
    assert (len(found.flows), found.flows.frame.schema) == (0, SCHEMA)


@pytest.mark.data
def test_a_real_log_is_read_together_as_each_alone_also_where_bytes_of_it_are_changed() -> None:
    path = data("stratosphere-zeek/002-zeek-scenario-port-scanning/conn.log.gz")
    lines = gzip.decompress(path.read_bytes()).splitlines()[:2_000]
    assert_alike([Raw(line) for line in lines])
    rng = random.Random(7)
    broken = []
    for line in lines[:400]:
        at = rng.randrange(len(line))
        broken.append(line[:at] + rng.choice([b"", b"9", b'"', b"-", b"\\", b"x", b"}"]) + line[at + 1 :])
    assert_alike([Raw(line) for line in broken])
