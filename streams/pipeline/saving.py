"""What of a turn's windows is to be stored, a save for each partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streams.core.moving import copied
from streams.core.windows import Advance, grew
from streams.pipeline.loading import Loaded
from streams.pipeline.ports import ChunkRange, Save
from streams.pipeline.turn import Turn


def saves_of(turn: Turn, loaded: Loaded, step: Advance, reaches: Sequence[ChunkRange | None]) -> list[Save]:
    saves = []
    for number, chunk in enumerate(turn.chunks):
        of = slice(loaded.bounds[number], loaded.bounds[number + 1])
        saves.append(
            Save(
                chunk.source,
                loaded.devices[of],
                loaded.based_on[of],
                step.windows[of],
                step.added[of],
                reaches[number],
            )
        )
    return saves


def changed(save: Save) -> Save | None:
    """Of the windows those that grew; None where nothing is to be stored.

    A mark is to say that all are stored; so with one, those of repeats, which did not change, come along.
    """
    if save.reach is not None:
        return save
    grown = np.flatnonzero(grew(save.windows, save.added, save.based_on))
    if not len(grown) and save.incidents is None:
        return None
    if len(grown) == len(save.devices):
        return save
    return replace(
        save,
        devices=[save.devices[i] for i in grown.tolist()],
        based_on=save.based_on[grown],
        windows=copied(save.windows, grown),
        added=save.added[grown],
    )
