"""What is usual in each class, by the training rows: the ranges that an analyst holds a value against.

The model computes nothing from it. It stands in the manifest as the section `usual`, which a model may lack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.core.tables import FeatureTable

UNKNOWN: Final = "unknown"
"""How a symbol is called that the feature table does not list."""
_WHOLE_UP_TO: Final = 1e9


@dataclass(frozen=True, slots=True)
class Usual:
    """Of one class. Low and high are its 5 % and 95 % quantiles."""

    numbers: tuple[tuple[float, float], ...]  # low and high of each number
    symbols: tuple[tuple[str, ...], ...]  # the commonest of each symbolic column, the first most often

    def __post_init__(self) -> None:
        if not all(math.isfinite(high) and 0 <= low <= high for low, high in self.numbers):
            raise ValueError("usual: a range is not of two finite numbers, the lower one first")

    def check(self, table: FeatureTable) -> None:
        """Raises ValueError where it does not describe events of this table."""
        numbers, symbols = len(table.numeric), len(table.symbolic)
        if len(self.numbers) != numbers or len(self.symbols) != symbols:
            raise ValueError(f"usual: not {numbers} ranges and {symbols} lists of symbols")
        for column, named in zip(table.symbolic, self.symbols, strict=True):
            if not set(named) <= {*column.symbols, UNKNOWN}:
                raise ValueError(f"usual: a {column.name} that this version does not have")

    def text(self, column: int) -> str:
        """A column's usual values for people: `0..511`, or `S0, REJ`. The numbers are counted first."""
        if column >= len(self.numbers):
            return ", ".join(self.symbols[column - len(self.numbers)])
        low, high = (number_text(bound) for bound in self.numbers[column])
        return low if low == high else f"{low}..{high}"


def number_text(value: float) -> str:
    """A number of the feature table for people: two decimals at most, 231 rather than 231.00."""
    if abs(value) >= _WHOLE_UP_TO:
        return f"{value:.3g}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def to_manifest(table: FeatureTable, usual: Mapping[str, Usual]) -> dict[str, Any]:
    """The section as JSON has it: class -> column -> [low, high], or a list of symbols."""
    return {
        name: {
            **dict(zip(table.numeric_names, map(list, of.numbers), strict=True)),
            **dict(zip(table.symbolic_names, map(list, of.symbols), strict=True)),
        }
        for name, of in usual.items()
    }


def from_manifest(table: FeatureTable, section: Mapping[str, Any] | None) -> Mapping[str, Usual]:
    """By class; nothing where a manifest has no such section.

    Raises KeyError, TypeError or ValueError where it is not of that form.
    """
    return {
        str(name): Usual(
            numbers=tuple(_range(columns[column]) for column in table.numeric_names),
            symbols=tuple(tuple(map(str, columns[column])) for column in table.symbolic_names),
        )
        for name, columns in ({} if section is None else dict(section)).items()
    }


def _range(bounds: Sequence[Any]) -> tuple[float, float]:
    low, high = bounds
    return float(low), float(high)
