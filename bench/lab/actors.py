"""Servers and benign devices: `python -m bench.lab.actors ROLE SECONDS`, in a namespace."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from bench.lab.network import ADDRESSES

_WAIT_S: Final = 2.0
_PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\nConnection: close\r\n\r\n" + b"a" * 300
_MESSAGE: Final = b"\x30\x20\x00\x0chome/d2/temp" + b"t" * 18
_QUESTION: Final = (
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05cloud\x03lab\x04test\x00\x00\x01\x00\x01"
)


def serve_tcp(port: int, talk: Callable[[socket.socket], None]) -> None:
    listening = socket.create_server(("", port), backlog=128)

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            talk(connection)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def serve_udp(port: int) -> None:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("", port))

    def answer() -> None:
        while True:
            data, sender = listening.recvfrom(2_048)
            listening.sendto(data + b"answer", sender)

    threading.Thread(target=answer, daemon=True).start()


def http(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(4_096)):
        data += more
    connection.sendall(_PAGE)


def ftp(connection: socket.socket) -> None:
    """As far as log-ins go: all are refused."""
    connection.sendall(b"220 camera\r\n")
    while line := connection.recv(1_024):
        word = line[:4].upper()
        answer = {b"USER": b"331 password", b"PASS": b"530 no", b"QUIT": b"221 bye"}.get(word, b"500 what")
        connection.sendall(answer + b"\r\n")
        if word == b"QUIT":
            return


def echo(connection: socket.socket) -> None:
    while data := connection.recv(4_096):
        connection.sendall(data[:64])


def ask_http(address: str, port: int = 80) -> None:
    with socket.create_connection((address, port), _WAIT_S) as connection:
        connection.sendall(b"GET /status.json HTTP/1.1\r\nHost: lab\r\n\r\n")
        while connection.recv(4_096):
            pass


def ask_udp(address: str, port: int, data: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_WAIT_S)
        asking.sendto(data, (address, port))
        asking.recv(2_048)


def every(seconds: float, what: Callable[[], None], until_s: float) -> None:
    def go_on() -> None:
        while time.monotonic() < until_s:
            with contextlib.suppress(OSError):
                what()
            time.sleep(seconds)

    threading.Thread(target=go_on, daemon=True).start()


def cloud(until_s: float) -> None:
    serve_tcp(80, http)
    serve_tcp(1883, echo)
    serve_udp(53)
    serve_udp(123)


def attacker(until_s: float) -> None:
    serve_tcp(4443, echo)


def camera(until_s: float) -> None:
    """d1, which is attacked; itself it asks for names and tells the cloud how it is."""
    serve_tcp(80, http)
    serve_tcp(21, ftp)
    serve_tcp(23, echo)
    every(5.0, lambda: ask_udp(ADDRESSES["cloud"], 53, _QUESTION), until_s)
    every(7.0, lambda: ask_http(ADDRESSES["cloud"]), until_s)


def thermostat(until_s: float) -> None:
    """d2, benign: a long connection with a message a second, the time each 8 s."""
    every(8.0, lambda: ask_udp(ADDRESSES["cloud"], 123, b"\x1b" + bytes(47)), until_s)

    def tell() -> None:
        with socket.create_connection((ADDRESSES["cloud"], 1883), _WAIT_S) as connection:
            while time.monotonic() < until_s:
                connection.sendall(_MESSAGE)
                connection.recv(4_096)
                time.sleep(1.0)

    every(1.0, tell, until_s)


def hub(until_s: float) -> None:
    """d3, benign until it is told otherwise: it asks the camera, and looks for others by multicast."""
    every(4.0, lambda: ask_http(ADDRESSES["d1"]), until_s)

    def search() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.sendto(b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n", ("239.255.255.250", 1900))

    every(10.0, search, until_s)


def beacon(until_s: float) -> None:
    """A connection to the attacker every two seconds, each with as much to say."""
    while time.monotonic() < until_s:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((ADDRESSES["atk"], 4443), _WAIT_S) as calling,
        ):
            calling.sendall(b"x" * 120)
            calling.recv(4_096)
        time.sleep(2.0)


def scan(until_s: float) -> None:
    """Without any tool: a SYN to telnet of sixty hosts that are not there."""
    for number in range(100, 160):
        asking = socket.socket()
        asking.setblocking(False)
        asking.connect_ex((f"203.0.113.{number}", 23))
        time.sleep(0.01)
        asking.close()


Role = Callable[[float], None]
ROLES: Final[dict[str, Role]] = {
    "cloud": cloud, "atk": attacker, "d1": camera, "d2": thermostat, "d3": hub,
    "beacon": beacon, "scan": scan,
}  # fmt: skip


def main() -> None:
    role, seconds = sys.argv[1], float(sys.argv[2])
    until_s = time.monotonic() + seconds
    ROLES[role](until_s)
    if role in ADDRESSES:
        time.sleep(max(until_s - time.monotonic(), 0))


if __name__ == "__main__":
    main()
