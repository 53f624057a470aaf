"""Two sensors' flows of the same packets: what is the same, and how far apart the rest is. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import DIRECTIONS, DeviceFlows, Index, Protocol, from_values, joined
from streams.core.flow.features import advance, advance_released
from streams.core.flow.records import NEVER, Patience
from streams.core.flow.settling import release
from streams.core.flow.state import blank
from streams.core.flow.table import COUNTS, EVIDENCE, FLOW, SHARES, SUMS, WINDOWS
from streams.core.flows import DeviceFlow, State
from streams.core.tables import Rows

COUNTED: Final = tuple(f"{window}_{name}" for window in WINDOWS for name in COUNTS)
SHARED: Final = tuple(f"{window}_{name}" for window in WINDOWS for name in (*SHARES, "bytes_out_share"))
SUMMED: Final = tuple(f"{window}_{name}" for window in WINDOWS for name in SUMS)
PEAKS: Final = (*EVIDENCE, "recent_flows", "recent_peers", "recent_ports", "last_peers", "last_ports")
COUNT_SLACK: Final = 0.1
"""Of a count; at least 1. Of a share as it stands."""
BYTES_SLACK: Final = 0.02

Key = tuple[str, int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What a sensor's records are once halves, pieces and interim records have become M flows."""

    flows: DeviceFlows
    devices: list[str]
    peaks: dict[tuple[str, str], float]
    """Of each device and column the largest value, in the order in which the sensor wrote."""

    def keys(self) -> list[Key]:
        """(M,) device, ends and protocol: the same whoever tells it."""
        flows = self.flows
        columns = (flows.peer, flows.protocol, flows.device_port, flows.peer_port)
        names = (self.devices[one] for one in flows.device.tolist())
        return list(zip(names, *(column.tolist() for column in columns), strict=True))


def told(records: Sequence[DeviceFlow]) -> Told:
    """Device flows in the order in which they came, of devices by address."""
    flows, devices = from_values(records)
    step = advance(blank(len(devices)), flows)
    late, states = release(step.states, NEVER, Patience(0, 0))
    rest = advance_released(states, late)
    rows = np.concatenate([step.rows, rest.rows])
    all_ = _whole(joined([step.flows, rest.flows]))
    return Told(all_, devices, _peaks(all_, devices, rows))


def _whole(flows: DeviceFlows) -> DeviceFlows:
    """ICMP without type and code: meters put them into either port, or say nothing."""
    is_icmp = flows.protocol == Protocol.ICMP
    flows.device_port[is_icmp] = flows.peer_port[is_icmp] = 0
    return flows


def _peaks(flows: DeviceFlows, devices: list[str], rows: Rows) -> dict[tuple[str, str], float]:
    place = {name: FLOW.numeric_names.index(name) for name in PEAKS}
    return {
        (device, name): float(rows["numbers"][flows.device == number, at].max(initial=0))
        for number, device in enumerate(devices)
        for name, at in place.items()
    }


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of a sensor against the reference. Flows are compared that both have, by their ends, in order."""

    flows: int
    reference_flows: int
    both: int
    other_devices: tuple[str, ...]
    """That one of the two does not have."""
    direction: int
    """Flows that go another way."""
    state: int
    packets: int
    ip_bytes: int
    cells: int
    """Values of windows, the flows in the reference's order."""
    cells_apart: int
    columns_apart: dict[str, int]
    peaks_apart: dict[str, tuple[float, float]]
    """Largest values of a device's windows, each sensor in its own order: the reference's, the sensor's."""

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {
            "windows_apart_share": round(self.cells_apart / max(self.cells, 1), 4)
        }


def likeness(reference: Told, sensor: Told, *, is_sample: bool = False) -> Likeness:
    """`is_sample`: the sensor's records are the first of more, so that only what it tells is asked for."""
    ours, theirs = _pairs(reference, sensor)
    one, other = reference.flows.at(ours), sensor.flows.at(theirs)
    known = (one.state != State.UNKNOWN) & (other.state != State.UNKNOWN)
    apart, cells = _windows_apart(one, other, reference.devices)
    devices = set(reference.devices) ^ set(sensor.devices)
    if is_sample:
        devices -= set(reference.devices)
    return Likeness(
        len(sensor.flows),
        len(reference.flows),
        len(ours),
        tuple(sorted(devices)),
        int((_way(one) != _way(other)).sum()),
        int((known & (one.state != other.state)).sum()),
        _differing(one, other, ("packets_out", "packets_in"), 0.0),
        _differing(one, other, ("ip_bytes_out", "ip_bytes_in"), 0.0),
        cells,
        sum(apart.values()),
        {name: count for name, count in apart.items() if count},
        {} if is_sample else _peaks_apart(reference, sensor),
    )


def _pairs(reference: Told, sensor: Told) -> tuple[Index, Index]:
    """Places of flows that both have, in the order of the reference's ends."""
    here: dict[Key, list[int]] = defaultdict(list)
    keys = sensor.keys()
    for place in np.argsort(sensor.flows.start_us, kind="stable").tolist():
        here[keys[place]].append(place)
    pairs = []
    reference_keys = reference.keys()
    for place in np.argsort(reference.flows.start_us, kind="stable").tolist():
        found = here.get(reference_keys[place])
        if found:
            pairs.append((place, found.pop(0)))
    pairs.sort(key=lambda pair: int(reference.flows.end_us[pair[0]]))
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _way(flows: DeviceFlows) -> npt.NDArray[np.int64]:
    return flows.role.astype(np.int64) * len(DIRECTIONS) + flows.direction


def _differing(one: DeviceFlows, other: DeviceFlows, names: tuple[str, ...], slack: float) -> int:
    apart = np.zeros(len(one), np.bool_)
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        apart |= (a >= 0) & (b >= 0) & (np.abs(a - b) > slack * np.maximum(a, b))
    return int(apart.sum())


def _windows_apart(one: DeviceFlows, other: DeviceFlows, devices: list[str]) -> tuple[dict[str, int], int]:
    """Both as if they had come in the same order, each with its own times and counters."""
    order = np.argsort(one.device, kind="stable")
    of = one.device[order]
    rows = [
        advance_released(blank(len(devices)), _of_devices(flows.at(order), of)).rows for flows in (one, other)
    ]
    present = [FLOW.present(part) for part in rows]
    found, cells = {}, 0
    for names, slack, least in ((COUNTED, COUNT_SLACK, 1.0), (SHARED, 0.0, 0.1), (SUMMED, BYTES_SLACK, 1.0)):
        for name in names:
            at = FLOW.numeric_names.index(name)
            a, b = (part["numbers"][:, at].astype(np.float64) for part in rows)
            both = present[0][:, at] & present[1][:, at]
            cells += int(both.sum())
            found[name] = int((both & (np.abs(a - b) > np.maximum(slack * np.maximum(a, b), least))).sum())
    return found, cells


def _of_devices(flows: DeviceFlows, device: Index) -> DeviceFlows:
    flows.device[:] = device
    return flows


def _peaks_apart(reference: Told, sensor: Told) -> dict[str, tuple[float, float]]:
    apart = {}
    for (device, name), right in reference.peaks.items():
        found = sensor.peaks.get((device, name), 0.0)
        if abs(found - right) > max(COUNT_SLACK * max(found, right), 1.0):
            apart[f"{device} {name}"] = (right, found)
    return apart
