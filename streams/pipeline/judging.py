"""Who judges which of a turn's devices: the champion of their chunk's offsets, or the canary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streams.core import windows as sequence
from streams.core.alerts import CANARY, CHAMPION
from streams.core.events import Events, Source
from streams.core.moving import copied
from streams.core.windows import Advance, Index, Windows
from streams.model.detector import Detector
from streams.model.inference import Canary
from streams.pipeline.loading import Loaded
from streams.pipeline.turn import Turn


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPart:
    """A turn's events, and the devices (D,) of it that one model judges, with their windows before it."""

    detector: Detector
    role: str
    sources: Sequence[Source]  # C
    origin: Index  # (N,) which source each event is of
    events: Events  # (N,)
    slots: Index  # (D,)
    windows: Windows  # (D,)
    step: Advance


def parts_of(turn: Turn, loaded: Loaded, step: Advance, canary: Canary | None) -> list[JudgedPart]:
    """By model: mostly one champion judges all; another where a switch lies within a turn; and the canary."""
    sources = [chunk.source for chunk in turn.chunks]
    origin = np.searchsorted(turn.ends, loaded.events.position, "right")
    judges: list[tuple[Detector, str]] = []
    of_chunk = []
    for detector in turn.judges:
        if (detector, CHAMPION) not in judges:
            judges.append((detector, CHAMPION))
        of_chunk.append(judges.index((detector, CHAMPION)))
    judge = np.repeat(of_chunk, np.diff(loaded.bounds))  # (D,)
    if canary is not None:
        judge[np.array([canary.takes(device) for device in loaded.devices], bool)] = len(judges)
        judges.append((canary.detector, CANARY))
    whole = JudgedPart(*judges[0], sources, origin, loaded.events, loaded.slots, loaded.windows, step)
    if len(judges) == 1:
        return [whole]
    owner = loaded.device[step.applied]  # (A,)
    parts = []
    for number, (detector, role) in enumerate(judges):
        chosen = np.flatnonzero(judge == number)
        parts.append(
            replace(
                whole,
                detector=detector,
                role=role,
                slots=loaded.slots[chosen],
                windows=copied(loaded.windows, chosen),
                step=sequence.part_of(step, owner, chosen),
            )
        )
    return parts
