"""From a posterior to a verdict: least expected cost, and `novel` where the VAE knows nothing like it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# KDD Cup 1999's costs: the true class by row, the verdict by column; normal, probe, dos, u2r, r2l.
CONTEST_CLASSES = ("normal", "probe", "dos", "u2r", "r2l")
CONTEST_COST = (
    (0.0, 1.0, 2.0, 2.0, 2.0),
    (1.0, 0.0, 2.0, 2.0, 2.0),
    (2.0, 1.0, 0.0, 2.0, 2.0),
    (3.0, 2.0, 2.0, 0.0, 2.0),
    (4.0, 2.0, 2.0, 2.0, 0.0),
)


def expected_cost(posterior: Floats, cost: Floats) -> Floats:
    """What each verdict would cost on average: posterior (N, C), cost (C true, C verdict) -> (N, C).

    A sum in a fixed order, not a matrix product: its last bits must not depend on N.
    """
    total = np.zeros_like(posterior)
    for true_class in range(cost.shape[0]):
        total += posterior[:, true_class, None] * cost[true_class]
    return total


def decide(posterior: Floats, novelty: Floats, cost: Floats, weight: float) -> tuple[Indices, Indices]:
    """The verdict of each row and the closest known class: (N, C), (N,) -> (N,), (N,).

    The class of least expected cost (ties: the first). Class 0 is normal and C, one past the last class, is
    `novel`. Where novelty > 1 and the verdict would be normal, an even prior over the attack classes is mixed
    in with `weight`; if an attack then costs least, the verdict is `novel` and that attack is the closest.
    Nothing else changes: novelty never turns one attack into another, nor an attack into normal.
    """
    classes = posterior.shape[1]
    known = expected_cost(posterior, cost).argmin(1).astype(np.int64)
    even = np.full(classes, weight / (classes - 1))
    even[0] = 0.0
    mixed = expected_cost((1.0 - weight) * posterior + even, cost).argmin(1).astype(np.int64)
    novel = (known == 0) & (novelty > 1.0) & (mixed != 0)
    return np.where(novel, classes, known), np.where(novel, mixed, known)
