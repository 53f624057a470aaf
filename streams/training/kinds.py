"""Kinds of normal events: clusters, found without their labels' help beyond that they are normal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from streams.core.tables import Rows
from streams.training.dataset import NORMAL, TrainingSet
from streams.training.plan import Plan

_SYMBOL_SCALE = 0.7
"""Two events with different symbols are about as far apart as two whose number spans its whole range."""


def kinds_of_normals(data: TrainingSet, plan: Plan) -> npt.NDArray[np.int64]:
    """The kind of each vector, -1 where no row is normal. (V,)."""
    vectors = np.unique(data.vector[data.target == NORMAL])
    clusters = MiniBatchKMeans(
        min(plan.normal_kinds, len(vectors)), random_state=plan.seed, n_init=3, batch_size=4096
    )
    kind = np.full(len(data.first), -1, np.int64)
    kind[vectors] = clusters.fit_predict(_spread(data.rows[data.first[vectors]]))
    return kind


def _spread(rows: Rows) -> npt.NDArray[np.float32]:
    """Rows as points: min-max log(1 + x) of the numbers, one-hot symbols. (N,) -> (N, D)."""
    numbers = np.log1p(rows["numbers"])
    low, high = numbers.min(0), numbers.max(0)
    parts = [(numbers - low) / np.maximum(high - low, 1e-9)]
    for column in rows["codes"].T:
        parts.append(_SYMBOL_SCALE * (column[:, None] == np.unique(column)))
    return np.concatenate(parts, 1).astype(np.float32)
