"""JSON of pmacct's nfacctd: a half of a flow, where `aggregate` has ports and times.

Without them a record is a sum over an interval, and comes again in the next one: no flow, and refused.
"""

from __future__ import annotations

from typing import Final

from streams.codec.ingest.flows import values
from streams.codec.ingest.flows.halves import Half, icmp_ports
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.values import Record
from streams.core.events import Reason

NAME: Final = "pmacct"
AGGREGATE: Final = (
    "src_host,dst_host,src_port,dst_port,proto,tcpflags,timestamp_start,timestamp_end,timestamp_arrival"
)
_MARKS: Final = frozenset({"writer_id", "stamp_inserted", "timestamp_arrival", "port_src", "ip_proto"})


def is_pmacct(record: Record) -> bool:
    if record.get("event_type") == "purge":
        return True
    if "writer_id" in record and "event_type" in record:
        return True
    return "ip_src" in record and "ip_dst" in record and not _MARKS.isdisjoint(record)


def read(record: Record) -> Seen:
    kind = record.get("event_type", "purge")
    if kind != "purge":
        raise NoFlow(f"a message of pmacct of type {values.hint(kind)}")
    _check_is_flow(record)
    protocol = values.protocol(record.get("ip_proto"), "ip_proto")
    arrival_us = values.time_us(record.get("timestamp_arrival"), "timestamp_arrival")
    start_us = values.time_us(_unless_zero(record.get("timestamp_start")), "timestamp_start")
    end_us = values.time_us(_unless_zero(record.get("timestamp_end")), "timestamp_end")
    ports = values.ports(record, ("port_src", "port_dst"), protocol)
    if "icmp_type" in record or ports[1]:  # a type that is not told is not that of an answer to an echo
        icmp = tuple(values.port(record.get(name), name) or 0 for name in ("icmp_type", "icmp_code"))
        ports = icmp_ports(protocol, ports, (icmp[0], icmp[1]))
    half = Half(
        values.address(record.get("ip_src"), "ip_src"),
        values.address(record.get("ip_dst"), "ip_dst"),
        ports,
        protocol,
        values.ordered(arrival_us if start_us is None and end_us is None else start_us, end_us),
        (values.count(record.get("packets"), "packets"), values.count(record.get("bytes"), "bytes")),
        values.count(record.get("tcp_flags"), "tcp_flags"),
        (values.mac(record.get("mac_src")), values.mac(record.get("mac_dst"))),
        values.hint(record.get("peer_ip_src")),
        (values.number(record.get("sampling_rate"), "sampling_rate") or 0) > 1,
    )
    return Seen(half.flow(), NAME, arrival_us)


def _check_is_flow(record: Record) -> None:
    absent = [name for name in ("port_src", "port_dst", "timestamp_start") if name not in record]
    if absent:
        values.wrong(
            Reason.AGGREGATED,
            f"a sum without {', '.join(absent)}; set in nfacctd.conf (pmacctd cannot) aggregate: {AGGREGATE}",
        )


def _unless_zero(value: object) -> object:
    """A time that nfacctd does not know is written as zero, or as 1970."""
    is_zero = value in (0, "0", "0.000000") or (isinstance(value, str) and value.startswith("1970-01-01"))
    return None if is_zero else value
