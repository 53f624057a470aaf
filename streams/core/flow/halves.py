"""One flow from two halves: who began it, and how it ended.

The device's half is what it sent, the peer's what came back. A half that is a lone SYN, or the refusal of
one, says who began. Where neither does, a device at home that talks to a peer outside began; inside, the half
that started earlier, and where both say the same time, as real exporters do, the end with the higher port.

This is one pair by itself; `assembling.py` has many at once, and is tested against it.
"""

from __future__ import annotations

from typing import Any, Final

from streams.core.flow.columns import DIRECTIONS, ROLES, UNKNOWN, Protocol
from streams.core.flow.records import Record
from streams.core.flows import Direction, Quality, Role, State

APART_US: Final = 2_000_000
"""How far apart the times of two halves may be: an answer takes its time, and exporters round."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_TELLING: Final = FIN | SYN | RST | ACK


def belong_together(one: Record, other: Record) -> bool:
    """Whether two halves of a device are those of one flow."""
    return (
        one.role != other.role
        and one.ends == other.ends
        and one.start_us <= other.end_us + APART_US
        and other.start_us <= one.end_us + APART_US
    )


def of_both(one: Record, other: Record) -> Record:
    """The flow that two halves are."""
    mine, theirs = (one, other) if one.role == _ORIGINATOR else (other, one)
    begins = _device_begins(mine, theirs)
    first, reply = (mine, theirs) if begins else (theirs, mine)
    return mine._replace(
        start_us=min(one.start_us, other.start_us),
        end_us=max(one.end_us, other.end_us),
        packets_in=theirs.packets_in,
        ip_bytes_in=theirs.ip_bytes_in,
        payload_bytes_in=theirs.payload_bytes_in,
        quality=one.quality | other.quality,
        service=one.service or other.service,
        state=_state(mine.protocol, first.tcp_flags, reply.tcp_flags),
        final=one.final and other.final,
        **_turned(mine, begins),
    )


def alone(half: Record, timely: bool) -> Record:
    """A half as the flow that it is alone.

    `timely`: it waited as long as it should, so nothing came the other way. Else it had to go before, and
    nothing is known of the other way.
    """
    sent_by_device = half.role == _ORIGINATOR
    refusal = half.tcp_flags & _TELLING == RST | ACK if half.tcp_flags > 0 else False
    begins = sent_by_device != refusal
    silent = _IN if sent_by_device else _OUT
    counters: dict[str, Any] = dict.fromkeys(silent, 0 if timely else UNKNOWN)
    lone_syn = half.tcp_flags <= 0 or half.tcp_flags & _TELLING == SYN
    unanswered = half.protocol != Protocol.TCP or lone_syn
    state = State.UNKNOWN if not timely else State.NO_ANSWER if unanswered else State.PARTIAL
    quality = half.quality if timely else half.quality | Quality.ONE_SIDED
    return half._replace(state=int(state), quality=int(quality), **counters, **_turned(half, begins))


_OUT: Final = ("packets_out", "ip_bytes_out", "payload_bytes_out")
_IN: Final = ("packets_in", "ip_bytes_in", "payload_bytes_in")
_ORIGINATOR: Final = ROLES.index(Role.ORIGINATOR)
_TARGET: Final = ROLES.index(Role.TARGET)
_INTERNAL: Final = DIRECTIONS.index(Direction.INTERNAL)


def _turned(half: Record, device_begins: bool) -> dict[str, Any]:
    direction = half.direction
    if direction != _INTERNAL:
        direction = DIRECTIONS.index(Direction.OUT if device_begins else Direction.IN)
    role = _ORIGINATOR if device_begins else _TARGET
    return {"role": role, "direction": direction, "half": False, "tcp_flags": UNKNOWN}


def _device_begins(mine: Record, theirs: Record) -> bool:
    for half, answer in ((mine, True), (theirs, False)):
        telling = half.tcp_flags & _TELLING if half.tcp_flags > 0 else 0
        if telling == SYN:
            return answer
        if telling == RST | ACK:
            return not answer
    if mine.direction != _INTERNAL:
        return True
    if mine.start_us != theirs.start_us:
        return mine.start_us < theirs.start_us
    return mine.device_port >= mine.peer_port


def _state(protocol: int, first: int, reply: int) -> int:
    """By the flags of who began, and of the answer; none at all are unknown, as many exporters write them."""
    if protocol != Protocol.TCP:
        return int(State.ANSWERED)
    if first <= 0 or reply <= 0:
        return int(State.UNKNOWN)
    if not reply & SYN:
        refused = reply & RST and not first & ACK
        return int(State.REFUSED if refused else State.RESET if reply & RST else State.PARTIAL)
    if (first | reply) & RST:
        return int(State.RESET)
    return int(State.ANSWERED if first & ACK else State.HALF_OPEN)
