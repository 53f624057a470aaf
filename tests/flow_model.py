"""A model of the table `flow` with random weights, for tests: every verdict comes, none is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from streams.adapters.store.models import open_store
from streams.core.flow.table import FLOW
from streams.model.detector import Detector

NAME: Final = "flows"


def flow_detector(seed: int = 1, window: int = 8) -> Detector:
    return Detector.random(FLOW, seed=seed, window=window)


def save_flow_model(store: Path, version: str = "1", seed: int = 1, name: str = NAME, window: int = 8) -> str:
    """Its files under this root of a store, as any other model's; the reference `name/version`."""
    open_store(str(store)).save(flow_detector(seed, window), name, version, {}, "# A random model of flows\n")
    return f"{name}/{version}"
