"""What a feature table is made of: symbolic and numeric columns, and packed rows of them.

Symbols are stored as codes. Code 0 is the unknown symbol: a symbol that a table does not list is no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

UNKNOWN_SYMBOL: Final = 0

Rows = npt.NDArray[np.void]  # (N,) of a table's row


@dataclass(frozen=True, slots=True)
class Symbolic:
    """A categorical column; the code of a symbol is its place in `symbols` + 1."""

    name: str
    symbols: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many codes there are, the unknown one included."""
        return len(self.symbols) + 1

    def code(self, symbol: str) -> int:
        return self.symbols.index(symbol) + 1 if symbol in self.symbols else UNKNOWN_SYMBOL


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number >= 0. `is_rate` columns lie in 0..1; the others are counts, bytes, seconds or 0/1 marks."""

    name: str
    is_rate: bool = False
