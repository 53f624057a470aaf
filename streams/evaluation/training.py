"""Protocols whose models are trained on the spot: the paper's, and NSL-KDD's KDDTrain+."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.codec.ingest.kdd import KddRows
from streams.core.tables import FeatureTable
from streams.evaluation import splits
from streams.evaluation.splits import Split, Tell, Trial
from streams.model.detector import Detector, Identity
from streams.training import dataset, log
from streams.training.fit import fit
from streams.training.plan import Plan
from streams.training.run import Run


@dataclass(frozen=True, slots=True)
class Training:
    """How the models of a protocol are trained. Under `folder`, one folder a seed: a broken run goes on."""

    plan: Plan
    folder: Path
    tell: Tell
    table: FeatureTable


def paper_trials(read: KddRows, seeds: Sequence[int], training: Training) -> Iterator[Trial]:
    """One split and one model of the paper's three classes for each seed."""
    for seed in seeds:
        split = splits.paper(read, seed)
        detector, log = _trained(split, "paper", seed, training)
        yield Trial(detector, split, seed, 1, "the training part of its split", log)


def nsl_kdd_trials(split: Split, seeds: Sequence[int], training: Training) -> Iterator[Trial]:
    """One model of the five classes for each seed, trained on KDDTrain+."""
    for seed in seeds:
        detector, log = _trained(split, "kdd99", seed, training)
        yield Trial(detector, split, seed, 1, "KDDTrain+", log)


def _trained(
    split: Split, taxonomy: str, seed: int, training: Training
) -> tuple[Detector, tuple[Mapping[str, Any], ...]]:
    """A detector from the training rows of a split, nothing else is looked at, and the log."""
    assert split.training is not None
    data = dataset.cleanse(split.training, dataset.TAXONOMIES[taxonomy])
    validate = dataset.held_out(data, seed)
    plan = dataclasses.replace(training.plan, seed=seed)
    if not split.ordered:
        plan = dataclasses.replace(plan, window=1)  # neighbours mean nothing there
    folder = training.folder / f"seed-{seed}"

    def report(phase: str, step: int, steps: int, loss: float) -> None:
        if step % max(steps // 4, 1) == 0:
            training.tell(f"seed {seed}, {phase}: step {step:,} of {steps:,}, loss {loss:.4f}")

    detector = fit(Run(data, ~validate, validate, plan, folder, report), resume=True)
    return detector.renamed(Identity("", str(seed), "")), tuple(log.read(folder))
