"""One capture as Zeek's JSON in order, late and repeated: features beside those of a plain recomputation.

    in order     as the file has them
    repeated     each 2 to 5 times in all, under new uids, soon after the first
    shuffled     over six partitions without keys, each record late by up to 300 s, and repeated as above
    killed       six partitions, two workers that read three each, one of them killed now and then: what it
                 had not acknowledged is written once more
    all of it    shuffled, repeated and killed

The features of each are those of the recomputation over the same arrivals. Against the order of the file, a
flow may differ only where other flows of its device had come before it than in the file: that share is the
bound. A repeat may count only where its device had more than SEEN other flows in between: the share of the
repeats that counts is told, too.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.sensors.measure import file_records
from streams.client.flow_files import FileRecord
from streams.codec.ingest.flows.decoder import FlowDecoder
from streams.core.flow.columns import DeviceFlows, Index, from_values
from streams.core.flow.features import advance
from streams.core.flow.records import records_of
from streams.core.flow.state import LAST, SEEN, blank
from streams.core.flow.table import FLOW, SLOW
from streams.core.flows import DeviceFlow
from streams.core.home import Home
from streams.core.tables import Rows

PARTITIONS: Final = 6
WORKERS: Final = 2
LATE_S: Final = 300.0
TURN: Final = 500
_SOON: Final = 20
"""Records between a record and its repeats, at most."""
_UNACKNOWLEDGED: Final = 500
_KILLS: Final = 12
_RECENT_MS: Final = 2_000
Name = tuple[int, str]
"""Of a device flow: its record in the file, and whose it is."""


@dataclass(frozen=True, slots=True)
class Arrival:
    record: int
    """Place in the file."""
    again: int
    """0: the first time."""


def measure(data: Path, limit: int, seed: int) -> dict[str, Any]:
    lines, ends_s = _zeek(data, limit)
    rng = random.Random(seed)
    in_order = [Arrival(place, 0) for place in range(len(lines))]
    plan = {
        "in order": in_order,
        "repeated": _repeated(range(len(lines)), rng),
        "shuffled": _repeated(_shuffled(ends_s, rng), rng),
        "killed": _killed(in_order, rng),
        "all of it": _killed(_repeated(_shuffled(ends_s, rng), rng), rng),
    }
    found = {name: _Course(lines, arrivals) for name, arrivals in plan.items()}
    baseline = found["in order"]
    return {
        "records": len(lines),
        "device_flows": len(baseline.flows),
        "seed": seed,
        "courses": {name: course.figures(baseline) for name, course in found.items()},
    }


def is_broken(result: dict[str, Any]) -> bool:
    laws = ("unlike_the_recomputation", "lost", "counted_again_within_memory", "apart_beyond_the_bound")
    return any(course[law] for course in result["courses"].values() for law in laws)


def _zeek(data: Path, limit: int) -> tuple[list[dict[str, Any]], list[float]]:
    """Lines of a conn.log as objects of Zeek's JSON, and when each ended."""
    found: list[dict[str, Any]] = []
    for record in file_records(data):
        if len(found) == limit:
            break
        found.append(_as_json(record))
    found = [one for one in found if "conn_state" in one]
    return found, [float(one["ts"]) + float(one.get("duration", 0)) for one in found]


_NUMBERS: Final = ("ts", "duration")
_WHOLE: Final = ("id.orig_p", "id.resp_p", "missed_bytes", "orig_bytes", "resp_bytes")


def _as_json(record: FileRecord) -> dict[str, Any]:
    text = (record.value or b"").decode().rstrip("\n")
    if record.header is None:
        return dict(json.loads(text))
    cells = dict(zip(record.header.columns, text.split(record.header.separator), strict=False))
    known = {
        name: cell for name, cell in cells.items() if cell not in ("-", "(empty)") and "label" not in name
    }
    numbers: dict[str, Any] = {name: float(known[name]) for name in _NUMBERS if name in known}
    whole: dict[str, Any] = {
        name: int(cell) for name, cell in known.items() if name in _WHOLE or name[5:] in ("pkts", "ip_bytes")
    }
    return {**known, **numbers, **whole}


def _repeated(places: Iterable[int], rng: random.Random) -> list[Arrival]:
    timeline: list[tuple[float, Arrival]] = []
    for at, place in enumerate(places):
        timeline.append((at, Arrival(place, 0)))
        for again in range(1, rng.randint(2, 5)):
            timeline.append((at + rng.uniform(0.01, _SOON), Arrival(place, again)))
    return [arrival for _, arrival in sorted(timeline, key=lambda one: one[0])]


def _shuffled(ends_s: Sequence[float], rng: random.Random) -> list[int]:
    """Each partition lags by its own, and each record by as much again, in all at most LATE_S."""
    lag_s = [rng.uniform(0, LATE_S / 2) for _ in range(PARTITIONS)]
    arrives_s = [end_s + rng.choice(lag_s) + rng.uniform(0, LATE_S / 2) for end_s in ends_s]
    return sorted(range(len(ends_s)), key=arrives_s.__getitem__)


def _killed(arrivals: Sequence[Arrival], rng: random.Random) -> list[Arrival]:
    """Now and then the latest records of a worker's partitions come once more: its successor writes them."""
    kills = set(rng.sample(range(len(arrivals)), min(_KILLS, len(arrivals))))
    held: list[list[tuple[int, Arrival]]] = [[] for _ in range(PARTITIONS)]
    found: list[Arrival] = []
    for at, arrival in enumerate(arrivals):
        held[rng.randrange(PARTITIONS)].append((at, arrival))
        found.append(arrival)
        if at in kills:
            mine = range(rng.randrange(WORKERS), PARTITIONS, WORKERS)
            again = [one for number in mine for one in held[number][-rng.randint(1, _UNACKNOWLEDGED) :]]
            found += [one for _, one in sorted(again, key=lambda one: one[0])]
    return found


class _Course:
    """What became of records that arrived so: the rows of the flows that counted, and those of the oracle."""

    def __init__(self, lines: Sequence[dict[str, Any]], arrivals: Sequence[Arrival]) -> None:
        values, self.arrival = _device_flows(lines, arrivals)
        self.flows, self.devices = from_values(values)
        self.counted, self.rows = _advanced(self.flows, len(self.devices))
        self.wrong = _wrong(self.flows, len(self.devices), self.counted, self.rows)

    def figures(self, baseline: _Course) -> dict[str, Any]:
        first, again, near = self._counted_again()
        mine = {self._name(at): place for place, at in first.items()}
        theirs = {baseline._name(at): place for place, at in baseline._counted_again()[0].items()}
        names = [name for name in theirs if name in mine]
        ours, right = (np.array([places[name] for name in names], np.int64) for places in (mine, theirs))
        apart = _apart(self.rows[ours], baseline.rows[right])
        any_apart = np.logical_or.reduce(list(apart.values()))
        bound, bound_2_s = (
            np.array([one[name] != other[name] for name in names])
            for one, other in zip(self.pasts(), baseline.pasts(), strict=True)
        )
        beyond = (any_apart & ~bound) | (apart["2_s"] & ~bound_2_s)
        return {
            "arrivals": len(self.arrival),
            "unlike_the_recomputation": self.wrong,
            "lost": len(theirs) - len(names),
            "repeats": len(self.arrival) - len(theirs),
            "counted_again": again,
            "counted_again_share": round(again / max(len(self.arrival) - len(theirs), 1), 4),
            "counted_again_within_memory": near,
            "apart_share": _share(any_apart),
            "bound_share": _share(bound),
            "bound_share_2_s": _share(bound_2_s),
            "apart_beyond_the_bound": int(beyond.sum()),
            "apart_share_by": {name: _share(one) for name, one in apart.items()},
        }

    def _name(self, at: int) -> Name:
        return self.arrival[at].record, self.devices[int(self.flows.device[at])]

    def _counted_again(self) -> tuple[dict[int, int], int, int]:
        """Of the flows that counted first their rows' places by arrival; how many counted once more, and how
        many of these while their device still remembered the record."""
        seen: dict[Name, int] = {}
        of_device = np.zeros(len(self.devices), np.int64)
        first: dict[int, int] = {}
        again = near = 0
        for place, at in enumerate(self.counted.tolist()):
            device, name = int(self.flows.device[at]), self._name(at)
            of_device[device] += 1
            if name in seen:
                again += 1
                near += int(of_device[device] - seen[name] <= SEEN)
            else:
                first[place] = at
            seen[name] = int(of_device[device])
        return first, again, near

    def pasts(self) -> tuple[dict[Name, int], dict[Name, int]]:
        """Of each flow what its device had counted before it: all in their order, and those of its 2 s."""
        chain: dict[int, int] = {}
        latest: dict[int, deque[tuple[int, Name]]] = defaultdict(lambda: deque(maxlen=LAST - 1))
        whole, recent = dict[Name, int](), dict[Name, int]()
        for at in self.counted.tolist():
            device, name = int(self.flows.device[at]), self._name(at)
            ends_ms = int(self.flows.end_us[at]) // 1_000
            near = frozenset(one for then_ms, one in latest[device] if 0 <= ends_ms - then_ms < _RECENT_MS)
            whole.setdefault(name, chain.get(device, 0))
            recent.setdefault(name, hash(near))
            chain[device] = hash((chain.get(device, 0), name))
            latest[device].append((ends_ms, name))
        return whole, recent


def _device_flows(
    lines: Sequence[dict[str, Any]], arrivals: Sequence[Arrival]
) -> tuple[list[DeviceFlow], list[Arrival]]:
    """Through the dialect, as bytes; the arrival of each device flow."""
    home, decoder = Home(), FlowDecoder()
    values: list[DeviceFlow] = []
    of: list[Arrival] = []
    for start in range(0, len(arrivals), TURN):
        block = arrivals[start : start + TURN]
        read = decoder.decode([FileRecord(_line(lines, one), at) for at, one in enumerate(block)])
        for position, flow in zip(read.flows.position.tolist(), read.flows, strict=True):
            mine = home.device_flows(flow)
            values += mine
            of += [block[position]] * len(mine)
    return values, of


def _line(lines: Sequence[dict[str, Any]], arrival: Arrival) -> bytes:
    uid = {"uid": f"C{arrival.record}x{arrival.again}"}
    return json.dumps({**lines[arrival.record], **uid}).encode()


def _advanced(flows: DeviceFlows, devices: int) -> tuple[Index, Rows]:
    states, counted, rows = blank(devices), [], []
    for first in range(0, len(flows), TURN):
        step = advance(states, flows.at(slice(first, first + TURN)))
        states = step.states
        counted.append(step.record + first)
        rows.append(step.rows)
    return np.concatenate(counted), np.concatenate(rows)


def _wrong(flows: DeviceFlows, devices: int, counted: Index, rows: Rows) -> int:
    """Flows that the plain recomputation has otherwise, or not at all."""
    from tests.core.flow.oracle import Device, row_of

    plain = [Device() for _ in range(devices)]
    place = dict(zip(counted.tolist(), rows, strict=True))
    wrong = 0
    for at, record in enumerate(records_of(flows)):
        right = plain[record.device].take(record) or []
        found = place.get(at)
        same = found is None if not right else found is not None and found.tobytes() == row_of(right[-1][1])
        wrong += not same
    return wrong


_ITSELF: Final = ("packets", "ip_bytes", "mean", "bytes_", "duration", "no_", "one_")
_GROUPS: Final[dict[str, Callable[[str], bool]]] = {
    "2_s": lambda name: name.startswith("recent_") and name != "recent_new_peers",
    "last_100": lambda name: name.startswith("last_"),
    "slow": lambda name: name in SLOW,
    "itself": lambda name: name.startswith(
        ("packets", "ip_bytes", "mean", "bytes_", "duration", "no_", "one_")
    ),
    "met_before": lambda name: "new_" in name or name == "gap_s",
}


def _apart(one: Rows, other: Rows) -> dict[str, Any]:
    present = FLOW.present(one), FLOW.present(other)
    names = FLOW.numeric_names
    differs = np.where(
        present[0][:, : len(names)] & present[1][:, : len(names)],
        one["numbers"] != other["numbers"],
        present[0][:, : len(names)] != present[1][:, : len(names)],
    )
    found = {}
    for group, belongs in _GROUPS.items():
        columns = [at for at, name in enumerate(names) if belongs(name)]
        found[group] = differs[:, columns].any(axis=1)
    found["symbols"] = (one["codes"] != other["codes"]).any(axis=1)
    return found


def _share(marks: Any) -> float:
    return round(float(np.mean(marks)), 4) if len(marks) else 0.0
