"""Boosted trees as plain tensors: what a flow's own columns say by themselves, in yes and no.

A tree asks the same D questions of every event, "is column c above limit l?" (oblivious trees). Its answers
are the D bits of a leaf's place, so that a turn of events needs no walk from node to node:

    a row ──> numbers, -1 where absent, a mark a symbol, evidence by side    (X, N)
    bits    = asked[columns] > limits                                         (D, T, N)
    place   = sum over d of 2^d bits, in the tree's own part of a table       (N, T)
    scores  = sum over the trees of the leaves at those places                (N, C - 1)

They meet the network in its class output: of each attack against normal, `trust` times the network's
log-odds, and the trees'. Oblivious trees after CatBoost (Prokhorenkova and others 2018, arXiv 1706.09516).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streams.core.tables import FeatureTable, Mask, Rows

Floats = npt.NDArray[np.float32]
SIDES: Final = 2
"""What a device began, and what began elsewhere: many failing peers of the one are a scan."""
SIDE_COLUMN: Final = "role"
"""The symbol that tells them apart."""
ABSENT: Final = -1.0
"""Below every number."""
NEVER: Final = 3e38
"""A limit that nothing is above: of a question that is not asked."""
_WIDTH: Final = 16
"""Scores are summed in rows of so many, so that no row's sum depends on its companions."""


@cache
def questions(table: FeatureTable, evidence: tuple[int, ...]) -> tuple[str, ...]:
    """What can be asked of an event, X names: a number, `symbol=value`, `side: number`."""
    marks = [f"{of.name}={value}" for of in table.symbolic for value in of.symbols]
    side = table.symbolic[table.symbolic_names.index(SIDE_COLUMN)]
    sided = [f"{value}: {table.numeric_names[at]}" for value in side.symbols[:SIDES] for at in evidence]
    return (*table.numeric_names, *marks, *sided)


def asked(table: FeatureTable, evidence: tuple[int, ...], rows: Rows, there: Mask | None = None) -> Floats:
    """The answers to be compared, column by column: (N,) -> (X, N)."""
    there = table.present(rows) if there is None else there
    count = len(table.numeric)
    found = np.empty((len(questions(table, evidence)), len(rows)), np.float32)
    numbers, codes = np.maximum(rows["numbers"], 0.0), rows["codes"]
    found[:count] = np.where(there[:, :count], numbers, np.float32(ABSENT)).T
    of, value = _marks(table)
    found[count : count + len(of)] = codes.T[of] == value
    side = codes[:, table.symbolic_names.index(SIDE_COLUMN)]
    counts = np.ascontiguousarray(numbers[:, list(evidence)].T)  # (V, N)
    at = count + len(of)
    for place in range(SIDES):
        found[at : at + len(evidence)] = counts * (side == place + 1)
        at += len(evidence)
    return found


@cache
def _marks(table: FeatureTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Of each mark, which symbol and which of its codes: (M,), (M, 1)."""
    pairs = [(at, code) for at, of in enumerate(table.symbolic) for code in range(1, of.size)]
    return np.array([at for at, _ in pairs]), np.array([[code] for _, code in pairs], np.uint8)


class Trees(nn.Module):
    """T trees of depth D, and how far the network is trusted beside them. All of it buffers."""

    columns: Tensor  # (D, T) places among the questions
    limits: Tensor  # (D, T)
    leaves: Tensor  # (T, 2^D, C - 1)
    trust: Tensor  # (C - 1,)

    def __init__(self, trees: int, depth: int, attacks: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.zeros(depth, trees))
        self.register_buffer("limits", torch.full((depth, trees), NEVER))
        self.register_buffer("leaves", torch.zeros(trees, 1 << depth, attacks))
        self.register_buffer("trust", torch.ones(attacks))

    def check(self, questions: int) -> None:
        """Raises ValueError where a question is none of so many."""
        of = self.columns
        if not bool(((of >= 0) & (of < questions) & (of == of.floor())).all()):
            raise ValueError(f"trees: a column is none of the {questions} that can be asked about")


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """The trees as they serve."""

    columns: tuple[Tensor, ...]  # D of (T,)
    limits: tuple[Tensor, ...]  # D of (T, 1)
    first: Tensor  # (T, 1) where a tree's leaves begin
    leaves: Tensor  # (T 2^D, _WIDTH)
    attacks: int

    @classmethod
    def of(cls, trees: Trees) -> Forest:
        count, places, attacks = trees.leaves.shape
        leaves = F.pad(trees.leaves.reshape(count * places, attacks), (0, -attacks % _WIDTH))
        return cls(
            columns=tuple(one.to(torch.int64) for one in trees.columns),
            limits=tuple(one.unsqueeze(1).clone() for one in trees.limits),
            first=(torch.arange(count) * places).unsqueeze(1),
            leaves=leaves.contiguous(),
            attacks=attacks,
        )

    def __call__(self, asked: Tensor) -> Tensor:
        """(X, N) -> (N, C - 1)."""
        place = self.first.expand(-1, asked.shape[1])
        for depth, (columns, limits) in enumerate(zip(self.columns, self.limits, strict=True)):
            place = place + ((asked.index_select(0, columns) > limits).to(torch.int64) << depth)
        found: Tensor = F.embedding_bag(place.T.contiguous(), self.leaves, mode="sum")
        return found[:, : self.attacks]


def mixed(scores: Tensor, boosted: Tensor, trust: Tensor) -> Tensor:
    """The network's class scores and what the trees say: (N, C), (N, C - 1), (C - 1,) -> (N, C), normal 0."""
    return F.pad(trust * (scores[:, 1:] - scores[:, :1]) + boosted, (1, 0))
