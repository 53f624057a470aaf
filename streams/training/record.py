"""What a manifest says of a training: where the model came from, and what it does on held-out rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from streams.model.detector import Detector
from streams.training.evaluate import validation_figures
from streams.training.metrics import Figures
from streams.training.run import Run


@dataclass(frozen=True, slots=True)
class Origin:
    """The one command that makes the model, and the file that it was made from."""

    command: str
    file: str
    sha256: str  # of the file's text


@dataclass(frozen=True, slots=True)
class Record:
    training: dict[str, Any]
    metrics: dict[str, Any]
    held_out: Figures

    @property
    def notes(self) -> dict[str, object]:
        return {"training": self.training, "metrics": self.metrics}


def record(run: Run, detector: Detector, origin: Origin) -> Record:
    """Measure the held-out rows and write down the run, ready for the manifest."""
    held_out, novel = validation_figures(detector, run.data, run.validate)
    training = {
        **dataclasses.asdict(origin),
        "classes": list(detector.classes),
        "taxonomy": run.data.taxonomy.name,
        "cleansing": dataclasses.asdict(run.data.cleansing),
        "plan": dataclasses.asdict(run.plan),
        "operating_points": {
            name: dataclasses.asdict(of) for name, of in detector.parameters.operating_points.items()
        },
        "learnt_rows": int(run.learn.sum()),
        "held_out_rows": int(run.validate.sum()),
        "torch": torch.__version__,
    }
    return Record(training, {"held_out": dataclasses.asdict(held_out), "held_out_novel": novel}, held_out)
