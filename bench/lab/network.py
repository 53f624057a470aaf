"""A router, which is where we are, with devices behind a bridge, a cloud and an attacker outside.

192.168.50.0/24   br0   d1 .11 a camera, d2 .12 a thermostat, d3 .13 a hub
203.0.113.0/24          cloud .10; the rest of it is empty
198.51.100.0/24         atk .66
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

BRIDGE: Final = "br0"
DEVICES: Final = {"d1": "192.168.50.11", "d2": "192.168.50.12", "d3": "192.168.50.13"}
OUTSIDE: Final = {"cloud": "203.0.113.10", "atk": "198.51.100.66"}
ADDRESSES: Final = {**DEVICES, **OUTSIDE}


def build() -> None:
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", "192.168.50.1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for name, address in ADDRESSES.items():
        router = address.rpartition(".")[0] + ".1"
        ip("netns", "add", name)
        ip("link", "add", f"p-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        if name in DEVICES:
            ip("link", "set", f"p-{name}", "master", BRIDGE)
        else:
            ip("addr", "add", f"{router}/24", "dev", f"p-{name}")
        ip("link", "set", f"p-{name}", "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "route", "add", "default", "via", router)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def within(name: str, *command: str) -> list[str]:
    """The command in a namespace."""
    return ["ip", "netns", "exec", name, *command]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10)
