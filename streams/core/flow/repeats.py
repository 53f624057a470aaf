"""Which records were there before: what a hop or a sensor says again changes nothing.

Two records of a device are one if their ends, ports, protocol and counters are equal and their starts lie in
the same second or in neighbouring ones, whatever the sensor called them: N workers of one sensor, two sensors
and a hop that delivers twice all repeat in this way. A device remembers its last SEEN records; a repeat is
none of them and pushes nothing out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import COUNTERS, DeviceFlows, Hashes, Index, Mask
from streams.core.flow.state import SEEN, States

Words = npt.NDArray[np.uint32]

_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
_SECOND_US = 1_000_000


def mixed(value: Hashes) -> Hashes:
    """A hash of each number (splitmix64's finaliser)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)))


def contents(flows: DeviceFlows) -> tuple[Words, Words, Words]:
    """(N,) what each record says, with its second; the same with the second before, and with the next."""
    value = mixed(flows.peer + _ODD)
    kinds = flows.protocol.astype(np.int64) | flows.role.astype(np.int64) << 8
    kinds |= flows.half.astype(np.int64) << 9 | flows.final.astype(np.int64) << 10
    ends = (flows.device_port & 0xFFFF) << 32 | (flows.peer_port & 0xFFFF) << 16 | kinds
    for column in (ends, *(getattr(flows, name) for name in COUNTERS), flows.tcp_flags):
        value = mixed((value ^ column.astype(np.uint64)) * _ODD + _ODD)
    second = flows.start_us // _SECOND_US
    now, before, after = (mixed(value ^ mixed((second + by).astype(np.uint64))) for by in (0, -1, 1))
    return _folded(now), _folded(before), _folded(after)


def _folded(value: Hashes) -> Words:
    """In 32 bits, never 0."""
    return np.maximum((value >> _SHIFT).astype(np.uint32), 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Met:
    """Records of the same contents, as nodes (M,) in the order of device, contents and place."""

    event: Index
    """(M,) place of the record; -1: one that the device remembered."""
    rank: Index
    """(M,) of the remembered: -1 is the latest."""
    first: Index
    """(M,) where the node's group begins."""
    before: Index
    """(3, N) the node that stands last before each record, of each of the contents that it may repeat."""


def new_records(states: States, flows: DeviceFlows) -> tuple[Mask, Words]:
    """(N,) which records, in device order, are new; and what the devices remember then, (D, SEEN)."""
    says = contents(flows)
    device = flows.device
    count = np.bincount(device, minlength=len(states))
    first = (np.cumsum(count) - count)[device]  # (N,) where the device's records begin
    remembered = states["seen"][device]  # (N, SEEN)
    known = [remembered == word[:, None] for word in says]
    new = np.ones(len(flows), np.bool_)
    if any(one.any() for one in known) or _any_twice(says, device):
        met = _met(says, known, device)
        for _ in range(len(flows) + 1):
            after = _judged(new, met, first)
            if (after == new).all():
                break
            new = after  # right as far as the one before was, and one record farther at least
    return new, _remember(states, says[0], new, device)


def _any_twice(says: tuple[Words, Words, Words], device: Index) -> bool:
    owner = device.astype(np.uint64) << _SHIFT
    mine = np.sort(owner | says[0])
    if (mine[1:] == mine[:-1]).any():
        return True
    asked = [owner | word for word in says[1:]]
    found = [mine[np.minimum(np.searchsorted(mine, one), len(mine) - 1)] == one for one in asked]
    return any(one.any() for one in found)


def _met(says: tuple[Words, Words, Words], known: list[Mask], device: Index) -> _Met:
    n = len(device)
    owner = device.astype(np.uint64) << _SHIFT
    old = _remembered(says, known, owner)
    key = np.concatenate([old[0], owner | says[0]])
    event = np.concatenate([np.full(len(old[0]), -1), np.arange(n)])
    rank = np.concatenate([old[1], np.zeros(n, np.int64)])
    order = np.lexsort((np.where(event < 0, rank - SEEN, event), key))
    key, event, rank = key[order], event[order], rank[order]
    starts = np.append(True, key[1:] != key[:-1])
    first = np.maximum.accumulate(np.where(starts, np.arange(len(key)), 0))
    groups, number = key[starts], np.cumsum(starts) - 1
    line = number * (n + 1) + np.where(event < 0, 0, event + 1)  # ascending
    before = np.full((len(says), n), -1)
    for i, word in enumerate(says):
        at = np.searchsorted(groups, owner | word)
        there = (at < len(groups)) & (groups[np.minimum(at, len(groups) - 1)] == (owner | word))
        node = np.searchsorted(line, at * (n + 1) + np.arange(n) + 1) - 1
        inside = there & (node >= 0)
        inside &= number[np.maximum(node, 0)] == at
        before[i] = np.where(inside, node, -1)
    return _Met(event, rank, first, before)


def _remembered(says: tuple[Words, Words, Words], known: list[Mask], owner: Hashes) -> tuple[Hashes, Index]:
    """Keys and ranks of the remembered records that any of the new ones may repeat, each once."""
    keys, ranks = [], []
    for word, one in zip(says, known, strict=True):
        i, at = np.nonzero(one)
        keys.append(owner[i] | word[i])
        ranks.append(at - SEEN)
    pairs = np.unique(np.stack([np.concatenate(keys).astype(np.int64), np.concatenate(ranks)]), axis=1)
    return pairs[0].astype(np.uint64), pairs[1]


def _judged(new: Mask, met: _Met, first: Index) -> Mask:
    """Which records are new, if those of `new` that stand before each are."""
    total: Index = np.cumsum(new) - new
    count: Index = total - total[first]  # (N,) new records of the device before each
    is_old = met.event < 0
    counts = is_old | new[np.maximum(met.event, 0)]
    rank = np.where(is_old, met.rank, count[np.maximum(met.event, 0)])
    last = np.maximum.accumulate(np.where(counts, np.arange(len(counts)), -1))
    again = np.zeros(len(new), np.bool_)
    for node in met.before:
        at = last[np.maximum(node, 0)]
        here = (node >= 0) & (at >= met.first[np.maximum(node, 0)])
        again |= here & (count - rank[np.maximum(at, 0)] <= SEEN)
    return ~again


def _remember(states: States, says: Words, new: Mask, device: Index) -> Words:
    """With the new records behind those that were remembered, the oldest pushed out."""
    owner = device[new]
    added = np.bincount(owner, minlength=len(states))  # (D,)
    rank = np.arange(len(owner)) - (np.cumsum(added) - added)[owner]
    kept = rank >= added[owner] - SEEN
    after = np.empty((len(states), SEEN), np.uint32)
    for many in np.unique(np.minimum(added, SEEN)).tolist():
        those = np.flatnonzero(np.minimum(added, SEEN) == many)
        after[those, : SEEN - many] = states["seen"][those, many:]
    at = SEEN - added[owner] + rank
    after[owner[kept], at[kept]] = says[new][kept]
    return after
