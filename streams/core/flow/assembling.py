"""What records that belong together are as one flow, all of them at once; and how records wait, packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import (
    COLUMNS,
    COUNTERS,
    MOST_COUNTED,
    UNKNOWN,
    DeviceFlows,
    Index,
    columns_of,
    joined,
)
from streams.core.flow.halves import alone, of_both
from streams.core.flow.matching import Matched
from streams.core.flow.records import AS_IT_IS, Kind
from streams.core.flow.state import HELD, HELD_RECORD, States
from streams.core.flows import Quality

_CUT: Final = int(Quality.CUT)

Totals = Callable[[Index, Index], Index]


def assembled(pool: DeviceFlows, found: Matched) -> DeviceFlows:
    """Records (R,), and behind them what they become: pairs, chains and sums."""
    if found.pairs:
        one, other = np.array(found.pairs, np.int64).T
        pool = joined([pool, of_both(pool.at(one), pool.at(other))])
    for groups, totals in ((found.chains, _largest), (found.sums, _added)):
        if groups:
            members, starts = found.members(groups)
            pool = joined([pool, _folded(pool.at(members), starts, totals)])
    return pool


def _folded(flows: DeviceFlows, starts: Index, totals: Totals) -> DeviceFlows:
    """Each group's flows as one, the later over the earlier; a group begins at each of `starts`."""
    last = np.append(starts[1:], len(flows)) - 1
    is_last = np.zeros(len(flows), np.bool_)
    is_last[last] = True
    before = np.where(is_last, 0, flows.quality & ~_CUT)
    counters: dict[str, Any] = {name: totals(getattr(flows, name), starts) for name in COUNTERS}
    return replace(
        flows.at(last),
        start_us=np.minimum.reduceat(flows.start_us, starts),
        end_us=np.maximum.reduceat(flows.end_us, starts),
        service=_last_said(flows.service, starts),
        state=_last_said(flows.state, starts),
        quality=flows.quality[last] | np.bitwise_or.reduceat(before, starts),
        **counters,
    )


def _largest(counted: Index, starts: Index) -> Index:
    """Totals so far do not shrink, whichever comes first."""
    return np.maximum.reduceat(counted, starts)


def _added(counted: Index, starts: Index) -> Index:
    """What one of them does not know stays unknown."""
    known = np.minimum.reduceat(counted, starts) >= 0
    whole = np.minimum(np.add.reduceat(np.maximum(counted, 0), starts), MOST_COUNTED)
    return np.where(known, whole, UNKNOWN)


def _last_said(column: npt.NDArray[Any], starts: Index) -> npt.NDArray[Any]:
    """The last that is not 0, in each group."""
    at = np.maximum.reduceat(np.where(column != 0, np.arange(len(column)), -1), starts)
    return np.where(at >= 0, column[np.maximum(at, 0)], 0).astype(column.dtype)


def let_go(flows: DeviceFlows, kinds: Index, *, timely: bool) -> DeviceFlows:
    """What waited as these kinds, as flows that count; 0 is none that waited.

    `timely`: it waited as long as it should.
    """
    if not kinds.any():
        return flows
    half = kinds == Kind.HALF
    if half.any():
        by_itself = alone(flows.at(half), timely=timely)
        columns = {name: getattr(flows, name).copy() for name in COLUMNS}
        for name, column in columns.items():
            column[half] = getattr(by_itself, name)
        flows = DeviceFlows(**columns)
    cut = (kinds == Kind.OPEN) | (kinds == Kind.PIECE)
    return replace(flows, final=flows.final | (kinds > 0), quality=flows.quality | np.where(cut, _CUT, 0))


def unpacked(held: States, devices: Index) -> tuple[DeviceFlows, Index]:
    """What waits in states (D, HELD) of these devices: (H,) by device, the oldest first; and their kinds."""
    row, slot = np.nonzero(held["state"])
    one = held[row, slot]
    kind = (one["state"] >> 4).astype(np.int64)
    columns = {name: one[name] for name in AS_IT_IS}
    columns |= {
        "device": devices[row],
        "role": one["ends"] & 1,
        "direction": one["ends"] >> 1,
        "state": one["state"] & 15,
        "protocol": one["protocol"] & 0x7F,
        "final": one["protocol"] >> 7,
        "half": kind == Kind.HALF,
    }
    return columns_of(**columns), kind


def packed(flows: DeviceFlows, kinds: Index, devices: Index) -> States:
    """The same packed, (D, HELD): the oldest first, empty places before it."""
    one = np.zeros(len(flows), HELD_RECORD)
    for name in AS_IT_IS:
        one[name] = getattr(flows, name)
    one["ends"] = flows.role | flows.direction << 1
    one["protocol"] |= flows.final.astype(np.uint8) << 7
    one["state"] = flows.state | kinds << 4
    found = np.zeros((len(devices), HELD), HELD_RECORD)
    row = np.searchsorted(devices, flows.device)
    count = np.bincount(row, minlength=len(devices))
    rank = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    found[row, HELD - count[row] + rank] = one
    return found
