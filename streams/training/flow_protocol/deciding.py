"""From scores to verdicts: a threshold for each class, by what clean flows of other networks score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import Index, Mask
from streams.errors import DataError
from streams.training.flow_protocol.folds import Fold

Scores = npt.NDArray[np.floating]
"""(N, C): of each attack class, and of `novel` where there is one; more is more suspect."""
QUIET: Final = 0


def thresholds(scores: Scores, clean: Mask, share: float) -> Scores:
    """(C,) of each class, so that at most `share` of the clean flows score higher. Raises DataError."""
    of_clean = np.sort(scores[clean], axis=0)[::-1]
    if not len(of_clean):
        raise DataError("no clean flows: no threshold can be chosen")
    allowed = min(int(share * len(of_clean)), len(of_clean) - 1)
    return np.asarray(of_clean[allowed])


def verdicts(scores: Scores, limits: Scores) -> Index:
    """(N,) place of the class + 1, the highest of those above their thresholds; QUIET: none is."""
    above = scores > limits
    best = np.where(above, scores, -np.inf).argmax(axis=1)
    return np.where(above.any(axis=1), best + 1, QUIET)


def decided(scores: Scores, clean: Mask, folds: Sequence[Fold], share: float) -> Index:
    """(N,) verdicts on every fold by thresholds of the others: none of its own flows has a say in them."""
    found = np.full(len(scores), QUIET, np.int64)
    for fold in folds:
        limits = thresholds(scores, clean & ~fold.held, share)
        found[fold.held] = verdicts(scores[fold.held], limits)
    return found
