"""From scores to verdicts: a threshold for each class, by what clean flows of other networks score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import Index, Mask
from streams.errors import DataError
from streams.training.flow_protocol.folds import Fold
from streams.training.flow_protocol.labelled import CLASSES

Scores = npt.NDArray[np.floating]
"""(N, C): of each attack class, and of `novel` where there is one; more is more suspect, as log-odds."""
QUIET: Final = 0


NOVEL_PART: Final = 1 / 15
"""Of the share of clean flows that a class may flag: what `novel` may, beyond what classes say."""


def thresholds(scores: Scores, clean: Mask, share: float) -> Scores:
    """(C,) of each class, so that at most `share` of the clean flows score higher. Raises DataError."""
    of_clean = np.sort(scores[clean], axis=0)[::-1]
    if not len(of_clean):
        raise DataError("no clean flows: no threshold can be chosen")
    allowed = min(int(share * len(of_clean)), len(of_clean) - 1)
    return np.asarray(of_clean[allowed])


def verdicts(margin: Scores, classes: int = len(CLASSES) - 1) -> Index:
    """(N,) place of the class + 1, the one furthest above its threshold; QUIET: none is above.

    Columns beyond the classes, that is `novel`, decide where no class does.
    """
    known, all_ = margin[:, :classes], margin.argmax(axis=1)
    best = np.where(known.max(axis=1) > 0, known.argmax(axis=1), all_)
    return np.where((margin > 0).any(axis=1), best + 1, QUIET)


def margins(scores: Scores, clean: Mask, folds: Sequence[Fold], share: float) -> Scores:
    """(N, C) above the thresholds of the other folds: none of a fold's own flows has a say in them."""
    found = np.empty_like(scores, np.float64)
    classes = len(CLASSES) - 1
    for fold in folds:
        others = clean & ~fold.held
        limits = thresholds(scores[:, :classes], others, share)
        novel = thresholds(scores[:, classes:], others, share * NOVEL_PART)
        found[fold.held] = scores[fold.held] - np.concatenate((limits, novel))
    return found
