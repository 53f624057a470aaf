"""Parity: what the stream says of every row, against offline evaluation of the same windows.

The rows of a labelled file are sent as N devices, one contiguous segment each; two workers classify them
through Kafka and Redis and publish every verdict. Offline, the same model reads the same segments, by code
that shares nothing with the stream's windows. Verdict, scores, novelty and window fill must be equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streams.codec.kdd import segment_starts

STALLED_S: Final = 60.0
"""With no verdict for so long the bench ends, and what is absent counts as missing."""

START_US: Final = 1_700_000_000_000_000
STEP_US: Final = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """N rows as they are sent: row i of every device's segment, then row i + 1 of each."""

    row: np.ndarray[Any, np.dtype[np.int64]]  # (N,) place in the file, in the order of sending
    device: np.ndarray[Any, np.dtype[np.int64]]  # (N,)


def interleaved(rows: int, devices: int) -> Sent:
    """The order of sending: each device keeps its segment's order, and all devices speak in turn."""
    starts = segment_starts(rows, devices)  # (D,)
    device = np.searchsorted(starts, np.arange(rows), side="right") - 1  # (N,)
    rank = np.arange(rows) - starts[device]
    order = np.lexsort((device, rank))
    return Sent(order, device[order])
