"""From records to flows: halves are joined, and what a sensor tells again and again becomes one flow.

- A half waits for the other one: same ends and ports, other way, overlapping in time.
- An interim record opens a flow or makes an open one grow, by its identity; its counters are totals so far.
  The final record closes it, and the flow counts once.
- A piece that an active time-out cut (`Quality.CUT` on a final record) has counters of its own: pieces with
  the same ends that follow each other add up, until one comes that was not cut.

What has waited long enough is let go by the next record, or by `release`: a half as what it is alone, an open
flow as far as it was told. There is room for HELD; who comes beyond it pushes out whoever waits longest.

Which records belong together is decided one by one, by a few whole numbers of each (`matching.py`); what
becomes of them is computed for all at once (`assembling.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.core.clocks import latest_of
from streams.core.flow.assembling import assembled, let_go, packed, unpacked
from streams.core.flow.columns import DeviceFlows, Index, Mask, joined
from streams.core.flow.matching import Arrivals, matched
from streams.core.flow.records import NEVER, PATIENCE, Kind, Patience
from streams.core.flow.state import HELD_RECORD, States, bytes_of
from streams.core.flows import Quality
from streams.core.moving import copied


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Flows (M,) that count, in device order and the order in which they became such."""

    flows: DeviceFlows
    cause: Index
    """(M,) place of the record with which each did."""
    held: States
    """(D, HELD) what waits afterwards."""


def settle(
    states: States, flows: DeviceFlows, watermark_us: Index | None = None, patience: Patience = PATIENCE
) -> Settled:
    """Of new records (N,) in device order, and their devices' time with each; None: no time passes."""
    held = bytes_of(states, "held").copy().view(HELD_RECORD)  # (D, HELD)
    special = _special(held, flows)
    passes = special
    if watermark_us is None:
        watermark_us = np.full(len(flows), -NEVER)
    else:
        passes = special | _may_be_due(states, flows, watermark_us, patience)
    if not passes.any():
        return Settled(flows, np.arange(len(flows)), held)
    places = np.flatnonzero(passes)
    arrivals = Arrivals(places, flows.device[places], watermark_us[places], special[places])
    devices = np.unique(arrivals.device)
    waiting, kinds = unpacked(held[devices], devices)
    pool = joined([waiting, flows.at(special)])
    found = matched(pool, kinds, arrivals, patience)
    pool = assembled(pool, found)
    made = pool.at(found.places(found.made))
    made = let_go(made, np.array(found.pushed_out, np.int64), timely=False)
    made = let_go(made, np.array(found.timed_out, np.int64), timely=True)
    waits = pool.at(found.places(found.waiting))
    held[devices] = packed(waits, np.array(found.kinds, np.int64), devices)
    plain = np.flatnonzero(~special)
    cause = np.concatenate([np.array(found.causes, np.int64), plain])
    order = np.argsort(cause, kind="stable")  # what a plain record lets go stands before it
    return Settled(joined([made, flows.at(plain)]).at(order), cause[order], held)


def release(states: States, watermark_us: int | Index, patience: Patience) -> tuple[DeviceFlows, States]:
    """What has waited long enough at this watermark, or at those of the devices (D,).

    As flows in device order; and the states without it.
    """
    kind = states["held"]["state"] >> 4
    reached_us = np.asarray(watermark_us).reshape(-1, 1)  # (1 or D, 1)
    due = (kind > 0) & (_due_us(states, patience) <= reached_us)
    after = copied(states)
    devices = np.flatnonzero(due.any(axis=1))
    waiting, kinds = unpacked(states["held"][devices], devices)
    goes = due[devices][kind[devices] > 0]  # (H,) in the order of `waiting`
    after["held"][devices] = packed(waiting.at(~goes), kinds[~goes], devices)
    return let_go(waiting.at(goes), kinds[goes], timely=True), after


def next_release_us(states: States, patience: Patience) -> Index:
    """(D,) the watermark at which something of each device is let go; NEVER: nothing waits."""
    return np.asarray(_due_us(states, patience).min(axis=1))


def _due_us(states: States, patience: Patience) -> Index:
    """(D, HELD) the watermark at which each is let go; NEVER: nothing waits there."""
    kind = states["held"]["state"] >> 4
    limit = np.where(kind == Kind.HALF, patience.half_us, patience.open_us)
    return np.where(kind > 0, states["held"]["end_us"] + limit, NEVER)


def may_be_held(flows: DeviceFlows) -> Mask:
    """(N,) which records are no flow by themselves."""
    return np.asarray(flows.half | _goes_on(flows))


def _goes_on(flows: DeviceFlows) -> Mask:
    """(N,) which records are not the last of their flow, or were cut."""
    return np.asarray(~flows.final | ((flows.quality & int(Quality.CUT)) != 0))


def _may_be_due(states: States, flows: DeviceFlows, watermark_us: Index, patience: Patience) -> Mask:
    """(N,) with which records something that waits may be let go: of before, or of this turn."""
    limit = np.where(flows.half, min(patience.half_us, patience.open_us), patience.open_us)
    due = np.where(may_be_held(flows), flows.end_us + limit, NEVER)
    earliest = -latest_of(-next_release_us(states, patience), flows.device, -due).before
    return np.asarray(watermark_us >= earliest)


def _special(held: States, flows: DeviceFlows) -> Mask:
    """(N,) which records can have to do with others: the rest are flows as they are."""
    waits: Mask = np.any(held["state"] >> 4 >= Kind.OPEN, axis=1)  # (D,)
    waits[flows.device[_goes_on(flows)]] = True
    return np.asarray(may_be_held(flows) | waits[flows.device])
