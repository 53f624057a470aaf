"""What turns scores into reasoned verdicts: temperature, prior, the unknown's share, the operating points.

All of it is fitted on the training file: the temperature on held-out rows, the rest on what models that left
attack types and kinds of normals out make of these (`folds`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.core.decisions import decide, unknown_share, with_false_alarms
from streams.model.detector import CONTEST, OPERATOR, Detector, OperatingPoint, Parameters, Verdicts
from streams.training.dataset import NORMAL, TrainingSet
from streams.training.folds import Fold
from streams.training.plan import Plan
from streams.training.windows import windows

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
ROWS_OF_A_TYPE = 300
_FACTORS = np.round(np.geomspace(0.5, 512.0, 61), 3)


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """Rows that a fold's model never learns from."""

    places: npt.NDArray[np.int64]  # (N,) in the training set
    label: npt.NDArray[np.int64]  # (N,) the type of an attack, the kind of an unseen normal
    held_out: Mask  # (N,) normals, from between those that were learnt from
    unseen: Mask  # (N,) normals of kinds that were left out; all others are attacks of types left out


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a model makes of them."""

    posterior: Floats  # (N, C), calibrated
    novelty: Floats  # (N,)
    label: npt.NDArray[np.int64]  # (N,) these as in Unseen
    held_out: Mask  # (N,)
    unseen: Mask  # (N,)


def with_temperature(
    detector: Detector, data: TrainingSet, validate: Mask, plan: Plan, prior: Floats
) -> Detector:
    """The detector with scores calibrated on held-out rows. `prior` (C,): as training drew the classes."""
    known = np.flatnonzero(validate & (data.target >= 0))
    posterior = _verdicts(detector, data, known).posterior.astype(np.float64)
    drawn = np.log(np.where(prior > 0, prior, 1.0))  # a class that was never drawn gets nothing back
    return _changed(
        detector,
        temperature=best_temperature(posterior, data.target[known]),
        log_prior=tuple((plan.prior_exponent * drawn).tolist()),
    )


def unseen_by(fold: Fold, data: TrainingSet, validate: Mask, plan: Plan) -> Unseen:
    """What shows how the fold's model does: held-out normals, and what the fold left out."""
    held_out = np.flatnonzero(validate & (data.target == NORMAL))
    unseen = np.flatnonzero(fold.normals)
    attacks = _some_of_each_type(data, np.flatnonzero(fold.attacks & (data.target > NORMAL)), plan.seed)
    places = np.concatenate((held_out, unseen, attacks))
    part = np.repeat((0, 1, 2), (len(held_out), len(unseen), len(attacks)))
    return Unseen(places, np.where(part == 1, fold.kind[places], data.label[places]), part == 0, part == 1)


def scored(detector: Detector, data: TrainingSet, rows: Unseen) -> Scored:
    found = _verdicts(detector, data, rows.places)
    return Scored(
        found.posterior.astype(np.float64),
        found.novelty.astype(np.float64),
        rows.label,
        rows.held_out,
        rows.unseen,
    )


def row_weights(label: npt.NDArray[np.int64], held_out: Mask, unseen: Mask, plan: Plan) -> Floats:
    """Of normals against attack types, each type alike. (N,), summing to N.

    Most normals are more of the same; the others are of kinds that were left out, each kind alike: a large
    one says no more of what another network brings than a small.
    """
    weight = np.zeros(len(label))
    weight[held_out] = (1.0 - plan.unseen_share) / max(int(held_out.sum()), 1)
    for rows, together in ((unseen, plan.unseen_share), (~held_out & ~unseen, plan.unknown_odds)):
        if rows.any():
            _, group = np.unique(label[rows], return_inverse=True)
            each = 1.0 / np.bincount(group)[group]
            weight[rows] = together * each / each.sum()
    found: Floats = len(label) * weight / weight.sum()
    return found


def with_points(detector: Detector, folds: Sequence[Scored], plan: Plan) -> Detector:
    """The detector with the unknown's share and the operating points that the folds' scores call for."""
    offset, slope = _unknown_curve(folds, plan)
    detector = _changed(detector, unknown_offset=offset, unknown_slope=slope)
    factor, shares = _operator_factor(detector.parameters, folds, plan)
    says = (
        f"{shares.types:.0%} of attack types left out are flagged (aim: {plan.operator_types_flagged:.0%}), "
        f"{shares.held_out:.2%} of normals held out and {shares.unseen:.1%} of normals of kinds left out"
    )
    points = {
        OPERATOR: OperatingPoint(factor, says),
        CONTEST: OperatingPoint(1.0, "the expected contest cost is least"),
    }
    return _changed(detector, operating_points=MappingProxyType(points))


def _changed(detector: Detector, **values: Any) -> Detector:
    parameters = dataclasses.replace(detector.parameters, **values)
    return Detector(detector.identity, parameters, detector.network)


def _unknown_curve(folds: Sequence[Scored], plan: Plan) -> tuple[float, float]:
    """Offset and slope of the share of unknown attacks over novelty."""
    novelty, held_out, unseen, label = (
        np.concatenate([getattr(of, name) for of in folds])
        for name in ("novelty", "held_out", "unseen", "label")
    )
    return logistic(novelty, ~held_out & ~unseen, row_weights(label, held_out, unseen, plan))


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


@dataclass(frozen=True, slots=True)
class Shares:
    """What is flagged of rows that the folds' models had not seen."""

    held_out: float  # of normals held out
    unseen: float  # of normals of kinds left out
    types: float  # of attack types left out, each alike


def flagged_shares(parameters: Parameters, folds: Sequence[Scored], factor: float) -> Shares:
    """With a false alarm that many times as dear as the cost matrix has it. No rows: 0."""
    cost = with_false_alarms(parameters.cost, factor)
    held_out, unseen, attacks = [], [], dict[int, list[np.bool_]]()
    for of in folds:
        unknown = unknown_share(of.novelty, parameters.unknown_offset, parameters.unknown_slope)
        flagged = decide(of.posterior, unknown, cost)[0] != NORMAL
        held_out.append(flagged[of.held_out])
        unseen.append(flagged[of.unseen])
        attack = ~of.held_out & ~of.unseen
        for label, one in zip(of.label[attack].tolist(), flagged[attack], strict=True):
            attacks.setdefault(label, []).append(one)
    types = np.array([np.mean(of_type) for of_type in attacks.values()])
    return Shares(_share(np.concatenate(held_out)), _share(np.concatenate(unseen)), _share(types))


def _share(flagged: npt.NDArray[Any]) -> float:
    return float(flagged.mean()) if len(flagged) else 0.0


def _operator_factor(parameters: Parameters, folds: Sequence[Scored], plan: Plan) -> tuple[float, Shares]:
    """The greatest false alarm factor at which enough attack types that were left out are still flagged.

    The least factor, where too few are at any price.
    """
    for factor in _FACTORS[::-1].tolist():
        shares = flagged_shares(parameters, folds, factor)
        if shares.types >= plan.operator_types_flagged:
            break
    return factor, shares


def _some_of_each_type(data: TrainingSet, places: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Of these rows at most ROWS_OF_A_TYPE of each label."""
    rng = np.random.default_rng(seed)
    chosen = [np.empty(0, np.int64)]
    for code in np.unique(data.label[places]):
        mine = places[data.label[places] == code]
        chosen.append(np.sort(rng.permutation(mine)[:ROWS_OF_A_TYPE]))
    return np.concatenate(chosen)


def _verdicts(detector: Detector, data: TrainingSet, places: npt.NDArray[np.int64]) -> Verdicts:
    """Verdicts of some rows, each in the context of the file's rows before it."""
    index, valid = windows(places, np.zeros(1, np.int64), detector.width)
    needed, slot = np.unique(index, return_inverse=True)
    return detector.classify(detector.encode(data.rows[needed]), slot.reshape(index.shape), valid)
