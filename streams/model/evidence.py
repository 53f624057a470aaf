"""Monotone evidence: numbers that have a way of their own to the scores of attacks, and can only raise them.

Failing peers on a port, failures to the same host: more of these never speaks for a flow. Learnt freely, a
network takes "more than ever seen in training" for harmless. So it sees them here alone:

    a count x ──> log(1 + x), and how far it is towards 1, 3 and 10                   (N, V) -> (N, 4 V)
    u = sigmoid(A context + b + W+ those)      what the flow is decides how much      (N, M)
    scores of attacks += V+ u                  normal gets nothing                    (N, C)

W+ and V+ are softplus of what is trained, so none is below 0: whatever the context, a score of an attack
against normal does not fall as a count grows. A count that is absent is 0: it proves nothing.
After partially monotone networks (Daniels and Velikova 2010, doi 10.1109/TNN.2010.2044803).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS: Final = (1.0, 3.0, 10.0)
TRANSFORMS: Final = 1 + len(STEPS)
UNITS: Final = 32
"""M: a multiple of 16, so that rows do not depend on their companions."""
_LEAST: Final = -4.0
"""Softplus of it is about 0.02: at first evidence says little."""
_LATEST: Final = -8.0
"""Units begin to rise at different amounts of evidence: some at the first failure, some at the hundredth."""


def transformed(evidence: Tensor) -> Tensor:
    """log(1 + x) of counts as they are and as steps, all growing with x. (N, V) -> (N, 4 V)."""
    count = torch.expm1(evidence)
    return torch.cat((evidence, *((count / step).clamp(max=1.0) for step in STEPS)), 1)


class Evidence(nn.Module):
    """The way of `columns` counts to the scores of `attacks` classes, given a context of `size` numbers."""

    def __init__(self, columns: int, size: int, attacks: int) -> None:
        super().__init__()
        self.context = nn.Linear(size, UNITS)
        nn.init.uniform_(self.context.bias, _LATEST, 0.0)
        self.raise_units = nn.Parameter(torch.empty(TRANSFORMS * columns, UNITS).uniform_(_LEAST, 0.0))
        self.raise_scores = nn.Parameter(torch.empty(UNITS, attacks).uniform_(_LEAST, 0.0))

    @property
    def unit_weights(self) -> Tensor:
        """W+: (4 V, M), none below 0."""
        return F.softplus(self.raise_units)

    @property
    def score_weights(self) -> Tensor:
        """V+: (M, C), none below 0, of normal 0."""
        return F.pad(F.softplus(self.raise_scores), (1, 0))

    def forward(self, context: Tensor, evidence: Tensor) -> Tensor:
        """What is added to the scores: (N, size), (N, V) -> (N, C)."""
        units = torch.sigmoid(self.context(context) + transformed(evidence) @ self.unit_weights)
        return units @ self.score_weights


def log_counts(numbers: Tensor) -> Tensor:
    """Of counts >= 0 their logarithms as `transformed` takes them; no more than of e^30."""
    return torch.log1p(numbers.clamp(min=0.0)).clamp(max=30.0)
