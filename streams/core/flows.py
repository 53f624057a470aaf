"""A flow as any sensor saw it, and as one of its devices has it. What a sensor does not say is None.

Addresses are canonical: RFC 5952 text, IPv4-mapped IPv6 as IPv4, without a zone. Bytes of IP packets can be
had from every sensor, payload bytes from few; unknown is never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum


class State(IntEnum):
    """How a connection stands or ended. Of UDP and ICMP only UNKNOWN, ANSWERED and NO_ANSWER are said."""

    UNKNOWN = 0
    ANSWERED = 1
    """Established, or a datagram that was answered; however it ended but by a reset."""
    NO_ANSWER = 2
    """Nothing came back: of TCP a SYN alone (Zeek S0)."""
    REFUSED = 3
    """A SYN answered by a reset (Zeek REJ)."""
    RESET = 4
    """Established, then reset by an end (Zeek RSTO, RSTR)."""
    HALF_OPEN = 5
    """A handshake that was never completed (Zeek SH, RSTOS0, S0 answered by SYN+ACK only)."""
    PARTIAL = 6
    """Seen in its middle or from one side only (Zeek OTH, SHR, RSTRH)."""


class Quality(IntFlag):
    """What is to be doubted about a flow."""

    NONE = 0
    FLIPPED = 1
    """The sensor turned the ends round by a guess (Zeek's `^`): the direction is unsure."""
    GAPS = 2
    BAD_CHECKSUM = 4
    SAMPLED = 8
    CUT = 16
    """An active time-out's piece of a longer flow, or an interim record."""
    CLOCK_SKEW = 32
    """Its times are far from when it was received; the received time stands in their place."""
    ONE_SIDED = 64
    """One direction alone was seen, of what is no half of NetFlow."""
    ZERO_COUNTERS = 128
    """All counters were 0: they are unknown."""

    @property
    def words(self) -> list[str]:
        return [one.name.lower() for one in Quality if one in self and one.name]


class Direction(StrEnum):
    OUT = "out"
    IN = "in"
    INTERNAL = "internal"


class Role(StrEnum):
    """Which end of the flow the device is."""

    ORIGINATOR = "originator"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Flow:
    """One record of a sensor, both ends equal."""

    flow_id: str
    """The sensor's own identity of the flow (Zeek's uid, Suricata's flow_id); empty where it has none."""
    originator: str
    responder: str
    originator_port: int
    """Of ICMP the type; 0 where a protocol has no ports."""
    responder_port: int
    """Of ICMP the code."""
    protocol: str
    """tcp, udp, icmp, or the IP protocol's number as text."""
    start_us: int
    end_us: int
    state: State = State.UNKNOWN
    service: str = ""
    """As the sensor named it, its parts sorted and joined by commas; empty: unknown."""
    originator_packets: int | None = None
    responder_packets: int | None = None
    originator_ip_bytes: int | None = None
    responder_ip_bytes: int | None = None
    originator_payload_bytes: int | None = None
    responder_payload_bytes: int | None = None
    originator_mac: str = ""
    responder_mac: str = ""
    community_id: str = ""
    site: str = ""
    sensor: str = ""
    half: bool = False
    """One direction of an exporter that tells each apart: the other half comes as a record of its own."""
    final: bool = True
    """False: an interim record of a flow that goes on, by `flow_id`."""
    tcp_flags: int | None = None
    """Of a half: those of its packets together, as in the TCP header; None: unknown."""
    quality: Quality = Quality.NONE


@dataclass(frozen=True, slots=True)
class DeviceFlow:
    """A flow as one device has it: out is what the device sent, whoever began."""

    device: str
    direction: Direction
    role: Role
    peer: str
    protocol: str
    device_port: int
    peer_port: int
    service: str
    state: State
    start_us: int
    end_us: int
    packets_out: int | None
    packets_in: int | None
    ip_bytes_out: int | None
    ip_bytes_in: int | None
    payload_bytes_out: int | None
    payload_bytes_in: int | None
    flow_id: str
    """Identity of the flow among the device's: the sensor's, else made of its ends and start."""
    quality: Quality
    final: bool = True
    half: bool = False
    """One direction of an exporter that tells each apart: what one end sent is counted. Role and direction
    are those of who began, as far as the half tells."""
    tcp_flags: int | None = None
    """Of a half, as in `Flow`."""
    community_id: str = ""
    site: str = ""
    sensor: str = ""
    event_id: str = ""
    """UUIDv5 of topic id, partition and offset of the sensor's record, and of the device's end."""
