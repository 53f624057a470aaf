"""The proxy of the fault bench: passes bytes on, and stalls, resets or is slow when told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bench.faults.proxy import Proxy
from bench.faults.schedules import Cut

_DEADLINE_S = 10.0


def _echo(connection: socket.socket) -> None:
    with connection, suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            connection.sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=_echo, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        with Proxy(server.getsockname()[1]) as made:
            yield made
        server.shutdown(socket.SHUT_RDWR)


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=_DEADLINE_S)


def exactly(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        data = connection.recv(count - len(got))
        assert data, f"ended after {len(got)} bytes"
        got += data
    return got


def answers(proxy: Proxy) -> bool:
    """Whether a new connection gets through; it may be reset when made, or when used."""
    try:
        with connect(proxy) as connection:
            connection.sendall(b"a")
            return connection.recv(1) == b"a"
    except ConnectionResetError:
        return False


def test_bytes_pass_both_ways(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        sent = bytes(range(256)) * 2000
        threading.Thread(target=connection.sendall, args=(sent,)).start()
        assert exactly(connection, len(sent)) == sent


def test_what_was_sent_while_it_stalls_arrives_afterwards(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        connection.sendall(b"a")
        assert exactly(connection, 1) == b"a"
        proxy.cut(Cut.STALL)
        connection.sendall(b"b")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.cut(None)
        connection.settimeout(_DEADLINE_S)
        assert exactly(connection, 1) == b"b"


def test_a_reset_ends_old_connections_and_new_ones_until_it_is_over(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        connection.sendall(b"a")
        exactly(connection, 1)
        proxy.cut(Cut.RESET)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert not answers(proxy)
    proxy.cut(None)
    with connect(proxy) as connection:
        connection.sendall(b"c")
        assert exactly(connection, 1) == b"c"


def test_it_is_slow_in_both_directions(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.cut(Cut.SLOW)
        begun_s = time.monotonic()
        connection.sendall(b"a")
        assert exactly(connection, 1) == b"a"
        assert time.monotonic() - begun_s >= 0.3


def test_a_target_that_is_not_there_ends_the_connection(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        proxy.target_port = gone.getsockname()[1]
    assert not answers(proxy)


def test_one_that_moved_ends_its_connections_and_serves_elsewhere(proxy: Proxy) -> None:
    former = proxy.port
    with socket.create_connection(("127.0.0.1", former), _DEADLINE_S) as before:
        before.sendall(b"here")
        assert before.recv(4) == b"here"
        assert proxy.move() == proxy.port != former
        with pytest.raises(ConnectionResetError):
            before.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", former), _DEADLINE_S)
    with socket.create_connection(("127.0.0.1", proxy.port), _DEADLINE_S) as after:
        after.sendall(b"there")
        assert after.recv(5) == b"there"
