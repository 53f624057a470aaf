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

from streams.training.dataset import NORMAL, TrainingSet
from streams.training.kinds import kinds_of_normals
from streams.training.plan import Plan

Mask = npt.NDArray[np.bool_]


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
    kind = kinds_of_normals(data, plan)  # (V,), -1 where no row is normal
    dealt = _dealt_kinds(kind, data, plan)  # (kinds,)
    for number in range(plan.folds):
        of_type = (data.target > NORMAL) & (types[data.label] == number)
        vectors = np.zeros(len(data.first), bool)
        vectors[data.vector[of_type]] = True
        attacks = vectors[data.vector] & (data.target != NORMAL)
        kind_of = np.where(data.target == NORMAL, kind[data.vector], -1)
        normals = (kind_of >= 0) & (dealt[kind_of] == number)
        yield Fold(attacks, normals, kind_of)


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


def _dealt_kinds(kind: npt.NDArray[np.int64], data: TrainingSet, plan: Plan) -> npt.NDArray[np.int64]:
    """The fold of each kind, dealt so that folds hold about as many rows. (kinds,)."""
    sizes = np.bincount(kind[data.vector[data.target == NORMAL]])
    dealt, load = np.zeros(len(sizes), np.int64), np.zeros(plan.folds)
    for place in np.argsort(-sizes, kind="stable").tolist():
        dealt[place] = load.argmin()
        load[dealt[place]] += sizes[place]
    return dealt
