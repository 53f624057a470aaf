"""The figures of one set of verdicts: by capture, by class and direction, and what false incidents cost."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streams.core.flow.columns import Index, Mask
from streams.core.flow.table import FLOW
from streams.training.flow_protocol.episodes import FEWEST, Episode, Finding, episodes, found_in
from streams.training.flow_protocol.incidents import NONE, Incidents, incidents, observed_us
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, LabelledFlows

Json = dict[str, Any]
DAY_US: Final = 86_400_000_000
BOTH_WAYS: Final = frozenset({"c2", "r2l"})
"""Classes of one column: who began says little about them."""


RETRYING: Final = "c2_retrying"
"""A part of `c2`: what carries over to networks never seen."""
FAILURES: Final = 5


def column_of(target: int, inbound: bool) -> str:
    """`probe_out`, `probe_in`, `c2`."""
    name = CLASSES[target]
    return name if name in BOTH_WAYS else f"{name}_{'in' if inbound else 'out'}"


def retrying_devices(flows: LabelledFlows) -> Index:
    """Whose C2 keeps failing to reconnect: the median of its flows has failures of its own behind it."""
    c2 = flows.target == CLASSES.index("c2")
    behind = flows.rows["numbers"][:, FLOW.numeric_names.index("last_failures_to_host_port")]
    devices = np.unique(flows.device[c2])
    return devices[[np.median(behind[c2 & (flows.device == one)]) >= FAILURES for one in devices.tolist()]]


def figures(flows: LabelledFlows, verdicts: Index) -> Json:
    """Of verdicts (N,): 0, the place of a class in `CLASSES`, or one beyond (novel). Unscored flows are as if
    they were not there."""
    judged = _Judged.of(flows.at(flows.scored), verdicts[flows.scored])
    return {
        "by_capture": _by_capture(judged),
        "columns": _columns(judged),
        **_false_alarms(judged.flows, judged.verdicts, judged.told),
        "inbound_incidents": _inbound(judged.flows, judged.told),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    flows: LabelledFlows
    verdicts: Index
    told: Incidents
    episodes: list[tuple[Episode, Finding | None]]
    columns: dict[str, Mask]
    """Which flows each column is about."""

    @classmethod
    def of(cls, flows: LabelledFlows, verdicts: Index) -> _Judged:
        told = incidents(flows.device, flows.end_us, verdicts != NORMAL)
        found = [(one, found_in(one, flows, verdicts, told)) for one in episodes(flows)]
        columns: dict[str, Mask] = {}
        for target, inbound in itertools.product(range(1, len(CLASSES)), (False, True)):
            those = (flows.target == target) & (flows.inbound == inbound)
            if those.any():
                name = column_of(target, inbound)
                columns[name] = columns.get(name, False) | those
        retrying = np.isin(flows.device, retrying_devices(flows)) & (flows.target == CLASSES.index("c2"))
        if retrying.any():
            columns[RETRYING] = retrying
        return cls(flows, verdicts, told, found, columns)

    def timed(self, column: str, capture: int | None = None) -> Json:
        """Of the column's episodes, in one capture or all."""
        those = self.columns[column]
        mine = [
            found for one, found in self.episodes if those[one.flows[0]] and capture in (None, one.capture)
        ]
        known = [it for it in mine if it]
        return {
            "episodes": len(mine),
            "found": len(known),
            "named": sum(it.is_named for it in known),
            "flows_until_found": statistics.median(it.flows for it in known) if known else None,
            "most_flows_until_found": max((it.flows for it in known), default=None),
            "seconds_until_found": statistics.median(it.seconds for it in known) if known else None,
        }


def _by_capture(judged: _Judged) -> Json:
    """Capture -> column -> figures; of all its attacks, however few."""
    result: Json = {}
    for number, name in enumerate(judged.flows.captures):
        here = judged.flows.capture == number
        columns = {
            column: _recalls(judged.verdicts[here & those], column) | judged.timed(column, number)
            for column, those in judged.columns.items()
            if (here & those).any()
        }
        if columns:
            result[name] = columns
    return result


def _columns(judged: _Judged) -> Json:
    """Column -> means over captures that have at least FEWEST such flows, and of all episodes."""
    flows, verdicts = judged.flows, judged.verdicts
    result: Json = {}
    for column, those in judged.columns.items():
        sizes = np.bincount(flows.capture[those], minlength=len(flows.captures))
        parts = [
            _recalls(verdicts[those & (flows.capture == at)], column)
            for at in np.flatnonzero(sizes >= FEWEST).tolist()
        ]
        if parts:
            result[column] = {
                "flows": int(those.sum()),
                "captures": len(parts),
                "flagged": float(np.mean([it["flagged"] for it in parts])),
                "recall": float(np.mean([it["recall"] for it in parts])),
                "flagged_of_all_flows": float((verdicts[those] != NORMAL).mean()),
                **judged.timed(column),
            }
    return result


def _recalls(verdicts: Index, column: str) -> Json:
    target = CLASSES.index(column.split("_", maxsplit=1)[0])
    return {
        "flows": len(verdicts),
        "flagged": float((verdicts != NORMAL).mean()),
        "recall": float((verdicts == target).mean()),
    }


def _false_alarms(flows: LabelledFlows, verdicts: Index, told: Incidents) -> Json:
    """On devices without attacks: incidents a device-day, in steady state and while set up for the first
    time, and alerts in 100 thousand flows."""
    attacked = np.isin(flows.device, np.unique(flows.device[flows.target > NORMAL]))
    parts = {"all": ~attacked, "steady": ~attacked & ~flows.setting_up, "setup": ~attacked & flows.setting_up}
    result: Json = {"false_incidents": {}}
    for name, part in parts.items():
        days = observed_us(flows.device[part], flows.end_us[part]) / DAY_US
        number = len(np.setdiff1d(told.counts[part], [NONE]))
        result["false_incidents"][name] = {
            "device_days": days,
            "incidents": number,
            "a_device_day": number / days if days else None,
        }
    rung = verdicts[parts["all"]] != NORMAL
    result["false_positives_per_100000"] = float(1e5 * rung.mean()) if len(rung) else None
    result["clean_flows"] = len(rung)
    return result


def _inbound(flows: LabelledFlows, told: Incidents) -> Json:
    """Incidents that an inbound attack opened, and how many a device and source had at most."""
    by = told.opened_by[flows.inbound[told.opened_by] & (flows.target[told.opened_by] > NORMAL)]
    pairs: dict[tuple[int, int], int] = {}
    for device, peer in zip(flows.device[by].tolist(), flows.peer[by].tolist(), strict=True):
        pairs[device, peer] = pairs.get((device, peer), 0) + 1
    return {"incidents": len(by), "most_of_a_device_and_source": max(pairs.values(), default=0)}
