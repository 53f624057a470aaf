"""What a profile costs in recall and saves in false alarms: warm-ups clean and poisoned, networks left out.

Scores are boosting's, trained on all other data sets; thresholds come of the other folds' clean flows. A
capture's first quarter is its warm-up, the rest is judged: without a profile, and with that of a warm-up as
it was recorded (poisoned, where its attacks begin early), of its normal flows alone, and of these with all
proposals accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streams.core.flow.columns import DeviceFlows, Index, Mask
from streams.core.flow.features import advance
from streams.core.flow.state import blank as blank_states
from streams.core.profile.decisions import decide
from streams.core.profile.learning import learnt
from streams.core.profile.rules import LEARNING_MS, InForce, Scores, Seen, applied
from streams.core.profile.values import UNNAMED, Profile, Word, blank
from streams.core.profile.warm_up import WarmUp
from streams.evaluation.flows import reading
from streams.evaluation.flows.methods import Task
from streams.evaluation.flows.trees import boosting
from streams.training.flow_captures import TURN, Capture
from streams.training.flow_protocol.deciding import thresholds, verdicts
from streams.training.flow_protocol.folds import LeaveOut, folds
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows, labelled

SHARE: Final = 0.003
WARM_UP: Final = 0.25
DIGEST: Final = "boosting"
NAMES: Final = (*CLASSES, "novel")
_WORD: Final = Word("bench", "bench", 0)
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A capture, and what is said of its flows (M,)."""

    name: str
    seen: Seen
    scores: Scores
    target: Index


def measure(path: Path, seed: int, tell: Callable[[str], None]) -> Json:
    captures = reading.read(path, reading.AT_HOME, reading.ALONE)
    flows = labelled(captures)
    parts = list(_parts(captures, flows, _scores(flows, seed, tell)))
    found: Json = {"captures": len(parts), "flows": len(flows), "share": SHARE, "warm_up": WARM_UP}
    kinds: dict[str, Callable[[Part, Index], Profile]] = {
        "no profile": lambda part, first: blank(UNNAMED),
        "warm-up as recorded": _learnt,
        "warm-up of normal flows": lambda part, first: _learnt(part, first[part.target[first] == 0]),
        "the same, all accepted": lambda part, first: _accepted(
            _learnt(part, first[part.target[first] == 0])
        ),
    }
    for learning_ms in (0, LEARNING_MS):
        for name, profile in kinds.items():
            key = f"{name}, {'half an hour of learning' if learning_ms else 'no learning'}"
            found[key] = _figures(parts, profile, learning_ms)
            tell(f"{key}: {found[key]}")
    return found


def _scores(flows: LabelledFlows, seed: int, tell: Callable[[str], None]) -> tuple[Index, Any]:
    """Verdicts (N,) and scores (N, C - 1), each data set's by a model of the others."""
    scores = np.zeros((len(flows), len(CLASSES) - 1))
    each = folds(flows, LeaveOut.DATASET)
    for fold in each:
        fitted = boosting().fit(Task({"all": flows.at(~fold.held)}, seed, None, tell))
        scores[fold.held] = fitted(flows.at(fold.held))
        tell(f"scored {fold.name}")
    verdict = np.zeros(len(flows), np.int64)
    for fold in each:
        limits = thresholds(scores, flows.clean & ~fold.held, SHARE)
        verdict[fold.held] = verdicts(scores[fold.held] - limits)
    return verdict, scores


def _parts(captures: list[Capture], flows: LabelledFlows, said: tuple[Index, Any]) -> Iterator[Part]:
    """In the order of the labelled flows, whose rows are computed in the same turns."""
    verdict, scores = said
    first = 0
    for capture in (one for one in captures if len(one.flows)):
        counted, age_ms = _aged(capture)
        at = slice(first, first + len(counted))
        first += len(counted)
        posterior = np.column_stack([np.zeros(len(counted)), scores[at]]).astype(np.float32)
        novelty = np.zeros(len(counted), np.float32)
        yield Part(
            capture.name,
            Seen(capture.devices, counted, flows.rows[at], age_ms),
            Scores(NAMES, verdict[at], posterior, novelty, DIGEST),
            flows.target[at],
        )


def _aged(capture: Capture) -> tuple[DeviceFlows, Index]:
    """The flows that count, and how long their devices were known by then."""
    states, order, age_ms = blank_states(len(capture.devices)), [], []
    for first in range(0, len(capture.flows), TURN):
        step = advance(states, capture.flows.at(slice(first, first + TURN)))
        states = step.states
        order.append(step.record + first)
        age_ms.append(step.age_ms)
    return capture.flows.at(np.concatenate(order)), np.concatenate(age_ms)


def _learnt(part: Part, places: Index) -> Profile:
    warm_up = WarmUp(UNNAMED)
    warm_up.add(part.seen.at(places), part.scores.at(places), {})
    return learnt(blank(UNNAMED), warm_up, (DIGEST, DIGEST), 0, _WORD)


def _accepted(profile: Profile) -> Profile:
    return decide(profile, "accept", ["all"], _WORD) if profile.proposals else profile


def _figures(parts: list[Part], profile: Callable[[Part, Index], Profile], learning_ms: int) -> Json:
    """Recall by class, means over captures; false alarms in all clean flows together."""
    recall: dict[str, list[float]] = {name: [] for name in CLASSES[1:]}
    false = clean = 0
    for part in parts:
        begins = int(len(part.target) * WARM_UP)
        first, rest = np.arange(begins), np.arange(begins, len(part.target))
        found = applied(InForce(profile(part, first)), part.seen.at(rest), part.scores.at(rest), learning_ms)
        alerts: Mask = found.verdict != 0
        target = part.target[rest]
        for place, name in enumerate(CLASSES[1:], 1):
            if (target == place).any():
                recall[name].append(float(alerts[target == place].mean()))
        false += int(alerts[target == 0].sum())
        clean += int((target == 0).sum())
    return {
        "recall": {name: round(float(np.mean(them)), 3) for name, them in recall.items() if them},
        "false in 100,000": round(false / clean * 100_000, 1),
    }
