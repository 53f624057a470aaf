"""From a posterior to a verdict: least expected cost; `novel` is an unknown attack's share of the mass."""

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


def unknown_share(novelty: Floats, offset: float, slope: float) -> Floats:
    """How likely an event that looks normal to the classifier is an attack of no known kind. (N,) -> (N,).

    A logistic curve of the novelty, fitted on attack types that the VAE had not seen.
    """
    return 1.0 / (1.0 + np.exp(-np.clip(offset + slope * novelty, -500.0, 500.0)))


def decide(posterior: Floats, unknown: Floats, cost: Floats) -> tuple[Indices, Indices]:
    """The verdict of each row and the closest known class: (N, C), (N,) -> (N,), (N,).

    Class 0 is normal. A share `unknown` of its mass is moved to an attack of unknown kind, which may be of
    any attack class alike; then the class of least expected cost is taken (ties: the first). Where that is
    an attack, and the unknown kind weighs more than all known kinds together, the verdict is `novel` (C, one
    past the last class).
    """
    classes = posterior.shape[1]
    moved = posterior[:, 0] * unknown  # (N,)
    known = np.zeros_like(moved)
    mixed = posterior.copy()  # (N, C)
    mixed[:, 0] -= moved
    for place in range(1, classes):
        known += posterior[:, place]
        mixed[:, place] += moved / (classes - 1)
    closest = expected_cost(mixed, cost).argmin(1).astype(np.int64)
    return np.where((closest != 0) & (moved > known), classes, closest), closest


def with_false_alarms(cost: tuple[tuple[float, ...], ...], factor: float) -> Floats:
    """The cost matrix (C, C) with whatever a normal event may be called made `factor` times as dear."""
    matrix = np.array(cost, np.float64)
    matrix[0] *= factor
    return matrix
