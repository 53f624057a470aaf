"""Every sensor over every capture of the laboratory, against our own meter; and Zeek's own traces."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.sensors import meters, zeek
from bench.sensors.likeness import Told, likeness, told
from bench.sensors.packets import Scenario, scenarios
from streams.adapters.captures import frames
from streams.client.flow_files import FileRecord, Options, opened, records
from streams.client.sensing import Sensing
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.flows import DeviceFlow, Flow
from streams.core.home import Home
from streams.core.meter import Waits

RECORDED: Final = {
    "suricata": "suricata-{}.jsonl",
    "nfstream": "nfstream-{}.jsonl",
    "nfdump": "nfdump-{}.json",
}
"""Of `offline/`, the first records of each; nfdump's are softflowd's halves."""
_SAMPLE: Final = 40
"""So many records or more are the first of more."""


@dataclass(frozen=True, slots=True)
class Programs:
    goflow2: str = "goflow2"
    nfstream_python: str = sys.executable
    zeek_traces: Path = Path("../shared/data/zeek-btest")


def measure(lab: Path, programs: Programs, say: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="autodeep-sensors-") as name:
        folder = Path(name)
        with meters.collectors(folder, programs.goflow2) as listening:
            found = {}
            for one in scenarios(lab, folder):
                say(one.name)
                found[one.name] = dict(_compared(one, lab, programs, listening, folder))
    return {"scenarios": found, "zeek": zeek.measure(programs.zeek_traces), "sensors": _totals(found)}


def is_broken(result: dict[str, Any]) -> bool:
    """A sensor has a device that another has not."""
    return any(one["other_devices"] for of in result["scenarios"].values() for one in of.values())


def _compared(
    scenario: Scenario, lab: Path, programs: Programs, listening: list[meters.Collector], folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    reference = metered(scenario.recent)
    live: dict[str, list[FileRecord]] = {}
    if listening:
        live |= meters.halves(scenario.recent, listening, folder)
    if shutil.which("suricata"):
        live["suricata"] = meters.suricata(scenario.recent, folder)
    if meters.has_nfstream(programs.nfstream_python):
        live["nfstream"] = meters.nfstream(scenario.recent, programs.nfstream_python)
    for name, told_records in sorted(live.items()):
        yield (
            name,
            likeness(reference, told(device_flows(told_records))).as_json() | {"records": len(told_records)},
        )
    earlier = None
    for name, pattern in RECORDED.items():
        path = lab / "offline" / pattern.format(scenario.name)
        if name not in live and path.exists():
            earlier = earlier or metered(scenario.capture)
            sample = file_records(path)
            found = likeness(earlier, told(device_flows(sample)), is_sample=len(sample) >= _SAMPLE)
            yield f"{name} (recorded)", found.as_json() | {"records": len(sample)}


def metered(capture: Path) -> Told:
    """By our own meter."""
    sensing = Sensing("meter", "", Waits())
    flows = [*sensing.flows(frames(capture)), *sensing.rest()]
    return told(list(_at_home(flows)))


def device_flows(told_records: Iterable[FileRecord]) -> list[DeviceFlow]:
    decoder = FlowDecoder()
    found: list[Flow] = []
    for record in told_records:
        outcome = decoder.read(record, header=record.header)
        if isinstance(outcome, list):
            found += [flow for flow, _ in outcome]
    return list(_at_home(found))


def _at_home(flows: Iterable[Flow]) -> Iterator[DeviceFlow]:
    """Of devices by address, since not every sensor tells MACs; which MAC is whose is not compared."""
    home = Home()
    for flow in flows:
        yield from home.device_flows(dataclasses.replace(flow, originator_mac="", responder_mac=""))


def file_records(path: Path) -> list[FileRecord]:
    with opened(str(path)) as stream:
        return list(records(stream, str(path), Options()))


def _totals(found: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, int]]:
    whole: dict[str, dict[str, int]] = {}
    names = ("flows", "both", "direction", "state", "packets", "ip_bytes", "cells", "cells_apart")
    for sensors in found.values():
        for sensor, figures in sensors.items():
            mine = whole.setdefault(sensor, dict.fromkeys((*names, "other_devices", "peaks_apart"), 0))
            for name in names:
                mine[name] += figures[name]
            for name in ("other_devices", "peaks_apart"):
                mine[name] += len(figures[name])
    return whole
