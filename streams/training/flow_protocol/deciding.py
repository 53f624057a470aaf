"""From scores to verdicts: a threshold for each class, by its false incidents on other networks.

By incidents, not by flows: three devices that retry for minutes while they are set up are three incidents,
and hundreds of flows, which would alone decide how much is missed everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import Index, Mask
from streams.errors import DataError
from streams.training.flow_protocol.folds import Fold
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows
from streams.training.flow_protocol.watched import Watched

Scores = npt.NDArray[np.floating]
"""(N, C): of each attack class, and of `novel` where there is one; more is more suspect, as log-odds."""
QUIET: Final = 0
SHARES: Final = tuple(np.geomspace(0.2, 0.00002, 40).tolist())
"""Of clean flows, that thresholds are tried at."""
UNCLAIMED: Final = frozenset({"r2l"})
"""Classes that one network alone has: nothing says whether they are found elsewhere."""
OF_UNCLAIMED: Final = 0.1
"""Of what another class may cost, what these may."""
NOVEL_SHARE: Final = 0.0002
"""Of clean flows whose novelty alone makes an alert, where no class does."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most false incidents a device-day of a class by itself, nothing learnt of the network."""

    steady: float
    setup: float

    def of(self, name: str) -> Budget:
        part = OF_UNCLAIMED if name in UNCLAIMED else 1.0
        return Budget(part * self.steady, part * self.setup)


def thresholds(scores: Scores, clean: Mask, share: float) -> Scores:
    """(C,) of each class, so that at most `share` of the clean flows score higher. Raises DataError."""
    of_clean = np.sort(scores[clean], axis=0)[::-1]
    if not len(of_clean):
        raise DataError("no clean flows: no threshold can be chosen")
    allowed = min(int(share * len(of_clean)), len(of_clean) - 1)
    return np.asarray(of_clean[allowed])


def limit(score: Scores, clean: Mask, watched: Watched, budget: Budget) -> float:
    """The least score (N,) of clean flows at which alerts keep to the budget; the highest, where none does.

    Halved between, so that it is the least where a lower limit never costs less. Raises DataError.
    """
    if not clean.any():
        raise DataError("no clean flows: no threshold can be chosen")
    of_clean = np.sort(score[clean])[::-1]
    tried = of_clean[[int(share * len(of_clean)) for share in SHARES]]
    low, high = 0, len(tried)
    while low < high:
        middle = (low + high) // 2
        steady, setup = watched.false_incidents(score > tried[middle])
        if steady <= budget.steady and setup <= budget.setup:
            high = middle
        else:
            low = middle + 1
    return float(tried[low]) if low < len(tried) else float(of_clean[0])


def verdicts(margin: Scores, classes: int = len(CLASSES) - 1) -> Index:
    """(N,) place of the class + 1, the one furthest above its threshold; QUIET: none is above.

    Columns beyond the classes, that is `novel`, decide where no class does.
    """
    known, all_ = margin[:, :classes], margin.argmax(axis=1)
    best = np.where(known.max(axis=1) > 0, known.argmax(axis=1), all_)
    return np.where((margin > 0).any(axis=1), best + 1, QUIET)


def margins(scores: Scores, flows: LabelledFlows, folds: Sequence[Fold], budget: Budget) -> Scores:
    """(N, C) above the thresholds of the other folds: none of a fold's own flows has a say in them."""
    found, clean = np.empty_like(scores, np.float64), flows.clean
    known = CLASSES[1:]
    for fold in folds:
        others = clean & ~fold.held
        watched = Watched.of(flows, ~fold.held)
        limits = [limit(scores[:, at], others, watched, budget.of(name)) for at, name in enumerate(known)]
        novel = thresholds(scores[:, len(known) :], others, NOVEL_SHARE)
        found[fold.held] = scores[fold.held] - np.concatenate((limits, novel))
    return found
