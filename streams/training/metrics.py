"""Figures of an evaluation, with numpy alone. Rows are true classes, columns verdicts, everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one class against the rest; None: a ratio without denominator (no such rows, none predicted)."""

    rows: int
    precision: float | None
    recall: float | None
    f1: float | None
    specificity: float | None
    flagged: float | None  # share of its rows that are anything but normal


@dataclass(frozen=True, slots=True)
class Figures:
    rows: int
    accuracy: float
    cost: float  # mean of the contest's cost matrix
    false_positives: float | None  # share of normal rows that are anything but normal
    detected: float | None  # share of attack rows that are anything but normal
    confusion: tuple[tuple[int, ...], ...]
    per_class: Mapping[str, ClassFigures]


def figures(
    truth: Indices,
    closest: Indices,
    flagged: npt.NDArray[np.bool_],
    classes: tuple[str, ...],
    cost: npt.ArrayLike,
) -> Figures:
    """Figures of verdicts, `novel` ones counted as their closest class. (N,), (N,), (N,) bool."""
    size = len(classes)
    confusion = np.bincount(truth * size + closest, minlength=size * size).reshape(size, size)
    normal = truth == 0
    return Figures(
        rows=len(truth),
        accuracy=float(np.trace(confusion) / len(truth)),
        cost=float((confusion * np.asarray(cost)).sum() / len(truth)),
        false_positives=_share(flagged[normal]),
        detected=_share(flagged[~normal]),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        per_class={
            name: _of_class(confusion, place, flagged[truth == place]) for place, name in enumerate(classes)
        },
    )


def _of_class(confusion: Indices, place: int, flagged: npt.NDArray[np.bool_]) -> ClassFigures:
    hit = int(confusion[place, place])
    rows, called = int(confusion[place].sum()), int(confusion[:, place].sum())
    others = int(confusion.sum()) - rows
    precision, recall = _ratio(hit, called), _ratio(hit, rows)
    return ClassFigures(
        rows=rows,
        precision=precision,
        recall=recall,
        f1=_ratio(2 * hit, rows + called),
        specificity=_ratio(others - (called - hit), others),
        flagged=_share(flagged),
    )


def _share(mask: npt.NDArray[np.bool_]) -> float | None:
    return _ratio(int(mask.sum()), len(mask))


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def figures_from(found: Mapping[str, Any]) -> Figures:
    """Figures back from a manifest's JSON. Raises TypeError where it is none."""
    per_class = {name: ClassFigures(**of) for name, of in found["per_class"].items()}
    confusion = tuple(tuple(row) for row in found["confusion"])
    return Figures(**{**found, "per_class": per_class, "confusion": confusion})
