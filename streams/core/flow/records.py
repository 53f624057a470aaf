"""One record of a device's flow by itself: what waits in its state is looked at one by one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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

Waiting = tuple[Kind, Record]


def records_of(flows: DeviceFlows) -> list[Record]:
    return [Record(*row) for row in zip(*(getattr(flows, name).tolist() for name in COLUMNS), strict=True)]


def flows_of(records: Sequence[Record]) -> DeviceFlows:
    columns = list(zip(*records, strict=True)) or [()] * len(COLUMNS)
    return columns_of(**dict(zip(COLUMNS, columns, strict=True)))


_AS_IT_IS = tuple(name for name in COLUMNS if name in (HELD_RECORD.names or ()) and name != "state")


def held_of(row: npt.NDArray[np.void], device: int) -> list[Waiting]:
    """What waits in a device's state, (HELD,) of HELD_RECORD, in the order in which it came."""
    found = []
    for one in row[row["state"] != 0]:
        values = {name: int(one[name]) for name in _AS_IT_IS}
        kind = Kind(int(one["state"]) >> 4)
        role, direction = int(one["ends"]) & 1, int(one["ends"]) >> 1
        final, half = bool(one["protocol"] >> 7), kind == Kind.HALF
        values |= {"device": device, "role": role, "direction": direction, "state": int(one["state"]) & 15}
        values["protocol"] &= 0x7F
        found.append((kind, Record(**values, final=final, half=half)))
    return found


def held_row(waiting: Sequence[Waiting], size: int) -> npt.NDArray[np.void]:
    """The same packed, (size,): the oldest first, empty places before it."""
    row = np.zeros(size, HELD_RECORD)
    for place, (kind, record) in enumerate(waiting, size - len(waiting)):
        for name in _AS_IT_IS:
            row[place][name] = getattr(record, name)
        row[place]["ends"] = record.role | record.direction << 1
        row[place]["protocol"] |= int(record.final) << 7
        row[place]["state"] = record.state | kind << 4
    return row
