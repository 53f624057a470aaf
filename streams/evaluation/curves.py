"""Curves, on grids that do not depend on the data, so that those of several models can be averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.evaluation.measure import Case, contest_cost
from streams.evaluation.splits import Mask, Split
from streams.model.detector import Detector, OperatingPoint, Verdicts
from streams.training.metrics import figures
from streams.training.windows import windows

Json = dict[str, Any]
RATES: Final = np.concatenate(([0.0], np.geomspace(1e-5, 1.0, 201)))
"""False positive rates at which ROC curves are read."""
ALARM_FACTORS: Final = np.concatenate((np.geomspace(0.01, 100.0, 121), [1e3, 1e4]))  # 1 among them
"""What a false alarm costs, in multiples of the contest's price, along the operating curve."""
BINS: Final = 10
ROWS_A_CLASS: Final = 4000


def roc(case: Case) -> Json:
    """True positive rate of each class against the rest at `RATES`. Classes without two sides are absent."""
    from sklearn.metrics import roc_curve  # noqa: PLC0415 - an extra, and slow to import

    found: Json = {"false_positive_rate": RATES.tolist(), "true_positive_rate": {}}
    for place, name in enumerate(case.classes):
        mine = case.truth == place
        if mine.any() and not mine.all():
            false, true, _ = roc_curve(mine, case.posterior[:, place])
            found["true_positive_rate"][name] = np.interp(RATES, false, true).tolist()
    return found


def calibration(cases: Sequence[Case]) -> Json:
    """How often rows are attacks where the model says so with a given probability; models pooled.

    `predicted` and `observed` of ten equal bins that hold any row; `rows` of those; the expected calibration
    error is their mean distance, weighted by rows.
    """
    from sklearn.calibration import calibration_curve  # noqa: PLC0415
    from sklearn.metrics import brier_score_loss  # noqa: PLC0415

    said = np.concatenate([1.0 - case.posterior[:, 0].astype(np.float64) for case in cases]).clip(0.0, 1.0)
    attack = np.concatenate([case.truth != 0 for case in cases])
    observed, predicted = calibration_curve(attack, said, n_bins=BINS, pos_label=True)
    place = np.searchsorted(np.linspace(0.0, 1.0, BINS + 1)[1:-1], said)  # as calibration_curve does
    rows = np.bincount(place, minlength=BINS)
    rows = rows[rows > 0]
    return {
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "rows": rows.tolist(),
        "expected_calibration_error": float((np.abs(observed - predicted) * rows).sum() / rows.sum()),
        "brier_score": float(brier_score_loss(attack, said)),
    }


def operating_curve(detector: Detector, found: Verdicts, case: Case) -> Json:
    """The same posteriors decided anew while a false alarm's cost goes from a hundredth to far above the
    contest's: false positive rate and contest cost for each of `ALARM_FACTORS`."""
    rates, costs = [], []
    contest = contest_cost(case.classes)
    for factor in ALARM_FACTORS:
        verdict, closest = _decided(detector, found, float(factor))
        at = figures(case.truth, closest, verdict != 0, case.classes, contest)
        rates.append(at.false_positives)
        costs.append(at.cost)
    return {"alarm_factor": ALARM_FACTORS.tolist(), "false_positive_rate": rates, "cost": costs}


def _decided(
    detector: Detector, found: Verdicts, factor: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Verdicts and closest classes at an operating point of this price."""
    parameters = dataclasses.replace(
        detector.parameters, operating_points={"": OperatingPoint(factor)}, default_point=""
    )
    priced = Detector(detector.identity, parameters, detector.network)
    return priced.decide(found.posterior, found.novelty)


def fills(width: int) -> list[int]:
    """1, 2, 4, ... events up to the window's width."""
    steps = [1]
    while steps[-1] * 2 < width:
        steps.append(steps[-1] * 2)
    return [*steps, width] if width > 1 else steps


def window_fill(points: Mapping[str, Detector], split: Split, case: Case, among: Mask) -> Json:
    """Operating point -> share of each class that is flagged where only the last k events are shown.

    Of the rows in `among`, at most `ROWS_A_CLASS` a class, evenly spaced, each in the file's own context.
    The points are of one model: they share posteriors, and differ in the decision alone.
    """
    present = [(place, name) for place, name in enumerate(case.classes) if (case.truth == place).any()]
    chosen = np.sort(np.concatenate([_spaced(np.flatnonzero(among & (case.truth == c))) for c, _ in present]))
    truth = case.truth[chosen]
    rows = {name: int((truth == place).sum()) for place, name in present}
    detector = next(iter(points.values()))
    latents = detector.encode(split.test.rows)  # (N, L)
    index, valid = windows(chosen, np.zeros(1, np.int64), detector.width)  # (B, W)
    events = fills(detector.width)
    flagged: dict[str, dict[str, list[float]]] = {point: {name: [] for name in rows} for point in points}
    for count in events:
        shown = valid & (np.arange(detector.width) >= detector.width - count)
        found = detector.classify(latents, index, shown)
        for point, decider in points.items():
            verdict = decider.decide(found.posterior, found.novelty)[0]
            for place, name in present:
                flagged[point][name].append(float((verdict[truth == place] != 0).mean()))
    return {point: {"events": events, "flagged": flagged[point], "rows": rows} for point in points}


def _spaced(places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if len(places) <= ROWS_A_CLASS:
        return places
    return places[np.linspace(0, len(places) - 1, ROWS_A_CLASS).astype(np.int64)]
