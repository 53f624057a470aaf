"""A table that is not KDD'99's, with columns that may be absent; small tables and rows drawn at random."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streams.core.tables import FeatureTable, Keys, Numeric, Rows, Symbolic

TOY: Final = FeatureTable(
    name="toy",
    numeric=(
        Numeric("bytes_in"),
        Numeric("packets"),
        Numeric("interval_s", is_whole=False),
        Numeric("bytes_out"),
        Numeric("share", is_rate=True),
    ),
    symbolic=(
        Symbolic("state", ("open", "closed")),
        Symbolic("vlan", ("office", "plant")),
        Symbolic("application", ("dns", "mqtt", "http")),
    ),
    file_columns=(
        "state", "application", "bytes_in", "bytes_out", "packets", "interval_s", "share", "vlan",
    ),
    keys=Keys("application", "state", "bytes_out", "bytes_in"),
    optional=frozenset({"interval_s", "share", "vlan"}),
)  # fmt: skip

Drawn = tuple[Rows, npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]
"""Rows (N,), and the numbers, codes and presence that they were packed from."""


@st.composite
def tables(draw: st.DrawFn) -> FeatureTable:
    """2 to 20 numbers and 2 to 8 symbols, any of which may be absent."""
    numeric = tuple(Numeric(f"n{i}", is_rate=draw(st.booleans())) for i in range(draw(st.integers(2, 20))))
    symbolic = tuple(
        Symbolic(f"s{i}", tuple(f"{i}-{j}" for j in range(draw(st.integers(0, 5)))))
        for i in range(draw(st.integers(2, 8)))
    )
    names = [*(column.name for column in numeric), *(column.name for column in symbolic)]
    service, flag = draw(st.permutations([column.name for column in symbolic]))[:2]
    sent, received = draw(st.permutations([column.name for column in numeric]))[:2]
    return FeatureTable(
        name="drawn",
        numeric=numeric,
        symbolic=symbolic,
        file_columns=tuple(draw(st.permutations(names))),
        keys=Keys(service, flag, sent, received),
        optional=draw(st.frozensets(st.sampled_from(names))),
    )


@st.composite
def rows_of(draw: st.DrawFn, table: FeatureTable) -> Drawn:
    """0 to 6 rows."""
    count, numeric = draw(st.integers(0, 6)), len(table.numeric)
    numbers = draw(arrays.arrays(np.float32, (count, numeric), elements=st.floats(0, 2**20, width=32)))
    sizes = np.array([column.size for column in table.symbolic])
    codes = draw(arrays.arrays(np.uint8, (count, len(sizes)))) % sizes
    present = draw(arrays.arrays(np.bool_, (count, len(table.names))))
    present |= np.array([name not in table.optional for name in table.names])
    codes = codes.astype(np.uint8)
    return table.pack(numbers, codes, present), numbers, codes, present
