"""Attacks as a person would count them: what one device does, or has done to it, without an hour's pause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.flow.columns import Index
from streams.training.flow_protocol.incidents import HOUR_US, NONE, Incidents
from streams.training.flow_protocol.labelled import NORMAL, LabelledFlows

FEWEST: Final = 3
"""Flows of an episode: fewer make no incident."""


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    capture: int
    target: int
    inbound: bool
    flows: Index
    """Places of its flows in arrival order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """When an episode was first in an incident of its device, with an alert of its own."""

    flows: int
    """Of the episode, up to and with the one that was found."""
    seconds: float
    """From the start of its first flow to the end of that one."""
    is_named: bool
    """Whether an alert of its own class is in an incident, then or later."""


def episodes(flows: LabelledFlows) -> list[Episode]:
    """By capture, class and direction; those of fewer than FEWEST flows are left out."""
    attack = np.flatnonzero(flows.target > NORMAL)
    keys = (flows.device[attack], flows.target[attack], flows.inbound[attack])
    order = np.lexsort((attack, *keys))
    place = attack[order]
    ended = flows.end_us[place]
    breaks = np.diff(ended) > HOUR_US
    for key in keys:
        breaks |= np.diff(key[order]) != 0
    return [
        Episode(int(flows.capture[one[0]]), int(flows.target[one[0]]), bool(flows.inbound[one[0]]), one)
        for one in np.split(place, np.flatnonzero(breaks) + 1)
        if len(one) >= FEWEST
    ]


def found_in(episode: Episode, flows: LabelledFlows, verdicts: Index, told: Incidents) -> Finding | None:
    """None: no alert of it is in an incident. `verdicts` are places in `CLASSES` or beyond them (novel)."""
    inside = np.flatnonzero(told.of_flow[episode.flows] != NONE)
    if not len(inside):
        return None
    first = episode.flows[inside[0]]
    seconds = (flows.end_us[first] - flows.start_us[episode.flows].min()) / 1e6
    own = verdicts[episode.flows[inside]] == episode.target
    return Finding(int(inside[0]) + 1, float(seconds), bool(own.any()))
