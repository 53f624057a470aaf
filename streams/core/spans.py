"""Spans of time as a histogram: how many within each bound, and their sum. A turn is counted at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from streams.core.clocks import Times

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Spans:
    """Counted by bounds that whoever counts keeps: the last place is of what lies beyond them all."""

    counts: tuple[int, ...]
    sum_s: float = 0.0

    @classmethod
    def none(cls, bounds_s: Sequence[float]) -> Spans:
        return cls((0,) * (len(bounds_s) + 1))

    def __add__(self, more: Spans) -> Spans:
        counts = (one + other for one, other in zip(self.counts, more.counts, strict=True))
        return Spans(tuple(counts), self.sum_s + more.sum_s)

    def since(self, before: Spans) -> Spans:
        counts = (one - other for one, other in zip(self.counts, before.counts, strict=True))
        return Spans(tuple(counts), self.sum_s - before.sum_s)

    @property
    def total(self) -> int:
        return sum(self.counts)

    def quantile_s(self, share: float, bounds_s: Sequence[float]) -> float | None:
        """As Prometheus's histogram_quantile has it: evenly within a bucket, at most the last bound.

        None where nothing was counted.

        >>> Spans((0, 10, 10), 25.0).quantile_s(0.25, (1.0, 2.0))
        1.5
        """
        wanted = share * self.total
        below = 0
        for place, up_to in enumerate(accumulate(self.counts[:-1])):
            if up_to >= wanted and up_to > below:
                low = bounds_s[place - 1] if place else 0.0
                return low + (bounds_s[place] - low) * (wanted - below) / (up_to - below)
            below = up_to
        return float(bounds_s[-1]) if self.total else None


def counted(bounds_s: Sequence[float], spans_us: Times) -> Spans:
    """(N,) microseconds; a span on a bound is within it."""
    if not len(spans_us):
        return Spans.none(bounds_s)
    bounds_us = _in_us(tuple(bounds_s))
    counts = np.bincount(bounds_us.searchsorted(spans_us), minlength=len(bounds_s) + 1)
    return Spans(tuple(counts.tolist()), float(spans_us.sum(dtype=np.float64)) / US_PER_S)


@functools.cache
def _in_us(bounds_s: tuple[float, ...]) -> npt.NDArray[np.float64]:
    return np.array(bounds_s) * US_PER_S
