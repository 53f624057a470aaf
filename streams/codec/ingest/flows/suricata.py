"""Suricata's EVE: the `flow` events. Other types are skipped; alert and dns events have the ends swapped, and
`netflow` has every flow a second time, in halves.
"""

from __future__ import annotations

from typing import Any, Final

from streams.codec.ingest.flows import states, values
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.values import Pair, Record
from streams.core.events import Reason
from streams.core.flows import Flow, Quality

NAME: Final = "suricata"
_ETHERNET: Final = 14
_TAG: Final = 4
_LEAST_IP: Final = 20
_UNNAMED: Final = ("", "failed", "unknown")
_CUT: Final = ("forced", "shutdown")
_UNREACHABLE: Final = 28
"""Bytes that an ICMP error puts before the datagram that it quotes."""


def is_eve(record: Record) -> bool:
    return "event_type" in record and ("flow_id" in record or "src_ip" in record or "timestamp" in record)


def read(record: Record) -> Seen:
    kind = values.hint(record.get("event_type"))
    if kind == "netflow":
        raise NoFlow("an event of Suricata's type netflow: half of what its flow event has")
    if kind != "flow":
        raise NoFlow(f"an event of Suricata's type {kind}")
    flow: Any = record.get("flow")
    if not isinstance(flow, dict):
        values.wrong(Reason.SCHEMA_MISMATCH, "event_type is flow, and there is no object flow")
    return Seen(_flow_of(record, flow), NAME)


def _flow_of(record: Record, flow: Record) -> Flow:
    protocol = values.protocol(record.get("proto"), "proto")
    is_icmp = protocol == values.ICMP
    names = ("icmp_type", "icmp_code") if is_icmp else ("src_port", "dest_port")
    ports = values.ports(record, names, protocol)
    packets, frames = _both(flow, "pkts"), _both(flow, "bytes")
    octets: Pair = _ip_bytes(record, packets[0], frames[0]), _ip_bytes(record, packets[1], frames[1])
    service = values.service(record.get("app_proto"), "app_proto")
    quality = Quality.CUT if values.hint(flow.get("reason")) in _CUT else Quality.NONE
    if protocol == "udp" and service in _UNNAMED and _is_unreachable(packets, octets):
        packets, octets = (packets[0], 0), (octets[0], 0)
    if not any(packets):
        quality |= Quality.ZERO_COUNTERS
        packets = octets = values.NOTHING
    flags = _both_flags(record) if protocol == "tcp" else values.NOTHING
    if any(packets) and states.is_one_sided_by_flags(flags[0], packets):
        quality |= Quality.ONE_SIDED
    start_us, end_us = values.ordered(
        values.time_us(flow.get("start"), "flow.start"), values.time_us(flow.get("end"), "flow.end")
    )
    return Flow(
        values.text(record.get("flow_id"), "flow_id"),
        values.address(record.get("src_ip"), "src_ip"),
        values.address(record.get("dest_ip"), "dest_ip"),
        *ports,
        protocol,
        start_us,
        end_us,
        states.tcp_of_flags(*flags, packets[1])
        if protocol == "tcp"
        else states.datagrams(*packets, states.asks(protocol, ports[0])),
        "" if service in _UNNAMED else service,
        *packets,
        *octets,
        originator_mac=_one_mac(record, "src_macs"),
        responder_mac=_one_mac(record, "dest_macs"),
        community_id=values.hint(record.get("community_id")),
        sensor=values.hint(record.get("host")),
        quality=quality,
    )


def _both(flow: Record, what: str) -> Pair:
    names = f"{what}_toserver", f"{what}_toclient"
    sent, came = (values.count(flow.get(name), f"flow.{name}") for name in names)
    return sent, came


def _ip_bytes(record: Record, packets: int | None, frames: int | None) -> int | None:
    """Bytes of frames, less the Ethernet headers; a frame without any (a tunnel's) is the packet itself."""
    if frames is None or packets is None:
        return None
    tags = record.get("vlan")
    header = _ETHERNET + _TAG * (len(tags) if isinstance(tags, list) else tags is not None)
    return frames - header * packets if frames >= (header + _LEAST_IP) * packets else frames


def _is_unreachable(packets: Pair, octets: Pair) -> bool:
    """Suricata counts the ICMP errors about a datagram into its flow: the answer to every scan of UDP.

    An error quotes the datagram behind 28 bytes. An answer of just that length, to an application that
    Suricata knows, does not come here.
    """
    (sent, came), (sent_bytes, came_bytes) = packets, octets
    if not sent or sent != came or sent_bytes is None:
        return False
    return came_bytes == sent_bytes + _UNREACHABLE * sent


def _both_flags(record: Record) -> Pair:
    tcp: Any = record.get("tcp")
    tcp = tcp if isinstance(tcp, dict) else {}
    return _flags(tcp, "tcp_flags_ts"), _flags(tcp, "tcp_flags_tc")


def _flags(tcp: Record, name: str) -> int | None:
    """Hexadecimal; 00 where there was no session."""
    found = tcp.get(name)
    try:
        return int(found, 16) & 0xFF or None if isinstance(found, str) and len(found) <= 4 else None
    except ValueError:
        return None


def _one_mac(record: Record, name: str) -> str:
    ether: Any = record.get("ether")
    found = ether.get(name) if isinstance(ether, dict) else None
    return values.mac(found[0]) if isinstance(found, list) and len(found) == 1 else ""
