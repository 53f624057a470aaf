"""Whole attack types and whole kinds of normal events left out in turn: what a deployment meets as unknown.

Held-out neighbours of what was learnt from say how a model does on more of the same. A network that the model
has not seen brings attacks without a name and normal events of no familiar kind; both are imitated here, on
the training file, and decisions are calibrated on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from streams.core.features import Rows
from streams.training.dataset import NORMAL, TrainingSet
from streams.training.plan import Plan

Mask = npt.NDArray[np.bool_]
_SYMBOL_SCALE = 0.7
"""Two events with different symbols are about as far apart as two whose number spans its whole range."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows (N,) that a model of this fold never learns from. No vector stands on both sides."""

    attacks: Mask  # of the types left out
    normals: Mask  # of the kinds left out
    kind: npt.NDArray[np.int64]  # of each normal row, -1 elsewhere

    @property
    def left_out(self) -> Mask:
        return self.attacks | self.normals


def folds(data: TrainingSet, plan: Plan) -> Iterator[Fold]:
    """Each attack type and each kind of normal event is left out by exactly one of `plan.folds`."""
    types = _dealt_types(data, plan.folds)  # (labels,)
    dealt, kind = _dealt_kinds(data, plan)  # (V,), -1 where no row is normal
    for number in range(plan.folds):
        of_type = (data.target > NORMAL) & (types[data.label] == number)
        vectors = np.zeros(len(data.first), bool)
        vectors[data.vector[of_type]] = True
        attacks = vectors[data.vector] & (data.target != NORMAL)
        normals = (dealt[data.vector] == number) & (data.target == NORMAL)
        yield Fold(attacks, normals, np.where(data.target == NORMAL, kind[data.vector], -1))


def _dealt_types(data: TrainingSet, count: int) -> npt.NDArray[np.int64]:
    """The fold of each label: within a class types go round, the commonest first. (labels,)."""
    rows = np.bincount(data.label[data.target > NORMAL], minlength=len(data.labels))
    class_of = np.zeros(len(data.labels), np.int64)
    class_of[data.label] = data.target
    dealt = np.zeros(len(data.labels), np.int64)
    order = sorted(np.flatnonzero(rows).tolist(), key=lambda place: (class_of[place], -rows[place], place))
    for turn, place in enumerate(order):
        dealt[place] = turn % count
    return dealt


def _dealt_kinds(data: TrainingSet, plan: Plan) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The fold and the kind of each vector of normal rows, (V,) and (V,).

    Kinds are clusters, dealt so that folds hold about as many rows.
    """
    normal = data.vector[data.target == NORMAL]
    vectors, repeats = np.unique(normal, return_counts=True)
    clusters = MiniBatchKMeans(
        min(plan.normal_kinds, len(vectors)), random_state=plan.seed, n_init=3, batch_size=4096
    )
    kind = clusters.fit_predict(_spread(data.rows[data.first[vectors]]))  # (normal vectors,)
    sizes = np.bincount(kind, repeats)
    dealt, load = np.zeros(len(sizes), np.int64), np.zeros(plan.folds)
    for place in np.argsort(-sizes, kind="stable").tolist():
        dealt[place] = load.argmin()
        load[dealt[place]] += sizes[place]
    fold_of, kind_of = np.full((2, len(data.first)), -1, np.int64)
    fold_of[vectors], kind_of[vectors] = dealt[kind], kind
    return fold_of, kind_of


def _spread(rows: Rows) -> npt.NDArray[np.float32]:
    """Rows as points: min-max log(1 + x) of the numbers, one-hot symbols. (N,) -> (N, D)."""
    numbers = np.log1p(rows["numbers"])
    low, high = numbers.min(0), numbers.max(0)
    parts = [(numbers - low) / np.maximum(high - low, 1e-9)]
    for column in rows["codes"].T:
        parts.append(_SYMBOL_SCALE * (column[:, None] == np.unique(column)))
    return np.concatenate(parts, 1).astype(np.float32)
