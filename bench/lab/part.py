"""A part of the laboratory for the tests: no tools, no Kafka. `python -m bench.lab.part`, in namespaces.

Our own sensor on the bridge prints flows while a device scans and another calls home.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.lab import network
from bench.lab.enter import settle_in

_LISTENS_S: Final = 20.0
_WHILE_S: Final = 5.0


def main() -> None:
    settle_in()
    network.build()
    server = subprocess.Popen(network.within("atk", *_actor("atk", _LISTENS_S)))
    sensor = [sys.executable, "-m", "streams", "sensor", "--interface", network.BRIDGE, "--stdout"]
    listening = subprocess.Popen([*sensor, "--idle", "1", "--name", "meter"])
    _wait_until_it_listens()
    acting = [
        subprocess.Popen(network.within(name, *_actor(role, _WHILE_S)))
        for name, role in (("d3", "scan"), ("d2", "beacon"))
    ]
    for process in acting:
        process.wait(_LISTENS_S)
    listening.terminate()
    listening.wait(_LISTENS_S)
    server.kill()


def _actor(role: str, seconds: float) -> list[str]:
    return [sys.executable, "-m", "bench.lab.actors", role, str(seconds)]


def _wait_until_it_listens() -> None:
    """A packet socket is listed once it is there."""
    deadline_s = time.monotonic() + _LISTENS_S
    while len(Path("/proc/net/packet").read_text().splitlines()) < 2:
        if time.monotonic() > deadline_s:
            sys.exit("the sensor does not listen")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
