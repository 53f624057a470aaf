"""Boosting with monotone heads, and a random forest, of scikit-learn, on one flow's features at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.table import COUNTS, EVIDENCE, FLOW, SHARES, SLOW, SUMS, WINDOWS
from streams.core.tables import Rows
from streams.evaluation.flows.methods import Fitted, Method, Task
from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.labelled import CLASSES, LabelledFlows

Floats = npt.NDArray[np.float32]
MOST_OF_A_KIND: Final = 500
"""Flows of one capture and class that are learnt from: a flood's are all but equal."""
ITERATIONS: Final = 60
TREES: Final = 50
MONOTONE_HEADS: Final = ("c2", "r2l")

_WINDOWED: Final = (*COUNTS, *SHARES, *SUMS, "bytes_out_share")
_OF_WINDOWS: Final = frozenset(f"{window}_{name}" for window in WINDOWS for name in _WINDOWED)
COLUMNS: Final = tuple(name for name in FLOW.names if name not in SLOW or name in EVIDENCE)
"""What trees see: the table but for slow habits; of these, attempts and failures in a row."""


def _window(name: str) -> frozenset[str]:
    return frozenset(f"{name}_{it}" for it in _WINDOWED)


ABLATIONS: Final[dict[str, frozenset[str]]] = {
    "without windows": _OF_WINDOWS | frozenset(EVIDENCE),
    "without the window of 2 s": _window("recent"),
    "without the last 100 connections": _window("last"),
    "without failing peers, ports, failures to a host and port": frozenset(
        name for name in EVIDENCE if name in _OF_WINDOWS
    ),
    "without attempts and failures in a row": frozenset(EVIDENCE) - _OF_WINDOWS,
    "without what is new": frozenset(name for name in COLUMNS if "new_" in name),
    "without bytes": frozenset(name for name in COLUMNS if "bytes" in name),
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


def _fit(task: Task, make: Callable[[int, str, Sequence[str]], Any], columns: Sequence[str]) -> Fitted:
    """One classifier a class, against all others."""
    parts, targets = [], []
    for flows in task.learn.values():
        places = sampled(flows, task.seed)
        parts.append(matrix(flows.rows[places], columns))
        targets.append(flows.target[places])
    features, target = np.concatenate(parts), np.concatenate(targets)
    features[:, np.isnan(features).all(axis=0)] = 0.0  # which boosting cannot put into bins
    heads: list[Any] = []
    for place, name in enumerate(CLASSES[1:], 1):
        mine = target == place
        known = mine.any() and not mine.all()
        heads.append(make(task.seed, name, columns).fit(features, mine) if known else None)
    return functools.partial(_scores, heads, tuple(columns))


def _scores(heads: Sequence[Any], columns: Sequence[str], flows: LabelledFlows) -> Scores:
    features = matrix(flows.rows, columns)
    found = np.zeros((len(flows), len(heads)))
    for place, head in enumerate(heads):
        if head is not None:
            found[:, place] = head.predict_proba(features)[:, 1]
    return found


def _boosting(seed: int, name: str, columns: Sequence[str]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - an extra, slow to import

    rises = [int(name in MONOTONE_HEADS and column in EVIDENCE) for column in columns]
    return HistGradientBoostingClassifier(
        max_iter=ITERATIONS, monotonic_cst=rises, early_stopping=False, random_state=seed
    )


def _forest(seed: int, name: str, columns: Sequence[str]) -> Any:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - an extra, slow to import

    return RandomForestClassifier(n_estimators=TREES, random_state=seed, n_jobs=1)


def boosting(name: str = "boosting", without: frozenset[str] = frozenset()) -> Method:
    columns = [it for it in COLUMNS if it not in without]
    said = f"gradient boosting, a head a class, those of {' and '.join(MONOTONE_HEADS)} monotone in evidence"
    fit = functools.partial(_fit, make=_boosting, columns=columns)
    return Method(name, f"{said}; {len(columns)} columns", fit, is_seeded=True)


FOREST: Final = Method(
    "random forest",
    f"{TREES} trees a class, scikit-learn's defaults",
    functools.partial(_fit, make=_forest, columns=COLUMNS),
    is_seeded=True,
)
