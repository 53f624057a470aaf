"""JSON of nfdump: `-o json` is one array, `-o ndjson` a flow a line. Times are nfdump's local ones."""

from __future__ import annotations

import dataclasses
from typing import Final

from streams.codec.ingest.flows import states, values
from streams.codec.ingest.flows.halves import Half, icmp_ports
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.values import Record
from streams.core.flows import Flow

NAME: Final = "nfdump"


def is_nfdump(record: Record) -> bool:
    return ("src4_addr" in record or "src6_addr" in record) or (
        record.get("type") in ("FLOW", "EVENT") and "export_sysid" in record
    )


def read(record: Record) -> Seen:
    kind = record.get("type", "FLOW")
    if kind != "FLOW":
        raise NoFlow(f"a record of nfdump of type {values.hint(kind)}")
    protocol = values.protocol(record.get("proto"), "proto")
    icmp = tuple(values.port(record.get(name), name) or 0 for name in ("icmp_type", "icmp_code"))
    family = "src4_addr" if "src4_addr" in record else "src6_addr"
    half = Half(
        values.address(record.get(family), family),
        values.address(record.get(family.replace("src", "dst")), family.replace("src", "dst")),
        icmp_ports(protocol, values.ports(record, ("src_port", "dst_port"), protocol), (icmp[0], icmp[1])),
        protocol,
        values.ordered(
            values.time_us(record.get("first"), "first"), values.time_us(record.get("last"), "last")
        ),
        (
            values.count(record.get("in_packets"), "in_packets"),
            values.count(record.get("in_bytes"), "in_bytes"),
        ),
        values.flags_of_letters(record.get("tcp_flags")),
        (values.mac(record.get("in_src_mac")), values.mac(record.get("out_dst_mac"))),
        _router(record),
        bool(values.count(record.get("sampled"), "sampled")),
    )
    return Seen(_whole(half.flow(), record), NAME)


def _router(record: Record) -> str:
    return values.hint(record.get("ip4_router") or record.get("ip6_router"))


def _whole(flow: Flow, record: Record) -> Flow:
    """With the other direction, where nfdump has joined both (`-b`)."""
    packets = values.count(record.get("out_packets"), "out_packets")
    octets = values.count(record.get("out_bytes"), "out_bytes")
    if packets is None or not packets:
        return flow
    state = flow.state
    if flow.protocol != "tcp":
        state = states.datagrams(flow.originator_packets, packets)
    return dataclasses.replace(
        flow, half=False, responder_packets=packets, responder_ip_bytes=octets, state=state
    )
