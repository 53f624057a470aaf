"""The same captures as other sensors tell them: NetFlow's fields alone, long flows cut to pieces."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from streams.core.flow.columns import COLUMNS, COUNTERS, UNKNOWN, DeviceFlows, Index
from streams.core.flows import Quality
from streams.training.flow_captures import Capture
from streams.training.flows.material import as_netflow

FULL: Final = "all fields"
NETFLOW: Final = "NetFlow's fields"
_SPANS_S: Final = (60, 300)
CUT_MERGED: Final = tuple(f"cut at {span_s} s, merged" for span_s in _SPANS_S)
CUT_ALONE: Final = tuple(f"cut at {span_s} s, not merged" for span_s in _SPANS_S)
VIEWS: Final = (FULL, NETFLOW, *CUT_MERGED, *CUT_ALONE)
"""Not merged: what a sensor makes of it that does not say which of its records are pieces."""


def seen_as(capture: Capture, view: str) -> Capture:
    if view == FULL:
        return capture
    if view == NETFLOW:
        return as_netflow(capture)
    span_us = int(view.split()[2]) * 1_000_000
    return _cut(capture, span_us, told=view in CUT_MERGED)


def _cut(capture: Capture, span_us: int, *, told: bool) -> Capture:
    """Each flow in pieces of at most so long, which come when they end; counters are shared out evenly.

    `told`: every piece but the last says that it is one. All of them have the flow's identity and state.
    """
    flows = capture.flows
    packets = np.maximum(flows.packets_out, flows.packets_in)  # no piece is without any
    count = np.clip(-(-(flows.end_us - flows.start_us) // span_us), 1, np.maximum(packets, 1))
    place = np.repeat(np.arange(len(flows)), count)
    number = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    whole = flows.at(place)
    start_us = whole.start_us + number * span_us
    is_last = number == count[place] - 1
    changed = {
        "start_us": start_us,
        "end_us": np.where(is_last, whole.end_us, start_us + span_us),
        "quality": whole.quality | np.where(told & ~is_last, int(Quality.CUT), 0),
        **{name: _shared(getattr(whole, name), number, count[place]) for name in COUNTERS},
    }
    pieces = DeviceFlows(**{name: changed.get(name, getattr(whole, name)) for name in COLUMNS})
    # An uncut flow keeps its place in the file; a piece but the last comes when it ends.
    arrival = np.where(is_last, whole.end_us, pieces.end_us)
    order = _in_order(arrival, place, is_last)
    return dataclasses.replace(
        capture,
        flows=pieces.at(order),
        row=capture.row[place[order]],
        label=[capture.label[at] for at in place[order].tolist()],
    )


def _shared(counter: Index, number: Index, count: Index) -> Index:
    """A counter's part of each piece; the first ones have what is left over."""
    part = counter // count + (number < counter % count)
    return np.where(counter >= 0, part, UNKNOWN)


def _in_order(arrival_us: Index, place: Index, is_last: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Index:
    """Last pieces in the order of the file, each earlier one before the first of them that ends after it."""
    lasts = np.flatnonzero(is_last)
    reached_us = np.maximum.accumulate(arrival_us[lasts])
    key = np.where(is_last, place, np.searchsorted(reached_us, arrival_us, side="left"))
    return np.lexsort((arrival_us, is_last, key))
