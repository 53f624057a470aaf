"""Whole networks left out: flows of one network are all but equal, so that a random split is easy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from streams.core.flow.columns import Mask
from streams.errors import DataError
from streams.training.flow_protocol.labelled import NORMAL, LabelledFlows

CLEAN_GROUPS: Final = 2


class LeaveOut(StrEnum):
    DATASET = "dataset"
    """LODO: all captures of a publisher at once, which share devices, tools and habits of labelling."""
    CAPTURE = "capture"
    """LOCO."""
    GROUP = "group"
    """Data sets, but those without attacks in CLEAN_GROUPS groups: fewer fits, and a harder test."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    name: str
    held: Mask
    """(N,) what its model never sees; all else it may learn from."""


def folds(flows: LabelledFlows, leave_out: LeaveOut) -> list[Fold]:
    """Each flow is held by exactly one fold. Raises DataError where nothing could be learnt or judged."""
    names: Sequence[str] = flows.captures if leave_out is LeaveOut.CAPTURE else flows.datasets
    of_flow = np.array(names)[flows.capture]
    groups = [[name] for name in dict.fromkeys(names)]
    if leave_out is LeaveOut.GROUP:
        attacked = set(of_flow[flows.target > NORMAL].tolist())
        clean = [name for (name,) in groups if name not in attacked]
        groups = [[name] for (name,) in groups if name in attacked]
        groups += [clean[at::CLEAN_GROUPS] for at in range(CLEAN_GROUPS)]
    found = [Fold("+".join(group), np.isin(of_flow, group)) for group in groups if group]
    if len(found) < 2:
        raise DataError(f"one {leave_out} alone: nothing to leave out; give flows of two or more")
    for fold in found:
        _check(flows, fold, leave_out)
    return found


def _check(flows: LabelledFlows, fold: Fold, leave_out: LeaveOut) -> None:
    rest = ~fold.held
    if not (flows.target[rest] > NORMAL).any():
        raise DataError(f"without the {leave_out} {fold.name} there is no attack to learn from")
    if not (flows.clean & rest).any():
        raise DataError(
            f"without the {leave_out} {fold.name} there is no device without attacks: "
            "no threshold can be chosen; add benign captures"
        )
