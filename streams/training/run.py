"""What one training is given."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from streams.training.dataset import TrainingSet
from streams.training.log import Validation
from streams.training.plan import Plan

Report = Callable[[str, int, int, float], None]
"""Told of phase, steps done, steps in all and the loss."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One training: its data, the rows that it may learn from, and where it keeps its checkpoints."""

    data: TrainingSet
    learn: npt.NDArray[np.bool_]  # (N,)
    validate: npt.NDArray[np.bool_]  # (N,)
    plan: Plan
    folder: Path | None
    report: Report = lambda phase, step, steps, loss: None
    validated: Callable[[str, Validation], None] = lambda phase, found: None
    device: str = "cpu"

    def digest(self) -> str:
        hashed = hashlib.sha256(json.dumps(dataclasses.asdict(self.plan), sort_keys=True).encode())
        for array in (self.data.rows, self.data.target, self.learn):
            hashed.update(np.ascontiguousarray(array).view(np.uint8).data)
        return hashed.hexdigest()
