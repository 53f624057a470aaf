"""A feature table as a value: columns, their order and vocabularies, and how a row of them is packed.

The order of a table, its numbers and then its symbols, is the order of the tensors. A model artifact and
every stored window carry the table's digest; where it differs, the artifact is refused and the window starts
anew.

Symbols are stored as codes. Code 0 is the unknown symbol: a symbol that a table does not list is no error.

A table may say that some of its columns can be absent. Its rows then hold one bit for each of these, and an
absent column's place holds 0: rows that say the same are the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

UNKNOWN_SYMBOL: Final = 0
MOST_SYMBOLS: Final = 255
"""A code is one byte, and 0 is taken."""
_ALIGNMENT: Final = 4

Rows = npt.NDArray[np.void]  # (N,) of a table's `row`
Mask = npt.NDArray[np.bool_]


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
    is_whole: bool = True
    """Of a column that is no rate: whether its values are whole numbers. No rate's are."""

    @property
    def decimals(self) -> int:
        """How many a value has where one is made up."""
        return 0 if self.is_whole and not self.is_rate else 2


class Keys(NamedTuple):
    """The columns by which the model compares events: two symbols and two numbers, by name."""

    service: str
    flag: str
    sent: str
    received: str


KDD_KEYS: Final = Keys("service", "flag", "src_bytes", "dst_bytes")
"""What the keys are where a table does not say: the first table's digest does not cover them."""


class KeyPlaces(NamedTuple):
    """Where the key columns stand: the first two among a table's symbols, the others among its numbers."""

    service: int
    flag: int
    sent: int
    received: int


@dataclass(frozen=True)
class FeatureTable:
    """What an event is described by. Raises ValueError where the parts do not fit each other."""

    name: str
    numeric: tuple[Numeric, ...]
    symbolic: tuple[Symbolic, ...]
    file_columns: tuple[str, ...]
    """All columns in the order of files and of the wire."""
    keys: Keys = KDD_KEYS
    optional: frozenset[str] = frozenset()
    """The columns that may be absent from an event."""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"table {self.name}: a column is named twice")
        if sorted(self.file_columns) != sorted(self.names):
            raise ValueError(f"table {self.name}: the files' columns are not the table's")
        if not self.optional <= set(self.names):
            raise ValueError(f"table {self.name}: a column that may be absent is none of the table's")
        if not {*self.keys[:2]} <= {*self.symbolic_names} or not {*self.keys[2:]} <= {*self.numeric_names}:
            raise ValueError(f"table {self.name}: its keys must be two of its symbols and two of its numbers")
        if any(len(column.symbols) > MOST_SYMBOLS for column in self.symbolic):
            raise ValueError(f"table {self.name}: a column lists more than {MOST_SYMBOLS} symbols")

    @cached_property
    def numeric_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.numeric)

    @cached_property
    def symbolic_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.symbolic)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All columns in the order of the tensors: the numbers, then the symbols."""
        return (*self.numeric_names, *self.symbolic_names)

    @cached_property
    def key_places(self) -> KeyPlaces:
        symbols, numbers = self.symbolic_names, self.numeric_names
        service, flag, sent, received = self.keys
        return KeyPlaces(
            symbols.index(service), symbols.index(flag), numbers.index(sent), numbers.index(received)
        )

    @cached_property
    def row(self) -> np.dtype[np.void]:
        """One event as it is kept: float32 numbers, a byte for each symbol, a bit for each optional column.

        Padded to whole words. Without optional columns there is no field `present`.
        """
        size = len(self.symbolic)
        fields: list[Any] = [("numbers", "<f4", (len(self.numeric),)), ("codes", "u1", (size,))]
        if self.optional:
            fields.append(("present", "u1", (-(-len(self.optional) // 8),)))
            size += -(-len(self.optional) // 8)
        padding = -size % _ALIGNMENT
        if padding:
            fields.append(("pad", "u1") if padding == 1 else ("pad", "u1", (padding,)))
        return np.dtype(fields, align=False)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of names, order, vocabularies and packing, 32 bytes.

        Keys and optional columns count where a table has others than KDD'99's, which was first and has none.
        """
        table: dict[str, Any] = {
            "symbolic": [[column.name, list(column.symbols)] for column in self.symbolic],
            "numeric": [[column.name, column.is_rate] for column in self.numeric],
            "row": str(self.row.descr),
        }
        if self.optional:
            table["optional"] = [name for name in self.names if name in self.optional]
        if self.keys != KDD_KEYS:
            table["keys"] = list(self.keys)
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).digest()

    def pack(
        self, numbers: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8], present: Mask | None = None
    ) -> Rows:
        """Pack columns, numbers (N, numeric) and codes (N, symbolic), into (N,) rows.

        `present` (N, columns), in the order of `names`, says what is there; None: everything. Raises
        ValueError where a column is absent that may not be.
        """
        rows = np.zeros(len(numbers), self.row)
        rows["numbers"] = numbers
        rows["codes"] = codes
        if present is not None and not present[:, self._needed].all():
            missing = self._needed[(~present[:, self._needed]).any(0)][0]
            raise ValueError(f"table {self.name}: column {self.names[missing]} may not be absent")
        if self.optional:
            there = np.ones((len(rows), len(self.names)), np.bool_) if present is None else present
            rows["present"] = np.packbits(there[:, self._optional], axis=1, bitorder="little")
            rows["numbers"][~there[:, : len(self.numeric)]] = 0.0
            rows["codes"][~there[:, len(self.numeric) :]] = UNKNOWN_SYMBOL
        return rows

    def present(self, rows: Rows) -> Mask:
        """Which columns are there, in the order of `names`: (N,) -> (N, columns)."""
        there = np.ones((len(rows), len(self.names)), np.bool_)
        if self.optional:
            bits = np.unpackbits(rows["present"], axis=1, count=len(self._optional), bitorder="little")
            there[:, self._optional] = bits.astype(np.bool_)
        return there

    @cached_property
    def _optional(self) -> npt.NDArray[np.int64]:
        """Places in `names` of the columns that may be absent, in the order of their bits."""
        return np.array([i for i, name in enumerate(self.names) if name in self.optional], np.int64)

    @cached_property
    def _needed(self) -> npt.NDArray[np.int64]:
        return np.array([i for i, name in enumerate(self.names) if name not in self.optional], np.int64)
