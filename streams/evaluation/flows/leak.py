"""Whether answers leak into what methods see: fitted to shuffled labels they must know nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from streams.evaluation.flows.methods import Fitted, Method, Task
from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, LabelledFlows


def shuffled(method: Method) -> Method:
    """The same, fitted to labels dealt out anew among the labelled flows."""

    def fit(task: Task) -> Fitted:
        learn = {view: _dealt_anew(flows, task.seed) for view, flows in task.learn.items()}
        return method.fit(dataclasses.replace(task, learn=learn))

    return dataclasses.replace(method, name=f"{method.name}, labels shuffled", fit=fit)


def _dealt_anew(flows: LabelledFlows, seed: int) -> LabelledFlows:
    places = np.flatnonzero(flows.scored)
    target = flows.target.copy()
    target[places] = target[np.random.default_rng(seed).permutation(places)]
    return dataclasses.replace(flows, target=target)


def areas(flows: LabelledFlows, scores: Scores) -> dict[str, Any]:
    """Class -> area under the ROC curve of its score, its flows against normal ones; .5 is chance.

    Flows of each capture and class weigh alike in all: a flood is many flows and one event.
    """
    found: dict[str, Any] = {}
    for place, name in enumerate(CLASSES[1:], 1):
        those = (flows.target == place) | (flows.target == NORMAL)
        group = flows.capture[those] * len(CLASSES) + flows.target[those]
        _, number, size = np.unique(group, return_inverse=True, return_counts=True)
        found[name] = area(scores[those, place - 1], flows.target[those] == place, 1.0 / size[number])
    return found


def area(score: Scores, positive: np.ndarray[Any, Any], weight: Scores) -> float | None:
    """Ties count half. None where a side has no weight."""
    values, number = np.unique(score, return_inverse=True)
    ups = np.bincount(number, weight * positive, len(values))
    downs = np.bincount(number, weight * ~positive, len(values))
    if not ups.sum() or not downs.sum():
        return None
    below = np.cumsum(downs) - downs
    return float((ups * (below + downs / 2)).sum() / (ups.sum() * downs.sum()))
