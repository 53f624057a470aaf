"""Explanations: how far they agree with integrated gradients on real alerts, and what one costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from bench.gradients import integrated_gradients
from streams.adapters.store.models import open_store
from streams.codec.ingest.kdd import KddRows, read_rows
from streams.core.tables import Rows
from streams.model.detector import Detector
from streams.model.explanation import Explainer, Shares
from streams.training.windows import windows

TOP: Final = 5
ROUNDS: Final = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Alerts:
    """Windows whose verdict is a known attack."""

    rows: Rows  # (N, W)
    valid: npt.NDArray[np.bool_]  # (N, W)
    verdict: npt.NDArray[np.int64]  # (N,)

    def __len__(self) -> int:
        return len(self.rows)


def measure(data: Path, model: str, per_type: int) -> dict[str, Any]:
    """Agreement over alerts of every attack type alike, and microseconds an alert."""
    torch.set_num_threads(1)
    detector = open_store("").load(model)
    found = alerts(detector, read_rows(data, detector.table), per_type)
    explainer = Explainer(detector)

    def by_occlusion(of: Alerts) -> Shares:
        return explainer.shares(of.rows, of.valid, of.verdict)

    def alone() -> None:
        for i in range(len(found)):
            by_occlusion(_only(found, i))

    return {
        "model": f"{detector.identity.name}/{detector.identity.version}",
        "alerts": len(found),
        **agreement(by_occlusion(found), gradients(detector, found)),
        "us_an_alert": {
            "occlusion": _least_us(lambda: by_occlusion(found), len(found)),
            "occlusion, one alert at a time": _least_us(alone, len(found)),
            "integrated gradients": _least_us(lambda: gradients(detector, found), len(found), 1),
            "the verdict itself": _least_us(lambda: _classified(detector, found), len(found)),
        },
    }


def alerts(detector: Detector, read: KddRows, per_type: int) -> Alerts:
    """At most so many rows of each attack type, in their windows, that are given a known attack's verdict."""
    rng = np.random.default_rng(1)
    normal = read.labels.index("normal")
    kinds = (np.flatnonzero(read.label == code) for code in range(len(read.labels)) if code != normal)
    places = np.sort(np.concatenate([rng.permutation(of)[:per_type] for of in kinds]))
    index, valid = windows(places, np.zeros(1, np.int64), detector.width)
    found = Alerts(read.rows[index], valid, np.zeros(len(places), np.int64))
    verdict = _classified(detector, found)
    kept = (verdict > 0) & (verdict < len(detector.classes))
    return Alerts(found.rows[kept], valid[kept], verdict[kept])


def gradients(detector: Detector, of: Alerts) -> Floats:
    """Integrated gradients of each, (N, 41 + W - 1)."""
    each = zip(of.rows, of.valid, of.verdict.tolist(), strict=True)
    return np.stack([integrated_gradients(detector, *window)[0] for window in each])


def agreement(shares: Shares, reference: Floats) -> dict[str, Any]:
    """Means over alerts, of the parts' sizes: shares (N, 41), (N, W - 1) against (N, 41 + W - 1)."""
    ours = np.abs(np.concatenate((shares.columns, shares.events), 1))
    theirs = np.abs(reference)
    features = shares.columns.shape[1]
    return {
        "top_5_features_in_common": _in_common(ours[:, :features], theirs[:, :features]),
        "top_5_in_common": _in_common(ours, theirs),
        "first_among_their_3": _first_among(ours, theirs, 3),
        "rank_correlation": _mean(map(_rank_correlation, ours, theirs)),
        "sign_in_common_of_their_5": _same_sign(shares, reference),
        "correlation_of_earlier_events": _correlation_of_events(shares.events, reference[:, features:]),
        "share_of_earlier_events": _mean(ours[:, features:].sum(1)),
        "their_share_of_earlier_events": _mean(theirs[:, features:].sum(1) / theirs.sum(1)),
    }


def _in_common(ours: Floats, theirs: Floats) -> float:
    pairs = zip(_top(ours, TOP).tolist(), _top(theirs, TOP).tolist(), strict=True)
    return _mean(len(set(a) & set(b)) / TOP for a, b in pairs)


def _first_among(ours: Floats, theirs: Floats, most: int) -> float:
    return _mean((_top(ours, 1) == _top(theirs, most)).any(1))


def _same_sign(shares: Shares, reference: Floats) -> float:
    ours = np.concatenate((shares.columns, shares.events), 1)
    largest = _top(np.abs(reference), TOP)
    signs = (np.sign(np.take_along_axis(of, largest, 1)) for of in (ours, reference))
    return _mean(next(signs) == next(signs))


def _correlation_of_events(ours: Floats, theirs: Floats) -> float:
    """Of the alerts whose window holds earlier events that differ in their shares."""
    pairs = zip(ours, theirs, strict=True)
    return _mean(np.corrcoef(a, b)[0, 1] for a, b in pairs if a.std() > 0 and b.std() > 0)


def _top(sizes: Floats, most: int) -> npt.NDArray[np.int64]:
    return np.argsort(-sizes, axis=1, kind="stable")[:, :most]


def _ranks(sizes: Floats) -> Floats:
    """Ties share their mean rank: half the columns are as usual, and have no share."""
    _, place, count = np.unique(sizes, return_inverse=True, return_counts=True)
    mean: Floats = (np.cumsum(count) - (count - 1) / 2)[place]
    return mean


def _rank_correlation(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _mean(of: Any) -> float:
    return round(float(np.mean(of if isinstance(of, np.ndarray) else list(of))), 3)


def _classified(detector: Detector, of: Alerts) -> npt.NDArray[np.int64]:
    index = np.arange(of.rows.size).reshape(of.rows.shape)
    return detector.classify(detector.encode(of.rows.reshape(-1)), index, of.valid).verdict


def _only(of: Alerts, place: int) -> Alerts:
    one = slice(place, place + 1)
    return Alerts(of.rows[one], of.valid[one], of.verdict[one])


def _least_us(work: Callable[[], object], count: int, rounds: int = ROUNDS) -> float:
    """CPU microseconds an alert, of the best round: other processes only ever add."""
    taken = []
    for _ in range(rounds):
        began_ns = time.process_time_ns()
        work()
        taken.append(time.process_time_ns() - began_ns)
    return round(min(taken) / 1000 / count, 1)
