"""From a turn's events to the windows of their devices: from memory, the store, or blank for new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streams.core import windows as sequence
from streams.core.events import Chunk, Events, Partition, Rejected
from streams.core.newcomers import Mask, Newcomers
from streams.core.patience import Retry
from streams.core.windows import Index, WindowLayout, Windows
from streams.pipeline.cache import WindowCache
from streams.pipeline.ports import WindowStore
from streams.pipeline.recovery import Recovery, trusted
from streams.pipeline.turn import Turn


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Events whose devices have a window, and those windows before the turn.

    A device is one of a partition: the same id on two partitions is two devices. They stand partition after
    partition, those of chunk c between `bounds[c]` and `bounds[c + 1]`.
    """

    events: Events  # (N,)
    device: Index  # (N,) whose each event is
    devices: Sequence[str]  # D
    bounds: Sequence[int]  # C + 1
    slots: Index  # (D,)
    windows: Windows  # (D,)
    based_on: Index  # (D,) the stored window that each grows from, as `windows.begun_anew` has it
    new_devices: int
    refused: Sequence[Rejected]
    """The events of new devices that were not let in."""
    asked: Sequence[Chunk]
    """Those of which a window was asked of the store."""


@dataclass(frozen=True, slots=True, eq=False)
class _Numbered:
    """The distinct devices of each chunk, and whose each event is."""

    devices: list[list[str]]  # C lists
    device: Index  # (N,) place among all D
    bounds: list[int]  # C + 1


class Loading:
    """One worker's; its `cache` and `newcomers` are changed on the way."""

    def __init__(
        self,
        store: WindowStore,
        recovery: Recovery | None,
        patience: Retry,
        cache: WindowCache,
        newcomers: Newcomers,
    ) -> None:
        self._store = store
        self._recovery = recovery
        self._patience = patience
        self._cache = cache
        self._newcomers = newcomers

    def __call__(self, turn: Turn, events: Events) -> Loaded:
        """Raises Unavailable when the patience ends while the store is away."""
        numbered = _number(turn, events)
        slots = self._find(turn, numbered)
        stored, is_new, asked = self._stored(turn, numbered, slots)
        admitted = self._admitted(turn, events, numbered, is_new)  # (N,)
        refused: Sequence[Rejected] = ()
        if not admitted.all():  # before they take a place in memory: a flood drives nobody out
            refused = self._newcomers.refused(events, admitted)
            events = events.only(admitted)
            kept, numbered = _without(numbered, admitted)
            stored, is_new = stored[np.isin(np.flatnonzero(slots < 0), kept)], is_new[kept]
            slots = slots[kept]
        self._admit(turn, numbered, slots, stored)
        windows = self._cache.windows(slots)
        based_on = _begin_anew(self._cache.layout, turn, windows, numbered.bounds)
        devices = [name for names in numbered.devices for name in names]
        return Loaded(
            events,
            numbered.device,
            devices,
            numbered.bounds,
            slots,
            windows,
            based_on,
            int(is_new.sum()),
            refused,
            asked,
        )

    def forget(self, partition: Partition) -> None:
        """It was revoked: its next owner will change its windows."""
        if self._recovery is not None:
            self._recovery.drop_partition(partition)
        self._cache.drop_partition(partition)
        self._newcomers.forget(partition)

    def _find(self, turn: Turn, numbered: _Numbered) -> Index:
        places = [chunk.source.place for chunk in turn.chunks]
        return self._cache.find(list(zip(places, numbered.devices, strict=True)))

    def _stored(self, turn: Turn, numbered: _Numbered, slots: Index) -> tuple[Windows, Mask, Sequence[Chunk]]:
        """The windows (M,) of devices that are not in memory, as the store has them; who (D,) is new.

        And the chunks that have such devices.
        """
        is_new = np.zeros(len(slots), bool)
        missing = np.flatnonzero(slots < 0)  # (M,)
        if not len(missing):
            return self._cache.layout.blank(0, turn.chunks[0].source), is_new, ()
        wanted = [(chunk, names) for chunk, _, names in _missing(turn, numbered, slots)]
        found = self._patience(lambda: self._load(wanted))
        values = [value for of_chunk, _ in found for value in of_chunk]
        is_new[missing] = [value is None for value in values]
        layout, done = self._cache.layout, 0
        windows = layout.blank(len(missing), turn.chunks[0].source)
        for (chunk, _), (of_chunk, since) in zip(wanted, found, strict=True):
            mine = windows[done : done + len(of_chunk)]
            layout.belong(mine, chunk.source)
            layout.unpack_into(mine, of_chunk)
            if since:
                trusted(mine, since)
            done += len(of_chunk)
        return windows, is_new, [chunk for chunk, _ in wanted]

    def _load(self, wanted: Sequence[tuple[Chunk, list[str]]]) -> list[tuple[list[bytes | None], int]]:
        """The values of each chunk's devices, and before which offset no row of a window counts."""
        if self._recovery is not None:
            return [self._recovery.load(chunk, devices) for chunk, devices in wanted]
        values = self._store.load([(chunk.source, devices) for chunk, devices in wanted])
        return [(of_chunk, 0) for of_chunk in values]

    def _admitted(self, turn: Turn, events: Events, numbered: _Numbered, is_new: Mask) -> Mask:
        if not is_new.any():
            return np.ones(len(events), bool)
        parts = []
        for number, (first, end) in enumerate(turn.bounds_of(events)):
            times_ms = [turn.records[i].timestamp for i in events.position[first:end].tolist()]
            low, high = numbered.bounds[number], numbered.bounds[number + 1]
            device = numbered.device[first:end] - low
            place = turn.chunks[number].source.place
            parts.append(self._newcomers.admit(place, times_ms, device, is_new[low:high]))
        return np.concatenate(parts)

    def _admit(self, turn: Turn, numbered: _Numbered, slots: Index, stored: Windows) -> None:
        """Take what was loaded (M,) into memory, and note where."""
        done = 0
        for chunk, places, names in list(_missing(turn, numbered, slots)):
            windows = stored[done : done + len(names)]
            slots[places] = self._cache.admit(chunk.source.place, names, windows)
            done += len(names)


def _missing(turn: Turn, numbered: _Numbered, slots: Index) -> Iterator[tuple[Chunk, Index, list[str]]]:
    """Of each chunk that has some the devices that are not in memory: their places among all D, and names."""
    missing = np.flatnonzero(slots < 0)  # (M,)
    ends = np.searchsorted(missing, numbered.bounds[1:]).tolist()
    of_chunks = zip(turn.chunks, numbered.devices, numbered.bounds, [0, *ends], ends, strict=False)
    for chunk, devices, low, first, end in of_chunks:
        if end > first:
            places = missing[first:end]
            yield chunk, places, [devices[i] for i in (places - low).tolist()]


def _number(turn: Turn, events: Events) -> _Numbered:
    devices: list[list[str]] = []
    bounds, places = [0], list[int]()
    for first, end in turn.bounds_of(events):
        number: dict[str, int] = {}
        below = bounds[-1]
        places += [number.setdefault(device, len(number)) + below for device in events.device_id[first:end]]
        devices.append(list(number))
        bounds.append(below + len(number))
    return _Numbered(devices, np.array(places, np.int64), bounds)


def _without(numbered: _Numbered, admitted: Mask) -> tuple[Index, _Numbered]:
    """The devices (E,) of which at least one event was admitted (N,), and these numbered anew."""
    kept, device = np.unique(numbered.device[admitted], return_inverse=True)
    bounds = np.searchsorted(kept, numbered.bounds).tolist()
    devices = [
        [names[i] for i in (kept[first:end] - low).tolist()]
        for names, low, first, end in zip(numbered.devices, numbered.bounds, bounds, bounds[1:], strict=False)
    ]
    return kept, _Numbered(devices, device, bounds)


def _begin_anew(layout: WindowLayout, turn: Turn, windows: Windows, bounds: Sequence[int]) -> Index:
    """Blank the windows of former lives of the partitions; (D,) what a save of all stands on."""
    if sequence.all_of_these_topics(windows, [chunk.source for chunk in turn.chunks], bounds):
        return windows["head"]["offset"].astype(np.int64)  # as they mostly are
    based_on = np.empty(len(windows), np.int64)
    for number, chunk in enumerate(turn.chunks):
        of = slice(bounds[number], bounds[number + 1])
        based_on[of] = sequence.begun_anew(layout, windows[of], chunk.source, chunk.end_offset)
    return based_on
