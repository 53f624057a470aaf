"""One direction of an exporter of NetFlow, whichever collector wrote it down: goflow2, nfacctd, nfdump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streams.codec.ingest.flows import states
from streams.core.flows import Flow, Quality, State


@dataclass(frozen=True, slots=True)
class Half:
    """The sender's packets alone; flags of none of them are unknown, not no flags."""

    source: str
    target: str
    ports: tuple[int, int]
    protocol: str
    span_us: tuple[int, int]
    counted: tuple[int | None, int | None]
    """Packets and IP bytes."""
    tcp_flags: int | None
    macs: tuple[str, str] = ("", "")
    sensor: str = ""
    is_sampled: bool = False

    def flow(self) -> Flow:
        flags = (self.tcp_flags or None) if self.protocol == "tcp" else None
        packets, octets = self.counted
        quality = Quality.SAMPLED if self.is_sampled else Quality.NONE
        if not packets and not octets:
            quality, packets, octets = quality | Quality.ZERO_COUNTERS, None, None
        return Flow(
            "",
            self.source,
            self.target,
            *self.ports,
            self.protocol,
            *self.span_us,
            states.tcp_of_half(flags) if flags else State.UNKNOWN,
            originator_packets=packets,
            originator_ip_bytes=octets,
            originator_mac=self.macs[0],
            responder_mac=self.macs[1],
            sensor=self.sensor,
            half=True,
            tcp_flags=flags,
            quality=quality,
        )


_ANSWERS: Final = {0: 8, 14: 13, 16: 15, 18: 17, 129: 128, 136: 135}
"""Types of ICMP and ICMPv6 that answer, and the questions."""


def icmp_ports(protocol: str, ports: tuple[int, int], said: tuple[int, int]) -> tuple[int, int]:
    """Type and code of ICMP; exporters also put them into the target's port, as type * 256 + code.

    An answer has its question's, the other way round, so that both halves have the same ends.
    """
    if protocol != "icmp":
        return ports
    if not any(said) and ports[1]:
        said = ports[1] // 256, ports[1] % 256
    question = _ANSWERS.get(said[0])
    return said if question is None else (said[1], question)
