"""The curves of a run as a picture: loss and accuracy over iterations, from its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

FILE: Final = "curves.png"
_PANELS: Final = (
    ("vae", "VAE: negative ELBO, nats an event", ("loss", "validation_loss")),
    ("classifier", "BiGRU: cross-entropy, nats a window", ("loss", "validation_loss")),
    ("classifier", "BiGRU: accuracy on held-out rows", ("validation_accuracy",)),
    ("classifier", "BiGRU: contest cost on held-out rows", ("validation_cost",)),
)
_NAMES: Final = {
    "loss": "training",
    "validation_loss": "held out",
    "validation_accuracy": "held out",
    "validation_cost": "held out",
}


def draw(log: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Write the picture into the run's folder; each panel has one curve or two over the phase's steps."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    for place, (phase, title, series) in enumerate(_PANELS, 1):
        axes = figure.add_subplot(2, 2, place)
        entries = [entry for entry in log if entry["phase"] == phase]
        for name in series:
            points = [(entry["step"], entry[name]) for entry in entries if entry[name] is not None]
            axes.plot([x for x, _ in points], [y for _, y in points], label=_NAMES[name])
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        if len(series) > 1:
            axes.legend()
    path = folder / FILE
    figure.savefig(path, dpi=110)
    return path
