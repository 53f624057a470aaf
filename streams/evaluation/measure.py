"""Figures of one model, or of a baseline, on one split: on all rows, and on those that are not repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.decisions import CONTEST_CLASSES, CONTEST_COST
from streams.evaluation.splits import Mask, Split
from streams.model.detector import Detector, Verdicts
from streams.training.evaluate import evaluate_rows, true_classes
from streams.training.metrics import Figures, figures

Json = dict[str, Any]
HARD_TYPES: Final = ("snmpgetattack", "snmpguess", "mailbomb")
"""Novel types that look like normal traffic row by row: `novel_flagged` leaves them out, and says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Truth and answer for each row of a split, whoever gave the answer."""

    truth: npt.NDArray[np.int64]  # (N,) place in classes
    closest: npt.NDArray[np.int64]  # (N,) the class that was answered; of a novel verdict, the closest
    flagged: Mask  # (N,) anything but normal, novel verdicts too
    posterior: npt.NDArray[np.float32]  # (N, C)
    classes: tuple[str, ...]
    novel: Mask  # (N,) verdicts that are `novel`

    def of(self, mask: Mask) -> Case:
        return Case(
            self.truth[mask],
            self.closest[mask],
            self.flagged[mask],
            self.posterior[mask],
            self.classes,
            self.novel[mask],
        )


def points_of(detector: Detector) -> dict[str, Detector]:
    """The detector at each of its named operating points."""
    return {name: detector.at(name) for name in detector.parameters.operating_points}


def verdicts_of(points: Mapping[str, Detector], split: Split, devices: int = 1) -> dict[str, Verdicts]:
    """Verdicts of the split's rows at each point of one model: computed once, decided for each.

    Where the rows keep no order, each is a device of its own.
    """
    first = next(iter(points.values()))
    found = evaluate_rows(first, split.test.rows, devices if split.ordered else len(split.test))
    verdicts = {}
    for name, detector in points.items():
        verdict, closest = detector.decide(found.posterior, found.novelty)
        verdicts[name] = Verdicts(verdict, closest, found.posterior, found.novelty)
    return verdicts


def case_of(detector: Detector, split: Split, found: Verdicts) -> Case:
    """Raises DataError where the split holds a class that the detector lacks."""
    return Case(
        truth=true_classes(detector.classes, split.test),
        closest=found.closest,
        flagged=found.verdict != 0,
        posterior=found.posterior,
        classes=detector.classes,
        novel=found.verdict == len(detector.classes),
    )


def contest_cost(classes: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """KDD Cup 1999's costs of these classes, (C true, C verdict): one ruler for every model and point."""
    places = [CONTEST_CLASSES.index(name) for name in classes]
    return np.array(CONTEST_COST)[np.ix_(places, places)]


def section(case: Case) -> Json:
    """Every figure of some rows, ready for JSON; what is undefined is None and has a sentence in `notes`."""
    if not len(case.truth):
        return {"rows": 0, "notes": ["no rows are left"]}
    found = figures(case.truth, case.closest, case.flagged, case.classes, contest_cost(case.classes))
    areas, notes = areas_under_curves(case)
    per_class = {
        name: {
            "precision": of.precision,
            "recall": of.recall,
            "f1": of.f1,
            "specificity": of.specificity,
            "auc": areas[name],
            "support": of.rows,
            "flagged": of.flagged,
        }
        for name, of in found.per_class.items()
    }
    return {**_whole(found), "per_class": per_class, "macro": _macro(per_class), "notes": notes}


def _whole(found: Figures) -> Json:
    false_positives = found.false_positives
    return {
        "rows": found.rows,
        "accuracy": found.accuracy,
        "cost": found.cost,
        "false_positive_rate": false_positives,
        "false_positives_per_100000": None if false_positives is None else 1e5 * false_positives,
        "attacks_flagged": found.detected,
        "confusion": [list(row) for row in found.confusion],
    }


def _macro(per_class: Mapping[str, Mapping[str, float | None]]) -> Json:
    """Plain means over the classes that have rows. A class that is never answered has a precision of 0."""
    present = [of for of in per_class.values() if of["support"]]
    means = {}
    for name in ("precision", "recall", "f1", "specificity", "auc"):
        values = [of[name] for of in present]
        if name == "precision":
            values = [0.0 if value is None else value for value in values]
        known = [value for value in values if value is not None]
        means[name] = float(np.mean(known)) if known else None
    return means


def areas_under_curves(case: Case) -> tuple[dict[str, float | None], list[str]]:
    """Area under the ROC curve of each class against the rest, and a sentence for each that has none."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - an extra, and slow to import

    areas: dict[str, float | None] = {}
    notes = []
    for place, name in enumerate(case.classes):
        mine = case.truth == place
        if mine.all() or not mine.any():
            areas[name] = None
            notes.append(
                f"AUC of {name} is undefined: {'every row is' if mine.all() else 'no row is'} {name}."
            )
        else:
            areas[name] = float(roc_auc_score(mine, case.posterior[:, place]))
    return areas, notes


def per_attack_type(case: Case, split: Split) -> Json:
    """Of each attack type: rows, whether it occurs in training, the share flagged and of its own class."""
    found = {}
    for place, label in enumerate(split.test.labels):
        mine = split.test.label == place
        if label != "normal":
            found[label] = {
                "rows": int(mine.sum()),
                "known": label in split.known_types,
                "flagged": float(case.flagged[mine].mean()),
                "recall": float((case.closest[mine] == case.truth[mine]).mean()),
            }
    return found


def novel_flagged(types: Mapping[str, Mapping[str, Any]]) -> Json:
    """The share of rows of attack types unknown to training that is flagged; None where there are none."""
    novel = {name: of for name, of in types.items() if not of["known"]}
    apart = {name: of for name, of in novel.items() if name not in HARD_TYPES}

    def share(chosen: Mapping[str, Mapping[str, Any]]) -> float | None:
        rows = sum(of["rows"] for of in chosen.values())
        return sum(of["rows"] * of["flagged"] for of in chosen.values()) / rows if rows else None

    return {"novel_flagged": share(apart), "novel_flagged_all": share(novel)}
