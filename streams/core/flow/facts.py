"""What a flow says by itself, before anything else is looked at.

A flow *fails* if it is TCP and was not answered, was refused, or never got beyond a handshake. Where a sensor
tells no state (NetFlow), it fails if it was not answered, or if at most 8 packets of at most 64 bytes went
both ways: a handshake and nothing else. The same rule holds for a connection that was reset: a flood or scan
whose sender's own kernel resets what is answered (Zeek's RSTO) fails, a reset after an exchange does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streams.core.flow.columns import DeviceFlows, Index, Mask, Protocol
from streams.core.flows import State

SMALL_PACKETS: Final = 8
SMALL_BYTES: Final = 64
"""Of a packet."""

FAILING: Final = 1
FAILING_KNOWN: Final = 2
UNANSWERED: Final = 4
UNANSWERED_KNOWN: Final = 8
SMALL: Final = 16
SMALL_KNOWN: Final = 32
BYTES_KNOWN: Final = 64
NEW_PEER: Final = 128
"""Bits of a connection; the last is not the flow's own to say."""

_IS_KEY: Final = 1 << 19
KEY_BITS: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Of N flows."""

    time_ms: Index
    """(N,) when it ended, since 1970: what windows go by."""
    peer: npt.NDArray[np.uint32]
    key: npt.NDArray[np.uint32]
    """Role, protocol and the port that was asked for, in KEY_BITS; never 0. Of ICMP type and code."""
    source_port: npt.NDArray[np.uint16]
    """The port that was asked from."""
    bits: npt.NDArray[np.uint8]
    out: npt.NDArray[np.uint16]
    """IP bytes as `coded`; 0 unless both ways are known."""
    into: npt.NDArray[np.uint16]


def facts_of(flows: DeviceFlows) -> Facts:
    failing, failing_known = failing_of(flows)
    unanswered, unanswered_known = unanswered_of(flows)
    small, small_known = small_of(flows)
    bits = failing * FAILING + failing_known * FAILING_KNOWN
    bits += unanswered * UNANSWERED + unanswered_known * UNANSWERED_KNOWN
    bits += small * SMALL + small_known * SMALL_KNOWN
    sized = (flows.ip_bytes_out >= 0) & (flows.ip_bytes_in >= 0)
    bits += sized * BYTES_KNOWN
    asked, source = ports_of(flows)
    role = flows.originates.astype(np.int64)
    return Facts(
        time_ms=np.maximum(flows.end_us, 0) // 1000,
        peer=(flows.peer & np.uint64(0xFFFFFFFF)).astype(np.uint32),
        key=(_IS_KEY | role << 18 | flows.protocol.astype(np.int64) << 16 | asked).astype(np.uint32),
        source_port=source.astype(np.uint16),
        bits=bits.astype(np.uint8),
        out=coded(np.where(sized, flows.ip_bytes_out, 0)),
        into=coded(np.where(sized, flows.ip_bytes_in, 0)),
    )


def ports_of(flows: DeviceFlows) -> tuple[Index, Index]:
    """(N,) the port that was asked for, and the one that was asked from."""
    mine = flows.originates
    asked = np.where(mine, flows.peer_port, flows.device_port) & 0xFFFF
    source = np.where(mine, flows.device_port, flows.peer_port) & 0xFFFF
    icmp = flows.protocol == Protocol.ICMP
    kind = (source & 0xFF) << 8 | (asked & 0xFF)  # type and code
    return np.where(icmp, kind, asked), np.where(icmp, 0, source)


def unanswered_of(flows: DeviceFlows) -> tuple[Mask, Mask]:
    """(N,) whether nothing came from the end that was asked; and whether that is known."""
    replies = np.where(flows.originates, flows.packets_in, flows.packets_out)
    counted = replies >= 0
    silent = flows.state == State.NO_ANSWER
    known = counted | (flows.state != State.UNKNOWN)
    return np.where(counted, replies == 0, silent), known


def small_of(flows: DeviceFlows) -> tuple[Mask, Mask]:
    """(N,) whether no more went to and fro than a handshake needs; and whether that is known."""
    out, into = flows.packets_out, flows.packets_in
    known = (out >= 0) & (into >= 0) & (flows.ip_bytes_out >= 0) & (flows.ip_bytes_in >= 0)
    few = out + into <= SMALL_PACKETS
    short = (flows.ip_bytes_out <= SMALL_BYTES * out) & (flows.ip_bytes_in <= SMALL_BYTES * into)
    return known & few & short, known


def failing_of(flows: DeviceFlows) -> tuple[Mask, Mask]:
    """(N,) whether it failed; and whether that is known."""
    unanswered, unanswered_known = unanswered_of(flows)
    small, small_known = small_of(flows)
    tcp = flows.protocol == Protocol.TCP
    told = (flows.state == State.NO_ANSWER) | (flows.state == State.REFUSED)
    told |= flows.state == State.HALF_OPEN
    reset, untold = flows.state == State.RESET, flows.state == State.UNKNOWN
    counted = (reset & small) | (untold & ((unanswered_known & unanswered) | small))
    unknown = tcp & untold & ~(unanswered_known & unanswered) & ~small_known
    return tcp & (told | counted), ~unknown


MANTISSA_BITS: Final = 11
_MOST: Final = (1 << 42) - 1


def coded(amount: Index) -> npt.NDArray[np.uint16]:
    """Amounts (N,) below 2^42 in 16 bits: their first 11 bits, and how many follow.

    >>> coded(np.array([0, 2047, 2048, 1_000_000])).tolist()
    [0, 2047, 3072, 20436]
    """
    amount = np.minimum(amount, _MOST)
    shift = np.maximum(bit_length(amount) - MANTISSA_BITS, 0)
    return (shift << MANTISSA_BITS | amount >> shift).astype(np.uint16)


def decoded(code: npt.NDArray[np.uint16]) -> Index:
    """The amounts, cut to their first 11 bits."""
    amount = (code & ((1 << MANTISSA_BITS) - 1)).astype(np.int64)
    amount <<= (code >> MANTISSA_BITS).astype(np.int64)
    return amount


def bit_length(amount: Index) -> Index:
    """Of each of the amounts below 2^53, as int.bit_length() has it."""
    return np.frexp(amount.astype(np.float64))[1].astype(np.int64)
