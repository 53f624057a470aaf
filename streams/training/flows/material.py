"""What a training of flows learns from: windows of labelled flows, as they are and as NetFlow has them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import UNKNOWN, Index, Mask
from streams.core.flows import State
from streams.training.flow_captures import Capture
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, LabelledFlows

Floats = npt.NDArray[np.float64]


def as_netflow(capture: Capture) -> Capture:
    """The capture as a sensor sees it that knows neither states nor services nor payload."""
    flows = capture.flows
    without = dataclasses.replace(
        flows,
        state=np.full_like(flows.state, State.UNKNOWN),
        service=np.zeros_like(flows.service),
        payload_bytes_out=np.full_like(flows.payload_bytes_out, UNKNOWN),
        payload_bytes_in=np.full_like(flows.payload_bytes_in, UNKNOWN),
    )
    return dataclasses.replace(capture, flows=without)


class Seen(NamedTuple):
    """The same flows twice."""

    full: LabelledFlows
    bare: LabelledFlows
    """As a sensor has them that knows neither states nor services nor payload."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Of each flow, the last W of its device, itself last: places (N, W), and which are there (N, W)."""

    index: Index
    valid: Mask


def windows_of(flows: LabelledFlows, width: int, idle_us: int) -> Windows:
    """By the stream's rule: in arrival order, and begun anew after a pause of more than `idle_us`."""
    place = np.arange(len(flows))
    order = np.lexsort((place, flows.device))
    device, latest = flows.device[order], flows.end_us[order]
    begins = np.ones(len(flows), bool)
    begins[1:] = (device[1:] != device[:-1]) | (latest[1:] - latest[:-1] > idle_us)
    start = np.maximum.accumulate(np.where(begins, place, 0))
    at = place[:, None] + np.arange(1 - width, 1)  # (N, W)
    valid = at >= start[:, None]
    index = np.empty_like(at)
    index[order] = order[np.where(valid, at, place[:, None])]
    there = np.empty_like(valid)
    there[order] = valid
    return Windows(index, there)


def learnt_from(flows: LabelledFlows, learn: Mask, most: int, seed: int) -> Index:
    """Places of the flows that a training draws: at most so many of each class of each capture, ascending."""
    rng = np.random.default_rng(seed)
    chosen = [np.empty(0, np.int64)]
    key = np.where(learn & flows.scored, flows.capture * len(CLASSES) + flows.target, -1)
    for one in np.unique(key[key >= 0]).tolist():
        mine = np.flatnonzero(key == one)
        chosen.append(rng.permutation(mine)[:most])
    return np.sort(np.concatenate(chosen))


def weights_of(flows: LabelledFlows, places: Index, normal_share: float) -> Floats:
    """How often each of these flows is drawn, (N,) summing to 1.

    A capture by the square root of its flows within its class; normal flows as often as `normal_share`, and
    of the attacks each class alike.
    """
    target, capture = flows.target[places], flows.capture[places]
    weight = np.zeros(len(places))
    attacks = max(len(np.unique(target[target > NORMAL])), 1)
    for one in np.unique(target).tolist():
        mine = target == one
        sizes = np.bincount(capture[mine])
        each = 1.0 / np.sqrt(sizes[capture[mine]])
        share = normal_share if one == NORMAL else (1.0 - normal_share) / attacks
        weight[mine] = share * each / each.sum()
    return np.asarray(weight / weight.sum())
