"""One direction of an exporter of NetFlow, whichever collector wrote it down: goflow2, nfacctd, nfdump."""

from __future__ import annotations

from dataclasses import dataclass

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


def icmp_ports(protocol: str, ports: tuple[int, int], said: tuple[int, int]) -> tuple[int, int]:
    """Type and code of ICMP; exporters also put them into the target's port, as type * 256 + code."""
    if protocol != "icmp":
        return ports
    return said if any(said) or not ports[1] else divmod(ports[1], 256)
