"""What is compared: each method learns from a fold's other networks, and scores those held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.labelled import LabelledFlows

Tell = Callable[[str], None]
Fitted = Callable[[LabelledFlows], Scores]
"""(N,) flows of whole captures -> (N, C), more is more suspect."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a method is given: flows to learn from by view, and nothing else of what it is judged on."""

    learn: Mapping[str, LabelledFlows]
    seed: int
    folder: Path | None
    """Where a long training keeps what it has; None: nowhere."""
    tell: Tell


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    description: str
    fit: Callable[[Task], Fitted]
    is_fixed: bool = False
    """Its scores are verdicts, 0 or 1: no threshold is chosen."""
    is_seeded: bool = False
    has_novelty: bool = False
    """A column `novel` stands behind those of the classes."""
    choices: str = ""
    """What else its scores follow from, but for the code: kept scores are of the same choices."""


COLUMNS: Final = ("probe", "c2", "dos", "r2l", "novel")
"""Of scores."""
