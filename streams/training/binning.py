"""Where a number's bins begin: at quantiles of the training rows, and around their commonest values.

Counts and bytes of this data have values that stand for something (0, 1, 105 bytes): each has a bin of its
own. Between them quantiles cut, so that every bin holds about as many rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.model.network import NO_EDGE

Floats = npt.NDArray[np.float32]


def bin_edges(scaled: Floats, weight: npt.NDArray[np.float64], quantiles: int, common: int) -> list[Floats]:
    """The edges of each column's bins, ascending: scaled (V, numbers) in 0..1, weight (V,) of each row.

    A bin begins at its edge, the first below all edges. A column that is constant has no edge.
    """
    return [_column(scaled[:, column], weight, quantiles, common) for column in range(scaled.shape[1])]


def table(edges: list[Floats]) -> Floats:
    """Edges as the network keeps them, filled up with NO_EDGE. (numbers, B)."""
    filled = np.full((len(edges), max(*map(len, edges), 1)), NO_EDGE, np.float32)
    for column, of in enumerate(edges):
        filled[column, : len(of)] = of
    return filled


def _column(values: Floats, weight: npt.NDArray[np.float64], quantiles: int, common: int) -> Floats:
    distinct, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weight)  # of each distinct value
    cumulative = np.cumsum(mass) / mass.sum()
    wanted = np.arange(1, quantiles) / quantiles
    cuts = distinct[np.minimum(np.searchsorted(cumulative, wanted), len(distinct) - 1)]
    often = distinct[np.argsort(-mass, kind="stable")[:common]]
    after = distinct[np.minimum(np.searchsorted(distinct, often, side="right"), len(distinct) - 1)]
    edges = np.unique(np.concatenate((cuts, often, after[after > often])))
    return np.asarray(edges[edges > distinct[0]], np.float32)
