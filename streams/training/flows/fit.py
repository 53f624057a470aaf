"""One model of flows from those that it may learn from, and what it makes of others."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from streams.core.flow.columns import Index, Mask
from streams.core.flow.table import FLOW
from streams.model.detector import Detector, Identity, OperatingPoint, Parameters
from streams.model.network import Network
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, LabelledFlows
from streams.training.flows.descent import (
    Material,
    Report,
    novelty_scale,
    train_classifier,
    train_vae,
)
from streams.training.flows.features import Extremes, as_read, extremes, untrained
from streams.training.flows.heads import trees_of
from streams.training.flows.material import Seen, learnt_from, weights_of, windows_of
from streams.training.flows.plan import FlowPlan
from streams.training.usual import usual_of

Floats = npt.NDArray[np.float64]
IDLE_US: Final = 3_600_000_000
"""The usual pause after which a device's sequence begins anew."""
POINT: Final = "operator"
_NOBODY: Final = Identity("", "", "")
_LEAST_CHANCE: Final = 1e-38
_NEVER: Final = 60.0


def quiet(phase: str, step: int, steps: int, loss: float) -> None:
    pass


def fit(seen: Seen, learn: Mask, plan: FlowPlan, report: Report = quiet) -> Detector:
    """A detector from the flows that `learn` (N,) marks. Its thresholds are still to be chosen.

    torch's global generator is left as it was. Raises AutodeepError where a loss is no longer finite.
    """
    with torch.random.fork_rng(devices=[]):
        places = learnt_from(seen.full, learn, plan.most_of_a_capture, plan.seed)
        windows = windows_of(seen.full, plan.window, IDLE_US)
        needed, slot = np.unique(windows.index[places], return_inverse=True)
        index = slot.reshape(len(places), plan.window)
        weight, target = weights_of(seen.full, places, plan.normal_share), seen.full.target[places]
        rows = seen.full.rows[needed]
        of = extremes(rows)
        per_event = _by_event(index, weight, len(needed))
        network = untrained(rows, per_event + 1e-9, of, plan)
        material = Material(
            full=as_read(rows, of, network),
            bare=as_read(seen.bare.rows[needed], of, network),
            index=index,
            valid=windows.valid[places],
            target=target,
            weight=weight,
            clean_weight=_by_event(index, np.where(target == NORMAL, weight, 0.0), len(needed)),
        )
        train_vae(network, material, plan, report)
        scale = novelty_scale(network, material, plan.novelty_quantile)
        train_classifier(network, material, scale, plan, report)
    trees = trees_of(seen, learn, plan)
    network = network if trees is None else network.with_trees(trees)
    parameters = _parameters(network, of, scale, plan)
    of_class = {name: seen.full.rows[places[target == at]] for at, name in enumerate(CLASSES)}
    usual = MappingProxyType(usual_of(FLOW, of_class))
    detector = Detector(_NOBODY, dataclasses.replace(parameters, usual=usual), network)
    return with_clean_scale(detector, seen.full, learn, plan)


def with_clean_scale(detector: Detector, flows: LabelledFlows, learn: Mask, plan: FlowPlan) -> Detector:
    """The detector with scores of which few clean flows that it learnt from are above 0.

    So that scores of models that learnt from other networks mean the same. Where each device has attacks, its
    normal flows do. A class of which it has learnt nothing is never meant.
    """
    of_clean = learn & flows.clean
    normal = of_clean if of_clean.any() else learn & (flows.target == NORMAL)
    clean = learnt_from(flows, normal, plan.most_of_a_capture // 4, plan.seed)
    scores = found_by(detector, flows, clean).scores
    shift = np.quantile(scores, plan.clean_quantile, axis=0)
    known = np.isin(np.arange(1, len(CLASSES)), flows.target[learn])
    log_prior = (0.0, *np.where(known, shift, _NEVER).tolist())
    parameters = dataclasses.replace(detector.parameters, log_prior=log_prior)
    return Detector(detector.identity, parameters, detector.network)


def _by_event(index: Index, weight: Floats, count: int) -> Floats:
    """The weights of windows as those of their present events. (N, W), (N,) -> (count,)."""
    return np.bincount(index[:, -1], weight, count).astype(np.float64)


def _parameters(network: Network, of: Extremes, scale: tuple[float, float], plan: FlowPlan) -> Parameters:
    count = len(CLASSES)
    return Parameters(
        table=FLOW,
        shape=network.shape,
        classes=CLASSES,
        low=tuple(of.low.tolist()),
        high=tuple(of.high.tolist()),
        seen_codes=tuple(tuple(range(1, column.size)) for column in FLOW.symbolic),
        cost=tuple(tuple(float(true != said) for said in range(count)) for true in range(count)),
        score_floor=scale[0],
        score_threshold=scale[1],
        score_decay=plan.score_decay,
        unknown_offset=-50.0,
        unknown_slope=0.0,
        temperature=1.0,
        log_prior=(0.0,) * count,
        operating_points=MappingProxyType({POINT: OperatingPoint(1.0)}),
        default_point=POINT,
    )


class Found(NamedTuple):
    """What a model makes of N flows."""

    scores: Floats  # (N, C - 1) the logarithm of each attack's chance against normal's
    novelty: Floats  # (N,)


def found_by(detector: Detector, flows: LabelledFlows, places: Index) -> Found:
    """Of the flows at these places, each with its device's flows before it."""
    windows = windows_of(flows, detector.width, IDLE_US)
    needed, slot = np.unique(windows.index[places], return_inverse=True)
    index = slot.reshape(len(places), detector.width)
    verdicts = detector.classify(detector.encode(flows.rows[needed]), index, windows.valid[places])
    logs = np.log(np.maximum(verdicts.posterior.astype(np.float64), _LEAST_CHANCE))
    return Found(logs[:, 1:] - logs[:, :1], verdicts.novelty.astype(np.float64))
