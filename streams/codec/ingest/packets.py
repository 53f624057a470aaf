"""Captured frames to packets of IPv4 and IPv6: what the meter needs of their headers.

Ethernet with 802.1Q tags (IEEE 802.3), raw IP, and Linux's cooked captures. RFC 791, 8200, 9293, 768, 792.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections import OrderedDict
from typing import Final

from streams.core.meter import ICMP, ICMP6, TCP, UDP, Packet

ETHERNET: Final = 1
RAW: Final = frozenset({12, 14, 101, 228, 229})
COOKED: Final = 113
COOKED_2: Final = 276
LINKS: Final = frozenset({ETHERNET, *RAW, COOKED, COOKED_2})
"""Link types of captures (libpcap's LINKTYPE_ numbers) whose frames are read."""

_IP4: Final = 0x0800
_IP6: Final = 0x86DD
_TAGS: Final = frozenset({0x8100, 0x88A8, 0x9100})
_MORE_HEADERS: Final = frozenset({0, 43, 60, 51, 135, 139, 140})
"""IPv6 extension headers that another header follows."""
_FRAGMENT: Final = 44
_MOST_FRAGMENTED: Final = 1024
_PORTS: Final = struct.Struct("!HH")
_Where = tuple[int, int, int, int, int, tuple[bytes, ...] | None]


class Frames:
    """Reads the frames of one capture; it remembers whose fragments are under way."""

    def __init__(self, link: int, with_macs: bool = False) -> None:
        """`link` is one of LINKS."""
        self._link = link
        self._with_macs = with_macs
        self._ports: OrderedDict[tuple[bytes, ...], tuple[int, int]] = OrderedDict()

    def packet(self, time_us: int, frame: bytes) -> Packet | None:
        """None for what is no whole header of IP: ARP, other protocols, frames cut too short."""
        found = _network_layer(self._link, frame)
        if found is None:
            return None
        kind, at = found
        try:
            if kind == _IP4:
                return self._ip4(time_us, frame, at)
            return self._ip6(time_us, frame, at) if kind == _IP6 else None
        except (struct.error, IndexError):
            return None

    def _ip4(self, time_us: int, frame: bytes, at: int) -> Packet | None:
        size = (frame[at] & 15) * 4
        if frame[at] >> 4 != 4 or size < 20 or len(frame) < at + size:
            return None
        total = int.from_bytes(frame[at + 2 : at + 4]) or len(frame) - at  # 0 where a card cuts segments
        fragment = int.from_bytes(frame[at + 6 : at + 8])
        source, destination = frame[at + 12 : at + 16], frame[at + 16 : at + 20]
        of = (frame[at + 4 : at + 6], source, destination) if fragment & 0x3FFF else None
        where = (frame[at + 9], at + size, total - size, total, fragment & 0x1FFF, of)
        return self._transport(time_us, frame, source, destination, where)

    def _ip6(self, time_us: int, frame: bytes, at: int) -> Packet | None:
        if frame[at] >> 4 != 6 or len(frame) < at + 40:
            return None
        length, following = int.from_bytes(frame[at + 4 : at + 6]), frame[at + 6]
        source, destination = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
        here, offset, of = at + 40, 0, None
        for _ in range(8):  # more headers than anybody sends
            if following in _MORE_HEADERS:
                words = frame[here + 1] + 2 if following == 51 else (frame[here + 1] + 1) * 2
                following, here = frame[here], here + words * 4
            elif following == _FRAGMENT:
                offset = int.from_bytes(frame[here + 2 : here + 4]) >> 3
                of = (frame[here + 4 : here + 8], source, destination)
                following, here = frame[here], here + 8
            else:
                break
        where = (following, here, at + 40 + length - here, 40 + length, offset, of)
        return self._transport(time_us, frame, source, destination, where)

    def _transport(
        self, time_us: int, frame: bytes, source: bytes, destination: bytes, where: _Where
    ) -> Packet | None:
        protocol, at, left, total, fragment_offset, fragment_of = where
        ports, header, flags = (0, 0), 0, 0
        if fragment_offset:
            ports = self._ports.get(fragment_of or (), (0, 0))
        elif protocol == TCP:
            ports, flags, header = _PORTS.unpack_from(frame, at), frame[at + 13], (frame[at + 12] >> 4) * 4
        elif protocol == UDP:
            ports, header = _PORTS.unpack_from(frame, at), 8
        elif protocol in {ICMP, ICMP6}:
            ports, header = (frame[at], frame[at + 1]), 8
        if fragment_of is not None and not fragment_offset:
            self._remember(fragment_of, ports)
        macs = self._macs(frame)
        return Packet(
            *(time_us, _text(source), _text(destination), protocol, *ports),
            *(total, max(left - header, 0), flags, *macs),
        )

    def _remember(self, fragment_of: tuple[bytes, ...], ports: tuple[int, int]) -> None:
        self._ports[fragment_of] = ports
        if len(self._ports) > _MOST_FRAGMENTED:
            self._ports.popitem(last=False)

    def _macs(self, frame: bytes) -> tuple[str, str]:
        if not self._with_macs or self._link != ETHERNET:
            return "", ""
        return _mac(frame[6:12]), _mac(frame[:6])


def _network_layer(link: int, frame: bytes) -> tuple[int, int] | None:
    """The Ethernet type of what the frame carries, and where that begins."""
    if link in RAW:
        return (_IP6 if frame[0] >> 4 == 6 else _IP4, 0) if frame else None
    at = {ETHERNET: 12, COOKED: 14, COOKED_2: 0}[link]
    kind = int.from_bytes(frame[at : at + 2])
    at = 20 if link == COOKED_2 else at + 2
    while kind in _TAGS:
        kind, at = int.from_bytes(frame[at + 2 : at + 4]), at + 4
    return (kind, at) if len(frame) > at else None


@functools.lru_cache(maxsize=1 << 16)
def _text(address: bytes) -> str:
    """As RFC 5952 has it; an IPv4 address that IPv6 carries is that one."""
    if len(address) == 4:
        return socket.inet_ntop(socket.AF_INET, address)
    if address[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


@functools.lru_cache(maxsize=1 << 14)
def _mac(address: bytes) -> str:
    return address.hex(":")
