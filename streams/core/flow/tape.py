"""The last connections of every device end to end, each device's new flows behind its own.

    device A   | 100 connections, oldest first | a1 a2 |   device B   | 100 connections | b1 | ...

So the connections that a flow is compared with are the 100 places that end with it: one strided view over a
column serves all flows. A place that holds no connection has key 0.

`back` says of each place how far behind it the same thing was last: the same peer, the same key, both, and
both in a failed connection. It is 255 where that is farther than any window reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.bitsets import Bits, Planes, length, lower, packed, planes_of
from streams.core.flow.columns import Index
from streams.core.flow.facts import FAILING, KEY_BITS, Facts
from streams.core.flow.state import LAST, States, times_of

NOT_THERE: Final = 255
THERE: Final = 8
"""The plane behind those of the eight facts: whether a place holds a connection."""
BLOCK: Final = 512
"""Flows that are compared at once: their places fit into a core's cache."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """T places."""

    at: Index
    """(N,) place of each flow."""
    end: Index
    """(D,) one past the last place of each device."""
    time_ms: Index
    peer: npt.NDArray[np.uint32]
    key: npt.NDArray[np.uint32]
    source_port: npt.NDArray[np.uint16]
    bits: npt.NDArray[np.uint8]
    out: npt.NDArray[np.uint16]
    """IP bytes as `facts.coded`."""
    into: npt.NDArray[np.uint16]
    back: npt.NDArray[np.uint8]
    """(4, T) for the peer, the key, both, both and failing."""
    same_peer: Bits
    """(N, 2) the places whose peer is the flow's."""
    same_key: Bits
    planes: Planes
    """(9, N, 2) the places that say each of the eight facts, and those that hold a connection."""


def laid_out(states: States, device: Index, facts: Facts, bits: npt.NDArray[np.uint8]) -> Tape:
    """Of flows (N,) in device order with what they say; `bits` are complete."""
    held = states["connections"]
    place = _places(np.bincount(device, minlength=len(states)), device)

    def line(before: Array, now: Array) -> Array:
        return place.line(before, now)

    at, end = place.at, place.end
    key, unseen = held["key"], np.full(len(at), NOT_THERE, np.uint8)
    keys, said = line(key & ((1 << KEY_BITS) - 1), facts.key), line((key >> KEY_BITS).astype(np.uint8), bits)
    tape = Tape(
        at,
        end,
        time_ms=line(times_of(held["time_low"], held["time_high"]), facts.time_ms),
        peer=line(held["peer"], facts.peer),
        key=keys,
        source_port=line(held["source_port"], facts.source_port),
        bits=said,
        out=line(held["out"], facts.out),
        into=line(held["into"], facts.into),
        back=np.stack([line(held["back"][:, i], unseen) for i in range(4)]),
        same_peer=np.empty((len(at), 2), np.uint64),
        same_key=np.empty((len(at), 2), np.uint64),
        planes=planes_of(said, keys != 0, at),
    )
    _look_back(tape)
    return tape


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where on the line the connections of D devices and the flows stand."""

    at: Index
    end: Index
    size: int
    """Of the segment of each device; 0: each has its own."""

    def line(self, before: Array, now: Array) -> Array:
        """A column: `before` (D, LAST) is each device's, `now` (N,) each flow's."""
        if self.size:
            segments = np.zeros((len(before), self.size), now.dtype)
            segments[:, :LAST] = before
            column = segments.reshape(-1)
        else:
            column = np.empty(before.size + len(now), now.dtype)
            free = np.ones(len(column), np.bool_)
            free[self.at] = False
            column[free] = before.reshape(-1)
        column[self.at] = now
        return column


def _places(count: Index, device: Index) -> _Places:
    """Of devices with so many flows (D,) each. Segments are equally long where that wastes little."""
    most = int(count.max(initial=0))
    first = np.cumsum(count) - count
    if len(count) * most <= 2 * len(device) + LAST:
        size = LAST + most
        rank = np.arange(len(device)) - first[device]
        return _Places(device * size + LAST + rank, np.arange(len(count)) * size + LAST + count, size)
    at = np.arange(len(device)) + (device + 1) * LAST
    return _Places(at, np.arange(1, len(count) + 1) * LAST + first + count, 0)


def _look_back(tape: Tape) -> None:
    """Fills in what shares peer and key with each flow, and how far back the last of these was."""
    for block in blocks(len(tape.at)):
        at = tape.at[block]
        ends = ends_at(at)
        tape.same_peer[block] = packed(window(tape.peer, ends) == tape.peer[at][:, None])
        tape.same_key[block] = packed(window(tape.key, ends) == tape.key[at][:, None])
    before = tape.planes[THERE] & lower(LAST - 1)  # all places but the flow's own
    peer, key = tape.same_peer & before, tape.same_key & before
    failing = tape.planes[FAILING.bit_length() - 1]
    for back, same in zip(tape.back, (peer, key, peer & key, peer & key & failing), strict=True):
        highest = length(same)  # (N,) one past the place of the last; 0: none
        back[tape.at] = np.where(highest > 0, LAST - highest, NOT_THERE)


def keep(tape: Tape, connections: npt.NDArray[np.void]) -> None:
    """Writes the last LAST places of each device, (D,) of CONNECTIONS."""
    last = ends_at(tape.end - 1)
    time_ms = window(tape.time_ms, last)
    connections["time_low"], connections["time_high"] = time_ms & 0xFFFFFFFF, time_ms >> 32
    connections["key"] = window(tape.key, last) | window(tape.bits, last).astype(np.uint32) << KEY_BITS
    for name in ("peer", "source_port", "out", "into"):
        connections[name] = window(getattr(tape, name), last)
    for i, back in enumerate(tape.back):
        connections["back"][:, i] = window(back, last)


def blocks(n: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK))


def ends_at(at: Index) -> Index | slice:
    """For `window`. Places at equal distances are a slice, and their windows a view: nothing is copied."""
    first = at - (LAST - 1)
    if len(at) > 1:
        step = int(at[1] - at[0])
        if step > 0 and (np.diff(at) == step).all():
            return slice(int(first[0]), int(first[-1]) + 1, step)
    return first


def window(column: Array, ends: Index | slice) -> Array:
    """(n, LAST) the places of a column that end where `ends_at` says."""
    step = column.itemsize
    whole: Array = np.ndarray((len(column) - LAST + 1, LAST), column.dtype, column, 0, (step, step))
    return np.asarray(whole[ends])
