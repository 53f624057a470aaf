"""The windows a worker has touched, in one arena of bounded memory, least recently used out first.

Windows are plain copies of what the store holds, so dropping one costs a load and never a fact. Beside each
window stand the latents of its rows, computed by one model: another model's are not read. For a model with
wider latents the same memory holds fewer windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.events import Partition
from streams.core.moving import as_bytes, copied
from streams.core.windows import Index, WindowLayout, Windows
from streams.model.inference import Latents

_BOOKKEEPING_BYTES: Final = 320
"""About what a device costs beside its arrays: its id as a string, a dictionary's entry, an owner's tuple."""

_MOVED_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """`hits` and `misses` count devices of turns since the start."""

    devices: int
    capacity: int
    hits: int
    misses: int


class WindowCache:
    """An arena of `capacity` windows. Not for use by several threads at once: one worker thread owns it."""

    def __init__(self, layout: WindowLayout, budget_bytes: int, latent_size: int, least: int = 1) -> None:
        """`least` windows it must go on holding, as many as a turn may need, however wide the latents."""
        self.layout = layout
        self._budget_bytes = budget_bytes
        self._least = least
        self.capacity = self._room_for(latent_size)
        self._windows: Windows = np.zeros(self.capacity, layout.dtype)
        self._floats = np.zeros(self.capacity * layout.width * latent_size, np.float32)
        self._latents: Latents = self._floats.reshape(self.capacity, layout.width, latent_size)
        self._model = np.zeros(self.capacity, np.int64)  # whose latents stand in the slot; 0: nobody's
        self._used = np.zeros(self.capacity, np.int64)  # the tick of the last use; 0: free
        self._owner: list[tuple[Partition, str] | None] = [None] * self.capacity
        self._free = list(range(self.capacity - 1, -1, -1))
        self._slot: dict[Partition, dict[str, int]] = {}  # device -> slot, by partition
        self._tick = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return self.capacity - len(self._free)

    @property
    def figures(self) -> CacheFigures:
        return CacheFigures(len(self), self.capacity, self.hits, self.misses)

    @property
    def nbytes(self) -> int:
        """What its arrays take."""
        return self._windows.nbytes + self._floats.nbytes + self._model.nbytes + self._used.nbytes

    def widen(self, size: int) -> None:
        """Make room for latents of this size, between turns: slots that were handed out are void.

        The windows used longest ago go, as far as the memory for the wider latents takes; all others stay,
        with their latents. Where less than the least would be left, such latents are not kept at all.
        """
        capacity = self._room_for(size)
        if size <= self._latents.shape[2] or capacity < self._least:
            return
        self._evict(len(self) - capacity)
        self._move_below(capacity)
        narrow = self._latents.shape[2]
        del self._latents
        self._windows.resize(capacity, refcheck=False)
        for array in (self._model, self._used):
            array.resize(capacity, refcheck=False)
        # In place, from the last row on: two copies at once would be twice the memory.
        self._floats.resize(capacity * self.layout.width * size, refcheck=False)
        old = self._floats[: capacity * self.layout.width * narrow].reshape(capacity, -1, narrow)
        self._latents = self._floats.reshape(capacity, -1, size)
        for end in range(capacity, 0, -_MOVED_AT_ONCE):
            rows = slice(max(end - _MOVED_AT_ONCE, 0), end)
            self._latents[rows, :, :narrow] = old[rows].copy()
        self.capacity = capacity

    def find(self, wanted: Sequence[tuple[Partition, Sequence[str]]]) -> Index:
        """The slots of a turn's devices, partition after partition (D,), -1 where a device is not here.

        Marks them as just used: none of them makes room for another of the same turn.
        """
        found: list[int] = []
        for partition, devices in wanted:
            mine = self._slot.setdefault(partition, {})
            found += [mine.get(device, -1) for device in devices]
        slots = np.array(found, np.int64)
        here = slots[slots >= 0]
        self._tick += 1
        self._used[here] = self._tick
        self.hits += len(here)
        self.misses += len(slots) - len(here)
        return slots

    def admit(self, partition: Partition, devices: Sequence[str], windows: Windows) -> Index:
        """Take in windows (D,) of devices that are not here; their slots (D,). They have no latents yet.

        Raises ValueError if the devices of one turn are more than the arena holds.
        """
        if len(devices) > self.capacity:
            raise ValueError(f"{len(devices)} devices in one turn, room for {self.capacity}: raise the cache")
        self._evict(len(devices) - len(self._free))
        mine = self._slot.setdefault(partition, {})
        slots = np.array([self._free.pop() for _ in devices], np.int64)
        for device, slot in zip(devices, slots.tolist(), strict=True):
            mine[device] = slot
            self._owner[slot] = (partition, device)
        as_bytes(self._windows)[slots] = as_bytes(windows)
        self._used[slots] = self._tick
        self._model[slots] = 0
        return slots

    def windows(self, slots: Index) -> Windows:
        """Copies (D,) of the windows in these slots."""
        return copied(self._windows, slots)

    def latents(self, slots: Index, model: int, size: int) -> tuple[Latents, npt.NDArray[np.bool_]]:
        """Latents (D, W, L = size) in ring order, and which slots (D,) hold those of this model (> 0)."""
        if size > self._latents.shape[2]:
            return np.zeros((len(slots), self.layout.width, size), np.float32), np.zeros(len(slots), bool)
        return self._latents[slots, :, :size], np.asarray(self._model[slots] == model)

    def put(self, slots: Index, windows: Windows, latents: Latents, model: int) -> None:
        """Replace what stands in these slots: windows (D,), latents (D, W, L) of this model.

        Latents that are wider than there is room for are not remembered.
        """
        size = latents.shape[2]
        if size > self._latents.shape[2]:
            self.put_windows(slots, windows)
            return
        as_bytes(self._windows)[slots] = as_bytes(windows)
        self._latents[slots, :, :size] = latents
        self._model[slots] = model

    def put_windows(self, slots: Index, windows: Windows) -> None:
        """The same without latents: nobody's are remembered."""
        as_bytes(self._windows)[slots] = as_bytes(windows)
        self._model[slots] = 0

    def drop(self, partition: Partition, devices: Sequence[str]) -> None:
        """Forget these devices: the next event of each loads its window anew."""
        mine = self._slot.get(partition, {})
        self._release([mine.pop(device) for device in devices if device in mine])

    def drop_partition(self, partition: Partition) -> None:
        self._release(list(self._slot.pop(partition, {}).values()))

    def _room_for(self, latent_size: int) -> int:
        row_bytes = self.layout.width * latent_size * 4
        return self._budget_bytes // (self.layout.dtype.itemsize + row_bytes + 16 + _BOOKKEEPING_BYTES)

    def _move_below(self, capacity: int) -> None:
        """Keep to the first slots, of which enough are free."""
        high = [slot for slot in range(capacity, self.capacity) if self._owner[slot] is not None]
        free = sorted(slot for slot in self._free if slot < capacity)
        low = free[: len(high)]
        for array in (self._windows, self._latents, self._model, self._used):
            array[low] = array[high]
        for source, target in zip(high, low, strict=True):
            owner = self._owner[target] = self._owner[source]
            if owner is not None:
                self._slot[owner[0]][owner[1]] = target
        del self._owner[capacity:]
        self._free = free[len(high) :][::-1]

    def _evict(self, n: int) -> None:
        if n <= 0:
            return
        used = np.flatnonzero(self._used)
        oldest = used[np.argpartition(self._used[used], n - 1)[:n]]
        for slot in oldest.tolist():
            owner = self._owner[slot]
            if owner is not None:
                del self._slot[owner[0]][owner[1]]
        self._release(oldest.tolist())

    def _release(self, slots: list[int]) -> None:
        self._used[slots] = 0
        for slot in slots:
            self._owner[slot] = None
        self._free.extend(slots)
