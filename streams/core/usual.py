"""What is usual in each class, by the training rows: the ranges that an analyst holds a value against.

The model computes nothing from it. It stands in the manifest as the section `usual`, which a model may lack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.core.kdd99 import NUMERIC, NUMERIC_NAMES, SYMBOLIC, SYMBOLIC_NAMES

UNKNOWN: Final = "unknown"
"""How a symbol is called that the feature table does not list."""
_WHOLE_UP_TO: Final = 1e9


@dataclass(frozen=True, slots=True)
class Usual:
    """Of one class. Low and high are its 5 % and 95 % quantiles."""

    numbers: tuple[tuple[float, float], ...]  # (38,) low and high of each number
    symbols: tuple[tuple[str, ...], ...]  # (3,) the commonest of each symbolic column, the first most often

    def __post_init__(self) -> None:
        if len(self.numbers) != len(NUMERIC) or len(self.symbols) != len(SYMBOLIC):
            raise ValueError(f"usual: not {len(NUMERIC)} ranges and {len(SYMBOLIC)} lists of symbols")
        if not all(math.isfinite(high) and 0 <= low <= high for low, high in self.numbers):
            raise ValueError("usual: a range is not of two finite numbers, the lower one first")
        for column, named in zip(SYMBOLIC, self.symbols, strict=True):
            if not set(named) <= {*column.symbols, UNKNOWN}:
                raise ValueError(f"usual: a {column.name} that this version does not have")

    def text(self, column: int) -> str:
        """A column's usual values for people: `0..511`, or `S0, REJ`. The numbers are counted first."""
        if column >= len(NUMERIC):
            return ", ".join(self.symbols[column - len(NUMERIC)])
        low, high = (number_text(bound) for bound in self.numbers[column])
        return low if low == high else f"{low}..{high}"


def number_text(value: float) -> str:
    """A number of the feature table for people: two decimals at most, 231 rather than 231.00."""
    if abs(value) >= _WHOLE_UP_TO:
        return f"{value:.3g}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


def to_manifest(usual: Mapping[str, Usual]) -> dict[str, Any]:
    """The section as JSON has it: class -> column -> [low, high], or a list of symbols."""
    return {
        name: {
            **dict(zip(NUMERIC_NAMES, map(list, of.numbers), strict=True)),
            **dict(zip(SYMBOLIC_NAMES, map(list, of.symbols), strict=True)),
        }
        for name, of in usual.items()
    }


def from_manifest(section: Mapping[str, Any] | None) -> Mapping[str, Usual]:
    """By class; nothing where a manifest has no such section.

    Raises KeyError, TypeError or ValueError where it is not of that form.
    """
    return {
        str(name): Usual(
            numbers=tuple(_range(columns[column]) for column in NUMERIC_NAMES),
            symbols=tuple(tuple(map(str, columns[column])) for column in SYMBOLIC_NAMES),
        )
        for name, columns in ({} if section is None else dict(section)).items()
    }


def _range(bounds: Sequence[Any]) -> tuple[float, float]:
    low, high = bounds
    return float(low), float(high)
