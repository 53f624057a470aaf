"""Packets of an interface: each once, with the time at which it came."""

from __future__ import annotations

import os
import socket
import time

import pytest

from streams.adapters.interface import Interface
from streams.codec.ingest.packets import Frames
from streams.core.meter import UDP
from streams.errors import AccessDenied, SettingsError

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_PACKET"), reason="packet sockets are Linux's")


def may_listen() -> bool:
    try:
        Interface("lo").__exit__(None, None, None)
    except AccessDenied:
        return False
    return True


def test_each_packet_on_the_loopback_comes_once() -> None:
    if not may_listen():
        pytest.skip("listening on an interface needs CAP_NET_RAW")
    with Interface("lo") as interface, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        mine = sender.getsockname()
        begun_us = time.time_ns() // 1000
        for n in range(5):
            sender.sendto(b"x" * (n + 1), mine)
        reader, found, until_s = Frames(interface.link), list[int](), time.monotonic() + 20
        for frame in interface.frames():
            assert time.monotonic() < until_s, found
            packet = None if frame is None else reader.packet(frame.time_us, frame.data)
            if packet is not None and (packet.protocol, packet.source_port) == (UDP, mine[1]):
                assert abs(packet.time_us - begun_us) < 60_000_000
                found.append(packet.payload_bytes)
            if found and found[-1] == 5:
                break
        assert found == [1, 2, 3, 4, 5]
        assert interface.lost().packets >= 5


def test_an_interface_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"no interface 'eth77'; there are .*lo"):
        Interface("eth77")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may listen")
def test_who_may_not_listen_is_told_the_right() -> None:
    with pytest.raises(AccessDenied, match="CAP_NET_RAW"):
        Interface("lo")
