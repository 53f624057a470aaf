"""One evaluation, start to end: several models of one kind on one kind of split, as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streams.errors import DataError
from streams.evaluation import curves
from streams.evaluation.baselines import DESCRIPTION, baselines
from streams.evaluation.measure import (
    HARD_TYPES,
    Case,
    case_of,
    novel_flagged,
    per_attack_type,
    points_of,
    section,
    verdicts_of,
)
from streams.evaluation.splits import Mask, Split, Tell, Trial, first_of_each, seen_in_training
from streams.evaluation.spread import mean_and_spread
from streams.model.detector import Detector, Verdicts

Json = dict[str, Any]
SEEDS_WANTED: Final = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """`deep`: also the curves of the report. `devices` share the test rows in contiguous segments."""

    deep: bool = True
    with_baselines: bool = True
    devices: int = 1
    tell: Tell = lambda text: None


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    distinct: Mask  # (N,)
    seen: Mask | None  # (N,) also in training


def study(trials: Sequence[Trial], scope: Scope) -> Json:
    """Every figure of the trials. Raises DataError where a split and a model do not fit each other, or the
    models' classes or operating points differ."""
    _alike(trials)
    prepared: dict[int, _Rows] = {}
    for trial in trials:
        if id(trial.split) not in prepared:
            scope.tell("telling repeats and rows seen in training apart")
            prepared[id(trial.split)] = _Rows(first_of_each(trial.split.test), seen_in_training(trial.split))
    found = [_of_trial(trial, prepared[id(trial.split)], scope) for trial in trials]
    split = mean_and_spread([_of_split(trial.split, prepared[id(trial.split)]) for trial in trials])
    points = mean_and_spread([points for points, _, _ in found])
    result = {
        "split": split,
        "rows": round(split["rows"]),
        "distinct_rows": round(split["distinct_rows"]),
        "test_readings": max(trial.readings for trial in trials),
        "seeds": len(trials),
        "models": [_of_model(trial) for trial in trials],
        "operating_points": points,
        "notes": _notes(trials, points),
    }
    if scope.deep:
        result["curves"] = mean_and_spread([drawn for _, drawn, _ in found])
        result["curves"]["calibration"] = curves.calibration([case for _, _, case in found])
        result["training_logs"] = [{"seed": trial.seed, "records": list(trial.log)} for trial in trials]
    if scope.with_baselines:
        result["baselines"] = _of_baselines(trials, prepared, scope)
    return result


def _alike(trials: Sequence[Trial]) -> None:
    kinds = {(trial.detector.classes, tuple(points_of(trial.detector))) for trial in trials}
    if len(kinds) > 1:
        raise DataError(
            "the models differ in classes or operating points, so that no mean is a figure of anything; "
            "give models of one kind"
        )


def _of_trial(trial: Trial, rows: _Rows, scope: Scope) -> tuple[Json, Json, Case]:
    """Figures by operating point, the curves, and the answers at the first point."""
    split, points = trial.split, points_of(trial.detector)
    figures_of: Json = {}
    cases: dict[str, Case] = {}
    scope.tell(f"{_name(trial)}: verdicts")
    verdicts = verdicts_of(points, split, scope.devices)
    for name, detector in points.items():
        case = cases[name] = case_of(detector, split, verdicts[name])
        types = per_attack_type(case, split)
        figures_of[name] = {
            **section(case),
            **novel_flagged(types),
            "novel_verdicts": int(case.novel.sum()),
            "per_attack_type": types,
            **_parts(case, rows),
        }
    first = next(iter(points))
    drawn: Json = {}
    if scope.deep:
        scope.tell(f"{_name(trial)}: curves")
        drawn = _curves(points, split, verdicts[first], cases[first], rows)
    return figures_of, drawn, cases[first]


def _curves(points: Mapping[str, Detector], split: Split, found: Verdicts, case: Case, rows: _Rows) -> Json:
    """What can be drawn of one model: `found` and `case` are those of its first point."""
    drawn: Json = {"roc": curves.roc(case)}
    if (case.truth == 0).any() and (case.truth != 0).any():
        drawn["operating"] = curves.operating_curve(next(iter(points.values())), found, case)
    if split.ordered:
        drawn["window_fill"] = curves.window_fill(points, split, case, rows.distinct)
    return drawn


def _parts(case: Case, rows: _Rows) -> Json:
    parts: Json = {"distinct": section(case.of(rows.distinct))}
    if rows.seen is not None:
        parts["unseen"] = section(case.of(~rows.seen))
        parts["unseen_distinct"] = section(case.of(~rows.seen & rows.distinct))
    return parts


def _of_split(split: Split, rows: _Rows) -> Json:
    """How much of the test is repeats, of itself and of training."""
    test = split.test
    found: Json = {
        "name": split.name,
        "tuned": split.tuned,
        "remark": split.remark,
        "ordered": split.ordered,
        "rows": len(test),
        "distinct_rows": int(rows.distinct.sum()),
        "left_out": dict(test.left_out),
        "training_rows": len(split.training) if split.training else None,
    }
    if rows.seen is not None:
        found["seen_rows_share"] = float(rows.seen.mean())
        found["seen_distinct_share"] = float(rows.seen[rows.distinct].mean())
    return found


def _of_model(trial: Trial) -> Json:
    identity = trial.detector.identity
    return {
        "model": _name(trial),
        "digest": identity.digest,
        "seed": trial.seed,
        "readings": trial.readings,
        "trained_on": trial.trained_on,
        "window_events": trial.detector.width,
    }


def _name(trial: Trial) -> str:
    identity = trial.detector.identity
    return f"{identity.name}/{identity.version}" if identity.name else f"seed {trial.seed}"


def _of_baselines(trials: Sequence[Trial], prepared: dict[int, _Rows], scope: Scope) -> Json:
    """Figures of each baseline; as many seeds as there are trials."""
    found = []
    for place, trial in enumerate(trials):
        seed = trial.seed if trial.seed is not None else place
        cases = baselines(trial.split, trial.detector.classes, seed, scope.tell)
        rows = prepared[id(trial.split)]
        found.append(
            {
                name: {
                    **section(case),
                    **novel_flagged(per_attack_type(case, trial.split)),
                    **_parts(case, rows),
                }
                for name, case in cases.items()
            }
        )
    return {**mean_and_spread(found), "description": DESCRIPTION} if any(found) else {}


def _notes(trials: Sequence[Trial], points: Json) -> list[str]:
    """What a reader must know to read the figures rightly."""
    first = next(iter(points.values()))
    notes = [
        "A novel verdict counts as its closest class, and as flagged.",
        f"novel_flagged leaves out {', '.join(HARD_TYPES)}, which look like normal traffic row by row; "
        "novel_flagged_all has all types that do not occur in training.",
        "Cost is the mean of the contest's cost matrix, at every operating point.",
        *first["notes"],
    ]
    if len(trials) < SEEDS_WANTED:
        models = "One model" if len(trials) == 1 else f"{len(trials)} models"
        notes.append(f"{models}: the spread of fewer than {SEEDS_WANTED} seeds says little, or is not there.")
    if trials[0].split.training is None:
        notes.append("The training rows are not at hand: repeats of them cannot be told, no baselines.")
    left_out = sum(int(np.sum(list(trial.split.test.left_out.values()))) for trial in trials[:1])
    if left_out:
        notes.append(
            f"{left_out:,} line(s) of the test file could not be used: {dict(trials[0].split.test.left_out)}."
        )
    return notes
