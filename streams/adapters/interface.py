"""Packets of a network interface, as Linux gives them to a packet socket (packet(7)). Needs CAP_NET_RAW."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streams.adapters.captures import Frame
from streams.codec.ingest.packets import ETHERNET
from streams.errors import AccessDenied, SettingsError

_ALL: Final = 3
"""ETH_P_ALL, of every protocol."""
_OUTGOING: Final = 4
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS = 263, 1, 6
_PROMISCUOUS: Final = 1
_RAW_IP: Final = 101
_LINKS: Final = {1: ETHERNET, 772: ETHERNET, 65534: _RAW_IP, 768: _RAW_IP, 776: _RAW_IP, 778: _RAW_IP}
"""Link types by the interface's kind (ARPHRD_ numbers): Ethernet, loopback, and tunnels of raw IP."""
_TIMESTAMP: Final = 35
"""SO_TIMESTAMPNS: nanoseconds at which the kernel got the packet."""
_TIMESPEC: Final = struct.Struct("@qq")
_BUFFER_BYTES: Final = 32 << 20
_SNAP_BYTES: Final = 256
"""Of a packet: more than its headers have."""
TICK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Lost:
    """What the kernel counted since it was last asked."""

    packets: int
    dropped: int
    """Which we were too slow for."""


class Interface:
    """A context manager. Not for several threads."""

    def __init__(self, name: str) -> None:
        """Raises SettingsError where there is no such interface, AccessDenied without the right to listen."""
        self.name = name
        self.link = _link(name)
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
        except PermissionError as exc:
            raise AccessDenied(
                f"listening on {name} needs CAP_NET_RAW: run as root, or give it to the program"
            ) from exc
        self._is_loopback = name == "lo"
        try:
            self._set_up(name)
        except OSError as exc:
            self._socket.close()
            raise SettingsError(f"interface {name}: {exc.strerror}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def frames(self) -> Iterator[Frame | None]:
        """What comes, without end; None each TICK_S in which nothing does. Raises OSError once it is gone."""
        room = socket.CMSG_SPACE(_TIMESPEC.size)
        while True:
            try:
                data, extra, _, address = self._socket.recvmsg(_SNAP_BYTES, room)
            except TimeoutError:
                yield None
                continue
            except OSError as exc:
                if exc.errno == errno.ENETDOWN:  # down for a while: it is read again once it is up
                    time.sleep(TICK_S)
                    yield None
                    continue
                raise
            if self._is_loopback and address[2] == _OUTGOING:
                continue  # it comes in as well
            yield Frame(_time_us(extra), self.link, data)

    def lost(self) -> Lost:
        packets, dropped = struct.unpack("@II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        return Lost(packets, dropped)

    def _set_up(self, name: str) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMP, 1)
        self._socket.settimeout(TICK_S)
        self._socket.bind((name, _ALL))
        membership = struct.pack("@iHH8s", socket.if_nametoindex(name), _PROMISCUOUS, 0, b"")
        self._socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)


def _link(name: str) -> int:
    names = sorted(name for _, name in socket.if_nameindex())
    if name not in names:
        raise SettingsError(f"there is no interface {name!r}; there are {', '.join(names)}")
    kind = int(Path(f"/sys/class/net/{name}/type").read_text(encoding="ascii"))
    if kind not in _LINKS:
        raise SettingsError(f"interface {name} is of kind {kind}; Ethernet and raw IP are read")
    return _LINKS[kind]


def _time_us(extra: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMP and len(data) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000 + int(nanoseconds) // 1000
    return time.time_ns() // 1000
