"""Records of sensors for the tests: made by hand after what each sensor writes, none of them anybody's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.events import Header, Rejected
from streams.core.flow_columns import Skipped
from streams.core.flows import DeviceFlow, Flow
from streams.core.home import Home

DATA = Path(os.environ.get("AUTODEEP_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def data(name: str) -> Path:
    """A file of the data sets; the test is skipped without it."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {path}: set AUTODEEP_TEST_DATA")
    return path


@dataclass(frozen=True, slots=True)
class Raw:
    value: bytes | None
    timestamp: int = 0
    offset: int = 0
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


def bytes_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def flow(value: object, kafka_ms: int = 0, dialect: str = "auto") -> Flow:
    """The one flow of a record that can be read."""
    found = FlowDecoder(dialect).read(Raw(bytes_of(value), kafka_ms))
    assert isinstance(found, list), found
    assert len(found) == 1
    return found[0][0]


def dialect_of(value: object) -> str:
    found = FlowDecoder().read(Raw(bytes_of(value)))
    assert isinstance(found, list), found
    return found[0][1]


def refusal(value: object, dialect: str = "auto") -> Rejected:
    found = FlowDecoder(dialect).read(Raw(bytes_of(value)))
    assert isinstance(found, Rejected), found
    return found


def skip_reason(value: object, dialect: str = "auto") -> str:
    found = FlowDecoder(dialect).read(Raw(bytes_of(value)))
    assert isinstance(found, Skipped), found
    return found.reason


def events(value: object, home: Home | None = None) -> tuple[DeviceFlow, ...]:
    return (home or Home()).device_flows(flow(value))


def zeek(**changed: Any) -> dict[str, Any]:
    """A conn record of TCP; a field that is changed to None is left out."""
    record = {
        "ts": 1_790_000_000.25, "uid": "CAbcd1", "id.orig_h": "192.168.1.20", "id.orig_p": 50_000,
        "id.resp_h": "203.0.113.9", "id.resp_p": 443, "proto": "tcp", "service": "ssl", "duration": 1.5,
        "orig_bytes": 500, "resp_bytes": 3_000, "conn_state": "SF", "local_orig": True, "local_resp": False,
        "missed_bytes": 0, "history": "ShADadFf", "orig_pkts": 10, "orig_ip_bytes": 1_020, "resp_pkts": 8,
        "resp_ip_bytes": 3_416,
    }  # fmt: skip
    return without_none({**record, **changed})


def zeek_udp(**changed: Any) -> dict[str, Any]:
    base = {"proto": "udp", "id.resp_p": 53, "service": "dns", "history": "Dd"}
    return zeek(**{**base, **changed})


def without_none(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


def eve(flow: Mapping[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """A flow event of Suricata, of TCP."""
    inner = {
        "pkts_toserver": 6, "pkts_toclient": 5, "bytes_toserver": 584, "bytes_toclient": 1_070,
        "start": "2026-09-21T16:13:20.250000+0200", "end": "2026-09-21T16:13:21.750000+0200", "age": 1,
        "state": "closed", "reason": "timeout", "alerted": False,
    }  # fmt: skip
    record = {
        "timestamp": "2026-09-21T16:14:22.000000+0200", "flow_id": 1234567890123456, "event_type": "flow",
        "src_ip": "192.168.1.20", "src_port": 50_000, "dest_ip": "203.0.113.9", "dest_port": 443,
        "proto": "TCP", "app_proto": "tls", "flow": {**inner, **(flow or {})},
        "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b"},
    }  # fmt: skip
    return without_none({**record, **changed})


def goflow2(**changed: Any) -> dict[str, Any]:
    """Half of a flow of TCP, from NetFlow v9."""
    record = {
        "type": "NETFLOW_V9", "time_received_ns": 1790000005000000000, "sampling_rate": 1,
        "sampler_address": "192.0.2.1", "time_flow_start_ns": 1790000000250000001,
        "time_flow_end_ns": 1790000001750000000, "bytes": 1_020, "packets": 10, "src_addr": "192.168.1.20",
        "dst_addr": "203.0.113.9", "etype": "IPv4", "proto": "TCP", "src_port": 50_000, "dst_port": 443,
        "src_mac": "00:00:00:00:00:00", "dst_mac": "00:00:00:00:00:00", "tcp_flags": 27, "icmp_type": 0,
        "icmp_code": 0,
    }  # fmt: skip
    return without_none({**record, **changed})


def pmacct(**changed: Any) -> dict[str, Any]:
    record = {
        "event_type": "purge", "peer_ip_src": "192.0.2.1", "ip_src": "192.168.1.20", "ip_dst": "203.0.113.9",
        "port_src": 50_000, "port_dst": 443, "tcp_flags": "27", "ip_proto": "tcp",
        "timestamp_start": "2026-09-21 14:13:20.000000", "timestamp_end": "2026-09-21 14:13:21.000000",
        "timestamp_arrival": "2026-09-21 14:13:25.000000", "packets": 10, "bytes": 1_020, "writer_id": "a/1",
    }  # fmt: skip
    return without_none({**record, **changed})


def nfdump(**changed: Any) -> dict[str, Any]:
    record = {
        "type": "FLOW", "sampled": 0, "export_sysid": 1, "first": "2026-09-21T14:13:20.250",
        "last": "2026-09-21T14:13:21.750", "received": "2026-09-21T14:13:25.000", "in_packets": 10,
        "in_bytes": 1_020, "proto": 6, "tcp_flags": "...AP.SF", "src_port": 50_000, "dst_port": 443,
        "src4_addr": "192.168.1.20", "dst4_addr": "203.0.113.9", "ip4_router": "192.0.2.1",
    }  # fmt: skip
    return without_none({**record, **changed})


def nfstream(**changed: Any) -> dict[str, Any]:
    record = {
        "id": 1, "expiration_id": 0, "src_ip": "192.168.1.20", "src_mac": "00:00:5e:00:53:01",
        "src_port": 50_000, "dst_ip": "203.0.113.9", "dst_mac": "00:00:5e:00:53:fe", "dst_port": 443,
        "protocol": 6, "ip_version": 4, "bidirectional_first_seen_ms": 1_790_000_000_250,
        "bidirectional_last_seen_ms": 1_790_000_001_750, "src2dst_packets": 6, "src2dst_bytes": 500,
        "dst2src_packets": 5, "dst2src_bytes": 1_000, "src2dst_syn_packets": 1, "src2dst_ack_packets": 5,
        "src2dst_fin_packets": 1, "dst2src_syn_packets": 1, "dst2src_ack_packets": 5,
        "dst2src_fin_packets": 1, "application_name": "TLS.Example", "application_is_guessed": 0,
    }  # fmt: skip
    return without_none({**record, **changed})
