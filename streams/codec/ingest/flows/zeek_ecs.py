"""Conn records of Filebeat's Zeek module as they reach Kafka, before Elasticsearch has touched them.

`event.duration` is in seconds still, and `@timestamp` is when the line was read; the flow's time is
`zeek.connection.ts`. The module has dropped the payload bytes: `source.bytes` are IP bytes.
"""

from __future__ import annotations

from typing import Any, Final

from streams.codec.ingest.flows import values, zeek
from streams.codec.ingest.flows.reading import NoFlow, Seen
from streams.codec.ingest.flows.values import Record

NAME: Final = "zeek-ecs"
_NS_PER_S: Final = 1_000_000_000
_SURELY_NS: Final = 1_000_000
"""A whole number from here on is nanoseconds, after Elasticsearch: seconds would be 11 days."""
_OF_CONN: Final = {
    "id.orig_h": "source.address",
    "id.orig_p": "source.port",
    "orig_ip_bytes": "source.bytes",
    "orig_pkts": "source.packets",
    "orig_l2_addr": "source.mac",
    "id.resp_h": "destination.address",
    "id.resp_p": "destination.port",
    "resp_ip_bytes": "destination.bytes",
    "resp_pkts": "destination.packets",
    "resp_l2_addr": "destination.mac",
    "proto": "network.transport",
    "service": "network.protocol",
    "community_id": "network.community_id",
    "uid": "zeek.session_id",
    "conn_state": "zeek.connection.state",
    "history": "zeek.connection.history",
    "missed_bytes": "zeek.connection.missed_bytes",
    "ts": "zeek.connection.ts",
}
_OTHERWISE: Final = {
    "id.orig_h": "source.ip",
    "id.resp_h": "destination.ip",
    "service": "zeek.connection.service",
}


def at(record: Record, path: str) -> Any:
    """A field by its dotted name, whether its dots are objects or part of the key."""
    if path in record:
        return record[path]
    found: Any = record
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def is_ecs(record: Record) -> bool:
    return at(record, "zeek.session_id") is not None or isinstance(record.get("zeek"), dict)


def read(record: Record) -> Seen:
    if at(record, "zeek.connection.state") is None and at(record, "zeek.connection.history") is None:
        raise NoFlow("a record of another log of Zeek (Filebeat's module)")
    conn = {name: at(record, path) for name, path in _OF_CONN.items()}
    for name, path in _OTHERWISE.items():
        if conn[name] is None:
            conn[name] = at(record, path)
    duration = at(record, "event.duration")
    is_ns = isinstance(duration, int) and duration >= _SURELY_NS
    conn["duration"] = duration / _NS_PER_S if is_ns else duration
    read_us = values.time_us(at(record, "@timestamp"), "@timestamp")
    if conn["ts"] is None:  # Elasticsearch has put the flow's time there, and the line's is gone
        conn["ts"], read_us = at(record, "@timestamp"), None
    flow = zeek.flow_of(conn, values.hint(at(record, "host.name") or at(record, "agent.name")), False)
    return Seen(flow, NAME, read_us)
