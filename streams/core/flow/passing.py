"""A turn of records in which time passes: what has waited long enough is let go on the way.

Time is a device's own: the latest of its records so far, as they count (`core/clocks.py`). With each new
record time passes first: what was due is let go, by that record. Then the record itself comes. A repeat is no
record. So what counts, and with which record, does not depend on the turns.

    half of 10:00:00   waits
    flow of 10:00:04   counts
    flow of 10:00:11   lets the half go, as a flow without an answer; then counts itself
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streams.core.flow.columns import DeviceFlows, Index
from streams.core.flow.features import Advance, Passing, advance
from streams.core.flow.records import PATIENCE, Patience
from streams.core.flow.settling import may_be_held
from streams.core.flow.state import States


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
    waits = (states["held"]["state"] > 0).any() or may_be_held(records).any()
    step = advance(states, records, Passing(latest_us, time_us, patience) if waits else None)
    after = latest_us.copy()
    np.maximum.at(after, records.device[step.new], time_us[step.new])
    begins = np.searchsorted(step.record, step.record, "left")
    return Passed(step, np.arange(len(step.record)) - begins, after)
