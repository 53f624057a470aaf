"""What a person is told: an incident opens with 3 alerts among a device's last 10 flows, and closes after an
hour without one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streams.core.flow.columns import Index, Mask

NONE: Final = -1
HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class IncidentRule:
    alerts: int = 3
    flows: int = 10
    quiet_us: int = HOUR_US


@dataclass(frozen=True, slots=True, eq=False)
class Incidents:
    """K incidents of N flows."""

    opened_by: Index
    """(K,) the flow."""
    of_flow: Index
    """(N,) the incident in which an alert is, once open; NONE: it is no alert, or too few so far."""
    counts: Index
    """(N,) the incident that an alert is counted in, were it only afterwards; NONE."""


@dataclass(slots=True)
class _Device:
    recent: deque[tuple[int, int]] = field(default_factory=deque)
    """Its latest alerts: (which of its flows, place)."""
    open: int = NONE
    last_us: int = 0


def incidents(
    device: Index,
    time_us: Index,
    alert: Mask,
    rule: IncidentRule = IncidentRule(),
    ordinal: Index | None = None,
) -> Incidents:
    """Of flows in arrival order, of any devices. `ordinal`: what `ordinals` gives, where it is at hand."""
    ordinal = ordinals(device) if ordinal is None else ordinal
    opened: list[int] = []
    of_flow, counts = np.full(len(alert), NONE), np.full(len(alert), NONE)
    known: dict[int, _Device] = {}
    at = np.flatnonzero(alert)  # most flows raise none
    for place, number, which, at_us in zip(
        at.tolist(), device[at].tolist(), ordinal[at].tolist(), time_us[at].tolist(), strict=True
    ):
        one = known.setdefault(number, _Device())
        one.recent.append((which, place))
        while one.recent[0][0] <= which - rule.flows:
            one.recent.popleft()
        if one.open != NONE and at_us - one.last_us > rule.quiet_us:
            one.open = NONE
        if one.open == NONE and len(one.recent) >= rule.alerts:
            one.open = len(opened)
            opened.append(place)
            for _, before in one.recent:
                counts[before] = one.open if counts[before] == NONE else counts[before]
        if one.open != NONE:
            of_flow[place] = counts[place] = one.open
            one.last_us = max(one.last_us, at_us)
    return Incidents(np.array(opened, np.int64), of_flow, counts)


def ordinals(device: Index) -> Index:
    """(N,) which of its device's flows each is, in arrival order."""
    order = np.argsort(device, kind="stable")
    _, first, number = np.unique(device[order], return_index=True, return_inverse=True)
    found = np.empty(len(device), np.int64)
    found[order] = np.arange(len(device)) - first[number]
    return found


def observed_us(device: Index, time_us: Index, quiet_us: int = HOUR_US) -> int:
    """How long devices were watched, in all: a silence counts as an hour at most.

    A device that is unplugged for weeks between two flows is not watched for weeks.
    """
    order = np.lexsort((time_us, device))
    gaps = np.diff(time_us[order])[np.diff(device[order]) == 0]
    return int(np.minimum(gaps, quiet_us).sum())
