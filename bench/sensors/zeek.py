"""Zeek's own conn.log of packets that its tests use, beside our meter's flows of the same packets.

Zeek took the times out of these logs, so that windows cannot be compared: ends, direction, states and
counters are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.sensors import meters
from bench.sensors.likeness import likeness, told
from streams.adapters.captures import frames
from streams.client.sensing import Sensing
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.flows import DeviceFlow, Flow, Quality
from streams.core.home import Home, parse_home
from streams.core.meter import Waits
from streams.errors import DataError

_NO_TIME: Final = b"XXXXXXXXXX.XXXXXX"
_TIME: Final = b"1700000000.000000"
_TIME_US: Final = 1_700_000_000_000_000
_DOUBTED: Final = Quality.FLIPPED | Quality.BAD_CHECKSUM | Quality.ZERO_COUNTERS
"""Zeek leaves packets with bad checksums out, and guesses who began; we do neither in the same way."""


def measure(traces: Path) -> dict[str, Any]:
    """Over all tests that have one conn.log. Nothing where the traces are missing."""
    found: dict[str, Any] = {}
    index = traces / "INDEX.json"
    for test in json.loads(index.read_text()) if index.exists() else ():
        logs = [traces / one for one in test["baselines"] if one.endswith("/conn.log")]
        if len(logs) == 1 and (figures := _compared(traces / test["trace"], logs[0])):
            found[test["test"]] = figures
    return found


def _compared(trace: Path, log: Path) -> dict[str, Any] | None:
    zeek = list(_of_zeek(log))
    home = _home(flow for flow in zeek if not flow.quality & _DOUBTED)
    if home is None:
        return None
    wanted = {_ends(flow) for flow in zeek if not flow.quality & _DOUBTED}
    ours = [flow for flow in _metered(trace) if _ends(flow) in wanted]
    theirs = [flow for flow in zeek if _ends(flow) in wanted]
    sides = [[one for flow in flows for one in _events(home, flow)] for flows in (ours, theirs)]
    if not all(sides):
        return None
    reference, sensor = (told(side) for side in sides)
    figures = likeness(reference, sensor).as_json()
    names = ("flows", "reference_flows", "both", "direction", "state", "packets", "ip_bytes")
    return {name: figures[name] for name in names}


def _of_zeek(log: Path) -> Iterator[Flow]:
    decoder = FlowDecoder()
    for record in meters.read(log.read_bytes().replace(_NO_TIME, _TIME)):
        outcome = decoder.read(record, header=record.header)
        if isinstance(outcome, list):
            yield from (flow for flow, _ in outcome)


def _metered(trace: Path) -> list[Flow]:
    sensing = Sensing("meter", "", Waits(idle_us=300_000_000, interim_us=86_400_000_000))
    try:
        return [*sensing.flows(frames(trace)), *sensing.rest()]
    except DataError:
        return []


def _home(flows: Iterable[Flow]) -> Home | None:
    """As if those who began were ours."""
    begun = {flow.originator for flow in flows}
    networks = ",".join(sorted(f"{one}/{128 if ':' in one else 32}" for one in begun))
    try:
        return parse_home(networks) if begun else None
    except ValueError:
        return None


def _ends(flow: Flow) -> tuple[object, ...]:
    ports = () if flow.protocol == "icmp" else (flow.originator_port, flow.responder_port)
    ends = [(flow.originator, *ports[:1]), (flow.responder, *ports[1:])]
    return flow.protocol, *sorted(ends)


def _events(home: Home, flow: Flow) -> tuple[DeviceFlow, ...]:
    same = {"originator_mac": "", "responder_mac": "", "start_us": _TIME_US, "end_us": _TIME_US}
    return home.device_flows(dataclasses.replace(flow, **same))  # type: ignore[arg-type]
