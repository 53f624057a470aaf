"""Verdicts of a file's rows by a plain recomputation of their windows, for evaluation and for comparison.

It knows nothing of the stream's windows: what the stream publishes is held against this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.codec.ingest.kdd import TRAINING_ATTACKS, KddRows, classes_of, segment_starts
from streams.core.tables import Rows
from streams.errors import DataError
from streams.model.detector import Detector, Verdicts
from streams.training.dataset import TrainingSet, distinct_vectors
from streams.training.metrics import Figures, figures
from streams.training.windows import windows

BATCH_ROWS = 8192


def evaluate_rows(detector: Detector, rows: Rows, devices: int = 1) -> Verdicts:
    """Verdict of every row, in order; `devices` share the rows in contiguous segments.

    A window is a device's last W rows. Raises DataError where there are more devices than rows.
    """
    starts = segment_starts(len(rows), devices)
    latents = detector.encode(rows)  # (N, L)
    parts = []
    for begin in range(0, len(rows), BATCH_ROWS):
        places = np.arange(begin, min(begin + BATCH_ROWS, len(rows)))
        index, valid = windows(places, starts, detector.width)  # (B, W)
        parts.append(detector.classify(latents, index, valid))
    return Verdicts(
        verdict=np.concatenate([part.verdict for part in parts]),
        closest=np.concatenate([part.closest for part in parts]),
        posterior=np.concatenate([part.posterior for part in parts]),
        novelty=np.concatenate([part.novelty for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class TypeFigures:
    """One attack type: how many rows, and the share that is called anything but normal, and its own class."""

    rows: int
    known: bool  # occurs in the training file
    flagged: float
    right_class: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`novel` verdicts count as their closest class, and as attacks where only that is asked."""

    model: str
    digest: str
    devices: int
    all_rows: Figures
    distinct_rows: Figures  # the first row of each vector and label
    novel_verdicts: int
    per_type: Mapping[str, TypeFigures]
    left_out: Mapping[str, int]  # lines of the file that could not be used


def evaluate(detector: Detector, read: KddRows, devices: int = 1) -> Evaluation:
    """Every figure of a labelled file. Raises DataError for labels without a class of this model."""
    truth = true_classes(detector.classes, read)
    found = evaluate_rows(detector, read.rows, devices)
    flagged = found.verdict != 0
    vector = distinct_vectors(read.rows)[1]
    _, first = np.unique(vector * len(read.labels) + read.label, return_index=True)
    cost, classes = detector.parameters.cost, detector.classes
    return Evaluation(
        model=f"{detector.identity.name}/{detector.identity.version}",
        digest=detector.identity.digest,
        devices=devices,
        all_rows=figures(truth, found.closest, flagged, classes, cost),
        distinct_rows=figures(truth[first], found.closest[first], flagged[first], classes, cost),
        novel_verdicts=int((found.verdict == len(classes)).sum()),
        per_type=_per_type(read, truth, found, flagged),
        left_out=dict(read.left_out),
    )


def true_classes(classes: tuple[str, ...], read: KddRows) -> npt.NDArray[np.int64]:
    """Each row's true class as a place in `classes`, (N,). Raises DataError for other classes."""
    names = classes_of(read.labels)
    foreign = sorted(set(names) - set(classes))
    if foreign:
        raise DataError(
            f"the file holds rows of {', '.join(foreign)}, which this model has no class for "
            f"(it knows {', '.join(classes)})"
        )
    return np.array([classes.index(name) for name in names], np.int64)[read.label]


def _per_type(
    read: KddRows, truth: npt.NDArray[np.int64], found: Verdicts, flagged: npt.NDArray[np.bool_]
) -> dict[str, TypeFigures]:
    known = {name for names in TRAINING_ATTACKS.values() for name in names}
    figures_of = {}
    for place, label in enumerate(read.labels):
        mine = read.label == place
        if label != "normal":
            figures_of[label] = TypeFigures(
                rows=int(mine.sum()),
                known=label in known,
                flagged=float(flagged[mine].mean()),
                right_class=float((found.closest[mine] == truth[mine]).mean()),
            )
    return figures_of


def validation_figures(
    detector: Detector, data: TrainingSet, validate: npt.NDArray[np.bool_]
) -> tuple[Figures, int]:
    """Figures of the training file's held-out rows, in the context of all rows; and how many are `novel`."""
    found = evaluate_rows(detector, data.rows)
    chosen = validate & (data.target >= 0)
    verdict, closest = found.verdict[chosen], found.closest[chosen]
    cost, classes = detector.parameters.cost, detector.classes
    return figures(data.target[chosen], closest, verdict != 0, classes, cost), int(
        (verdict == len(classes)).sum()
    )
