"""A turn of records in which time passes: what has waited long enough is let go on the way.

Time is a device's own: the latest of its records so far, as they count (`core/clocks.py`). With each new
record time passes first: what was due is let go, by that record. Then the record itself comes. A repeat is no
record. So what counts, and with which record, does not depend on the turns.

    half of 10:00:00   waits
    flow of 10:00:04   counts
    flow of 10:00:11   lets the half go, as a flow without an answer; then counts itself

Most turns have nothing that waits, and are one step. Else a turn is cut, for each device, where something may
be due: there is a round of steps for each such place of the device that has most of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from streams.core.clocks import latest_of
from streams.core.flow.columns import DeviceFlows, Index, Mask, bounded, joined
from streams.core.flow.features import Advance, advance, advance_released
from streams.core.flow.records import flows_of
from streams.core.flow.repeats import new_records
from streams.core.flow.settling import NEVER, Patience, next_release_us, release
from streams.core.flow.state import States
from streams.core.flows import Quality
from streams.core.moving import copied

PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """What became of a turn's N records."""

    step: Advance
    ordinal: Index
    """(M,) which of the flows that count with its record each is, from 0."""
    latest_us: Index
    """(D,) afterwards."""


def pass_turn(
    states: States,
    latest_us: Index,
    records: DeviceFlows,
    time_us: Index,
    patience: Patience = PATIENCE,
) -> Passed:
    """Records (N,) in arrival order, and the states and latest times (D,) of their devices before them.

    `time_us` (N,) is what each record's end counts as.
    """
    if not _may_wait(states, records):
        step = advance(states, records)
        after = latest_us.copy()
        np.maximum.at(after, records.device[step.new], time_us[step.new])
        return Passed(step, np.zeros(len(step.record), np.int64), after)
    order = np.argsort(records.device, kind="stable")
    is_new, _ = new_records(states, bounded(records.at(order)))
    new = np.zeros(len(records), np.bool_)
    new[order[is_new]] = True
    places = order[is_new]  # in device order
    clock = latest_of(latest_us, records.device[places], time_us[places])
    after = latest_us.copy()
    np.maximum.at(after, records.device[places], time_us[places])
    course = _Course(copied(states), patience)
    course.run(records.at(places), places, clock.after)
    return Passed(*_in_order(course, new), after)


def _may_wait(states: States, records: DeviceFlows) -> bool:
    return bool((states["held"]["state"] > 0).any() or _may_be_held(records).any())


def _may_be_held(records: DeviceFlows) -> Mask:
    return np.asarray(records.half | ~records.final | ((records.quality & int(Quality.CUT)) != 0))


class _Course:
    """Rounds of steps; what counted is collected in the order of time, device by device."""

    def __init__(self, states: States, patience: Patience) -> None:
        self.states = states
        self.parts: list[Advance] = [advance(states, flows_of([]))]
        """Their `record` are places among the turn's."""
        self._patience = patience

    def run(self, records: DeviceFlows, place: Index, watermark_us: Index) -> None:
        """New records (N,) in device order, their places in the turn, and their devices' time with each."""
        while len(records):
            breaks = self._breaks(records, watermark_us)
            first = _first_of_each(records.device, breaks)  # (N,) the device's first break, or beyond all
            before = np.arange(len(records)) < first
            self._step(records.at(before), place[before])
            at = np.unique(first[~before])
            self._release(records.device[at], watermark_us[at], place[at])
            records, place, watermark_us = records.at(~before), place[~before], watermark_us[~before]

    def _breaks(self, records: DeviceFlows, watermark_us: Index) -> Mask:
        """(N,) before which records something may be due: held, or to be held since."""
        limit = np.where(records.half, self._patience.half_us, self._patience.open_us)
        due = np.where(_may_be_held(records), records.end_us + limit, NEVER)
        held = next_release_us(self.states, self._patience)
        earliest = -latest_of(-held, records.device, -due).before
        return np.asarray(watermark_us >= earliest)

    def _step(self, records: DeviceFlows, place: Index) -> None:
        if not len(records):
            return
        devices, number = np.unique(records.device, return_inverse=True)
        step = advance(self.states[devices], replace(records, device=number))
        self.states[devices] = step.states
        self._take(step, devices, place[step.record])

    def _release(self, devices: Index, watermark_us: Index, place: Index) -> None:
        """`devices` ascending, each once."""
        flows, states = release(self.states[devices], watermark_us, self._patience)
        self.states[devices] = states
        if len(flows):
            step = advance_released(states, flows)
            self.states[devices] = step.states
            self._take(step, devices, place[flows.device])

    def _take(self, step: Advance, devices: Index, place: Index) -> None:
        flows = replace(step.flows, device=devices[step.flows.device])
        self.parts.append(replace(step, record=place, flows=flows))


def _first_of_each(device: Index, breaks: Mask) -> Index:
    """(N,) the place of the first break of each record's device; N where it has none."""
    first = np.full(int(device[-1]) + 1, len(device))
    np.minimum.at(first, device[breaks], np.flatnonzero(breaks))
    return first[device]


def _in_order(course: _Course, new: Mask) -> tuple[Advance, Index]:
    """All that counted, by record; of one record what was let go stands first. With their ordinals."""
    parts = course.parts
    record = np.concatenate([part.record for part in parts])
    order = np.argsort(record, kind="stable")
    record = record[order]
    flows = joined([part.flows for part in parts]).at(order)
    rows = np.concatenate([part.rows for part in parts])[order]
    age_ms = np.concatenate([part.age_ms for part in parts])[order]
    starts = np.searchsorted(record, record, "left")
    return Advance(record, flows, rows, age_ms, new, course.states), np.arange(len(record)) - starts
