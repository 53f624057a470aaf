"""What the attacker and an infected device do: real tools where they are installed, each bounded in time."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.lab.network import ADDRESSES
from streams.core.flows import DeviceFlow, Direction

_PASSWORDS: Final = ("root", "admin", "12345", "xc3511", "vizxv", "888888", "default", "1234", "pass", "user")


Who = tuple[str, str, str, Direction]
"""The namespace in which it runs, the device that it is about, its peers, and the way of its flows."""


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    kind: str
    """Class of attack."""
    where: str
    """The namespace in which the command runs."""
    command: tuple[str, ...]
    seconds: float
    """After which it is ended."""
    device: str
    peer: str
    """An address, or how those of all peers begin."""
    ports: frozenset[int]
    """That were called; empty: any."""
    direction: Direction

    @property
    def is_here(self) -> bool:
        return shutil.which(self.command[0]) is not None

    def fits(self, flow: DeviceFlow) -> bool:
        called = flow.device_port if flow.direction is Direction.IN else flow.peer_port
        return (
            flow.device == self.device
            and flow.peer.startswith(self.peer)
            and (not self.ports or called in self.ports)
            and flow.direction is self.direction
        )


def all_of(folder: Path) -> list[Scenario]:
    camera, thermostat, hub, attacker = (ADDRESSES[name] for name in ("d1", "d2", "d3", "atk"))
    passwords = folder / "passwords.txt"
    passwords.write_text("\n".join(_PASSWORDS) + "\n")
    inbound: Who = ("atk", camera, attacker, Direction.IN)
    nmap = ("nmap", "-n", "-Pn", "-sS", "-T4", "--max-retries", "0")
    slow = ("slowhttptest", "-H", "-c", "40", "-r", "20", "-i", "4", "-l", "8", "-p", "3")
    return [
        _one("scan in", "probe", (*nmap, "-p100-600", camera), 20, inbound, range(100, 601)),
        _one(
            "scan out", "probe", (*nmap, "-p23,2323", "203.0.113.100-159"), 20,
            ("d3", hub, "203.0.113.1", Direction.OUT), (23, 2323),
        ),
        _one(
            "guessing", "r2l",
            ("hydra", "-l", "root", "-P", str(passwords), "-t", "4", "-I", f"ftp://{camera}"), 15,
            inbound, (21,),
        ),
        _one("slow HTTP", "dos", (*slow, "-u", f"http://{camera}:80/"), 12, inbound, (80,)),
        _one(
            "beacon", "c2", (sys.executable, "-m", "bench.lab.actors", "beacon", "14"), 20,
            ("d2", thermostat, attacker, Direction.OUT), (4443,),
        ),
        _one(
            "SYN flood", "dos", ("hping3", "-q", "-S", "-p", "80", "-i", "u2000", "-c", "2000", camera), 8,
            inbound, (80,),
        ),
    ]  # fmt: skip


def _one(
    name: str, kind: str, command: tuple[str, ...], seconds: float, who: Who, ports: Iterable[int]
) -> Scenario:
    where, device, peer, direction = who
    return Scenario(name, kind, where, command, seconds, device, peer, frozenset(ports), direction)
