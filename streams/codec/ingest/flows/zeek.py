"""Zeek's conn.log: JSON with dotted keys, by itself or under its log's name (`tag_json`), and what lines of
TSV and Filebeat's fields become (`zeek_tsv.py`, `zeek_ecs.py`).

A topic may carry all of Zeek's logs, and nothing says which one a record is of. Conn is known by its fields.
"""

from __future__ import annotations

from typing import Any, Final

from streams.codec.ingest.flows import states, values
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.values import Pair, Record
from streams.core.flows import Flow, Quality, State

NAME: Final = "zeek"
_SENSORS: Final = ("_system_name", "_node_name", "_sensor")
_LONG: Final = "conn_long"
"""The log of zeek-long-connections: what goes on still, again and again."""


def is_conn(record: Record) -> bool:
    return "conn_state" in record or (
        "missed_bytes" in record and "proto" in record and "id.orig_h" in record
    )


def is_certain(record: Record) -> bool:
    """Whatever else stands in it."""
    return "conn_state" in record and "id.orig_h" in record


def is_zeek(record: Record) -> bool:
    """Of any of its logs."""
    return "conn_state" in record or "id.orig_h" in record or "_path" in record or _has_uid(record)


def _has_uid(record: Record) -> bool:
    return "ts" in record and ("uid" in record or "fuid" in record or "id" in record)


def flat(record: Record) -> Record:
    """With dotted keys, where a shipper made `id` an object or its dots underscores."""
    if "id.orig_h" in record:
        return record
    ends: Any = record.get("id")
    if isinstance(ends, dict) and "orig_h" in ends:
        return {**record, **{f"id.{name}": value for name, value in ends.items()}}
    if "id_orig_h" in record:
        names = ("id_orig_h", "id_orig_p", "id_resp_h", "id_resp_p")
        return {**record, **{f"id.{name[3:]}": record[name] for name in names if name in record}}
    return record


def untagged(record: Record) -> tuple[Record, str]:
    """What stands under the log's name, and that name: empty where there is none."""
    if len(record) == 1:
        ((tag, inner),) = record.items()
        if isinstance(inner, dict) and is_zeek(flat(inner)):
            return inner, tag
    return record, ""


def read(record: Record, tag: str = "") -> Seen:
    """Raises Unreadable, and NoFlow for a record of another log."""
    record = flat(record)
    path = values.hint(record.get("_path")) or tag
    if not is_conn(record):
        raise NoFlow(f"a record of Zeek's {path} log" if path else "a record of another log of Zeek")
    sensor = next((found for name in _SENSORS if (found := values.hint(record.get(name)))), "")
    return Seen(flow_of(record, sensor, path.startswith(_LONG)), NAME)


def flow_of(record: Record, sensor: str, is_interim: bool) -> Flow:
    history = values.text(record.get("history"), "history")
    protocol = _protocol(record)
    start_us = values.time_us(record.get("ts"), "ts")
    start_us, end_us = values.ordered(start_us, None)
    end_us += values.span_us(record.get("duration"), "duration") or 0
    ports = values.ports(record, ("id.orig_p", "id.resp_p"), protocol)
    packets, octets, payload = _counted(record, history)
    quality = states.quality_of_history(history, values.count(record.get("missed_bytes"), "missed_bytes"))
    if states.is_one_sided(protocol, history, packets):
        quality |= Quality.ONE_SIDED
    if not any((*packets, *octets, *payload)) and ("orig_pkts" in record or "orig_bytes" in record):
        quality |= Quality.ZERO_COUNTERS  # of a connection that was seen: so nothing was counted
        packets = octets = payload = values.NOTHING
    return Flow(
        values.text(record.get("uid"), "uid"),
        values.address(record.get("id.orig_h"), "id.orig_h"),
        values.address(record.get("id.resp_h"), "id.resp_h"),
        *ports,
        protocol,
        start_us,
        end_us,
        _state(record, protocol, history, packets, ports[0]),
        values.service(record.get("service"), "service"),
        *packets,
        *octets,
        *payload,
        values.mac(record.get("orig_l2_addr")),
        values.mac(record.get("resp_l2_addr")),
        values.hint(record.get("community_id")),
        sensor=sensor,
        final=not is_interim,
        quality=quality | (Quality.CUT if is_interim else Quality.NONE),
    )


def _protocol(record: Record) -> str:
    found = values.protocol(record.get("proto"), "proto")
    number = record.get("ip_proto")
    return values.protocol(number, "ip_proto") if found == "unknown" and number is not None else found


def _counted(record: Record, history: str) -> tuple[Pair, Pair, Pair]:
    """Packets, IP bytes and payload bytes, without those of a side that has bad checksums alone: its packets
    were seen, and counted as none.
    """
    sent, came = _side(record, "orig"), _side(record, "resp")
    if "C" in history and not sent[0]:
        sent = (None, None, None)
    if "c" in history and not came[0]:
        came = (None, None, None)
    return (sent[0], came[0]), (sent[1], came[1]), (sent[2], came[2])


def _side(record: Record, end: str) -> tuple[int | None, int | None, int | None]:
    names = f"{end}_pkts", f"{end}_ip_bytes", f"{end}_bytes"
    packets, octets, payload = (values.count(record.get(name), name) for name in names)
    return packets, octets, payload


def _state(record: Record, protocol: str, history: str, packets: Pair, icmp_type: int) -> State:
    said = values.text(record.get("conn_state"), "conn_state")
    sent, came = packets
    if protocol == "tcp":
        return State.UNKNOWN if sent is None and came is None else states.zeek_tcp(said, history)
    if sent is None and came is None:  # packets were not logged, and SF of a datagram is an answer
        return State.ANSWERED if said == "SF" else State.UNKNOWN
    return states.datagrams(sent, came, states.asks(protocol, icmp_type))
