"""What turns scores into reasoned verdicts: temperature, prior, the unknown's share, the operating points.

All of it is fitted on the training file. The VAE learns from normal rows alone, so every attack type is one
that it has not seen: held-out normals against the types, each type alike, tell how novelty speaks for an
unknown attack.
"""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.core.decision import decide, unknown_share, with_false_alarms
from streams.core.detector import CONTEST, OPERATOR, Detector, OperatingPoint, Verdicts
from streams.training.dataset import NORMAL, TrainingSet
from streams.training.plan import Plan
from streams.training.windows import windows

Floats = npt.NDArray[np.float64]
ROWS_OF_A_TYPE = 300
_FACTORS = np.round(np.geomspace(0.5, 64.0, 43), 3)


def calibrated(
    detector: Detector, data: TrainingSet, validate: npt.NDArray[np.bool_], plan: Plan, prior: Floats
) -> Detector:
    """The detector with everything filled in that is fitted after training. `prior` (C,): as it was drawn."""
    known = np.flatnonzero(validate & (data.target >= 0))
    normal = np.flatnonzero(validate & (data.target == NORMAL))
    posterior = _verdicts(detector, data, known).posterior.astype(np.float64)
    drawn = np.log(np.where(prior > 0, prior, 1.0))  # a class that was never drawn gets nothing back
    offset, slope = _unknown_curve(detector, data, normal, plan)
    detector = _changed(
        detector,
        temperature=best_temperature(posterior, data.target[known]),
        log_prior=tuple((plan.prior_exponent * drawn).tolist()),
        unknown_offset=offset,
        unknown_slope=slope,
    )
    share = plan.operator_false_alarms
    factor, flagged = _operator_factor(detector, _verdicts(detector, data, normal), share)
    says = f"{flagged:.2%} of held-out normals are flagged (aim: at most {share:.2%})"
    points = {
        OPERATOR: OperatingPoint(factor, says),
        CONTEST: OperatingPoint(1.0, "the expected contest cost is least"),
    }
    return _changed(detector, operating_points=MappingProxyType(points))


def _changed(detector: Detector, **values: Any) -> Detector:
    parameters = dataclasses.replace(detector.parameters, **values)
    return Detector(detector.identity, parameters, detector.network)


def _unknown_curve(
    detector: Detector, data: TrainingSet, normal: npt.NDArray[np.int64], plan: Plan
) -> tuple[float, float]:
    """Offset and slope of the share of unknown attacks over novelty: `normal` rows against every type."""
    attacks = _some_of_each_type(data, plan.seed)
    novelty = _verdicts(detector, data, np.concatenate((normal, attacks))).novelty.astype(np.float64)
    types = data.label[attacks]
    each = 1.0 / np.bincount(types)[types]
    weight = np.concatenate((np.ones(len(normal)), each * plan.unknown_odds * len(normal) / each.sum()))
    return logistic(novelty, np.arange(len(novelty)) >= len(normal), weight)


def best_temperature(posterior: Floats, truth: npt.NDArray[np.int64]) -> float:
    """What the scores are best divided by: least log loss, rare classes not drowned. (N, C), (N,) -> 1 to 4.

    Never below 1: on held-out rows of the file that it learnt from a classifier is nearly always right, and
    that must not make it surer of rows from elsewhere.
    """
    scores = np.log(np.maximum(posterior, 1e-30))
    weight = 1.0 / np.sqrt(np.bincount(truth)[truth])
    grid = np.geomspace(1.0, 4.0, 61)

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        total = np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1)
        return float((weight * (total - scaled[np.arange(len(truth)), truth])).sum())

    return float(min(grid, key=loss))


def logistic(x: Floats, positive: npt.NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Offset and slope of the weighted logistic regression of `positive` on x, by Newton's method."""
    design = np.stack((np.ones_like(x), x), 1)  # (N, 2)
    found = np.zeros(2)
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ found, -30, 30)))
        gradient = design.T @ (weight * (positive - chance)) - 1e-3 * found
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design + 1e-3 * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, gradient), -2.0, 2.0)
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return float(found[0]), float(found[1])


def _operator_factor(detector: Detector, normals: Verdicts, share: float) -> tuple[float, float]:
    """The least false alarm factor at which no more than `share` of these normal rows are flagged, and how
    many are. Where no factor reaches it, the greatest: some normals look like attacks at any price.
    """
    parameters = detector.parameters
    unknown = unknown_share(
        normals.novelty.astype(np.float64), parameters.unknown_offset, parameters.unknown_slope
    )
    flagged = 1.0
    for factor in _FACTORS:
        cost = with_false_alarms(parameters.cost, float(factor))
        verdict, _ = decide(normals.posterior.astype(np.float64), unknown, cost)
        flagged = float((verdict != NORMAL).mean())
        if flagged <= share:
            return float(factor), flagged
    return float(_FACTORS[-1]), flagged


def _some_of_each_type(data: TrainingSet, seed: int) -> npt.NDArray[np.int64]:
    """Rows of every attack type, at most ROWS_OF_A_TYPE of each."""
    rng = np.random.default_rng(seed)
    chosen = []
    for code in np.unique(data.label[data.target > NORMAL]):
        mine = np.flatnonzero((data.label == code) & (data.target > NORMAL))
        chosen.append(np.sort(rng.permutation(mine)[:ROWS_OF_A_TYPE]))
    return np.concatenate(chosen)


def _verdicts(detector: Detector, data: TrainingSet, places: npt.NDArray[np.int64]) -> Verdicts:
    """Verdicts of some rows, each in the context of the file's rows before it."""
    index, valid = windows(places, np.zeros(1, np.int64), detector.width)
    needed, slot = np.unique(index, return_inverse=True)
    return detector.classify(detector.encode(data.rows[needed]), slot.reshape(index.shape), valid)
