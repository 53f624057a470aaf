"""Scores of every fold, kept as they are made: a broken command goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from streams.errors import SettingsError
from streams.evaluation.flows.methods import COLUMNS, Method, Task, Tell
from streams.evaluation.flows.views import FULL, NETFLOW
from streams.training.flow_protocol.deciding import Scores
from streams.training.flow_protocol.folds import Fold, LeaveOut, folds
from streams.training.flow_protocol.labelled import LabelledFlows

LEARNT: Final = (FULL, NETFLOW)
"""The views that a method learns from, so that one serves all sensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One view of all captures, and its folds: the same names in every view."""

    flows: LabelledFlows
    folds: tuple[Fold, ...]

    @classmethod
    def of(cls, flows: LabelledFlows, leave_out: LeaveOut) -> Seen:
        return cls(flows, tuple(folds(flows, leave_out)))


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    views: Mapping[str, Seen]
    folder: Path | None
    """Where scores are kept; None: nowhere."""
    tell: Tell

    def scores(self, method: Method, seed: int, views: Sequence[str]) -> dict[str, Scores]:
        """View -> (N, C), each flow's by a model that never saw its fold. Raises SettingsError."""
        width = len(COLUMNS) if method.has_novelty else len(COLUMNS) - 1
        found: dict[str, Scores] = {view: np.zeros((len(self.views[view].flows), width)) for view in views}
        for place, fold in enumerate(self.views[FULL].folds):
            for view, scores in self._of_fold(method, seed, place, views):
                found[view][self.views[view].folds[place].held] = scores
            of_all = f"{place + 1} of {len(self.views[FULL].folds)}"
            self.tell(f"{method.name}, seed {seed}: without {fold.name} ({of_all})")
        return found

    def _of_fold(
        self, method: Method, seed: int, place: int, views: Sequence[str]
    ) -> Iterator[tuple[str, Scores]]:
        fitted = None
        for view in views:
            path = self._path(method, seed, place, view)
            kept = _read(path)
            if kept is None:
                if fitted is None:
                    fitted = method.fit(self._task(method, seed, place))
                seen = self.views[view]
                kept = fitted(seen.flows.at(seen.folds[place].held))
                _write(path, kept)
            yield view, kept

    def _task(self, method: Method, seed: int, place: int) -> Task:
        """All that a method is given: nothing of the fold that is held out."""
        learn = {
            view: seen.flows.at(~seen.folds[place].held)
            for view, seen in self.views.items()
            if view in LEARNT
        }
        path = self._path(method, seed, place, "")
        return Task(learn, seed, path.with_suffix("") if path else None, self.tell)

    def _path(self, method: Method, seed: int, place: int, view: str) -> Path | None:
        """By all that scores follow from, but for the code."""
        if self.folder is None:
            return None
        said = json.dumps([method.name, method.description, seed, view])
        digest = hashlib.sha256((said + method.choices).encode())
        for name, seen in self.views.items():
            if name in (*LEARNT, view):
                digest.update(seen.flows.rows.view(np.uint8).data)
                digest.update(seen.flows.target.data)
                digest.update(seen.folds[place].held.data)
        return self.folder / f"{digest.hexdigest()[:32]}.npy"


def _read(path: Path | None) -> Scores | None:
    try:
        return np.asarray(np.load(path, allow_pickle=False)) if path else None
    except (OSError, ValueError, EOFError):
        return None


def _write(path: Path | None, scores: Scores) -> None:
    if path is None:
        return
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, scores)
        part.replace(path)
    except OSError as exc:
        raise SettingsError(f"{path.parent}: scores cannot be kept: {exc.strerror or exc}") from exc
