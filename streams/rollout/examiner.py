"""Loads the version that a command asks for and puts it through the gate; every refusal is one line."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

from streams.codec.models import ModelRef
from streams.errors import ModelRejected, Unavailable
from streams.model import gate
from streams.model.detector import Detector
from streams.model.gate import Limits
from streams.rollout.admission import Admission, Load
from streams.rollout.decisions import Examined, Wanted
from streams.rollout.loading import UNRUNNABLE, ModelStore, ref_of

RESTS: Final = 3.0
"""Times its own length for which each piece of the gate's measuring is followed by nothing: a quarter of a
core at most is taken from this worker's events, a few milliseconds at once."""


@dataclass(frozen=True, slots=True)
class Examiner:
    store: ModelStore
    admission: Admission
    limits: Limits
    load: Load

    def __call__(self, target: Wanted, champion: ModelRef) -> Examined:
        """Takes as long as loading and some tens of micro-batches. Nothing is raised for a bad model."""
        try:
            candidate = self.load(target.ref)
            if target.ref.version in self.store.retired(target.ref.name):
                return Examined(target.ref, "the version is retired, and not to be promoted")
            problem = self._gate(candidate, target, champion)
        except (ModelRejected, Unavailable) as exc:
            return Examined(target.ref, str(exc))
        except UNRUNNABLE as exc:
            return Examined(target.ref, f"cannot be run: {type(exc).__name__}: {exc}")
        return Examined(ref_of(candidate), problem)

    def _gate(self, candidate: Detector, target: Wanted, champion: ModelRef) -> str:
        """The failed checks. A rollback is the way out of trouble: it is not measured against the trouble."""
        limits = replace(self.limits, allow_narrower=target.allow_narrower)
        beside = None if target.is_rollback or ref_of(candidate) == champion else self._champion(champion)
        # CPU time of this thread: it waits for the GIL and the cores while this worker classifies.
        return gate.refusal(gate.examine(candidate, beside, limits, time.thread_time, _rest))

    def _champion(self, champion: ModelRef) -> Detector:
        """The agreed champion; the one that serves here where that is another and the first cannot be had."""
        serving = self.admission.serving
        if ref_of(serving) == champion:
            return serving
        try:
            return self.load(champion)
        except (ModelRejected, Unavailable):
            return serving


def _rest(spent_s: float) -> None:
    time.sleep(RESTS * spent_s)
