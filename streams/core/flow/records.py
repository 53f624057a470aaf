"""One record of a device's flow by itself, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np

from streams.core.flow.columns import COLUMNS, DeviceFlows, columns_of
from streams.core.flow.state import HELD_RECORD


class Kind(IntEnum):
    """What a waiting record waits for."""

    NONE = 0
    HALF = 1
    """Its other half."""
    OPEN = 2
    """The next record of the same flow, with larger counters, or its last."""
    PIECE = 3
    """The next piece of a flow that an active time-out cut: counters add up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long records wait, by the watermark, after their end."""

    half_us: int = 10_000_000
    open_us: int = 3_600_000_000


PATIENCE: Final = Patience()
NEVER: Final = int(np.iinfo(np.int64).max)
"""The watermark at which nothing is due."""


class Record(NamedTuple):
    """A row of `DeviceFlows`, in the order of its columns."""

    device: int
    start_us: int
    end_us: int
    peer: int
    peer_kind: int
    direction: int
    role: int
    protocol: int
    device_port: int
    peer_port: int
    service: int
    state: int
    packets_out: int
    packets_in: int
    ip_bytes_out: int
    ip_bytes_in: int
    payload_bytes_out: int
    payload_bytes_in: int
    quality: int
    identity: int
    final: bool
    half: bool
    tcp_flags: int

    @property
    def ends(self) -> tuple[int, int, int, int]:
        """Equal in both halves: ports are the device's and the peer's, whoever sent."""
        return self.protocol, self.peer, self.device_port, self.peer_port


assert Record._fields == COLUMNS


def records_of(flows: DeviceFlows) -> list[Record]:
    return [Record(*row) for row in zip(*(getattr(flows, name).tolist() for name in COLUMNS), strict=True)]


def flows_of(records: Sequence[Record]) -> DeviceFlows:
    columns = list(zip(*records, strict=True)) or [()] * len(COLUMNS)
    return columns_of(**dict(zip(COLUMNS, columns, strict=True)))


AS_IT_IS: Final = tuple(name for name in COLUMNS if name in (HELD_RECORD.names or ()) and name != "state")
"""Columns that stand in a state as they are, but for a bit of the protocol's."""
