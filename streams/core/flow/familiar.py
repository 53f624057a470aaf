"""What a device did before, over days: peers, ports and services in a sketch that forgets.

Each of them has two cells, found by its hash; a cell holds the period of four days in which something of its
own was met last, in arrival order. A thing is familiar if neither of its cells is older than three periods:
for 12 to 16 days after it was met. So forgetting follows the flows' own time, and costs nothing. What was met
is never forgotten sooner, but by a clock that runs back; what was not may seem familiar where others share
both of its cells: with 50 peers about 7 % of the new ones, with 100 about 22 %.

Periods are counted modulo 255: what was met 1,020 days ago and never since would be familiar for 12 days.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streams.core.flow.columns import Codes, DeviceFlows, Hashes, Index, Mask
from streams.core.flow.facts import Facts
from streams.core.flow.repeats import mixed
from streams.core.flow.state import CELLS, States

PERIOD_MS: Final = 4 * 86_400_000
REMEMBERED: Final = 3
"""Periods after the one in which a thing was met; and before it, for flows that come late."""
_AROUND: Final = 255

REGIONS: Final = ((0, 320), (320, 128), (448, 64))
"""First cell and number of cells of peers, ports and services: a scan of one kind leaves the others alone."""
assert sum(size for _, size in REGIONS) == CELLS


def cells_of(things: Hashes) -> Index:
    """(N, 3) hashes of peer, port and service -> (N, 3, 2) cells, two different ones each."""
    value = mixed(things + np.uint64(0x632BE59BD9B4E019))
    first, size = (np.array(part, np.uint64) for part in zip(*REGIONS, strict=True))
    one = (value & np.uint64(0xFFFFFFFF)) % size
    step = (value >> np.uint64(32)) % (size - np.uint64(1)) + np.uint64(1)
    both = np.stack([one, (one + step) % size], axis=2)
    return np.asarray((both + first[:, None]).astype(np.int64))


def period_of(time_ms: Index) -> Index:
    """1 to 255; 0 stands for never."""
    return time_ms // PERIOD_MS % _AROUND + 1


def met_before(states: States, flows: DeviceFlows, facts: Facts) -> tuple[Mask, Codes]:
    """(N, 3) whether each flow's peer, port and service are familiar; then the cells (D, CELLS).

    The flows stand in device order. A service that is unknown is neither asked for nor remembered.
    """
    n = len(flows)
    things = np.stack(
        [flows.peer, facts.key.astype(np.uint64), flows.service.astype(np.uint64)], axis=1
    )  # (N, 3)
    asked = np.repeat(
        np.stack([np.ones(n, np.bool_)] * 2 + [flows.service != 0], axis=1), 2, axis=1
    )  # (N, 6)
    cell = flows.device[:, None] * CELLS + cells_of(things).reshape(n, 6)
    flat, period = cell[asked], np.repeat(period_of(facts.time_ms)[:, None], 6, axis=1)[asked]
    held = states["familiar"].reshape(-1)
    before = held[flat].astype(np.int64)
    order = np.argsort(flat, kind="stable")
    same = flat[order][1:] == flat[order][:-1]
    before[order[1:][same]] = period[order[:-1][same]]
    ago = (period - before) % _AROUND
    familiar = np.ones((n, 6), np.bool_)
    familiar[asked] = (before > 0) & ((ago <= REMEMBERED) | (ago >= _AROUND - REMEMBERED))
    cells = held.copy()
    last = np.append(~same, True)[: len(order)]
    cells[flat[order][last]] = period[order][last]
    return np.asarray(familiar.reshape(n, 3, 2).all(axis=2)), cells.reshape(-1, CELLS)
