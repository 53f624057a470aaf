"""The sensors beside each other on the bridge, each with its way to Kafka."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.lab.network import BRIDGE
from bench.sensors.meters import AGGREGATE, NFACCTD, SURICATA, TIMEOUTS

OURS: Final = "meter"
SURICATA_NAME: Final = "suricata"
NETFLOW: Final = "127.0.0.1"
"""Goflow2 names an exporter by its address."""
NAMES: Final = {OURS: "our meter", SURICATA_NAME: "Suricata", NETFLOW: "softflowd"}
_AF_PACKET: Final = f"""sensor-name: {SURICATA_NAME}
af-packet: [{{interface: {BRIDGE}, cluster-id: 99, cluster-type: cluster_flow, defrag: yes}}]
"""
_COLLECTOR: Final = 2055


class Started:
    """Processes that a stack ends, in the reverse of their order; each one's log in a folder."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder

    def __call__(self, name: str, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment}
        )
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ours(start: Started, servers: str, topic: str) -> bool:
    command = [sys.executable, "-m", "streams", "sensor", "--interface", BRIDGE, "--name", OURS]
    start(OURS, [*command, "--topic", topic], AUTODEEP_KAFKA_SERVERS=servers)
    return True


def suricata(start: Started, servers: str, topic: str) -> bool:
    if not (shutil.which("suricata") and shutil.which("kcat")):
        return False
    settings = start.folder / "suricata.yaml"
    settings.write_text(SURICATA.replace("ethernet: yes", "ethernet: no") + _AF_PACKET)
    folder = start.folder / "suricata"
    folder.mkdir()
    (folder / "eve.json").touch()
    start(
        SURICATA_NAME,
        ["suricata", "-c", str(settings), "-S", "/dev/null", "--af-packet", "-k", "none", "-l", str(folder)],
    )
    pipe = f"tail -n +1 -F {folder}/eve.json | kcat -P -b {servers} -t {topic} -X linger.ms=50"
    start("kcat", ["sh", "-c", pipe])
    return True


def softflowd(start: Started, servers: str, topic: str) -> bool:
    """To goflow2 where it is installed, else to nfacctd, which Debian has."""
    if shutil.which("softflowd") is None:
        return False
    if shutil.which("goflow2"):
        _goflow2(start, servers, topic)
    elif shutil.which("nfacctd"):
        _nfacctd(start, servers, topic)
    else:
        return False
    options = [word for one in TIMEOUTS for word in ("-t", one)]
    to = ["-n", f"127.0.0.1:{_COLLECTOR}", "-v", "10", "-A", "milli", "-c", "none"]
    pid = str(start.folder / "softflowd.pid")
    start("softflowd", ["softflowd", "-d", "-i", BRIDGE, "-p", pid, *to, *options])
    return True


def _goflow2(start: Started, servers: str, topic: str) -> None:
    where = ["-listen", f"netflow://127.0.0.1:{_COLLECTOR}?count=1&workers=1", "-addr", "127.0.0.1:18081"]
    kafka = ["-transport", "kafka", "-transport.kafka.brokers", servers, "-transport.kafka.topic", topic]
    start(
        "goflow2",
        ["goflow2", *where, "-templates.path", "/templates", *kafka, "-transport.kafka.flushfreq", "200ms"],
    )


def _nfacctd(start: Started, servers: str, topic: str) -> None:
    host, _, port = servers.partition(":")
    settings = start.folder / "nfacctd.conf"
    settings.write_text(
        NFACCTD.format(port=_COLLECTOR, file=start.folder / "nfacctd", plugin="kafka", aggregate=AGGREGATE)
        + f"kafka_broker_host: {host}\nkafka_broker_port: {port}\n"
        + f"kafka_topic: {topic}\nkafka_refresh_time: 1\n"
    )
    start("nfacctd", ["nfacctd", "-f", str(settings)])


ALL: Final[dict[str, Callable[[Started, str, str], bool]]] = {
    OURS: ours,
    SURICATA_NAME: suricata,
    NETFLOW: softflowd,
}
