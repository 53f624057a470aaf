"""Shares in words: which features and which earlier events drove a verdict, as an analyst reads it."""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.alerts import Driver, Explanation
from streams.core.tables import UNKNOWN_SYMBOL, FeatureTable, Rows
from streams.core.usual import UNKNOWN, number_text
from streams.model.detector import Detector
from streams.model.explanation import Explainer

MOST_FEATURES: Final = 5
ABSENT: Final = "absent"
"""How the value of a column is called that an event does not have."""
_DECIMALS: Final = 3
"""Of a share: few enough that every kind of CPU gives the same."""


def explanations(
    detector: Detector,
    windows: tuple[Rows, npt.NDArray[np.bool_]],
    verdict: npt.NDArray[np.int64],
    closest: npt.NDArray[np.int64],
    most: int = MOST_FEATURES,
) -> list[Explanation]:
    """Of N verdicts, what `most` features and the earlier events had to do with each.

    `windows` are raw rows (N, W), oldest first, and which of them are there (N, W).
    """
    rows, valid = windows
    if not len(rows):
        return []
    first, of = _distinct(rows, valid, verdict, closest)
    found = _each(detector, rows[first], valid[first], verdict[first], closest[first], most)
    return [found[place] for place in of]


def _distinct(
    rows: Rows,
    valid: npt.NDArray[np.bool_],
    verdict: npt.NDArray[np.int64],
    closest: npt.NDArray[np.int64],
) -> tuple[list[int], list[int]]:
    """The first of each that are alike (M), and of each (N) which of these it is like.

    A flood's events are alike, and an explanation costs fifty verdicts.
    """
    there = np.where(valid, rows, np.zeros(1, rows.dtype))
    keys = zip(map(bytes, there), map(bytes, valid), verdict.tolist(), closest.tolist(), strict=True)
    first: dict[tuple[bytes, bytes, int, int], int] = {}
    of = [first.setdefault(key, i) for i, key in enumerate(keys)]
    places = {i: number for number, i in enumerate(first.values())}
    return list(places), [places[i] for i in of]


def _each(
    detector: Detector,
    rows: Rows,
    valid: npt.NDArray[np.bool_],
    verdict: npt.NDArray[np.int64],
    closest: npt.NDArray[np.int64],
    most: int,
) -> list[Explanation]:
    shares = _explainer(detector).shares(rows, valid, verdict)
    columns, events = np.round(shares.columns, _DECIMALS), np.round(shares.events, _DECIMALS)
    return [
        Explanation(
            features=tuple(
                _driver(detector, rows[i, -1:], column, columns[i, column], int(closest[i]))
                for column in _largest(columns[i], most)
            ),
            events=tuple(_plain(share) for share in events[i][valid[i, :-1]]),
        )
        for i in range(len(rows))
    ]


_explainer = functools.lru_cache(maxsize=4)(Explainer)
"""It begins with the detector's usual event, which is a tenth of a millisecond."""


def _largest(shares: npt.NDArray[np.float64], most: int) -> list[int]:
    """The columns of the largest shares, for or against; those of none are left out."""
    order = np.argsort(-np.abs(shares), kind="stable")[:most]
    return [column for column in order.tolist() if shares[column]]


def _driver(detector: Detector, row: Rows, column: int, share: float, closest: int) -> Driver:
    classes = detector.classes
    return Driver(
        feature=detector.table.names[column],
        value=value_text(detector.table, row, column),
        share=_plain(share),
        usual=_usual(detector, classes[closest], column),
        normal=_usual(detector, classes[0], column),
    )


def _usual(detector: Detector, of_class: str, column: int) -> str:
    usual = detector.parameters.usual.get(of_class)
    return usual.text(column) if usual is not None else ""


def value_text(table: FeatureTable, row: Rows, column: int) -> str:
    """A column's value of one packed row (1,), for people."""
    if not table.present(row)[0, column]:
        return ABSENT
    if column < len(table.numeric):
        return number_text(float(row["numbers"][0, column]))
    place = column - len(table.numeric)
    code = int(row["codes"][0, place])
    return UNKNOWN if code == UNKNOWN_SYMBOL else table.symbolic[place].symbols[code - 1]


def _plain(share: float) -> float:
    return float(share) + 0.0  # no -0.0
