"""Which records belong together: in arrival order, by a few whole numbers of each. Contents are not moved.

With each record time passes first, where it does: what has waited long enough goes as what it is.

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

from streams.core.flow.columns import DeviceFlows, Index, Mask
from streams.core.flow.halves import APART_US, sent_by_devices
from streams.core.flow.records import NEVER, Kind, Patience
from streams.core.flow.state import HELD
from streams.core.flows import Quality

PIECES_APART_US: Final = 60_000_000
"""How long after the end of a piece the next one may start."""
_CHAIN: Final = 1 << 40
_SUM: Final = 1 << 41
"""Where numbers of chains and sums begin until it is known how many pairs there are."""
_HALF, _OPEN, _PIECE = int(Kind.HALF), int(Kind.OPEN), int(Kind.PIECE)


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Records (A,) of a turn, in device order, with which anything may be matched or let go."""

    place: Index
    """In the turn."""
    device: Index
    watermark_us: Index
    """The device's time with each."""
    special: Mask
    """Whether it may have to do with others; those stand in the pool. With the rest time passes."""


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
    """Place in the turn of the record with which each did."""
    pushed_out: list[int] = field(default_factory=list)
    """The kind as which each waited that had to go; 0: it did not have to."""
    timed_out: list[int] = field(default_factory=list)
    """The kind as which each waited long enough; 0: it did not."""
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

    __slots__ = ("cut", "due_us", "end", "ends", "final", "identity", "kind", "number", "sent", "start")

    def __init__(self, number: int, ends: int, span: tuple[int, int], *, sent: bool) -> None:
        self.number = number
        self.ends = ends
        self.start, self.end = span
        self.sent = sent
        """Of a half: by the device."""
        self.kind = 0
        self.due_us = NEVER
        self.identity = 0
        self.final, self.cut = True, False


def matched(pool: DeviceFlows, kinds: Index, arrivals: Arrivals, patience: Patience) -> Matched:
    """Of what waits, (H,) of these kinds, the oldest first, and the special records behind it.

    All in device order; nothing waits of a device without arrivals.
    """
    found = Matched(len(pool))
    held = len(kinds)
    owners, is_half = pool.device[:held].tolist(), iter(pool.half[held:].tolist())
    flows = _flows(pool)
    matching = _Matching(found, patience)
    old = [matching.waits_as(next(flows), kind) for kind in kinds.tolist()]
    waits, mine = 0, -1
    columns = (arrivals.place, arrivals.device, arrivals.watermark_us, arrivals.special)
    for place, device, watermark_us, special in zip(*(one.tolist() for one in columns), strict=True):
        if device != mine:
            matching.leave()
            mine, first = device, waits
            while waits < held and owners[waits] == mine:
                waits += 1
            matching.enter(old[first:waits])
        matching.pass_time(watermark_us, place)
        if special:
            matching.take(next(flows), place, half=next(is_half))
    matching.leave()
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
    """The rules, one record after the other, of one device after the other."""

    def __init__(self, found: Matched, patience: Patience) -> None:
        self._found = found
        self._patience = patience
        self._waiting: list[_Flow] = []  # the oldest first
        self._due_us = NEVER  # before then none of them is due

    def enter(self, waiting: list[_Flow]) -> None:
        """A device's records begin."""
        self._waiting = waiting
        self._due_us = min((one.due_us for one in waiting), default=NEVER)

    def leave(self) -> None:
        """A device's records are over."""
        self._found.waiting += [one.number for one in self._waiting]
        self._found.kinds += [one.kind for one in self._waiting]

    def waits_as(self, one: _Flow, kind: int) -> _Flow:
        one.kind = kind
        one.due_us = one.end + (self._patience.half_us if kind == _HALF else self._patience.open_us)
        return one

    def pass_time(self, watermark_us: int, cause: int) -> None:
        """What has waited long enough goes."""
        if watermark_us < self._due_us:
            return
        for one in self._waiting:
            if one.due_us <= watermark_us:
                self._make(one, cause, timed_out=one.kind)
        self.enter([one for one in self._waiting if one.due_us > watermark_us])

    def take(self, one: _Flow, cause: int, *, half: bool) -> None:
        waiting = self._waiting
        if half:
            at = _other_half(waiting, one)
            if at < 0:
                self._wait(one, _HALF, cause)
                return
            one = self._pair(waiting.pop(at), one)
        if waiting:
            at = _open(waiting, one)
            if at >= 0:
                one = self._joined(waiting.pop(at), one, self._found.chains, _CHAIN)
        if not one.final:
            self._wait(one, _OPEN, cause)
            return
        if waiting:
            at = _piece(waiting, one)
            if at >= 0:
                one = self._joined(waiting.pop(at), one, self._found.sums, _SUM)
        if one.cut:
            self._wait(one, _PIECE, cause)
            return
        self._make(one, cause)

    def _wait(self, one: _Flow, kind: int, cause: int) -> None:
        self._waiting.append(self.waits_as(one, kind))
        self._due_us = min(self._due_us, one.due_us)
        if len(self._waiting) > HELD:
            oldest = self._waiting.pop(0)
            self._make(oldest, cause, pushed_out=oldest.kind)

    def _make(self, one: _Flow, cause: int, pushed_out: int = 0, timed_out: int = 0) -> None:
        self._found.made.append(one.number)
        self._found.causes.append(cause)
        self._found.pushed_out.append(pushed_out)
        self._found.timed_out.append(timed_out)

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
