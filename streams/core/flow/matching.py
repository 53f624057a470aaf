"""Which records belong together: in arrival order, by a few whole numbers of each. Contents are not moved.

Flows are numbered in one pool: records, then pairs of halves, chains (a flow's interim records) and sums (the
pieces of a flow). A member of a pair is a record, that of a chain a record or a pair, that of a sum any of
the three.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import numpy as np

from streams.core.flow.columns import DeviceFlows, Index
from streams.core.flow.halves import APART_US, sent_by_devices
from streams.core.flow.records import Kind
from streams.core.flow.state import HELD
from streams.core.flows import Quality

PIECES_APART_US: Final = 60_000_000
"""How long after the end of a piece the next one may start."""
_CHAIN: Final = 1 << 40
_SUM: Final = 1 << 41
"""Where numbers of chains and sums begin until it is known how many pairs there are."""
_HALF, _OPEN, _PIECE = int(Kind.HALF), int(Kind.OPEN), int(Kind.PIECE)


@dataclass(slots=True)
class Matched:
    """What becomes of R records, as numbers of flows."""

    records: int
    pairs: list[tuple[int, int]] = field(default_factory=list)
    """The half that waited, and the one that came."""
    chains: list[list[int]] = field(default_factory=list)
    sums: list[list[int]] = field(default_factory=list)
    made: list[int] = field(default_factory=list)
    """Flows that count, in the order in which they became such."""
    causes: list[int] = field(default_factory=list)
    """The record with which each did."""
    pushed_out: list[int] = field(default_factory=list)
    """The kind as which each waited that had to go; 0: it did not have to."""
    waiting: list[int] = field(default_factory=list)
    """What waits afterwards: by device, the oldest first."""
    kinds: list[int] = field(default_factory=list)

    def places(self, found: list[int]) -> Index:
        """In the pool, of flows as they are numbered here."""
        place = np.array(found, np.int64)
        chains = self.records + len(self.pairs)
        sums = chains + len(self.chains)
        return np.where(
            place >= _SUM, place - _SUM + sums, np.where(place >= _CHAIN, place - _CHAIN + chains, place)
        )

    def members(self, groups: list[list[int]]) -> tuple[Index, Index]:
        """Places in the pool of the members of all groups, and where each group begins among them."""
        sizes = np.array([len(one) for one in groups], np.int64)
        return self.places(list(chain.from_iterable(groups))), np.cumsum(sizes) - sizes


class _Flow:
    """What is known of a flow while its records are matched."""

    __slots__ = ("cut", "end", "ends", "final", "identity", "kind", "number", "sent", "start")

    def __init__(self, number: int, ends: int, span: tuple[int, int], *, sent: bool) -> None:
        self.number = number
        self.ends = ends
        self.start, self.end = span
        self.sent = sent
        """Of a half: by the device."""
        self.kind = 0
        self.identity = 0
        self.final, self.cut = True, False


def matched(pool: DeviceFlows, kinds: Index) -> Matched:
    """Of what waits, (H,) of these kinds, the oldest first, and new records behind it, in device order."""
    found = Matched(len(pool))
    held = len(kinds)
    device = pool.device.tolist()
    flows = _flows(pool)
    old = [next(flows) for _ in range(held)]
    for one, kind in zip(old, kinds.tolist(), strict=True):
        one.kind = kind
    is_half = pool.half[held:].tolist()
    matching = _Matching(found)
    waits, mine = 0, -1
    waiting: list[_Flow] = []
    for place, (one, half) in enumerate(zip(flows, is_half, strict=True), held):
        if device[place] != mine:
            matching.leave(waiting)
            mine = device[place]
            waiting = []
            while waits < held and device[waits] == mine:
                waiting.append(old[waits])
                waits += 1
        matching.take(waiting, one, half=half)
    matching.leave(waiting)
    return found


def _flows(pool: DeviceFlows) -> Iterator[_Flow]:
    numbers: dict[Any, int] = {}
    columns = (pool.protocol, pool.peer, pool.device_port, pool.peer_port)
    ends = zip(*(column.tolist() for column in columns), strict=True)
    spans = zip(pool.start_us.tolist(), pool.end_us.tolist(), strict=True)
    rows = zip(ends, spans, sent_by_devices(pool).tolist(), strict=True)
    is_plain = bool(pool.final.all()) and not (pool.quality & int(Quality.CUT)).any()
    if is_plain:  # nothing but halves: whose identity it is does not count
        for number, (end, span, sent) in enumerate(rows):
            yield _Flow(number, numbers.setdefault(end, len(numbers)), span, sent=sent)
        return
    identity, final = pool.identity.tolist(), pool.final.tolist()
    cut = ((pool.quality & int(Quality.CUT)) != 0).tolist()
    for number, (end, span, sent) in enumerate(rows):
        one = _Flow(number, numbers.setdefault(end, len(numbers)), span, sent=sent)
        one.identity, one.final, one.cut = identity[number], final[number], cut[number]
        yield one


class _Matching:
    """The rules, one record after the other."""

    def __init__(self, found: Matched) -> None:
        self._found = found

    def leave(self, waiting: list[_Flow]) -> None:
        """A device's records are over."""
        self._found.waiting += [one.number for one in waiting]
        self._found.kinds += [one.kind for one in waiting]

    def take(self, waiting: list[_Flow], one: _Flow, *, half: bool) -> None:
        """`waiting`, the oldest first, is brought up to date."""
        cause = one.number
        if half:
            at = _other_half(waiting, one)
            if at < 0:
                self._wait(waiting, one, _HALF, cause)
                return
            one = self._pair(waiting.pop(at), one)
        if waiting:
            at = _open(waiting, one)
            if at >= 0:
                one = self._joined(waiting.pop(at), one, self._found.chains, _CHAIN)
        if not one.final:
            self._wait(waiting, one, _OPEN, cause)
            return
        if waiting:
            at = _piece(waiting, one)
            if at >= 0:
                one = self._joined(waiting.pop(at), one, self._found.sums, _SUM)
        if one.cut:
            self._wait(waiting, one, _PIECE, cause)
            return
        self._make(one, cause, 0)

    def _wait(self, waiting: list[_Flow], one: _Flow, kind: int, cause: int) -> None:
        one.kind = kind
        waiting.append(one)
        if len(waiting) > HELD:
            oldest = waiting.pop(0)
            self._make(oldest, cause, oldest.kind)

    def _make(self, one: _Flow, cause: int, pushed_out: int) -> None:
        self._found.made.append(one.number)
        self._found.causes.append(cause)
        self._found.pushed_out.append(pushed_out)

    def _pair(self, one: _Flow, other: _Flow) -> _Flow:
        pairs = self._found.pairs
        span = min(one.start, other.start), max(one.end, other.end)
        found = _Flow(self._found.records + len(pairs), one.ends, span, sent=True)
        pairs.append((one.number, other.number))
        found.identity = one.identity if one.sent else other.identity
        found.final = one.final and other.final
        found.cut = one.cut or other.cut
        return found

    def _joined(self, before: _Flow, now: _Flow, groups: list[list[int]], base: int) -> _Flow:
        """With what came before it, which may be of several already."""
        if before.kind == _HALF or before.number < base or before.number >= base + _CHAIN:
            groups.append([before.number, now.number])
            now.number = base + len(groups) - 1
        else:
            groups[before.number - base].append(now.number)
            now.number = before.number
        now.start, now.end = min(before.start, now.start), max(before.end, now.end)
        return now


def _other_half(waiting: list[_Flow], one: _Flow) -> int:
    ends, sent, start, end = one.ends, one.sent, one.start, one.end
    for at, other in enumerate(waiting):
        if (
            other.ends == ends
            and other.kind == _HALF
            and other.sent != sent
            and other.start <= end + APART_US
            and start <= other.end + APART_US
        ):
            return at
    return -1


def _open(waiting: list[_Flow], one: _Flow) -> int:
    """Sensors that know nothing of each other may give equal names: the ends must be equal, too."""
    for at, other in enumerate(waiting):
        if other.kind == _OPEN and other.identity == one.identity and other.ends == one.ends:
            return at
    return -1


def _piece(waiting: list[_Flow], one: _Flow) -> int:
    for at, other in enumerate(waiting):
        if (
            other.kind == _PIECE
            and other.ends == one.ends
            and -APART_US <= one.start - other.end <= PIECES_APART_US
        ):
            return at
    return -1
