"""Which classes have trees, what these may ask about, and how far the network is trusted beside them.

Trees and the network fail at different things: trees part what they have met, and know nothing beyond the
greatest number that they have seen; evidence in the network goes on rising. Floods and guessing are left to
the network: trees that learnt them from one network or two found none elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from streams.core.flow.columns import Mask
from streams.core.flow.table import EVIDENCE, FLOW
from streams.model.trees import SIDE_COLUMN, Trees, asked, questions
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows
from streams.training.flows.boosting import Growth, grown
from streams.training.flows.features import EVIDENCE_AT, WITHHELD
from streams.training.flows.material import Seen, learnt_from
from streams.training.flows.plan import FlowPlan

FEWEST: Final = 3
"""Flows of a device that is learnt from: a flood's made-up senders have one or two, like anybody's."""
QUESTIONS: Final = questions(FLOW, EVIDENCE_AT)
SIDED: Final = tuple(
    f"{side}: {name}"
    for side in FLOW.symbolic[FLOW.symbolic_names.index(SIDE_COLUMN)].symbols
    for name in EVIDENCE
)
"""Evidence is asked about by side alone."""
_NEVER_ASKED: Final = frozenset((*EVIDENCE, *(FLOW.numeric_names[at] for at in WITHHELD)))
SIZES: Final = frozenset(name for name in QUESTIONS if "bytes" in name or name.startswith("packets"))


@dataclass(frozen=True, slots=True)
class Head:
    """The trees of one class against all others."""

    without: frozenset[str]
    trust: float
    """In the network's log-odds, beside the trees'."""


HEADS: Final = {
    "probe": Head(frozenset(), 1.0),
    "c2": Head(SIZES, 0.25),  # packets and bytes of one botnet are not another's
}


def trees_of(seen: Seen, learn: Mask, plan: FlowPlan) -> Trees | None:
    """Trees from the flows that `learn` (N,) marks; None where they hold no class that has some."""
    flows = seen.full
    places = learnt_from(flows, learn & _of_many_flows(flows), plan.tree_most, plan.seed)
    bare = np.random.default_rng(plan.seed).random(len(places)) < plan.netflow_share
    rows = np.where(bare, seen.bare.rows[places], flows.rows[places])
    matrix, target = asked(FLOW, EVIDENCE_AT, rows), flows.target[places]
    known = [name for name in HEADS if 0 < (target == CLASSES.index(name)).sum() < len(target)]
    if not known:
        return None
    rounds = plan.tree_rounds
    trees = Trees(rounds * len(known), plan.tree_depth, len(CLASSES) - 1)
    how = Growth(rounds, plan.tree_depth, plan.tree_rate, plan.tree_ridge, plan.tree_share)
    rises = np.isin(QUESTIONS, SIDED)
    for number, name in enumerate(known):
        place = CLASSES.index(name)
        wanted = target == place
        may_ask = _without(matrix, HEADS[name].without | _NEVER_ASKED)
        found = grown(may_ask, wanted, rises, how, plan.seed * len(CLASSES) + place)
        mine = slice(number * rounds, (number + 1) * rounds)
        trees.columns[:, mine] = torch.from_numpy(found.columns.astype(np.float32))
        trees.limits[:, mine] = torch.from_numpy(found.limits)
        trees.leaves[mine, :, place - 1] = torch.from_numpy(found.leaves.astype(np.float32))
        trees.trust[place - 1] = HEADS[name].trust
    return trees


def _of_many_flows(flows: LabelledFlows) -> Mask:
    return np.asarray(np.bincount(flows.device)[flows.device] >= FEWEST)


def _without(matrix: npt.NDArray[np.float32], names: frozenset[str]) -> npt.NDArray[np.float32]:
    found = matrix.copy()
    found[np.isin(QUESTIONS, list(names))] = np.nan
    return found
