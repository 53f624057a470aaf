"""The challenger of this worker: which model, in which role, and how it compares so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

from streams.codec.models import ModelRef
from streams.model.comparison import Comparison
from streams.model.detector import Detector
from streams.model.inference import Canary
from streams.rollout.loading import ref_of


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """One challenge: what is counted belongs to this challenger beside this champion."""

    detector: Detector
    share: float
    """Of the devices, that get its verdicts; 0 in the shadow."""
    comparison: Comparison
    revision: int = 0
    """Of the state with which this model became challenger."""


class Challenge:
    """Thread-safe: the follower begins and ends it, the pipeline and the scorer ask."""

    def __init__(self) -> None:
        self._running: Running | None = None
        self._lock = threading.Lock()

    def begin(self, detector: Detector, share: float, revision: int = 0) -> None:
        """Run this challenger; the figures go on where it is the same one in another role."""
        with self._lock:
            now = self._running
            same = now is not None and now.detector is detector
            if now is not None and same:
                self._running = replace(now, share=share)
            else:
                self._running = Running(detector, share, Comparison(), revision)

    def anew(self, champion: str) -> Running | None:
        """The running challenge beside this champion: another champion's figures do not count on."""
        with self._lock:
            running = self._running
            if running is not None and running.comparison.champion != champion:
                running = replace(running, comparison=Comparison(champion))
                self._running = running
            return running

    def end(self) -> None:
        with self._lock:
            self._running = None

    @property
    def running(self) -> Running | None:
        return self._running

    @property
    def detector(self) -> Detector | None:
        running = self._running
        return None if running is None else running.detector

    @property
    def ref(self) -> ModelRef | None:
        detector = self.detector
        return None if detector is None else ref_of(detector)

    def canary(self) -> Canary | None:
        """What the pipeline asks for each chunk."""
        running = self._running
        if running is None or not running.share:
            return None
        return Canary(running.detector, running.share)

    def figures(self) -> dict[str, Any] | None:
        running = self._running
        if running is None:
            return None
        ref = ref_of(running.detector)
        return {
            "name": ref.name,
            "version": ref.version,
            "digest": ref.digest,
            "role": "canary" if running.share else "shadow",
            "share": running.share,
            **running.comparison.figures(),
        }
