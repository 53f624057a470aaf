"""Boosting with monotone heads, and a random forest, of scikit-learn, on one flow's features at a time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.core.flow.table import COUNTS, EVIDENCE, FLOW, SHARES, SLOW, SUMS, WINDOWS
from streams.core.tables import Rows
from streams.evaluation.flows.methods import Fitted, Method, Task
from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows

Floats = npt.NDArray[np.float32]
MOST_OF_A_KIND: Final = 300
"""Flows of one capture and class that are learnt from: a flood's are all but equal."""
ITERATIONS: Final = 60
TREES: Final = 50
MONOTONE_HEADS: Final = ("c2", "r2l")
"""Those of whose trees more evidence never lowers the score."""
SMALL_HEADS: Final = ("c2",)
"""Heads of small trees that see neither packets nor bytes, which do not carry over to another network."""

NEVER: Final = -1e3
"""The score of a class of which nothing was learnt."""
LEAST_CHANCE: Final = 1e-3

_WINDOWED: Final = (*COUNTS, *SHARES, *SUMS, "bytes_out_share")
_OF_WINDOWS: Final = frozenset(f"{window}_{name}" for window in WINDOWS for name in _WINDOWED)
COLUMNS: Final = tuple(name for name in FLOW.names if name not in SLOW or name in EVIDENCE)
"""What trees see: the table but for slow habits; of these, attempts and failures in a row."""


def _window(name: str) -> frozenset[str]:
    return frozenset(f"{name}_{it}" for it in _WINDOWED)


SIZES: Final = frozenset(name for name in COLUMNS if "bytes" in name or name.startswith("packets"))
ABLATIONS: Final[dict[str, frozenset[str]]] = {
    "without windows": _OF_WINDOWS | frozenset(EVIDENCE),
    "without the window of 2 s": _window("recent"),
    "without the last 100 connections": _window("last"),
    "without failing peers, ports, failures to a host and port": frozenset(
        name for name in EVIDENCE if name in _OF_WINDOWS
    ),
    "without attempts and failures in a row": frozenset(EVIDENCE) - _OF_WINDOWS,
    "without what is new": frozenset(name for name in COLUMNS if "new_" in name),
    "without packets and bytes": SIZES,
    "without the flow itself": frozenset(FLOW.names) - _OF_WINDOWS - frozenset(EVIDENCE),
}
"""Name -> columns that the trees do without."""


def matrix(rows: Rows, columns: Sequence[str] = COLUMNS) -> Floats:
    """(N,) -> (N, columns); what is absent is NaN."""
    numbers = np.concatenate([rows["numbers"], rows["codes"].astype(np.float32)], axis=1)
    numbers[~FLOW.present(rows)] = np.nan
    return np.asarray(numbers[:, [FLOW.names.index(name) for name in columns]], np.float32)


def sampled(flows: LabelledFlows, seed: int) -> npt.NDArray[np.int64]:
    """Places of labelled flows, at most MOST_OF_A_KIND of each capture and class."""
    random = np.random.default_rng(seed)
    kind = np.where(flows.scored, flows.capture * len(CLASSES) + flows.target, -1)
    chosen = [
        random.permutation(np.flatnonzero(kind == one))[:MOST_OF_A_KIND]
        for one in np.unique(kind)
        if one >= 0
    ]
    return np.sort(np.concatenate(chosen))


def _material(task: Task, columns: Sequence[str]) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Features and targets of the sampled flows of all views."""
    parts, targets = [], []
    for flows in task.learn.values():
        places = sampled(flows, task.seed)
        parts.append(matrix(flows.rows[places], columns))
        targets.append(flows.target[places])
    features = np.concatenate(parts)
    features[:, np.isnan(features).all(axis=0)] = 0.0  # which boosting cannot put into bins
    return features, np.concatenate(targets)


def _boosted(task: Task, columns: Sequence[str]) -> Fitted:
    """One classifier a class, against all others."""
    features, target = _material(task, columns)
    heads: list[_Head] = []
    for place, name in enumerate(CLASSES[1:], 1):
        mine = target == place
        if mine.any() and not mine.all():
            at = [i for i, it in enumerate(columns) if name not in SMALL_HEADS or it not in SIZES]
            fitted = _boosting(task.seed, name, [columns[i] for i in at]).fit(features[:, at], mine)
            heads.append(_Head(fitted, at, place - 1))
    return functools.partial(_boosted_scores, heads, tuple(columns))


class _Head(NamedTuple):
    fitted: Any
    columns: list[int]
    place: int


def _boosted_scores(heads: Sequence[_Head], columns: Sequence[str], flows: LabelledFlows) -> Scores:
    features = matrix(flows.rows, columns)
    found = np.full((len(flows), len(CLASSES) - 1), NEVER)
    for head in heads:
        found[:, head.place] = head.fitted.decision_function(features[:, head.columns])
    return found


def _boosting(seed: int, name: str, columns: Sequence[str]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - an extra, slow to import

    return HistGradientBoostingClassifier(
        max_iter=ITERATIONS,
        max_leaf_nodes=8 if name in SMALL_HEADS else 31,
        monotonic_cst=[int(name in MONOTONE_HEADS and column in EVIDENCE) for column in columns],
        early_stopping=False,
        random_state=seed,
    )


def _forest(task: Task) -> Fitted:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - an extra, slow to import

    features, target = _material(task, COLUMNS)
    fitted = RandomForestClassifier(n_estimators=TREES, random_state=task.seed, n_jobs=1)
    return functools.partial(_forest_scores, fitted.fit(features, target))


def _forest_scores(fitted: Any, flows: LabelledFlows) -> Scores:
    found = np.zeros((len(flows), len(CLASSES)))
    found[:, fitted.classes_] = fitted.predict_proba(matrix(flows.rows))
    return np.log((found[:, 1:] + LEAST_CHANCE) / (found[:, :1] + LEAST_CHANCE))


def boosting(name: str = "boosting", without: frozenset[str] = frozenset()) -> Method:
    columns = [it for it in COLUMNS if it not in without]
    monotone, small = " and ".join(MONOTONE_HEADS), " and ".join(SMALL_HEADS)
    said = (
        f"gradient boosting, log-odds of a head a class, {ITERATIONS} rounds; those of {monotone} "
        f"monotone in evidence, that of {small} without packets and bytes"
    )
    fit = functools.partial(_boosted, columns=columns)
    return Method(name, f"{said}; {len(columns)} columns", fit, is_seeded=True)


FOREST: Final = Method(
    "random forest", f"{TREES} trees, scikit-learn's defaults, log-odds", _forest, is_seeded=True
)
