"""Boosting of oblivious trees, in numpy: a tree asks the same few questions of every event.

Newton's steps on the logistic loss (Friedman 2001), questions from histograms of at most BINS bins. Where a
column is to `rise`, no leaf behind "above" is below its twin behind "not above": more never lowers a score.
The same seed and data give the same trees on the same machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.model.trees import NEVER

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
BINS: Final = 32
_ROUNDS_OF_POOLING: Final = 8


@dataclass(frozen=True, slots=True)
class Growth:
    """How trees are grown."""

    rounds: int
    depth: int
    rate: float
    ridge: float
    share: float
    """Of the columns, that a tree may ask about."""


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """T trees of depth D, the first of which holds what is so before any question."""

    columns: Index  # (D, T)
    limits: npt.NDArray[np.float32]  # (D, T)
    leaves: Floats  # (T, 2^D)


@dataclass(frozen=True, slots=True, eq=False)
class _Binned:
    """F columns that can be asked about, of N events."""

    bins: list[Index]  # F of (N,): how many of the column's edges are below
    edges: list[npt.NDArray[np.float32]]
    asked: Mask  # (F, BINS - 1) which edges there are
    rises: Mask  # (F,)
    column: Index  # (F,) the place among all columns


def grown(asked: npt.NDArray[np.float32], wanted: Mask, rises: Mask, how: Growth, seed: int) -> Grown:
    """Trees that tell the wanted events from the others.

    `asked` (X, N), NaN in columns that may not be asked about; `wanted` (N,); `rises` (X,).
    """
    of, rng = _binned(asked, rises), np.random.default_rng(seed)
    chance = float(wanted.mean())
    base = float(np.log(chance / (1.0 - chance)))
    score = np.full(len(wanted), base)
    columns = np.zeros((how.depth, how.rounds), np.int64)
    limits = np.full((how.depth, how.rounds), NEVER, np.float32)
    leaves = np.zeros((how.rounds, 1 << how.depth))
    for place in range(how.rounds):
        chance_of = 1.0 / (1.0 + np.exp(-score))
        slope = wanted - chance_of
        bend = np.maximum(chance_of * (1.0 - chance_of), 1e-12)
        among = np.sort(rng.permutation(len(of.bins))[: max(1, int(len(of.bins) * how.share))])
        chosen, leaf = _questions(of, among, slope, bend, how)
        leaves[place] = how.rate * _values(leaf, slope, bend, [of.rises[at] for at, _ in chosen], how)
        score += leaves[place][leaf]
        for depth, (at, edge) in enumerate(chosen):
            columns[depth, place], limits[depth, place] = of.column[at], of.edges[at][edge]
    leaves[0] += base
    return Grown(columns, limits, leaves)


def _binned(asked: npt.NDArray[np.float32], rises: Mask) -> _Binned:
    all_edges = [_edges(one) for one in asked]
    column = np.array([at for at, edges in enumerate(all_edges) if len(edges)])
    edges = [all_edges[at] for at in column]
    counts = np.array([len(one) for one in edges])
    return _Binned(
        bins=[np.searchsorted(one, asked[at], side="left") for at, one in zip(column, edges, strict=True)],
        edges=edges,
        asked=np.arange(BINS - 1) < counts[:, None],
        rises=rises[column],
        column=column,
    )


def _edges(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Limits that part the values, ascending: between all of them, or quantiles where there are many."""
    if np.isnan(values).any():
        return np.empty(0, np.float32)
    several = np.unique(values)
    if len(several) <= BINS:
        return np.asarray((several[:-1] + several[1:]) / 2, np.float32)
    ranks = np.linspace(0, len(values) - 1, BINS + 1)[1:-1].astype(np.int64)
    limits = np.unique(np.concatenate((several[:1], np.sort(values)[ranks])))
    return np.asarray(limits[limits < several[-1]][: BINS - 1], np.float32)


def _questions(
    of: _Binned, among: Index, slope: Floats, bend: Floats, how: Growth
) -> tuple[list[tuple[int, int]], Index]:
    """A tree's questions, each the best after those before, and the leaf of every event."""
    leaf, chosen = np.zeros(len(slope), np.int64), []
    for depth in range(how.depth):
        at, edge, gain = _best(of, among, (slope, bend), leaf, 1 << depth, how.ridge)
        if gain <= 0:
            break
        chosen.append((at, edge))
        leaf = leaf + ((of.bins[at] > edge).astype(np.int64) << depth)
    return chosen, leaf


def _best(
    of: _Binned, among: Index, steps: tuple[Floats, Floats], leaf: Index, count: int, ridge: float
) -> tuple[int, int, float]:
    """Which column, which of its edges, and what is gained: over all leaves so far."""
    sums = np.empty((2, len(among), count, BINS))
    first = leaf * BINS
    for row, at in enumerate(among):
        place = first + of.bins[at]
        for which, step in enumerate(steps):
            sums[which, row] = np.bincount(place, step, count * BINS).reshape(count, BINS)
    below = sums.cumsum(3)[..., :-1]
    whole = sums.sum(3, keepdims=True)
    above = whole - below
    parted = below[0] ** 2 / (below[1] + ridge) + above[0] ** 2 / (above[1] + ridge)
    before = whole[0] ** 2 / (whole[1] + ridge)
    falls = above[0] / (above[1] + ridge) < below[0] / (below[1] + ridge)
    gain = np.where(of.rises[among][:, None, None] & falls, 0.0, parted - before).sum(1)
    gain[~of.asked[among]] = -1.0
    row, edge = divmod(int(gain.argmax()), BINS - 1)
    return int(among[row]), edge, float(gain[row, edge])


def _values(leaf: Index, slope: Floats, bend: Floats, rises: list[np.bool_], how: Growth) -> Floats:
    """Of each leaf, (2^D,); behind a question that is to rise none is below its twin."""
    count = 1 << how.depth
    size = np.bincount(leaf, bend, count) + how.ridge
    value = np.bincount(leaf, slope, count) / size
    place = np.arange(count)
    twins = [(place[place >> d & 1 == 0], 1 << d) for d, it in enumerate(rises) if it]
    for _ in range(_ROUNDS_OF_POOLING):
        for low, bit in twins:
            wrong = low[value[low | bit] < value[low]]
            both = size[wrong] + size[wrong | bit]
            mean = (size[wrong] * value[wrong] + size[wrong | bit] * value[wrong | bit]) / both
            value[wrong] = value[wrong | bit] = mean
    for low, bit in twins:
        value[low | bit] = np.maximum(value[low | bit], value[low])
    return value
