"""Sensors that read a capture: each gives the records that it would send, in their order.

What is not installed here is not run; `recorded.py` has what it wrote elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from streams.client.flow_files import FileRecord, Options, records
from streams.codec.ingest.flows import pmacct

SURICATA: Final = """%YAML 1.1
---
outputs:
  - eve-log:
      {enabled: yes, filetype: regular, filename: eve.json, community-id: true, ethernet: yes, types: [flow]}
flow-timeouts:
  default: {new: 5, established: 60, closed: 0, emergency-new: 4, emergency-established: 50}
  tcp:
    {new: 5, established: 120, closed: 1, emergency-new: 4, emergency-established: 100, emergency-closed: 0}
  udp: {new: 5, established: 10, emergency-new: 4, emergency-established: 9}
  icmp: {new: 5, established: 10, emergency-new: 4, emergency-established: 9}
logging: {default-log-level: error, outputs: [{console: {enabled: yes}}]}
"""
AGGREGATE: Final = f"peer_src_ip,{pmacct.AGGREGATE}"
NFACCTD: Final = """daemonize: false
nfacctd_port: {port}
nfacctd_ip: 127.0.0.1
nfacctd_time_new: true
timestamps_utc: true
plugins: {plugin}
aggregate: {aggregate}
{plugin}_output: json
pidfile: {file}.pid
"""
_PRINTED: Final = """print_output_file: {file}
print_output_file_append: true
print_refresh_time: 1
"""
_NFSTREAM: Final = """
import json, sys
from nfstream import NFStreamer
for flow in NFStreamer(sys.argv[1], statistical_analysis=True, accounting_mode=1, idle_timeout=15,
                       active_timeout=60, n_meters=1):
    print(json.dumps({name: getattr(flow, name) for name in flow.keys()}, default=str))
"""
TIMEOUTS: Final = (
    *("udp=10", "icmp=10", "general=10", "tcp=30", "tcp.rst=5", "tcp.fin=5", "maxlife=60", "expint=5"),
)
"""Softflowd's, in seconds."""
_HALVES: Final = ("goflow2", "goflow2-protobuf", "nfacctd")
_COMMAND_S: Final = 120
_QUIET_S: Final = 2.0
_STEP_S: Final = 0.1
_END_S: Final = 3.0
Told = dict[str, list[FileRecord]]


def suricata(capture: Path, folder: Path) -> list[FileRecord]:
    (folder / "suricata.yaml").write_text(SURICATA)
    out = folder / "suricata" / capture.stem
    out.mkdir(parents=True)
    command = ["suricata", "-c", str(folder / "suricata.yaml"), "-S", "/dev/null", "-k", "none"]
    _run([*command, "-r", str(capture), "-l", str(out)])
    return read((out / "eve.json").read_bytes())


def nfstream(capture: Path, python: str) -> list[FileRecord]:
    return read(_run([python, "-c", _NFSTREAM, str(capture)]))


def has_nfstream(python: str) -> bool:
    found = subprocess.run([python, "-c", "import nfstream"], capture_output=True, check=False)
    return found.returncode == 0


def read(data: bytes, dialect: str = "auto") -> list[FileRecord]:
    stream = cast(io.BufferedReader, io.BufferedReader(cast(io.RawIOBase, io.BytesIO(data))))
    return list(records(stream, "what a sensor wrote", Options(dialect)))


def _run(command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=_COMMAND_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr[-500:]!r}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Collector:
    name: str
    port: int
    file: Path


@contextmanager
def collectors(folder: Path, goflow2: str) -> Iterator[list[Collector]]:
    """Those that are installed, listening on loopback."""
    with ExitStack() as stack:
        found = []
        for name in _HALVES:
            program = "nfacctd" if name == "nfacctd" else goflow2
            if not (shutil.which(program) and shutil.which("softflowd")):
                continue
            one = Collector(name, _free_port(), folder / name)
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                _command(program, one), stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
            stack.callback(_end, process)
            found.append(one)
        time.sleep(1.5 if found else 0)  # neither says when it listens
        yield found


def _end(process: subprocess.Popen[bytes]) -> None:
    """With the children that nfacctd forks; it does not always heed SIGTERM."""
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
        return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _command(program: str, one: Collector) -> list[str]:
    if one.name == "nfacctd":
        one.file.with_suffix(".conf").write_text(
            (NFACCTD + _PRINTED).format(port=one.port, file=one.file, plugin="print", aggregate=AGGREGATE)
        )
        return [program, "-f", str(one.file.with_suffix(".conf"))]
    form = ["-format", "bin", "-transport.file.sep", ""] if one.name.endswith("protobuf") else []
    listen = f"netflow://127.0.0.1:{one.port}?count=1&workers=1"
    where = ["-addr", f"127.0.0.1:{_free_port()}", "-templates.path", "/templates"]
    return [program, "-listen", listen, *where, "-transport", "file", "-transport.file", str(one.file), *form]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def halves(capture: Path, listening: list[Collector], folder: Path) -> Told:
    """Softflowd's export of a capture, as each collector wrote it down."""
    before = {one.name: _size(one.file) for one in listening}
    to = ",".join(f"127.0.0.1:{one.port}" for one in listening)
    timeouts = [f"{name}={s}" for name, s in (("udp", 10), ("icmp", 10), ("general", 10), ("tcp", 30))]
    timeouts += [
        f"{name}={s}" for name, s in (("tcp.rst", 5), ("tcp.fin", 5), ("maxlife", 60), ("expint", 5))
    ]
    options = [word for one in timeouts for word in ("-t", one)]
    command = ["softflowd", "-r", str(capture), "-n", to, "-v", "10", "-A", "milli", "-6", "-c", "none"]
    _run([*command, "-p", str(folder / "softflowd.pid"), *options])
    _wait_until_quiet([one.file for one in listening])
    return {
        one.name: read(
            one.file.read_bytes()[before[one.name] :], one.name if one.name.endswith("protobuf") else "auto"
        )
        for one in listening
    }


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _wait_until_quiet(files: list[Path]) -> None:
    sizes, since_s = [0] * len(files), time.monotonic()
    while time.monotonic() - since_s < _QUIET_S:
        time.sleep(_STEP_S)
        now = [_size(file) for file in files]
        if now != sizes:
            sizes, since_s = now, time.monotonic()
