"""A run's log: one JSON object a line, written as the run goes, and cut back to the checkpoint on resuming.

{"phase": "classifier", "step": 500, "loss": 0.11, "validation_loss": 0.05, "validation_accuracy": 0.99,
 "validation_cost": 0.01, "elapsed_s": 41.2}
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from streams.errors import DataError

FILE: Final = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Validation:
    """On held-out rows: the phase's loss; for the classifier also accuracy and the cost of its verdicts."""

    loss: float
    accuracy: float | None = None
    cost: float | None = None


class Log:
    """The log in `folder`, from `phase` and `step` on; what it held beyond them is dropped. None: no file."""

    def __init__(
        self,
        folder: Path | None,
        done: Callable[[str, int], bool],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`done` tells of a record's phase and step whether the run to go on with had been there."""
        self._path = folder / FILE if folder else None
        kept = [entry for entry in read(folder) if done(entry["phase"], entry["step"])] if folder else []
        self._clock_s = clock_s
        self._since_s = clock_s() - (kept[-1]["elapsed_s"] if kept else 0.0)
        if folder and self._path:
            folder.mkdir(parents=True, exist_ok=True)
            self._path.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")

    def add(self, phase: str, step: int, loss: float, found: Validation) -> None:
        """One record; `loss` is the mean of the training batches since the last one."""
        if self._path is None:
            return
        entry = {"phase": phase, "step": step, "loss": loss}
        entry |= {f"validation_{name}": value for name, value in asdict(found).items()}
        entry["elapsed_s"] = round(self._clock_s() - self._since_s, 3)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def read(folder: Path) -> Sequence[dict[str, Any]]:
    """The records of a run's log; none where there is no log. A last line that was cut off is left out."""
    path = folder / FILE
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except ValueError as exc:
            if number < len(lines):
                raise DataError(f"{path}: line {number} is no JSON ({exc})") from exc
    return entries
