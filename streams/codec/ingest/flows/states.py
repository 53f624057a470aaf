"""How a connection stands, from what each kind of sensor says: Zeek's state and history, or TCP flags.

Only TCP has refusals and handshakes. A datagram is answered, or it is not, or that is unknown; Zeek's S0
and OTH of UDP and ICMP say no more than that.
"""

from __future__ import annotations

from typing import Final

from streams.core.flows import Quality, State

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_ZEEK: Final = {
    "S0": State.NO_ANSWER,
    "S1": State.ANSWERED,
    "SF": State.ANSWERED,
    "S2": State.ANSWERED,
    "S3": State.ANSWERED,
    "REJ": State.REFUSED,
    "RSTO": State.RESET,
    "RSTR": State.RESET,
    "RSTOS0": State.HALF_OPEN,
    "SH": State.HALF_OPEN,
    "RSTRH": State.PARTIAL,
    "SHR": State.PARTIAL,
    "OTH": State.PARTIAL,
}
ZEEK_STATES: Final = frozenset(_ZEEK)
ASKING: Final = frozenset({8, 13, 15, 17, 128})
"""ICMP types that want an answer: echo, timestamp, information, address mask; echo of IPv6."""


def zeek_tcp(state: str, history: str) -> State:
    if state == "S0" and "h" in history:
        return State.HALF_OPEN
    return _ZEEK.get(state, State.UNKNOWN)


def datagrams(sent: int | None, came: int | None, asks: bool = True) -> State:
    """Of UDP and ICMP, by the packets of both; `asks`: whether an answer was to come at all."""
    if came and (sent or sent is None):
        return State.ANSWERED
    if came == 0 and sent and asks:
        return State.NO_ANSWER
    return State.UNKNOWN


def asks(protocol: str, icmp_type: int) -> bool:
    return protocol == "udp" or icmp_type in ASKING


def tcp_of_flags(sent: int | None, came: int | None, packets_back: int | None) -> State:
    """Of a TCP flow both ways: the flags of all packets of its originator, and of its responder."""
    if not sent or (not came and packets_back != 0):
        return State.UNKNOWN
    if not sent & SYN:
        return State.PARTIAL
    return _answered(sent, came) if came else _unanswered(sent)


def _unanswered(sent: int) -> State:
    if sent & RST:
        return State.HALF_OPEN
    return State.PARTIAL if sent & ACK else State.NO_ANSWER


def _answered(sent: int, came: int) -> State:
    if not came & SYN:
        return State.REFUSED if came & RST else State.PARTIAL
    if (sent | came) & RST:
        return State.RESET
    return State.ANSWERED if sent & ACK else State.HALF_OPEN


def tcp_of_half(flags: int | None) -> State:
    """Of one direction alone. A SYN and nothing else may have been answered in the other half."""
    if not flags:
        return State.UNKNOWN
    if flags & (SYN | FIN | PSH) == 0 and flags & RST and flags & ACK:
        return State.REFUSED
    if flags & ACK and flags & (PSH | FIN):
        return State.RESET if flags & RST else State.ANSWERED
    return State.UNKNOWN


def quality_of_history(history: str, missed_bytes: int | None) -> Quality:
    """Zeek's history: `^` ends turned, c a bad checksum, g a gap."""
    found = Quality.NONE
    if "^" in history:
        found |= Quality.FLIPPED
    if "c" in history or "C" in history:
        found |= Quality.BAD_CHECKSUM
    if "g" in history or "G" in history or missed_bytes:
        found |= Quality.GAPS
    return found


def is_one_sided_by_flags(sent: int | None, packets: tuple[int | None, int | None]) -> bool:
    """The same of a meter that has TCP flags: acknowledged, by whom it did not hear of."""
    is_shaken = sent is not None and sent & (SYN | ACK) == SYN | ACK
    return packets[0] == 0 or (packets[1] == 0 and is_shaken)


def is_one_sided(protocol: str, history: str, packets: tuple[int | None, int | None]) -> bool:
    """Whether Zeek saw one direction of what has two: an answer without its question, or TCP data or the end
    of a handshake without any answer."""
    sent, came = packets
    if sent == 0 and came:
        return "C" not in history
    spoke_on = "D" in history or ("S" in history and "A" in history)
    return protocol == "tcp" and came == 0 and bool(sent) and spoke_on and "c" not in history
