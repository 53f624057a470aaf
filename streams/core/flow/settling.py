"""From records to flows: halves are joined, and what a sensor tells again and again becomes one flow.

- A half waits for the other one: same ends and ports, other way, overlapping in time.
- An interim record opens a flow or makes an open one grow, by its identity; its counters are totals so far.
  The final record closes it, and the flow counts once.
- A piece that an active time-out cut (`Quality.CUT` on a final record) has counters of its own: pieces with
  the same ends that follow each other add up, until one comes that was not cut.

What waits is let go by `release` once the watermark is far enough: a half as what it is alone, an open flow
as far as it was told. There is room for HELD; who comes beyond it pushes out whoever waits longest.

Which records belong together is decided one by one, by a few whole numbers of each (`matching.py`); what
becomes of them is computed for all at once (`assembling.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.flow.assembling import assembled, let_go, packed, unpacked
from streams.core.flow.columns import DeviceFlows, Index, Mask, joined
from streams.core.flow.matching import matched
from streams.core.flow.records import Kind
from streams.core.flow.state import HELD_RECORD, States, bytes_of
from streams.core.flows import Quality
from streams.core.moving import copied

NEVER: Final = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long records wait, by the watermark, after their end."""

    half_us: int = 10_000_000
    open_us: int = 3_600_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """Flows (M,) that count, in device order and the order in which they became such."""

    flows: DeviceFlows
    cause: Index
    """(M,) place of the record with which each did."""
    held: States
    """(D, HELD) what waits afterwards."""


def settle(states: States, flows: DeviceFlows) -> Settled:
    """Of new records (N,) in device order."""
    held = bytes_of(states, "held").copy().view(HELD_RECORD)  # (D, HELD)
    special = _special(held, flows)
    if not special.any():
        return Settled(flows, np.arange(len(flows)), held)
    places = np.flatnonzero(special)
    records = flows.at(places)
    devices = np.unique(records.device)
    waiting, kinds = unpacked(held[devices], devices)
    pool = joined([waiting, records])
    found = matched(pool, kinds)
    pool = assembled(pool, found)
    made = pool.at(found.places(found.made))
    made = let_go(made, np.array(found.pushed_out, np.int64), timely=False)
    waits = pool.at(found.places(found.waiting))
    held[devices] = packed(waits, np.array(found.kinds, np.int64), devices)
    plain = np.flatnonzero(~special)
    cause = np.concatenate([plain, places[np.array(found.causes, np.int64) - len(kinds)]])
    order = np.argsort(cause, kind="stable")
    return Settled(joined([flows.at(plain), made]).at(order), cause[order], held)


def release(states: States, watermark_us: int | Index, patience: Patience) -> tuple[DeviceFlows, States]:
    """What has waited long enough at this watermark, or at those of the devices (D,).

    As flows in device order; and the states without it.
    """
    kind = states["held"]["state"] >> 4
    limit = np.where(kind == Kind.HALF, patience.half_us, patience.open_us)
    reached_us = np.asarray(watermark_us).reshape(-1, 1)  # (1 or D, 1)
    due = (kind > 0) & (states["held"]["end_us"] + limit <= reached_us)
    after = copied(states)
    devices = np.flatnonzero(due.any(axis=1))
    waiting, kinds = unpacked(states["held"][devices], devices)
    goes = due[devices][kind[devices] > 0]  # (H,) in the order of `waiting`
    after["held"][devices] = packed(waiting.at(~goes), kinds[~goes], devices)
    return let_go(waiting.at(goes), kinds[goes], timely=True), after


def next_release_us(states: States, patience: Patience) -> Index:
    """(D,) the watermark at which something of each device is let go; NEVER: nothing waits."""
    kind = states["held"]["state"] >> 4
    limit = np.where(kind == Kind.HALF, patience.half_us, patience.open_us)
    due = np.where(kind > 0, states["held"]["end_us"] + limit, NEVER)
    return np.asarray(due.min(axis=1))


def _special(held: States, flows: DeviceFlows) -> Mask:
    """(N,) which records can have to do with others: the rest are flows as they are."""
    cut = (flows.quality & int(Quality.CUT)) != 0
    special = flows.half | ~flows.final | cut
    waits: Mask = np.any(held["state"] >> 4 >= Kind.OPEN, axis=1)  # (D,)
    waits[flows.device[~flows.final | cut]] = True
    return np.asarray(special | waits[flows.device])
