"""Rows of a labelled file as the telemetry of many devices.

The file is cut into contiguous segments, one a device, so that each device keeps the order of capture; the
devices speak in turn: the first row of every segment, then the second of each. `evaluate --devices` and the
parity bench cut alike (codec.kdd.segment_starts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.codec.ingest.kdd import segment_starts
from streams.core.tables import Rows
from streams.errors import DataError

Index = npt.NDArray[np.int64]

RUN: Final = 16
"""Rows of one kind in succession where traffic is mixed: as many as a device's window holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """N events in the order of sending."""

    rows: Rows  # (N,)
    device: Index  # (N,) whose each is
    event_time_us: Index  # (N,)

    def __len__(self) -> int:
        return len(self.device)

    def first(self, count: int) -> Feed:
        """As many of its first events, or all."""
        return Feed(self.rows[:count], self.device[:count], self.event_time_us[:count])


def device_name(number: int) -> str:
    """The id of a replay's device, counted from 0."""
    return f"device-{number:06d}"


def interleaved(rows: int, devices: int) -> tuple[Index, Index]:
    """The order of sending: (N,) places in the file, and (N,) the device of each.

    Raises DataError where there are more devices than rows.
    """
    starts = segment_starts(rows, devices)  # (D,)
    device = np.searchsorted(starts, np.arange(rows), side="right") - 1  # (N,)
    order = np.lexsort((device, np.arange(rows) - starts[device]))
    return order, device[order]


def feed_of(rows: Rows, devices: int, start_us: int, step_us: int) -> Feed:
    """The rows of a file as a feed whose event times lie one step apart."""
    order, device = interleaved(len(rows), devices)
    return Feed(rows[order], device, start_us + step_us * np.arange(len(rows), dtype=np.int64))


def mix(
    is_attack: npt.NDArray[np.bool_], n_events: int, n_devices: int, attack_share: float, seed: int
) -> tuple[Index, Index]:
    """The order of sending where a given share of the events are attacks: places in the file, devices. (N,).

    An ordinary day, made of a file that is mostly floods. `is_attack` (R,) tells of each row of the file. A
    device's events are runs of RUN rows, each contiguous among the rows of its kind, and stand in order of
    capture by their first row; `attack_share` of all runs, drawn by `seed`, are attacks. A device has a run
    twice only where the file holds fewer runs of that kind than the device needs. All devices speak in turn.
    Raises DataError where the file has no row of a kind, or the numbers cannot be.
    """
    if not 0 <= attack_share <= 1:
        raise DataError(f"an attack share of {attack_share} cannot be: give 0 to 1")
    if not 1 <= n_devices <= n_events:
        raise DataError(f"{n_devices} devices cannot share {n_events} events: give 1 to {n_events} devices")
    rng = np.random.default_rng(seed)
    turns = -(-n_events // n_devices)
    shape = (n_devices, -(-turns // RUN))
    attack = np.zeros(shape, np.bool_)  # (D, P)
    attack.flat[rng.permutation(attack.size)[: round(attack_share * attack.size)]] = True
    runs = np.empty((*shape, RUN), np.int64)
    for kind in np.unique(attack):
        runs[attack == kind] = _runs(np.flatnonzero(is_attack == kind), shape, rng)[attack == kind]
    captured = np.argsort(runs[:, :, 0], axis=1, kind="stable")
    runs = np.take_along_axis(runs, captured[:, :, None], axis=1)
    of_device = runs.reshape(n_devices, -1)[:, :turns]  # (D, P, RUN) -> (D, turns)
    return of_device.T.reshape(-1)[:n_events], np.arange(n_events, dtype=np.int64) % n_devices


def _runs(of_kind: Index, shape: tuple[int, int], rng: np.random.Generator) -> Index:
    """A run of rows of one kind for every place of (D, P): (D, P, RUN) places in the file."""
    if len(of_kind) == 0:
        raise DataError("the file has no row of a kind that is asked for, normal or attack")
    blocks = max(len(of_kind) // RUN, 1)
    lowest = np.arange(shape[1]) * blocks // shape[1]  # (P,) each run from a part of the file of its own
    beyond = np.maximum((np.arange(shape[1]) + 1) * blocks // shape[1], lowest + 1)
    block = rng.integers(lowest, beyond, shape)  # (D, P)
    places: Index = (block[:, :, None] * RUN + np.arange(RUN)) % len(of_kind)
    return np.take(of_kind, places)
