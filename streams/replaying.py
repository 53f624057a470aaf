"""Rows of a labelled file as the telemetry of many devices.

The file is cut into contiguous segments, one a device, so that each device keeps the order of capture; the
devices speak in turn: the first row of every segment, then the second of each. `evaluate --devices` and the
parity bench cut alike (codec.kdd.segment_starts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.codec.kdd import segment_starts
from streams.core.features import Rows

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """N events in the order of sending."""

    rows: Rows  # (N,)
    device: Index  # (N,) whose each is
    event_time_us: Index  # (N,)

    def __len__(self) -> int:
        return len(self.device)


def device_name(number: int) -> str:
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
