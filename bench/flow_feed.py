"""Zeek's conn.log as JSON, of captures' flows: many devices, some records twice under new uids, some late."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from confluent_kafka import Producer

from streams.core.flow.columns import PeerKind

SPAN_S: Final = 3_000.0
"""Over so long, up to now, the flows are spread, whenever they were captured."""
LATE_S: Final = 300.0
LONGEST_S: Final = 600.0
_COLUMNS: Final = {
    "id.orig_p": "orig_port",
    "id.resp_p": "resp_port",
    "proto": "proto",
    "service": "service",
    "conn_state": "state",
    "history": "history",
    "orig_pkts": "orig_packets",
    "orig_ip_bytes": "orig_ip_bytes",
    "resp_pkts": "resp_packets",
    "resp_ip_bytes": "resp_ip_bytes",
    "orig_bytes": "orig_bytes",
    "resp_bytes": "resp_bytes",
}
_COUNTS: Final = tuple(name for name in _COLUMNS if name.endswith(("_p", "pkts", "bytes")))


@dataclass(frozen=True, slots=True)
class FlowLoad:
    records: int
    copies: int = 20
    """So many parts of the captures are played at once, each with devices of its own."""
    repeated: float = 0.1
    late: float = 0.05
    seed: int = 1


def zeek_records(data: Path, load: FlowLoad, end_s: float | None = None) -> list[bytes]:
    """In the order in which they arrive, the last of them ending at `end_s`, now where it is not given."""
    rng = np.random.default_rng(load.seed)
    table = pl.read_parquet(data)
    at_home = table["orig_addr"].map_elements(_is_home, pl.Boolean) | table["resp_addr"].map_elements(
        _is_home, pl.Boolean
    )
    table = table.filter(at_home)
    count = int(load.records / (1 + load.repeated))
    copy = np.arange(count) % load.copies
    place = (copy * (len(table) // load.copies) + np.arange(count) // load.copies) % len(table)
    flows = table[place.tolist()].to_dicts()
    ends_s = (time.time() if end_s is None else end_s) - SPAN_S + np.sort(rng.random(count)) * SPAN_S
    devices: dict[tuple[int, str, str], str] = {}
    lines = [
        _line(flow, number, at_s, _renamed(flow, number, devices))
        for flow, at_s, number in zip(flows, ends_s.tolist(), copy.tolist(), strict=True)
    ]
    is_late = rng.random(count) < load.late
    arrives_s = ends_s + np.where(is_late, rng.random(count) * LATE_S, 0)
    again = np.flatnonzero(rng.random(count) < load.repeated)
    arrives_s = np.concatenate([arrives_s, arrives_s[again] + rng.random(len(again)) * 2])
    lines += [{**lines[at], "uid": f"{lines[at]['uid']}-again"} for at in again.tolist()]
    return [json.dumps(lines[at]).encode() for at in np.argsort(arrives_s, kind="stable").tolist()]


def _renamed(flow: dict[str, Any], copy: int, devices: dict[tuple[int, str, str], str]) -> list[str]:
    """Both ends; an address at home is another one in each capture and copy."""
    ends = []
    for address in (flow["orig_addr"], flow["resp_addr"]):
        key = (copy, flow["capture"], address)
        ends.append(devices.setdefault(key, _home(len(devices))) if _is_home(address) else address)
    return ends


def _is_home(address: str) -> bool:
    return PeerKind.of(address) == PeerKind.PRIVATE


def _home(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _line(flow: dict[str, Any], copy: int, end_s: float, ends: Sequence[str]) -> dict[str, Any]:
    duration_s = min(flow["duration_s"] or 0.0, LONGEST_S)
    line = {
        "ts": round(end_s - duration_s, 6),
        "uid": f"C{flow['capture']}{flow['row']}-{copy}-{end_s:.3f}",
        "id.orig_h": ends[0],
        "id.resp_h": ends[1],
        "duration": duration_s,
        "missed_bytes": 0,
    }
    told = {name: flow[column] for name, column in _COLUMNS.items() if flow[column] is not None}
    return line | {name: int(value) if name in _COUNTS else value for name, value in told.items()}


def send_records(servers: str, topic: str, records: Sequence[bytes], per_s: float = 0.0) -> None:
    """Without keys, round all partitions; at a rate, in steps of 10 ms. Returns when all are there."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 5,
            "sticky.partitioning.linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    begun_s, sent = time.monotonic(), 0
    while sent < len(records):
        due = int((time.monotonic() - begun_s) * per_s) if per_s else sent + 10_000
        for value in records[sent : min(due, len(records))]:
            producer.produce(topic, value)
        sent = min(max(due, sent), len(records))
        producer.poll(0)
        if per_s:
            time.sleep(0.01)
    producer.flush(60)
