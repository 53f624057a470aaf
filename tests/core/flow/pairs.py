"""What two halves are together, or one is alone: the rules of `core/flow/halves.py`, one pair by itself."""

from __future__ import annotations

from typing import Any, Final

from streams.core.flow.columns import DIRECTIONS, ROLES, UNKNOWN, Protocol
from streams.core.flow.halves import ACK, APART_US, FIN, RST, SYN
from streams.core.flow.records import Record
from streams.core.flows import Direction, Quality, Role, State
from streams.core.home import called_port

_TELLING: Final = FIN | SYN | RST | ACK


def belong_together(one: Record, other: Record) -> bool:
    """Whether two halves of a device are those of one flow."""
    return (
        _sent_by_device(one) != _sent_by_device(other)
        and one.ends == other.ends
        and one.start_us <= other.end_us + APART_US
        and other.start_us <= one.end_us + APART_US
    )


def of_both(one: Record, other: Record) -> Record:
    """The flow that two halves are."""
    mine, theirs = (one, other) if _sent_by_device(one) else (other, one)
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
    nothing is known of the other way; but who sent a SYN and nothing after it completed no handshake.
    """
    sent_by_device = _sent_by_device(half)
    sender_begins = _sender_begins(half)
    if sender_begins is None and half.protocol == Protocol.UDP and not _is_port_told(half):
        sender_begins = True  # nobody else is known to have said anything
    begins = half.role == _ORIGINATOR if sender_begins is None else sent_by_device == sender_begins
    silent = _IN if sent_by_device else _OUT
    counters: dict[str, Any] = dict.fromkeys(silent, 0 if timely else UNKNOWN)
    is_syn = half.protocol == Protocol.TCP and half.tcp_flags > 0 and half.tcp_flags & _TELLING == SYN
    unanswered = half.protocol != Protocol.TCP or half.tcp_flags <= 0 or is_syn
    if timely:
        state = State.NO_ANSWER if unanswered else State.PARTIAL
    else:
        state = State.HALF_OPEN if is_syn else State.UNKNOWN
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


def _sent_by_device(half: Record) -> bool:
    """By the counters that it has; by its role where both are unknown."""
    if half.packets_out >= 0 or half.ip_bytes_out >= 0:
        return True
    if half.packets_in >= 0 or half.ip_bytes_in >= 0:
        return False
    return half.role == _ORIGINATOR


def _sender_begins(half: Record) -> bool | None:
    """By its flags; None where they do not tell."""
    telling = half.tcp_flags & _TELLING if half.tcp_flags > 0 else 0
    if telling & SYN and not telling & ACK:
        return True
    return False if telling == RST | ACK else None


def _is_port_told(half: Record) -> bool:
    return called_port(half.device_port, half.peer_port) is not None


def _device_begins(mine: Record, theirs: Record) -> bool:
    for half, answer in ((mine, True), (theirs, False)):
        sender_begins = _sender_begins(half)
        if sender_begins is not None:
            return sender_begins == answer
    if mine.role == theirs.role:
        return mine.role == _ORIGINATOR
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
