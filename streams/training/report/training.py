"""Protocols whose models are trained on the spot: the paper's, and NSL-KDD's KDDTrain+."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.codec.kdd import KddRows
from streams.core.detector import Detector, Identity
from streams.training import dataset
from streams.training.fit import Plan, Run, fit
from streams.training.report import splits
from streams.training.report.splits import Split, Tell, Trial

LOG = "log.jsonl"
EVERY_STEPS = 50  # a record of the log that is kept here stands for so many steps


@dataclass(frozen=True, slots=True)
class Training:
    """How the models of a protocol are trained. Under `folder`, one folder a seed: a broken run goes on."""

    plan: Plan
    folder: Path
    tell: Tell


def paper_trials(read: KddRows, seeds: Sequence[int], training: Training) -> Iterator[Trial]:
    """One split and one model of the paper's three classes for each seed."""
    for seed in seeds:
        split = splits.paper(read, seed)
        detector, log = _trained(split, "paper", seed, training)
        yield Trial(detector, split, seed, readings=1, log=log)


def trials_on(split: Split, seeds: Sequence[int], training: Training) -> Iterator[Trial]:
    """One model of the five classes for each seed, trained on the split's training rows."""
    for seed in seeds:
        detector, log = _trained(split, "kdd99", seed, training)
        yield Trial(detector, split, seed, readings=1, log=log)


def _trained(
    split: Split, taxonomy: str, seed: int, training: Training
) -> tuple[Detector, tuple[Mapping[str, Any], ...]]:
    """A detector from the training rows of a split, nothing else is looked at, and the log."""
    assert split.training is not None
    data = dataset.cleanse(split.training, dataset.TAXONOMIES[taxonomy])
    validate = dataset.held_out(data, seed)
    plan = dataclasses.replace(training.plan, seed=seed)
    if not split.ordered:
        plan = dataclasses.replace(plan, hidden_history_share=1.0)  # neighbours mean nothing there
    folder = training.folder / f"seed-{seed}"
    noted: list[Mapping[str, Any]] = []

    def report(phase: str, step: int, steps: int, loss: float) -> None:
        if step % EVERY_STEPS == 0 or step == steps:
            noted.append({"phase": phase, "step": step, "loss": loss})
        if step % max(steps // 4, 1) == 0:
            training.tell(f"seed {seed}, {phase}: step {step:,} of {steps:,}, loss {loss:.4f}")

    detector = fit(Run(data, ~validate, validate, plan, folder, report), resume=True)
    return detector.renamed(Identity("", str(seed), "")), read_log(folder) or tuple(noted)


def read_log(folder: Path) -> tuple[Mapping[str, Any], ...]:
    """The records of a training run's log.jsonl, oldest first; none where there is no such file.

    A last line that was cut off by a stop is left out.
    """
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and {"phase", "step", "loss"} <= record.keys():
            records.append(record)
    return tuple(records)
