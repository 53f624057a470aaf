"""One flow from two halves: who began it, and how it ended.

A half counts what one end sent: the device's has `out`, the peer's `in`. A half with a SYN and no ACK, or
that is the refusal of one, says who began. Where neither does, what both say that began (`core/home.py`: by a
service's port). Where they do not agree, a device at home that talks to a peer outside began; inside, the
half that started earlier, and where both say one time, as real exporters do, the end with the higher port.

Many at once; `tests/core/flow/pairs.py` has one by itself, and is what these are tested against.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import (
    DIRECTIONS,
    ROLES,
    UNKNOWN,
    DeviceFlows,
    Index,
    Mask,
    Protocol,
    joined,
)
from streams.core.flows import Direction, Quality, Role, State
from streams.core.home import CALLED_BY

APART_US: Final = 2_000_000
"""How far apart the times of two halves may be: an answer takes its time, and exporters round."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_TELLING: Final = FIN | SYN | RST | ACK
_ORIGINATOR: Final = ROLES.index(Role.ORIGINATOR)
_TARGET: Final = ROLES.index(Role.TARGET)
_INTERNAL: Final = DIRECTIONS.index(Direction.INTERNAL)
_OUT: Final = ("packets_out", "ip_bytes_out", "payload_bytes_out")
_IN: Final = ("packets_in", "ip_bytes_in", "payload_bytes_in")


def sent_by_devices(halves: DeviceFlows) -> Mask:
    """(N,) by the counters that each has; by its role where both are unknown."""
    out = (halves.packets_out >= 0) | (halves.ip_bytes_out >= 0)
    into = (halves.packets_in >= 0) | (halves.ip_bytes_in >= 0)
    return np.asarray(out | (~into & (halves.role == _ORIGINATOR)))


def of_both(one: DeviceFlows, other: DeviceFlows) -> DeviceFlows:
    """(N,) the flows that pairs of halves are, in whichever order they came."""
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


def alone(halves: DeviceFlows, *, timely: bool) -> DeviceFlows:
    """Halves as the flows that they are alone.

    `timely`: they waited as long as they should, so nothing came the other way. Else they had to go before,
    and nothing is known of the other way; but who sent a SYN and nothing after it completed no handshake.
    """
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
