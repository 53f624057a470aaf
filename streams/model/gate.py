"""What a model must show before it may serve. Pure: two detectors and a clock in, what was found out.

That files are whole, signed and of our feature table is the loader's part (adapters/store and
model/artifact.py); it also compares the golden vectors, and its figure is told here with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.core.tables import UNKNOWN_SYMBOL, FeatureTable, Rows
from streams.model.artifact import GOLDEN_TOLERANCE
from streams.model.detector import Detector

Clock = Callable[[], float]
"""Seconds of a clock that never goes back, such as time.perf_counter."""

Rest = Callable[[float], None]
"""Told how many seconds a piece of work has taken; returns when the next may run."""

_SEED: Final = 20
_LEAST_REPEATS: Final = 5
_PIECE_ROWS: Final = 128
"""Of a micro-batch, between two rests: some milliseconds, so that events beside it wait no longer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`latency_ratio`: most time for the standard micro-batch, as a multiple of the champion's.

    `repeats`: most runs of each; they end after five where the candidate is half-way within the limit.
    """

    latency_ratio: float = 1.2
    allow_narrower: bool = False
    batch_rows: int = 512
    repeats: int = 15

    def __post_init__(self) -> None:
        if not self.latency_ratio > 0 or self.batch_rows < 1 or self.repeats < 1:
            raise ValueError("a gate needs a latency ratio above 0, rows and repeats")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding, in words for people: what was measured, and what is allowed."""

    name: str
    passed: bool
    measured: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name}: measured {self.measured}, allowed {self.allowed}"


def _no_rest(spent_s: float) -> None:
    """One piece right after the other."""


def examine(
    candidate: Detector, champion: Detector | None, limits: Limits, clock: Clock, rest: Rest = _no_rest
) -> tuple[Check, ...]:
    """Every check of a candidate, passed or not; without a champion, those that need none.

    Takes some tens of times as long as one micro-batch, and the rests: call it in a thread, where nothing
    waits for it.
    """
    checks = [_finite(candidate)]
    if candidate.golden_difference is not None:
        checks.insert(0, _golden(candidate.golden_difference))
    if champion is not None:
        checks += [_classes(candidate, champion, limits), _latency(candidate, champion, limits, clock, rest)]
    return tuple(checks)


def refusal(checks: Sequence[Check]) -> str:
    """The failed checks in one line; empty where all passed."""
    return "; ".join(str(check) for check in checks if not check.passed)


def _golden(difference: float) -> Check:
    passed = difference <= GOLDEN_TOLERANCE
    return Check("golden vectors", passed, f"{difference:.2g} off", f"{GOLDEN_TOLERANCE:g} at most")


def _finite(candidate: Detector) -> Check:
    """The candidate on what no honest sensor sends: each vector alone, and all together in one window."""
    rows = hostile_rows(candidate.table)
    latents = candidate.encode(rows)  # (N, L)
    alone = np.repeat(np.arange(len(rows))[:, None], candidate.width, 1)  # (N, W)
    index = np.concatenate((alone, np.arange(candidate.width)[None] % len(rows)))  # (N + 1, W)
    shortest = np.zeros(index.shape, bool)
    shortest[:, -1] = True
    wrong = int(np.count_nonzero(~np.isfinite(latents)))
    for valid in (np.ones(index.shape, bool), shortest):
        found = candidate.classify(latents, index, valid)
        wrong += int(np.count_nonzero(~np.isfinite(found.posterior)))
        wrong += int(np.count_nonzero(~np.isfinite(found.novelty)))
    return Check("hostile vectors", not wrong, f"{wrong} outputs that are not finite", "0")


def hostile_rows(table: FeatureTable) -> Rows:
    """(4,) rows: zeros; the largest float32; that with every code unknown; ones with every code the last.

    A fifth where columns may be absent: the last of them without any of these.
    """
    largest = float(np.finfo(np.float32).max)
    numbers = np.repeat(np.array([0.0, largest, largest, 1.0], np.float32)[:, None], len(table.numeric), 1)
    last = [column.size - 1 for column in table.symbolic]
    unknown = [UNKNOWN_SYMBOL] * len(table.symbolic)
    rows = table.pack(numbers, np.array([last, last, unknown, last], np.uint8))
    if not table.optional:
        return rows
    needed = np.array([[name not in table.optional for name in table.names]])
    return np.concatenate((rows, table.pack(rows["numbers"][-1:], rows["codes"][-1:], needed)))


def _classes(candidate: Detector, champion: Detector, limits: Limits) -> Check:
    missing = [name for name in champion.classes if name not in candidate.classes]
    measured = f"lacks {', '.join(missing)}" if missing else "all of the champion's"
    allowed = (
        "fewer than the champion's, as forced" if limits.allow_narrower else "none missing unless forced"
    )
    return Check("classes", not missing or limits.allow_narrower, measured, allowed)


def _latency(candidate: Detector, champion: Detector, limits: Limits, clock: Clock, rest: Rest) -> Check:
    """The least of several repeats each, in turns, so that a busy moment of the machine meets both."""
    rows = standard_rows(candidate.table, limits.batch_rows)

    def run(detector: Detector) -> float:
        spent_s = 0.0
        for start in range(0, len(rows), _PIECE_ROWS):
            piece_s = _seconds(detector, rows[start : start + _PIECE_ROWS], clock)
            rest(piece_s)
            spent_s += piece_s
        return spent_s

    for detector in (champion, candidate):
        run(detector)  # warm-up: the first run pays for memory and kernels
    theirs_s, ours_s = float("inf"), float("inf")
    clear = min(limits.latency_ratio, (1 + limits.latency_ratio) / 2)
    for done in range(1, limits.repeats + 1):
        theirs_s = min(theirs_s, run(champion))
        ours_s = min(ours_s, run(candidate))
        if done >= _LEAST_REPEATS and ours_s <= clear * theirs_s:
            break  # more of them would only take time from the events
    passed = ours_s <= limits.latency_ratio * theirs_s
    ratio = f"{ours_s / theirs_s:.2f}" if theirs_s > 0 else "?"
    measured = f"{ratio} x the champion's ({ours_s * 1e3:.2f} ms and {theirs_s * 1e3:.2f} ms)"
    return Check("latency", passed, measured, f"{limits.latency_ratio:g} x")


def standard_rows(table: FeatureTable, count: int) -> Rows:
    """Made-up events, the same each time: (count,) rows. Half of what may be absent is."""
    rng = np.random.default_rng(_SEED)
    numbers = np.stack(
        [
            rng.random(count) if column.is_rate else np.expm1(rng.uniform(0, 7, count))
            for column in table.numeric
        ],
        1,
    ).astype(np.float32)
    codes = np.stack([rng.integers(0, column.size, count) for column in table.symbolic], 1).astype(np.uint8)
    if not table.optional:
        return table.pack(numbers, codes)
    needed = np.array([name not in table.optional for name in table.names])
    return table.pack(numbers, codes, needed | (rng.random((count, len(needed))) < 0.5))


def _seconds(detector: Detector, rows: Rows, clock: Clock) -> float:
    """Time of some events: every one encoded and classified in a full window."""
    places = np.arange(len(rows))[:, None] - np.arange(detector.width)[::-1]  # (N, W)
    index, valid = places % len(rows), np.ones(places.shape, bool)
    start_s = clock()
    detector.classify(detector.encode(rows), index, valid)
    return clock() - start_s
