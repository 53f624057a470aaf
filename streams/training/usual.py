"""What is usual in each class: 5 % and 95 % of every number, and the commonest symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.tables import UNKNOWN_SYMBOL, FeatureTable, Rows, Symbolic
from streams.core.usual import UNKNOWN, Usual
from streams.training.dataset import TrainingSet

QUANTILES: Final = (0.05, 0.95)
SYMBOLS_SHOWN: Final = 3
LEAST_SHARE: Final = 0.05
"""A symbol of fewer rows of its class is not called usual, unless it is the commonest."""


def usual_values(data: TrainingSet, learn: npt.NDArray[np.bool_]) -> dict[str, Usual]:
    """Of each class that has any, by the rows (N,) that are learnt from, repeats and all."""
    of_class = {
        name: data.rows[learn & (data.target == place)] for place, name in enumerate(data.taxonomy.classes)
    }
    return usual_of(data.table, of_class)


def usual_of(table: FeatureTable, of_class: Mapping[str, Rows]) -> dict[str, Usual]:
    """Of each class that has rows."""
    return {name: _usual(table, rows) for name, rows in of_class.items() if len(rows)}


def _usual(table: FeatureTable, rows: Rows) -> Usual:
    bounds = np.quantile(
        rows["numbers"], QUANTILES, axis=0, method="inverted_cdf"
    )  # (2, numbers): values that occur
    return Usual(
        # A float32's shortest decimals: 0.01, not 0.009999999776482582.
        numbers=tuple((float(str(low)), float(str(high))) for low, high in bounds.T),
        symbols=tuple(_commonest(rows["codes"][:, place], of) for place, of in enumerate(table.symbolic)),
    )


def _commonest(codes: npt.NDArray[np.uint8], column: Symbolic) -> tuple[str, ...]:
    count = np.bincount(codes, minlength=column.size)
    often = [code for code in np.argsort(-count, kind="stable")[:SYMBOLS_SHOWN].tolist() if count[code]]
    kept = [code for code in often if code == often[0] or count[code] >= LEAST_SHARE * len(codes)]
    return tuple(UNKNOWN if code == UNKNOWN_SYMBOL else column.symbols[code - 1] for code in kept)
