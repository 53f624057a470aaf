"""A whole training of flows: a model, and one for each network left out, by which it is calibrated.

Each model is kept in the run's folder once it is finished; a run that was broken off goes on with the next.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streams.core.flow.columns import Mask
from streams.core.known_tables import TABLES
from streams.errors import DataError
from streams.model import artifact
from streams.model.detector import Detector
from streams.training.flow_captures import Capture
from streams.training.flow_protocol.figures import figures
from streams.training.flow_protocol.folds import Fold
from streams.training.flow_protocol.labelled import CLASSES, NORMAL, LabelledFlows, labelled
from streams.training.flows.descent import Report
from streams.training.flows.fit import Found, fit, found_by, quiet
from streams.training.flows.material import Seen, as_netflow
from streams.training.flows.plan import FlowPlan
from streams.training.flows.points import with_points

CLEAN_FOLDS = 2
"""Data sets without attacks are left out together, dealt to so many folds."""
Floats = npt.NDArray[np.float64]
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    detector: Detector
    figures: dict[str, Any]
    """On networks left out, at the default operating point: as flows are, and as NetFlow has them."""
    folds: int
    counts: dict[str, Any]
    """Flows by capture and class."""


def seen_of(captures: Sequence[Capture]) -> Seen:
    """Features of the captures, computed twice. Raises DataError where they cannot be learnt from."""
    seen = Seen(labelled(captures), labelled([as_netflow(one) for one in captures]))
    if not (seen.full.target > NORMAL).any() or not (seen.full.target == NORMAL).any():
        raise DataError("training needs normal flows and attacks; these captures lack one of them")
    return seen


def calibration_folds(flows: LabelledFlows) -> list[Fold]:
    """Data sets left out: each with attacks by itself, the others in CLEAN_FOLDS groups.

    Of captures, where no two data sets have attacks. Raises DataError where no two captures have.
    """
    for names in (flows.datasets, flows.captures):
        of_flow = np.array(names)[flows.capture]
        attacked = sorted({str(name) for name in of_flow[flows.target > NORMAL]})
        if len(attacked) > 1:
            break
    else:
        raise DataError("attacks of one capture alone: no threshold can be tried on what it has not seen")
    clean = sorted(set(names) - set(attacked))
    groups = [[name] for name in attacked] + [clean[at::CLEAN_FOLDS] for at in range(CLEAN_FOLDS)]
    return [Fold("+".join(group), np.isin(of_flow, group)) for group in groups if group]


def train(
    seen: Seen,
    plan: FlowPlan,
    folder: Path | None,
    told: Told = print,
    report: Report = quiet,
) -> Trained:
    """Minutes on a core. Raises DataError, and AutodeepError where a loss is no longer finite."""
    folds = calibration_folds(seen.full)
    kept = _Kept(folder, _digest(seen, plan), lambda learn: fit(seen, learn, plan, report))
    full, bare = _Scores(len(seen.full)), _Scores(len(seen.full))
    for number, fold in enumerate(folds, 1):
        told(f"model {number} of {len(folds) + 1}: without {fold.name}")
        detector = kept.model(f"fold-{number}", ~fold.held)
        at = np.flatnonzero(fold.held)
        full.put(at, found_by(detector, seen.full, at))
        bare.put(at, found_by(detector, seen.bare, at))
    told(f"model {len(folds) + 1} of {len(folds) + 1}: of all captures")
    everything: Mask = np.ones(len(seen.full), bool)
    detector = kept.model("all", everything)
    before = np.array(detector.parameters.log_prior)
    detector = with_points(detector, seen.full, full.found)
    offsets = (np.array(detector.parameters.log_prior) - before)[1:]
    return Trained(
        detector,
        {
            "left_out": _figures(detector, offsets, seen.full, full.found),
            "left_out_netflow": _figures(detector, offsets, seen.bare, bare.found),
        },
        len(folds),
        _counts(seen.full),
    )


class _Scores:
    """What the folds' models make of the flows that each has left out."""

    def __init__(self, count: int) -> None:
        self.found = Found(np.zeros((count, len(CLASSES) - 1)), np.zeros(count))

    def put(self, at: np.ndarray[Any, Any], found: Found) -> None:
        self.found.scores[at], self.found.novelty[at] = found


def _figures(detector: Detector, offsets: Floats, flows: LabelledFlows, found: Found) -> dict[str, Any]:
    """By the detector's own decision, at its default operating point."""
    shifted = found.scores - offsets
    odds = np.exp(np.concatenate((np.zeros((len(shifted), 1)), np.clip(shifted, -80.0, 80.0)), 1))
    posterior = (odds / odds.sum(1, keepdims=True)).astype(np.float32)
    verdict, _ = detector.decide(posterior, found.novelty.astype(np.float32))
    return figures(flows, verdict)


def _counts(flows: LabelledFlows) -> dict[str, Any]:
    return {
        name: {
            "dataset": flows.datasets[at],
            **{
                of: int(((flows.capture == at) & (flows.target == place)).sum())
                for place, of in enumerate(CLASSES)
            },
            "unscored": int(((flows.capture == at) & ~flows.scored).sum()),
        }
        for at, name in enumerate(flows.captures)
    }


def _digest(seen: Seen, plan: FlowPlan) -> str:
    hashed = hashlib.sha256(json.dumps(dataclasses.asdict(plan), sort_keys=True).encode())
    hashed.update(json.dumps([seen.full.captures, torch.__version__]).encode())
    for array in (seen.full.rows, seen.bare.rows, seen.full.target, seen.full.device):
        hashed.update(np.ascontiguousarray(array).view(np.uint8).data)
    return hashed.hexdigest()


class _Kept:
    """Finished models of a run, each as its files; none are kept without a folder."""

    def __init__(self, folder: Path | None, run: str, make: Callable[[Mask], Detector]) -> None:
        self._folder, self._make = folder / run[:16] if folder else None, make

    def model(self, name: str, learn: Mask) -> Detector:
        """Of the flows that `learn` marks."""
        if self._folder is None:
            return self._make(learn)
        path = self._folder / name
        if path.exists():
            files = {file.name: file.read_bytes() for file in path.iterdir()}
            return artifact.unpack(files, str(path), TABLES)
        detector = self._make(learn)
        files = artifact.pack(detector, name, "1", {}, "")
        temporary = self._folder / f".{name}"
        temporary.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            (temporary / file).write_bytes(data)
        temporary.replace(path)
        return detector
