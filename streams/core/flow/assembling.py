"""What records that belong together are as one flow, all of them at once; and how records wait, packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import (
    COLUMNS,
    COUNTERS,
    DIRECTIONS,
    MOST_COUNTED,
    ROLES,
    UNKNOWN,
    DeviceFlows,
    Index,
    Mask,
    Protocol,
    columns_of,
    joined,
)
from streams.core.flow.halves import ACK, FIN, RST, SYN, sent_by_devices
from streams.core.flow.matching import Matched
from streams.core.flow.records import AS_IT_IS, Kind
from streams.core.flow.state import HELD, HELD_RECORD, States
from streams.core.flows import Direction, Quality, Role, State
from streams.core.home import CALLED_BY

_TELLING: Final = FIN | SYN | RST | ACK
_ORIGINATOR: Final = ROLES.index(Role.ORIGINATOR)
_TARGET: Final = ROLES.index(Role.TARGET)
_INTERNAL: Final = DIRECTIONS.index(Direction.INTERNAL)
_OUT: Final = ("packets_out", "ip_bytes_out", "payload_bytes_out")
_IN: Final = ("packets_in", "ip_bytes_in", "payload_bytes_in")
_CUT: Final = int(Quality.CUT)

Totals = Callable[[Index, Index], Index]


def assembled(pool: DeviceFlows, found: Matched) -> DeviceFlows:
    """Records (R,), and behind them what they become: pairs, chains and sums."""
    if found.pairs:
        one, other = np.array(found.pairs, np.int64).T
        pool = joined([pool, _of_both(pool.at(one), pool.at(other))])
    for groups, totals in ((found.chains, _largest), (found.sums, _added)):
        if groups:
            members, starts = found.members(groups)
            pool = joined([pool, _folded(pool.at(members), starts, totals)])
    return pool


def _folded(flows: DeviceFlows, starts: Index, totals: Totals) -> DeviceFlows:
    """Each group's flows as one, the later over the earlier; a group begins at each of `starts`."""
    last = np.append(starts[1:], len(flows)) - 1
    is_last = np.zeros(len(flows), np.bool_)
    is_last[last] = True
    before = np.where(is_last, 0, flows.quality & ~_CUT)
    counters: dict[str, Any] = {name: totals(getattr(flows, name), starts) for name in COUNTERS}
    return replace(
        flows.at(last),
        start_us=np.minimum.reduceat(flows.start_us, starts),
        end_us=np.maximum.reduceat(flows.end_us, starts),
        service=_last_said(flows.service, starts),
        state=_last_said(flows.state, starts),
        quality=flows.quality[last] | np.bitwise_or.reduceat(before, starts),
        **counters,
    )


def _largest(counted: Index, starts: Index) -> Index:
    """Totals so far do not shrink, whichever comes first."""
    return np.maximum.reduceat(counted, starts)


def _added(counted: Index, starts: Index) -> Index:
    """What one of them does not know stays unknown."""
    known = np.minimum.reduceat(counted, starts) >= 0
    whole = np.minimum(np.add.reduceat(np.maximum(counted, 0), starts), MOST_COUNTED)
    return np.where(known, whole, UNKNOWN)


def _last_said(column: npt.NDArray[Any], starts: Index) -> npt.NDArray[Any]:
    """The last that is not 0, in each group."""
    at = np.maximum.reduceat(np.where(column != 0, np.arange(len(column)), -1), starts)
    return np.where(at >= 0, column[np.maximum(at, 0)], 0).astype(column.dtype)


def _of_both(one: DeviceFlows, other: DeviceFlows) -> DeviceFlows:
    """The flows that pairs of halves are, as `halves.of_both` has each."""
    first_is_mine = sent_by_devices(one)
    n = np.arange(len(one))
    both = joined([one, other])
    mine = both.at(np.where(first_is_mine, n, n + len(one)))
    theirs = both.at(np.where(first_is_mine, n + len(one), n))
    begins = _device_begins(mine, theirs)
    first = np.where(begins, mine.tcp_flags, theirs.tcp_flags)
    reply = np.where(begins, theirs.tcp_flags, mine.tcp_flags)
    return replace(
        mine,
        start_us=np.minimum(one.start_us, other.start_us),
        end_us=np.maximum(one.end_us, other.end_us),
        packets_in=theirs.packets_in,
        ip_bytes_in=theirs.ip_bytes_in,
        payload_bytes_in=theirs.payload_bytes_in,
        quality=one.quality | other.quality,
        service=np.where(one.service != 0, one.service, other.service),
        state=_state(mine.protocol == Protocol.TCP, first, reply),
        final=one.final & other.final,
        **_turned(mine, begins),
    )


def _device_begins(mine: DeviceFlows, theirs: DeviceFlows) -> Mask:
    """The first of these that tells: a half's flags, what both say, home, who started earlier, ports."""
    apart = mine.start_us != theirs.start_us
    earlier, higher = mine.start_us < theirs.start_us, mine.device_port >= mine.peer_port
    begins = np.where(mine.direction != _INTERNAL, True, np.where(apart, earlier, higher))
    begins = np.where(mine.role == theirs.role, mine.role == _ORIGINATOR, begins)
    for half, sent in ((theirs, False), (mine, True)):
        asks, refuses = _told_by_flags(half)
        begins = np.where(asks | refuses, asks == sent, begins)
    return np.asarray(begins)


def _told_by_flags(halves: DeviceFlows) -> tuple[Mask, Mask]:
    """(N,) whose sender began by them, and whose sender refused."""
    telling = np.where(halves.tcp_flags > 0, halves.tcp_flags & _TELLING, 0)
    asks = ((telling & SYN) != 0) & ((telling & ACK) == 0)
    return np.asarray(asks), np.asarray(telling == RST | ACK)


def _are_ports_told(halves: DeviceFlows) -> Mask:
    """(N,) whose ports say which was called, as `home.called_port` has it."""
    kinds = _ports_of_kinds()
    return np.asarray((kinds[:, halves.device_port] != kinds[:, halves.peer_port]).any(axis=0))


@cache
def _ports_of_kinds() -> npt.NDArray[np.bool_]:
    return np.array([[serves(port) for port in range(1 << 16)] for serves in CALLED_BY])


def _state(tcp: Mask, first: Index, reply: Index) -> npt.NDArray[np.uint8]:
    reset = np.where((first & ACK) == 0, State.REFUSED, State.RESET)
    unmet = np.where((reply & RST) != 0, reset, State.PARTIAL)
    met = np.where((first & ACK) != 0, State.ANSWERED, State.HALF_OPEN)
    met = np.where(((first | reply) & RST) != 0, State.RESET, met)
    found = np.where((reply & SYN) == 0, unmet, met)
    found = np.where((first <= 0) | (reply <= 0), State.UNKNOWN, found)
    return np.where(tcp, found, State.ANSWERED).astype(np.uint8)


def _turned(halves: DeviceFlows, begins: Mask) -> dict[str, Any]:
    direction = np.where(begins, DIRECTIONS.index(Direction.OUT), DIRECTIONS.index(Direction.IN))
    return {
        "role": np.where(begins, _ORIGINATOR, _TARGET).astype(np.uint8),
        "direction": np.where(halves.direction == _INTERNAL, _INTERNAL, direction).astype(np.uint8),
        "half": np.zeros(len(halves), np.bool_),
        "tcp_flags": np.full(len(halves), UNKNOWN),
    }


def let_go(flows: DeviceFlows, kinds: Index, *, timely: bool) -> DeviceFlows:
    """What waited as these kinds, as flows that count; 0 is none that waited.

    `timely`: it waited as long as it should.
    """
    if not kinds.any():
        return flows
    half = kinds == Kind.HALF
    if half.any():
        alone = _alone(flows.at(half), timely)
        columns = {name: getattr(flows, name).copy() for name in COLUMNS}
        for name, column in columns.items():
            column[half] = getattr(alone, name)
        flows = DeviceFlows(**columns)
    cut = (kinds == Kind.OPEN) | (kinds == Kind.PIECE)
    return replace(flows, final=flows.final | (kinds > 0), quality=flows.quality | np.where(cut, _CUT, 0))


def _alone(halves: DeviceFlows, timely: bool) -> DeviceFlows:
    """Halves as the flows that they are alone, as `halves.alone` has each."""
    sent = sent_by_devices(halves)
    asks, refuses = _told_by_flags(halves)
    asks |= (halves.protocol == Protocol.UDP) & ~refuses & ~_are_ports_told(halves)
    begins = np.where(asks | refuses, sent == asks, halves.role == _ORIGINATOR)
    nothing = 0 if timely else UNKNOWN
    counters = {
        name: np.where(silent, nothing, getattr(halves, name))
        for names, silent in ((_IN, sent), (_OUT, ~sent))
        for name in names
    }
    tcp, flags = halves.protocol == Protocol.TCP, halves.tcp_flags
    is_syn = tcp & (flags > 0) & ((flags & _TELLING) == SYN)
    state = (
        np.where(~tcp | (flags <= 0) | is_syn, State.NO_ANSWER, State.PARTIAL)
        if timely
        else np.where(is_syn, State.HALF_OPEN, State.UNKNOWN)
    )
    return replace(
        halves,
        state=state.astype(np.uint8),
        quality=halves.quality if timely else halves.quality | int(Quality.ONE_SIDED),
        **counters,
        **_turned(halves, begins),
    )


def unpacked(held: States, devices: Index) -> tuple[DeviceFlows, Index]:
    """What waits in states (D, HELD) of these devices: (H,) by device, the oldest first; and their kinds."""
    row, slot = np.nonzero(held["state"])
    one = held[row, slot]
    kind = (one["state"] >> 4).astype(np.int64)
    columns = {name: one[name] for name in AS_IT_IS}
    columns |= {
        "device": devices[row],
        "role": one["ends"] & 1,
        "direction": one["ends"] >> 1,
        "state": one["state"] & 15,
        "protocol": one["protocol"] & 0x7F,
        "final": one["protocol"] >> 7,
        "half": kind == Kind.HALF,
    }
    return columns_of(**columns), kind


def packed(flows: DeviceFlows, kinds: Index, devices: Index) -> States:
    """The same packed, (D, HELD): the oldest first, empty places before it."""
    one = np.zeros(len(flows), HELD_RECORD)
    for name in AS_IT_IS:
        one[name] = getattr(flows, name)
    one["ends"] = flows.role | flows.direction << 1
    one["protocol"] |= flows.final.astype(np.uint8) << 7
    one["state"] = flows.state | kinds << 4
    found = np.zeros((len(devices), HELD), HELD_RECORD)
    row = np.searchsorted(devices, flows.device)
    count = np.bincount(row, minlength=len(devices))
    rank = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    found[row, HELD - count[row] + rank] = one
    return found
