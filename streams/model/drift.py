"""Whether what is judged still looks like what the model was trained on, hour by hour of event time.

Of each number the population stability index over three ranges: below, within and above what is usual in
training's normal rows (5 % and 95 % quantiles, the manifest's section `usual`), for the events that the model
calls normal. Which share of training lay outside is known to be at most 5 % on either side, not how much:
each side is held against 5 %, or against what is found there where that is less. So the index is 0 where no
more than 5 % are below and above, and what moves within the usual range is not seen.

Of each symbol the share of events whose value training never saw, and the share of novel verdicts: of all
events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.tables import UNKNOWN_SYMBOL, FeatureTable, Rows
from streams.core.topics import NORMAL
from streams.core.usual import Usual
from streams.core.windows import Index
from streams.model.classified import Classified
from streams.model.detector import Detector, known_codes

OUTSIDE: Final = 0.05
"""The most of training's rows that lie below the usual range, and above it."""
LEAST_EVENTS: Final = 200
"""An hour says nothing before it has so many."""
KEPT_HOURS: Final = 3
_COUNTED_HOURS: Final = 2
"""Of a turn, those of the most events: the others are of late events or wrong clocks."""
_US_PER_HOUR: Final = 3_600_000_000
_LEAST_SHARE: Final = 1e-4
"""Keeps the index finite where a range is empty."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Hour:
    """Counts of one hour of event time."""

    start_us: int
    events: int
    normal: int
    novel: int
    below: Counts  # (numbers,) of the normal ones
    above: Counts  # (numbers,)
    unknown: Counts  # (symbols,) of all

    def __add__(self, more: Hour) -> Hour:
        return Hour(
            self.start_us,
            self.events + more.events,
            self.normal + more.normal,
            self.novel + more.novel,
            self.below + more.below,
            self.above + more.above,
            self.unknown + more.unknown,
        )


@dataclass(frozen=True, slots=True)
class DriftFigures:
    """Of the hour that the stream is in, or of the one before where that has too few events yet."""

    digest: str
    hour_start_s: int
    events: int
    psi: Mapping[str, float]
    """By number; empty where the model does not say what is usual, or too few events were normal."""
    unknown: Mapping[str, float]
    """By symbolic column, the share of events with a symbol that training never saw."""
    novel: float


class Drift:
    """Of the model that serves; another one begins anew. `note` is one thread's, `figures` anybody's."""

    def __init__(self, serving: Callable[[], str]) -> None:
        """`serving` says the digest of the champion: what another judges, at a switch, does not count."""
        self._serving = serving
        self._of: _Model | None = None
        self._hours: dict[int, Hour] = {}  # replaced, never changed; the one counted last at the end

    def note(self, classified: Classified) -> None:
        """A champion's verdicts of a turn."""
        digest = classified.detector.identity.digest
        if digest != self._serving() or not len(classified.step.applied):
            return
        if self._of is None or self._of.digest != digest:
            self._of, self._hours = _Model(classified.detector), {}
        hours = self._hours
        for hour in self._of.counted(classified):
            before = hours.get(hour.start_us)
            others = {start: one for start, one in hours.items() if start != hour.start_us}
            hours = {**others, hour.start_us: hour if before is None else before + hour}
        self._hours = dict(list(hours.items())[-KEPT_HOURS:])

    def figures(self) -> DriftFigures | None:
        """None as long as no hour has enough events."""
        model, hours = self._of, list(self._hours.values())
        enough = [hour for hour in hours if hour.events >= LEAST_EVENTS]
        return model.figures(enough[-1]) if model is not None and enough else None


class _Model:
    """What is compared with: of one model."""

    def __init__(self, detector: Detector) -> None:
        self.digest = detector.identity.digest
        self._table: FeatureTable = detector.table
        self._novel = len(detector.classes)
        self._known = np.stack(known_codes(detector.parameters.seen_codes))  # (symbols, 256)
        usual = detector.parameters.usual.get(NORMAL)
        self._ranges = None if usual is None else _bounds(usual)

    def counted(self, classified: Classified) -> list[Hour]:
        """The turn's hours, that of the most events last."""
        applied, verdict = classified.step.applied, classified.verdicts.verdict
        of_event = classified.events.event_time_us[applied] // _US_PER_HOUR  # (A,)
        if (of_event == of_event[0]).all():  # as mostly
            start_us = int(of_event[0]) * _US_PER_HOUR
            return [self._hour(start_us, classified.events.rows, applied, verdict)]
        hours, count = np.unique(of_event, return_counts=True)
        chosen = hours[np.argsort(count, kind="stable")[-_COUNTED_HOURS:]].tolist()
        found = []
        for hour in chosen:
            mine = of_event == hour
            found.append(
                self._hour(hour * _US_PER_HOUR, classified.events.rows, applied[mine], verdict[mine])
            )
        return found

    def _hour(self, start_us: int, rows: Rows, places: Index, verdict: Index) -> Hour:
        is_normal = verdict == 0
        below = above = np.zeros(len(self._table.numeric), np.int64)
        if self._ranges is not None:
            low, high = self._ranges
            numbers = rows["numbers"][places[is_normal]]  # (M, numbers)
            below, above = (numbers < low).sum(0), (numbers > high).sum(0)
        unknown = self._known[np.arange(len(self._known)), rows["codes"][places]] == UNKNOWN_SYMBOL
        return Hour(
            start_us,
            len(verdict),
            int(np.count_nonzero(is_normal)),
            int(np.count_nonzero(verdict == self._novel)),
            below,
            above,
            unknown.sum(0),  # (N, symbols) -> (symbols,)
        )

    def figures(self, hour: Hour) -> DriftFigures:
        names, index = self._table.numeric_names, dict[str, float]()
        if self._ranges is not None and hour.normal >= LEAST_EVENTS:
            found = range_psi(hour.below / hour.normal, hour.above / hour.normal)
            index = dict(zip(names, found.tolist(), strict=True))
        unknown = (hour.unknown / hour.events).tolist()
        return DriftFigures(
            self.digest,
            hour.start_us // 1_000_000,
            hour.events,
            index,
            dict(zip(self._table.symbolic_names, unknown, strict=True)),
            hour.novel / hour.events,
        )


def range_psi(below: npt.NDArray[np.float64], above: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The index over the ranges below, within and above, of shares (numbers,) outside.

    Sum of (found - expected) * ln(found / expected); expected outside is what is found, 5 % at most.

    >>> range_psi(np.array([0.0, 0.05, 0.0]), np.array([0.04, 0.05, 0.2])).round(3).tolist()
    [0.0, 0.0, 0.234]
    """
    expected = [np.minimum(outside, OUTSIDE) for outside in (below, above)]
    pairs = ((below, expected[0]), (1 - below - above, 1 - sum(expected)), (above, expected[1]))
    clipped = [(np.maximum(found, _LEAST_SHARE), np.maximum(of, _LEAST_SHARE)) for found, of in pairs]
    return np.asarray(sum((found - of) * np.log(found / of) for found, of in clipped))


def _bounds(usual: Usual) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Low and high (numbers,) as the rows have them."""
    low, high = np.array(usual.numbers, np.float32).T
    return low, high
