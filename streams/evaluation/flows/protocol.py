"""The whole evaluation of flows: a table in, a study out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.evaluation.flows import reading
from streams.evaluation.flows.aims import aims
from streams.evaluation.flows.features import features_of, told_of
from streams.evaluation.flows.methods import Tell
from streams.evaluation.flows.model import trained
from streams.evaluation.flows.rules import RULES
from streams.evaluation.flows.scoring import LEARNT, Scoring, Seen
from streams.evaluation.flows.study import SETUP, STEADY, Scope, study
from streams.evaluation.flows.trees import ABLATIONS, FOREST, boosting
from streams.evaluation.flows.views import VIEWS
from streams.training.flow_protocol.folds import LeaveOut
from streams.training.flows.plan import FlowPlan

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What is evaluated. `at_home`: public addresses, by capture; of those `alone`, the busiest address."""

    path: Path
    at_home: Mapping[str, Sequence[str]]
    alone: Collection[str]
    setting_up: Collection[str]
    """Data sets whose devices are set up for the first time."""
    leave_out: LeaveOut
    seeds: Sequence[int]
    quick: bool
    """Only the methods, on all fields: no other sensors, no ablation, no leak test."""
    plan: FlowPlan | None
    """How our model is trained for each fold; None: simple methods alone."""
    folder: Path | None


def evaluate(order: Order, tell: Tell) -> Json:
    """Raises DataError where the flows cannot be used, SettingsError where the folder cannot."""
    tell(f"reading {order.path}")
    captures = reading.read(order.path, order.at_home, order.alone)
    views: dict[str, Seen] = {}
    kept = order.folder / "features" if order.folder else None
    for view in LEARNT if order.quick else VIEWS:
        tell(f"features: {view}")
        views[view] = Seen.of(features_of(captures, view, order.setting_up, kept), order.leave_out)
    boosted = boosting()
    fitted = (*([trained(order.plan)] if order.plan else []), boosted)
    scope = Scope(
        seeds=order.seeds,
        methods=(*fitted, FOREST, *RULES[::-1]),
        ablated=None if order.quick else boosted,
        ablations=() if order.quick else [boosting(name, without) for name, without in ABLATIONS.items()],
        leaking=() if order.quick else fitted,
        told=None if order.quick else told_of(captures),
        tell=tell,
    )
    scores = order.folder / "scores" if order.folder else None
    found = study(Scoring(views, scores, tell), scope)
    first = views[next(iter(views))]
    found |= {
        "title": "Flows: networks that were never seen",
        "ablated": "" if order.quick else boosted.name,
        "split": {
            "name": f"{order.path.name}, one {order.leave_out} left out in turn, {len(first.folds)} folds",
            "tuned": f"Thresholds of each class cost {STEADY:g} false incidents a device-day on the other "
            f"folds in steady state, and {STEADY * SETUP:g} while devices are set up, at most; none of a "
            "fold's own flows has a say in them.",
            "folds": [fold.name for fold in first.folds],
        },
        "notes": _notes(),
    }
    return {**found, "aims": aims(found)}


def _notes() -> list[str]:
    return [
        "Flagged: given any class but normal. As its class: given the true one. Both are means over the "
        "captures that have 3 such flows or more, so that a flood of 30,000 flows weighs as one of 100.",
        "An incident opens with 3 alerts among a device's last 10 flows, of whatever class, and closes after "
        "an hour without one. False: none of its flows is an attack's. They are counted on devices that have "
        "no attack in their capture, a silence as an hour of watching at most.",
        "An episode is what one device does, or has done to it, of one class, without a pause of an hour: 3 "
        "flows or more. It is found by the first of its own alerts in an incident, and named where one has "
        "its class.",
        "Flows without any counter, and those that nobody labelled, are as if they were not there.",
        "Where several seeds are given: mean (lowest to highest).",
    ]
