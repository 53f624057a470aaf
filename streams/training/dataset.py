"""The paper's first step: a training file cleansed, and split so that no vector stands on both sides.

Nothing is dropped from the file's order, since windows are made of it: rows that must not be learnt from
(contradictory ones) stay as history and are marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.codec.ingest.kdd import CLASS_OF, KddRows, classes_of
from streams.core.decisions import CONTEST_CLASSES, CONTEST_COST
from streams.core.tables import FeatureTable, Rows
from streams.errors import DataError

NORMAL: Final = 0
NORMAL_BLOCK_ROWS: Final = 500
HELD_OUT_SHARE: Final = 0.1
LEAST_VECTORS_TO_HOLD_OUT: Final = 100
"""Attack types with fewer distinct vectors are too rare to spare any: all of theirs are learnt from."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Which classes there are, what confusing them costs, and the labels that have none (left out)."""

    name: str
    classes: tuple[str, ...]
    cost: tuple[tuple[float, ...], ...]

    def place(self, label: str) -> int:
        """Place of a label's class in `classes`, or -1 where the taxonomy has no such class."""
        name = CLASS_OF[label]
        return self.classes.index(name) if name in self.classes else -1


TAXONOMIES: Final[Mapping[str, Taxonomy]] = {
    "kdd99": Taxonomy("kdd99", CONTEST_CLASSES, CONTEST_COST),
    # The paper's three, DDoS being KDD's dos; with the contest's costs of the same classes.
    "paper": Taxonomy("paper", ("normal", "dos", "u2r"), ((0.0, 2.0, 2.0), (2.0, 0.0, 2.0), (3.0, 2.0, 0.0))),
}


@dataclass(frozen=True, slots=True)
class Cleansing:
    """What cleansing found. Printed by `autodeep train`, and part of the manifest."""

    read: int
    left_out: Mapping[str, int]  # lines that could not be used, by reason
    contradictory: int  # rows whose vector carries more than one class: history, never learnt from
    without_class: int  # rows whose class the taxonomy lacks: likewise
    repeats: int  # rows beyond the first of their vector: weighted, not dropped
    distinct: int
    per_class: Mapping[str, int]  # rows to learn from
    unknown_symbols: Mapping[str, int]  # rows by column whose symbol is not in the feature table


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    rows: Rows  # (N,) in the file's order
    vector: npt.NDArray[np.int64]  # (N,) place in `first` of the row's distinct vector
    first: npt.NDArray[np.int64]  # (V,) a row of each distinct vector
    label: npt.NDArray[np.int64]  # (N,) place in `labels`
    labels: tuple[str, ...]
    target: npt.NDArray[np.int64]  # (N,) class; -1 where the row must not be learnt from
    taxonomy: Taxonomy
    cleansing: Cleansing
    table: FeatureTable


def cleanse(read: KddRows, taxonomy: Taxonomy) -> TrainingSet:
    """Count and mark what cannot be learnt from. Raises DataError where fewer than two classes remain."""
    first, vector = distinct_vectors(read.rows)
    classes_of(read.labels)  # unknown labels are refused here, with their names
    target = np.array([taxonomy.place(label) for label in read.labels], np.int64)[read.label]  # (N,)
    without_class = target < 0
    contradictory = _contradictory(vector, read.label, read.labels) & ~without_class
    target[contradictory] = -1
    counts = np.bincount(target[target >= 0], minlength=len(taxonomy.classes))
    if (counts > 0).sum() < 2 or counts[NORMAL] == 0:
        raise DataError("training needs normal rows and at least one class of attacks; this file lacks them")
    cleansing = Cleansing(
        read=len(read) + sum(read.left_out.values()),
        left_out=dict(read.left_out),
        contradictory=int(contradictory.sum()),
        without_class=int(without_class.sum()),
        repeats=len(read) - len(first),
        distinct=len(first),
        per_class=dict(zip(taxonomy.classes, counts.tolist(), strict=True)),
        unknown_symbols={
            column.name: int((read.rows["codes"][:, place] == 0).sum())
            for place, column in enumerate(read.table.symbolic)
        },
    )
    return TrainingSet(
        read.rows, vector, first, read.label, read.labels, target, taxonomy, cleansing, read.table
    )


def distinct_vectors(rows: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A row of each distinct vector (V,), and each row's vector (N,) as a place in it."""
    opaque = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize)))
    _, first, vector = np.unique(opaque, return_index=True, return_inverse=True)
    return first.astype(np.int64), vector.astype(np.int64)


def _contradictory(
    vector: npt.NDArray[np.int64], label: npt.NDArray[np.int64], labels: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    """Rows whose vector also occurs under another class. (N,)."""
    names = sorted(set(classes_of(labels)))
    code = np.array([names.index(name) for name in classes_of(labels)], np.int64)[label]  # (N,)
    low = np.full(vector.max() + 1, len(names), np.int64)
    high = np.full(vector.max() + 1, -1, np.int64)
    np.minimum.at(low, vector, code)
    np.maximum.at(high, vector, code)
    differs: npt.NDArray[np.bool_] = (low != high)[vector]
    return differs


def held_out(data: TrainingSet, seed: int, share: float = HELD_OUT_SHARE) -> npt.NDArray[np.bool_]:
    """Rows kept for validation, (N,) bool: no vector occurs on both sides.

    Normals go in blocks of 500 consecutive normal rows, since neighbours resemble each other; attacks by
    vector, and only of types with at least 100 distinct vectors.
    """
    rng = np.random.default_rng(seed)
    out = np.zeros(len(data.first), bool)  # by vector
    normal = np.flatnonzero(data.target == NORMAL)
    block = np.arange(len(normal)) // NORMAL_BLOCK_ROWS
    chosen = rng.random(int(block[-1]) + 1) < share
    if not chosen.any():
        chosen[rng.integers(len(chosen))] = True
    out[data.vector[normal[chosen[block]]]] = True
    for code in range(len(data.labels)):
        mine = np.unique(data.vector[(data.label == code) & (data.target > NORMAL)])
        if len(mine) >= LEAST_VECTORS_TO_HOLD_OUT:
            out[rng.permutation(mine)[: int(share * len(mine))]] = True
    return out[data.vector]  # (V,) -> (N,)
