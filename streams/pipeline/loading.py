"""From a chunk's events to the windows of their devices: from memory, the store, or blank for new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streams.core import windows as sequence
from streams.core.events import Chunk, Events, Rejected
from streams.core.newcomers import Mask, Newcomers
from streams.core.patience import Patience
from streams.core.windows import Index, Windows
from streams.pipeline.cache import WindowCache
from streams.pipeline.ports import WindowStore
from streams.pipeline.recovery import Recovery, trusted


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Events whose devices have a window, and those windows before the chunk."""

    events: Events  # (N,)
    device: Index  # (N,) whose each event is
    devices: Sequence[str]  # D
    slots: Index  # (D,)
    windows: Windows  # (D,)
    based_on: Index  # (D,) the stored offset that each window grows from
    new_devices: int
    refused: Sequence[Rejected]
    """The events of new devices that were not let in."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    devices: Sequence[str]  # D
    device: Index  # (N,)
    slots: Index  # (D,) -1 where not in memory
    stored: Windows  # (M,) of those, as the store has them
    is_new: Mask  # (D,)


class Loading:
    """One worker's; its `cache` and `newcomers` are changed on the way."""

    def __init__(
        self,
        store: WindowStore,
        recovery: Recovery | None,
        patience: Patience,
        cache: WindowCache,
        newcomers: Newcomers,
    ) -> None:
        self._store = store
        self._recovery = recovery
        self._patience = patience
        self._cache = cache
        self._newcomers = newcomers

    def __call__(self, chunk: Chunk, events: Events) -> Loaded:
        """Raises Unavailable when the patience ends while the store is away."""
        source = chunk.source
        found = self._find(chunk, events)
        admitted = self._newcomers.admit(chunk, events, found.device, found.is_new)  # (N,)
        refused = self._newcomers.refused(events, admitted)
        if refused:  # before they take a place in memory: a flood drives nobody out
            events, found = events.only(admitted), _without(found, admitted)
        slots, missing = found.slots, found.slots < 0
        if missing.any():
            absent = [found.devices[i] for i in np.flatnonzero(missing).tolist()]
            slots[missing] = self._cache.admit(source.partition, absent, found.stored)
        windows = self._cache.windows(slots)
        based_on = windows["head"]["offset"].copy()
        foreign = ~sequence.of_this_life(windows, source, chunk.end_offset)
        windows[foreign] = self._cache.layout.blank(int(foreign.sum()), source)
        new = int(found.is_new.sum())
        return Loaded(events, found.device, found.devices, slots, windows, based_on, new, refused)

    def forget(self, partition: int) -> None:
        """It was revoked: its next owner will change its windows."""
        if self._recovery is not None:
            self._recovery.drop_partition(partition)
        self._cache.drop_partition(partition)
        self._newcomers.forget(partition)

    def _find(self, chunk: Chunk, events: Events) -> _Found:
        source = chunk.source
        devices, device = sequence.numbered(events.device_id)
        slots = self._cache.find(source.partition, devices)
        missing = np.flatnonzero(slots < 0)  # (M,)
        absent = [devices[i] for i in missing.tolist()]
        values, since = self._patience(lambda: self._stored(chunk, absent)) if absent else ([], 0)
        is_new = np.zeros(len(devices), bool)
        is_new[missing] = [value is None for value in values]
        return _Found(
            devices, device, slots, trusted(self._cache.layout.unpack(values, source), since), is_new
        )

    def _stored(self, chunk: Chunk, devices: Sequence[str]) -> tuple[list[bytes | None], int]:
        """Their values, and the offset before which the rows of a window do not count."""
        if self._recovery is None:
            return self._store.load(chunk.source, devices), 0
        return self._recovery.load(chunk, devices)


def _without(found: _Found, admitted: Mask) -> _Found:
    """The devices of which at least one event was admitted (N,), numbered anew."""
    kept, device = np.unique(found.device[admitted], return_inverse=True)
    missing = np.flatnonzero(found.slots < 0)  # (M,)
    return _Found(
        [found.devices[i] for i in kept.tolist()],
        device,
        found.slots[kept],
        found.stored[np.isin(missing, kept)],
        found.is_new[kept],
    )
