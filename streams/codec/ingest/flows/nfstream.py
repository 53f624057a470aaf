"""Flows of NFStream as JSON. With `accounting_mode=1` its bytes are those of IP packets, as we read them.

The source is whoever sent the first packet that it saw. Flags of TCP are there with `statistical_analysis`.
"""

from __future__ import annotations

from typing import Final

from streams.codec.ingest.flows import states, values
from streams.codec.ingest.flows.reading import Seen
from streams.codec.ingest.flows.values import Pair, Record
from streams.core.flows import Flow, Quality

NAME: Final = "nfstream"
_ACTIVE_TIMEOUT: Final = 1
_FLAGS: Final = {
    "fin": states.FIN,
    "syn": states.SYN,
    "rst": states.RST,
    "psh": states.PSH,
    "ack": states.ACK,
}


def is_nfstream(record: Record) -> bool:
    return "bidirectional_first_seen_ms" in record and "src_ip" in record


def read(record: Record) -> Seen:
    protocol = values.protocol(record.get("protocol"), "protocol")
    ports = values.ports(record, ("src_port", "dst_port"), protocol)
    packets: Pair = _count(record, "src2dst_packets"), _count(record, "dst2src_packets")
    octets: Pair = _count(record, "src2dst_bytes"), _count(record, "dst2src_bytes")
    start_us, end_us = values.ordered(
        values.time_us(record.get("bidirectional_first_seen_ms"), "bidirectional_first_seen_ms"),
        values.time_us(record.get("bidirectional_last_seen_ms"), "bidirectional_last_seen_ms"),
    )
    is_cut = record.get("expiration_id") == _ACTIVE_TIMEOUT
    quality = Quality.CUT if is_cut else Quality.NONE
    if not any(packets):
        quality, packets, octets = quality | Quality.ZERO_COUNTERS, values.NOTHING, values.NOTHING
    flags = _flags(record, "src2dst"), _flags(record, "dst2src")
    if any(packets) and protocol == "tcp" and states.is_one_sided_by_flags(flags[0], packets):
        quality |= Quality.ONE_SIDED
    flow = Flow(
        "",
        values.address(record.get("src_ip"), "src_ip"),
        values.address(record.get("dst_ip"), "dst_ip"),
        *ports,
        protocol,
        start_us,
        end_us,
        states.tcp_of_flags(*flags, packets[1])
        if protocol == "tcp"
        else states.datagrams(*packets, protocol == "udp"),  # types of ICMP are not there
        _service(record),
        *packets,
        *octets,
        originator_mac=values.mac(record.get("src_mac")),
        responder_mac=values.mac(record.get("dst_mac")),
        quality=quality,
    )
    return Seen(flow, NAME)


def _count(record: Record, name: str) -> int | None:
    return values.count(record.get(name), name)


def _flags(record: Record, way: str) -> int:
    return sum(bit for name, bit in _FLAGS.items() if _count(record, f"{way}_{name}_packets"))


def _service(record: Record) -> str:
    """nDPI's name, without the brand behind it (`tls.google`); a guess by a port alone is none."""
    name = values.service(record.get("application_name"), "application_name").partition(".")[0]
    return "" if name == "unknown" or record.get("application_is_guessed") else name
