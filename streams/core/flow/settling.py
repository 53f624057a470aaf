"""From records to flows: halves are joined, and what a sensor tells again and again becomes one flow.

- A half waits for the other one: same ends and ports, other way, overlapping in time.
- An interim record opens a flow or makes an open one grow, by its identity; its counters are totals so far.
  The final record closes it, and the flow counts once.
- A piece that an active time-out cut (`Quality.CUT` on a final record) has counters of its own: pieces with
  the same ends that follow each other add up, until one comes that was not cut.

What waits is let go by `release` once the watermark is far enough: a half as what it is alone, an open flow
as far as it was told. There is room for HELD; who comes beyond it pushes out whoever waits longest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streams.core.flow.columns import COUNTERS, UNKNOWN, DeviceFlows, Index, Mask, joined
from streams.core.flow.halves import APART_US, alone, belong_together, of_both
from streams.core.flow.records import Kind, Record, Waiting, flows_of, held_of, held_row, records_of
from streams.core.flow.state import HELD, HELD_RECORD, States, bytes_of
from streams.core.flows import Quality

NEVER: Final = int(np.iinfo(np.int64).max)
PIECES_APART_US: Final = 60_000_000
"""How long after the end of a piece the next one may start."""


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
    waiting: dict[int, list[Waiting]] = {}
    made: list[Record] = []
    causes: list[int] = []
    places = np.flatnonzero(special)
    for place, record in zip(places.tolist(), records_of(flows.at(places)), strict=True):
        if record.device not in waiting:
            waiting[record.device] = held_of(held[record.device], record.device)
        found = _taken(waiting[record.device], record)
        made += found
        causes += [place] * len(found)
    for device, those in waiting.items():
        held[device] = held_row(those, HELD)
    plain = np.flatnonzero(~special)
    cause = np.concatenate([plain, np.array(causes, np.int64)])
    order = np.argsort(cause, kind="stable")
    return Settled(joined([flows.at(plain), flows_of(made)]).at(order), cause[order], held)


def release(states: States, watermark_us: int | Index, patience: Patience) -> tuple[DeviceFlows, States]:
    """What has waited long enough at this watermark, or at those of the devices (D,).

    As flows in device order; and the states without it.
    """
    kind = states["held"]["state"] >> 4
    limit = np.where(kind == Kind.HALF, patience.half_us, patience.open_us)
    reached_us = np.asarray(watermark_us).reshape(-1, 1)  # (1 or D, 1)
    due = (kind > 0) & (states["held"]["end_us"] + limit <= reached_us)
    after = states.copy()
    made: list[Record] = []
    for device in np.flatnonzero(due.any(axis=1)).tolist():
        row = states["held"][device]
        made += [_let_go(one, timely=True) for one in held_of(row[due[device]], device)]
        after["held"][device] = held_row(held_of(row[~due[device]], device), HELD)
    return flows_of(made), after


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


def _taken(waiting: list[Waiting], record: Record) -> list[Record]:
    """The flows that a record brings about; `waiting`, oldest first, is brought up to date."""
    if record.half:
        at = _first(waiting, Kind.HALF, lambda other: belong_together(other, record))
        if at is None:
            return _made_room(waiting, (Kind.HALF, record))
        record = of_both(waiting.pop(at)[1], record)
    at = _first(waiting, Kind.OPEN, lambda other: _is_same(other, record))
    if at is not None:
        record = _grown(waiting.pop(at)[1], record)
    if not record.final:
        return _made_room(waiting, (Kind.OPEN, record))
    at = _first(waiting, Kind.PIECE, lambda other: _follows(other, record))
    if at is not None:
        record = _added(waiting.pop(at)[1], record)
    if record.quality & Quality.CUT:
        return _made_room(waiting, (Kind.PIECE, record))
    return [record]


def _first(waiting: list[Waiting], kind: Kind, fits: Callable[[Record], bool]) -> int | None:
    """The place of whoever waits longest of those that fit."""
    return next((at for at, (its, record) in enumerate(waiting) if its == kind and fits(record)), None)


def _made_room(waiting: list[Waiting], newest: Waiting) -> list[Record]:
    waiting.append(newest)
    return [_let_go(waiting.pop(0), timely=False)] if len(waiting) > HELD else []


def _let_go(one: Waiting, *, timely: bool) -> Record:
    kind, record = one
    if kind == Kind.HALF:
        return alone(record, timely)._replace(final=True)
    return record._replace(final=True, quality=record.quality | Quality.CUT)


def _grown(before: Record, now: Record) -> Record:
    """An open flow with its next record: totals do not shrink, whichever comes first."""
    counters: dict[str, Any] = {name: max(getattr(before, name), getattr(now, name)) for name in COUNTERS}
    return _both(before, now)._replace(**counters)


def _added(before: Record, now: Record) -> Record:
    """A piece with the next one; what one of them does not know stays unknown."""
    counters: dict[str, Any] = {
        name: one + other if min(one, other) >= 0 else UNKNOWN
        for name, one, other in ((name, getattr(before, name), getattr(now, name)) for name in COUNTERS)
    }
    return _both(before, now)._replace(**counters)


def _both(before: Record, now: Record) -> Record:
    return now._replace(
        start_us=min(before.start_us, now.start_us),
        end_us=max(before.end_us, now.end_us),
        service=now.service or before.service,
        state=now.state or before.state,
        quality=now.quality | before.quality & ~Quality.CUT,
    )


def _is_same(open_: Record, record: Record) -> bool:
    """Whether a record is of that open flow; sensors that know nothing of each other may give equal names."""
    return open_.identity == record.identity and open_.ends == record.ends


def _follows(piece: Record, record: Record) -> bool:
    since_us = record.start_us - piece.end_us
    return piece.ends == record.ends and -APART_US <= since_us <= PIECES_APART_US
