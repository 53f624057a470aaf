"""All methods on the same folds, as one JSON object: means over seeds, with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from streams.core.flow.columns import DeviceFlows
from streams.evaluation.flows.leak import areas, shuffled
from streams.evaluation.flows.methods import Method, Tell
from streams.evaluation.flows.scoring import Scoring, Seen
from streams.evaluation.flows.views import FULL
from streams.evaluation.flows.warming import Judged, warmed
from streams.evaluation.spread import mean_and_spread
from streams.training.flow_protocol.deciding import Budget, Scores, margins, verdicts
from streams.training.flow_protocol.figures import figures
from streams.training.flow_protocol.labelled import CLASSES, UNSCORED

Json = dict[str, Any]
STEADY: Final = 0.09
"""False incidents a device-day in steady state, of a class on the other folds: where the tables stand."""
SETUP: Final = 20.0
"""Times as many may there be while devices are set up."""
CURVE: Final = (0.01, 0.02, 0.03, 0.06, STEADY, 0.12, 0.2, 0.4)
EQUAL: Final = (0.1, 0.3, 0.6, 1.0, 1.5)
"""False incidents a device-day at which methods are compared."""


@dataclass(frozen=True, slots=True)
class Scope:
    seeds: Sequence[int]
    methods: Sequence[Method]
    """The first is what the report is about."""
    ablations: Sequence[Method] = ()
    """Of the method `ablated`, one seed each."""
    ablated: Method | None = None
    leaking: Sequence[Method] = ()
    """Methods that are fitted to shuffled labels, one seed each."""
    told: DeviceFlows | None = None
    """The flows themselves, where networks are watched before they are judged."""
    tell: Tell = field(default=lambda text: None)


def study(scoring: Scoring, scope: Scope) -> Json:
    """Every figure. Raises DataError where no threshold can be chosen, SettingsError for the folder."""
    views = tuple(scoring.views)
    scores = {
        method.name: [scoring.scores(method, seed, views) for seed in _seeds(method, scope)]
        for method in scope.methods
    }
    ablation, leak = _ablation(scoring, scope), _leak(scoring, scope)  # all that takes hours comes first
    found: Json = {
        "captures": _captures(scoring.views[FULL]),
        "seeds": len(scope.seeds),
        "budget": STEADY,
        "methods": {},
        "views": {},
        "warm_up": {},
    }
    for method in scope.methods:
        scope.tell(f"{method.name}: figures")
        mine = scores[method.name]
        full = [it[FULL] for it in mine]
        found["methods"][method.name] = _of_method(method, scoring.views[FULL], full)
        found["views"][method.name] = {
            view: mean_and_spread([_at(method, scoring.views[view], it[view], STEADY) for it in mine])
            for view in views
        }
        if scope.told is not None and method.is_seeded:
            found["warm_up"][method.name] = _warm_up(scoring.views[FULL], scope.told, full)
    equal = {
        str(budget): {name: within(it["curve"], budget) for name, it in found["methods"].items()}
        for budget in EQUAL
    }
    return {**found, "ablation": ablation, "leak": leak, "at_equal_false_incidents": equal}


def _seeds(method: Method, scope: Scope) -> Sequence[int]:
    return scope.seeds if method.is_seeded else scope.seeds[:1]


def _at(method: Method, seen: Seen, scores: Scores, budget: float) -> Json:
    if method.is_fixed:
        said = np.where(scores.any(axis=1), scores.argmax(axis=1) + 1, 0)
    else:
        said = verdicts(_margins(scores, seen, budget))
    return figures(seen.flows, said)


def _margins(scores: Scores, seen: Seen, steady: float) -> Scores:
    return margins(scores, seen.flows, seen.folds, Budget(steady, SETUP * steady))


def _of_method(method: Method, seen: Seen, scores: Sequence[Scores]) -> Json:
    """Figures at STEADY, and the operating curve: of a fixed method a single point."""
    curve = []
    for budget in (None,) if method.is_fixed else CURVE:
        point = mean_and_spread([_at(method, seen, it, budget or 0.0) for it in scores])
        curve.append({"budget": budget, **{k: v for k, v in point.items() if k != "by_capture"}})
        if budget in (None, STEADY):
            main = point
    return {"description": method.description, "seeds": len(scores), "figures": main, "curve": curve}


def within(curve: Sequence[Mapping[str, Any]], budget: float) -> Json | None:
    """The loosest point of a curve that costs no more false incidents a device-day; None: all cost more."""
    fitting = [it for it in curve if (it["false_incidents"]["all"]["a_device_day"] or 0.0) <= budget]
    return dict(max(fitting, key=lambda it: it["budget"] or 0.0)) if fitting else None


def _warm_up(seen: Seen, told: DeviceFlows, scores: Sequence[Scores]) -> Json:
    """By way of warming up, figures of the flows that are left to judge; and what poison costs."""
    readings = []
    for it in scores:
        margin = _margins(it, seen, STEADY)
        rest, found = warmed(Judged(seen.flows, told, margin, verdicts(margin)))
        readings.append({way: figures(seen.flows.at(rest), one[rest]) for way, one in found.items()})
    of_ways: Json = mean_and_spread(readings)
    return of_ways


def _captures(seen: Seen) -> list[Json]:
    flows = seen.flows
    found = []
    for number, (name, dataset) in enumerate(zip(flows.captures, flows.datasets, strict=True)):
        here = flows.capture == number
        targets = flows.target[here]
        by_class = {it: int((targets == place).sum()) for place, it in enumerate(CLASSES)}
        found.append(
            {
                "capture": name,
                "dataset": dataset,
                "flows": int(here.sum()),
                "distinct": len(np.unique(flows.rows[here].view(f"V{flows.rows.dtype.itemsize}"))),
                "unscored": int((targets == UNSCORED).sum()),
                **by_class,
            }
        )
    return found


def _ablation(scoring: Scoring, scope: Scope) -> Json:
    if scope.ablated is None:
        return {}
    found = {}
    for method in (scope.ablated, *scope.ablations):
        scores = scoring.scores(method, scope.seeds[0], (FULL,))[FULL]
        found[method.name] = _at(method, scoring.views[FULL], scores, STEADY)
    return found


def _leak(scoring: Scoring, scope: Scope) -> Json:
    """Of each method as it is, and fitted to labels that say nothing."""
    seen = scoring.views[FULL]
    found: dict[str, Json] = {}
    for method in scope.leaking:
        of_method = found.setdefault(method.name, {})
        for name, one in (("labels as they are", method), ("labels shuffled", shuffled(method))):
            scores = scoring.scores(one, scope.seeds[0], (FULL,))[FULL]
            of_method[name] = {
                "area": areas(seen.flows, scores),
                **{k: v for k, v in _at(one, seen, scores, STEADY).items() if k != "by_capture"},
            }
    return found
